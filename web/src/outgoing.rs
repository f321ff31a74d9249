//! What the portal asks of other machines, which it does where the operator says so alone: a provider that people sign in by,
//! and webhooks. Within a time, by the certificates of this computer, and never led elsewhere.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// Bytes of the head of an answer.
const HEAD_BYTES: usize = 16 << 10;

/// There is nothing to check a server by.
#[derive(Debug, Error)]
#[error(
    "this computer has no certificates to check others by: install them (`ca-certificates`), or name a file with SSL_CERT_FILE"
)]
pub struct NoCertificates;

/// How an address is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Straight: no variable of the environment leads it elsewhere.
    Straight,
    /// By the proxy that the environment names, where it names one.
    ByProxy,
}

/// What asks, with this many seconds for each answer. It follows no redirect, and gives every status to its caller.
///
/// # Errors
/// Where it is to speak HTTPS, and this computer has no certificates.
pub fn agent(seconds: u64, speaks_https: bool, way: Way) -> Result<Agent, NoCertificates> {
    let mut tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    if speaks_https {
        let found = rustls_native_certs::load_native_certs().certs;
        if found.is_empty() {
            return Err(NoCertificates);
        }
        let trusted: Vec<_> = found.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
        tls = tls.root_certs(RootCerts::new_with_certs(&trusted));
    }
    let mut agent = Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(seconds)))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .max_response_header_size(HEAD_BYTES)
        .max_idle_connections(0)
        .user_agent(concat!("veilwatch/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls.build());
    if way == Way::Straight {
        agent = agent.proxy(None);
    }
    Ok(agent.build().new_agent())
}
