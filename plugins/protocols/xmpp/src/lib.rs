//! XMPP over TCP (RFC 6120): stream headers, and TLS behind STARTTLS.
//!
//! * `stream` finds the few elements that matter in a stream of XML, without reading the rest of it.
//! * [`Xmpp`] is the protocol template.

mod dissect;
mod stream;
mod template;
#[cfg(test)]
mod tests;

pub use template::{Limits, Xmpp};

veilwatch_core::declare_plugins!(protocol "xmpp" "XMPP in clear, and STARTTLS": Xmpp);
