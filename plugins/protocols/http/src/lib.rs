//! HTTP in clear (RFC 9112; the preface of RFC 9113): what the first exchange says, how many follow, and where a CONNECT
//! or an upgrade to TLS leads to.
//!
//! * `head` reads one message's first line and its header fields; `body` finds where the message ends.
//! * `exchange` goes through requests and responses in turns.
//! * `http2` reads what stands before the first header fields of HTTP/2.
//! * [`Http`] is the protocol template.

mod body;
mod dissect;
mod exchange;
mod head;
mod http2;
mod probe;
mod template;
#[cfg(test)]
mod tests;

pub use template::{Http, Limits};

veilwatch_core::declare_plugins!(protocol "http" "HTTP in clear: first exchange, counts, CONNECT": Http);
