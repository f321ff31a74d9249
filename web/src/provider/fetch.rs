//! What is asked of the provider: within a time, up to a size, and never led elsewhere.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use ureq::http::{Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::{Fault, ProviderError};
use crate::config::Oidc;

/// Bytes of the head of an answer.
const HEAD_BYTES: usize = 16 << 10;

/// Asks the provider.
pub struct Client {
    agent: Agent,
    answer_bytes: u64,
}

impl Client {
    /// A client that trusts the certificates of this computer, and follows no redirect.
    ///
    /// # Errors
    /// Where there are no certificates to trust.
    pub fn new(config: &Oidc) -> Result<Self, ProviderError> {
        let mut builder = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(config.answer_seconds)))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_response_header_size(HEAD_BYTES)
            .user_agent("veilwatch-web");
        if config.issuer.starts_with("https://") {
            let found = rustls_native_certs::load_native_certs().certs;
            if found.is_empty() {
                return Err(ProviderError::Certificates);
            }
            let trusted: Vec<Certificate<'static>> =
                found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
            let tls = TlsConfig::builder()
                .root_certs(RootCerts::new_with_certs(&trusted))
                .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
            builder = builder.tls_config(tls.build());
        } else {
            // On this computer: no proxy knows the way.
            builder = builder.proxy(None);
        }
        Ok(Self { agent: builder.build().new_agent(), answer_bytes: config.answer_bytes })
    }

    /// The JSON at an address.
    ///
    /// # Errors
    /// Where there is no answer, or not one of the kind.
    pub fn get<T: DeserializeOwned>(&self, address: &str) -> Result<T, Fault> {
        self.read(self.agent.get(address).header("Accept", "application/json").call())
    }

    /// The JSON that answers to a form.
    ///
    /// # Errors
    /// Where there is no answer, or not one of the kind.
    pub fn post<T: DeserializeOwned>(
        &self,
        address: &str,
        form: &[(&str, &str)],
        basic: Option<(&str, &str)>,
    ) -> Result<T, Fault> {
        let mut request = self.agent.post(address).header("Accept", "application/json");
        if let Some((id, secret)) = basic {
            // Encoded first, RFC 6749, 2.3.1.
            let pair = STANDARD.encode(format!("{}:{}", encode(id), encode(secret)));
            request = request.header("Authorization", format!("Basic {pair}"));
        }
        self.read(request.send_form(form.iter().copied()))
    }

    fn read<T: DeserializeOwned>(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<T, Fault> {
        let mut answer = answer.map_err(|error| {
            tracing::warn!(%error, "the provider does not answer");
            Fault::Unreachable
        })?;
        let status = answer.status().as_u16();
        if status != 200 {
            tracing::warn!(status, "the provider refuses");
            return Err(if status >= 500 { Fault::Unreachable } else { Fault::Answer });
        }
        let body = answer.body_mut().with_config().limit(self.answer_bytes).read_to_vec().map_err(|error| {
            tracing::warn!(%error, "the provider's answer cannot be read");
            match error {
                ureq::Error::BodyExceedsLimit(_) => Fault::Answer,
                _ => Fault::Unreachable,
            }
        })?;
        // What the provider wrote stays out of the log.
        serde_json::from_slice(&body).map_err(|error| {
            tracing::warn!(
                line = error.line(),
                column = error.column(),
                "the provider's answer is not what was asked for"
            );
            Fault::Answer
        })
    }
}

/// Whether secrets may be sent to an address: by HTTPS, or on this computer.
pub fn is_safe(address: &str) -> bool {
    let Ok(uri) = address.parse::<Uri>() else { return false };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    let host = authority.host();
    let is_local = ["127.0.0.1", "[::1]", "localhost"].contains(&host);
    !host.is_empty()
        && !authority.as_str().contains('@')
        && !address.contains('#')
        && (scheme == "https" || (scheme == "http" && is_local))
}

/// A text as a value in an address or a form: all but the unreserved characters of RFC 3986 is encoded.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_by_https_or_stay_on_this_computer() {
        for good in
            ["https://id.example", "https://id.example:8443/realms/x?y=z", "http://127.0.0.1:1/x", "http://[::1]/"]
        {
            assert!(is_safe(good), "{good}");
        }
        for bad in [
            "",
            "id.example",
            "http://id.example/",
            "http://127.0.0.1.evil.example/",
            "https://id.example@evil.example/",
            "http://127.0.0.1@evil.example/",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "https://",
            "https://id.example/#x",
            "https://id example/",
            "//id.example/",
        ] {
            assert!(!is_safe(bad), "{bad}");
        }
    }

    #[test]
    fn values_stay_values() {
        assert_eq!(encode("a b&c=d/é~"), "a%20b%26c%3Dd%2F%C3%A9~");
    }
}
