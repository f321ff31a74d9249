//! The typed records of TLS, over TCP, QUIC and DTLS alike.

use super::{FieldId, is_grease, typed_record};

/// Whether a group (RFC 8446 section 4.2.7) makes its key with an algorithm that is meant to withstand quantum computers:
/// ML-KEM by itself or beside an elliptic curve, and what was in use before it had a standard.
pub fn is_post_quantum(group: u16) -> bool {
    // CECPQ2; ML-KEM 512, 768 and 1024; with P-256, X25519, P-384 and SM2; Kyber's draft with X25519 and P-256.
    matches!(group, 0x4138 | 0x0200..=0x0202 | 0x11eb..=0x11ee | 0x6399..=0x639a)
}

/// The name of a handshake message's type (IANA, TLS HandshakeType; RFC 8446 section 4 and earlier ones).
pub fn handshake_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        0 => "hello_request",
        1 => "client_hello",
        2 => "server_hello",
        3 => "hello_verify_request",
        4 => "new_session_ticket",
        5 => "end_of_early_data",
        8 => "encrypted_extensions",
        11 => "certificate",
        12 => "server_key_exchange",
        13 => "certificate_request",
        14 => "server_hello_done",
        15 => "certificate_verify",
        16 => "client_key_exchange",
        20 => "finished",
        21 => "certificate_url",
        22 => "certificate_status",
        24 => "key_update",
        _ => return None,
    })
}

/// The name of an alert's description (IANA, TLS Alerts; RFC 8446 section 6 and earlier ones).
pub fn alert_name(description: u8) -> Option<&'static str> {
    Some(match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        52 => "too_many_cids_requested",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => return None,
    })
}

typed_record! {
    /// What a client offers in the clear (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2).
    ClientHello, "tls.client", 100;
    record_version: u16 = "version in the record that carried it",
    version: u16 = "legacy_version of the message",
    session_id_len: u8 = "length of the session id in bytes",
    ciphers: &'a [u16] = "cipher suites as offered, GREASE included",
    compressions: &'a [u8] = "compression methods",
    extensions: &'a [u16] = "extension types in order, GREASE included",
    extension_lens: &'a [u16] = "lengths of the extensions in bytes, in the same order",
    sni: &'a [u8] = "server name; empty where none was sent",
    alpn: &'a [u8] = "application protocols, separated by commas",
    groups: &'a [u16] = "supported groups",
    point_formats: &'a [u8] = "elliptic-curve point formats",
    signature_algorithms: &'a [u16] = "signature algorithms",
    supported_versions: &'a [u16] = "versions of the supported_versions extension",
    key_shares: &'a [u16] = "groups of the key shares",
    psk_modes: &'a [u8] = "pre-shared-key modes",
    message_len: u32 = "length of the handshake message in bytes",
    resumes: bool = "whether it brings a ticket or a pre-shared key",
    ech: bool = "whether it carries an encrypted ClientHello",
    count: u8 = "ClientHellos in this direction (2 after a HelloRetryRequest)",
}

impl ClientHello<'_> {
    /// The field `sni`, for those who need nothing else.
    pub const SNI: FieldId = FieldId(107);

    /// The highest version that it offers. Those of DTLS count downwards, from 0xfeff for 1.0.
    pub fn best_version(&self) -> u16 {
        let listed = || self.supported_versions.iter().copied().filter(|version| !is_grease(*version));
        let highest = if self.version >> 8 == 0xfe { listed().min() } else { listed().max() };
        highest.unwrap_or(self.version)
    }
}

typed_record! {
    /// What a server answers in the clear (RFC 8446 section 4.1.3).
    ServerHello, "tls.server", 130;
    record_version: u16 = "version in the record that carried it",
    version: u16 = "legacy_version of the message",
    selected_version: u16 = "version agreed on: supported_versions, else legacy_version",
    cipher: u16 = "cipher suite chosen",
    compression: u8 = "compression method chosen",
    session_id_len: u8 = "length of the session id in bytes",
    extensions: &'a [u16] = "extension types in order",
    alpn: &'a [u8] = "application protocol chosen",
    key_share: u16 = "group of the key share; 0 without",
    resumed: bool = "whether it takes up an earlier session",
    retry: bool = "whether it began with a HelloRetryRequest",
    message_len: u32 = "length of the handshake message in bytes",
}

typed_record! {
    /// The server's own certificate (RFC 5280) and the chain it came with, where the handshake shows them.
    CertificateInfo, "tls.certificate", 160;
    chain_len: u8 = "certificates in the chain",
    chain_bytes: u32 = "length of the whole chain in bytes",
    leaf_bytes: u32 = "length of the server's certificate in bytes",
    parsed: bool = "whether the server's certificate could be read",
    version: u8 = "X.509 version, 1 to 3",
    serial: &'a [u8] = "serial number",
    subject: &'a [u8] = "subject as text, attributes in the order of the certificate",
    issuer: &'a [u8] = "issuer as text, attributes in the order of the certificate",
    subject_cn: &'a [u8] = "common name of the subject",
    issuer_cn: &'a [u8] = "common name of the issuer",
    subject_attributes: u8 = "attributes in the subject",
    issuer_attributes: u8 = "attributes in the issuer",
    self_signed: bool = "whether subject and issuer are the same",
    not_before: u64 = "begin of validity, seconds since 1970",
    not_after: u64 = "end of validity, seconds since 1970",
    key_kind: u8 = "public key: 1 RSA, 2 elliptic curve, 3 DSA, 4 Edwards curve, 0 other",
    key_bits: u16 = "size of the public key in bits",
    signature: u8 = "signature hash: 1 MD5, 2 SHA-1, 3 SHA-256, 4 SHA-384, 5 SHA-512, 6 EdDSA, 0 other",
    san_count: u16 = "subject alternative names",
    san_first: &'a [u8] = "first subject alternative name",
    wildcard: bool = "whether a name has a wildcard",
    matches_sni: bool = "whether a name covers the server name that was asked for",
    is_ca: bool = "whether it may sign others",
    extensions: u8 = "extensions in the certificate",
    ct_stamps: bool = "whether it carries certificate-transparency stamps",
    has_policies: bool = "whether it names a certificate policy",
    has_revocation: bool = "whether it says where revocation is published",
    sha256: &'a [u8] = "SHA-256 of the certificate",
}

typed_record! {
    /// The outer shape of the records of a TLS connection: what is left when everything else is encrypted.
    TlsRecords, "tls.records", 200;
    client: &'a [u16] = "lengths of the client's records in bytes",
    server: &'a [u16] = "lengths of the server's records in bytes",
    client_types: &'a [u8] = "content types of the client's records",
    server_types: &'a [u8] = "content types of the server's records",
    client_alerts: u8 = "alerts in clear from the client",
    server_alerts: u8 = "alerts in clear from the server",
    last_alert: u16 = "level and description of the last alert in clear",
    client_complete: bool = "whether the client's side was followed without a hole",
    server_complete: bool = "whether the server's side was followed without a hole",
}
