//! What is asked of the provider: within a time, up to a size, and never led elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use ureq::http::{Response, Uri};
use ureq::{Agent, Body};

use super::{Fault, ProviderError};
use crate::config::Oidc;
use crate::outgoing::{self, Way};

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
        let is_far = config.issuer.starts_with("https://");
        // No proxy knows the way to one on this computer.
        let way = if is_far { Way::ByProxy } else { Way::Straight };
        let agent = outgoing::agent(config.answer_seconds, is_far, way)?;
        Ok(Self { agent, answer_bytes: config.answer_bytes })
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
