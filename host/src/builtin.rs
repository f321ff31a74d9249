//! The one explicit list of the plugins in the box.

use veilwatch_core::plugin::Declaration;

/// Every plugin that is linked into this program.
pub fn declarations() -> Vec<Declaration> {
    [
        veilwatch_protocol_tls::declarations(),
        veilwatch_protocol_quic::declarations(),
        veilwatch_protocol_dtls::declarations(),
        veilwatch_protocol_dns::declarations(),
        veilwatch_protocol_ssh::declarations(),
        veilwatch_protocol_services::declarations(),
        veilwatch_protocol_calls::declarations(),
        veilwatch_protocol_windows::declarations(),
        veilwatch_protocol_tunnels::declarations(),
        veilwatch_protocol_bittorrent::declarations(),
        veilwatch_protocol_http::declarations(),
        veilwatch_protocol_socks::declarations(),
        veilwatch_protocol_command_lines::declarations(),
        veilwatch_protocol_xmpp::declarations(),
        veilwatch_protocol_ldap::declarations(),
        veilwatch_protocol_databases::declarations(),
        veilwatch_feature_flow_statistics::declarations(),
        veilwatch_feature_splt::declarations(),
        veilwatch_feature_tls_handshake::declarations(),
        veilwatch_feature_tls_records::declarations(),
        veilwatch_feature_certificate::declarations(),
        veilwatch_feature_server_name::declarations(),
        veilwatch_feature_conversation::declarations(),
        veilwatch_feature_byte_distribution::declarations(),
        veilwatch_feature_term_frequency::declarations(),
        veilwatch_feature_dns_link::declarations(),
        veilwatch_feature_host_context::declarations(),
        veilwatch_classifier_boosted_trees::declarations(),
        veilwatch_classifier_decision_tree::declarations(),
        veilwatch_classifier_random_forest::declarations(),
        veilwatch_classifier_adaboost::declarations(),
        veilwatch_classifier_ensemble::declarations(),
        veilwatch_classifier_naive_bayes::declarations(),
        veilwatch_classifier_logistic_regression::declarations(),
        veilwatch_classifier_svm::declarations(),
    ]
    .concat()
}
