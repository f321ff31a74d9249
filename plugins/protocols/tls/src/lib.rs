//! TLS over TCP: what a connection shows before it is encrypted, and the outer shape of what follows.
//!
//! * `records` walks the records of one direction (RFC 8446 section 5.1); `handshake` finds the messages in them, however
//!   they are cut over records and segments.
//! * `client`, `server` and `certificate` read one kind of handshake message each; `der` reads the values in
//!   certificates.
//! * `dissect` draws the same for people.
//! * `probe` recognises TLS by its first bytes, on any port; `resolver` and `tor` say what may be inside by what stands in
//!   clear.
//! * [`Tls`] is the protocol template that puts these together.
//!
//! The records written are core's typed ones ([`veilwatch_core::record`]); its own fields (`facts`) say what these have
//! no place for, and which of its settings bounded what was read.

#[cfg(test)]
#[path = "../tests/captures/mod.rs"]
mod captures;
mod certificate;
mod client;
#[cfg(test)]
mod contents_tests;
mod der;
mod dissect;
mod facts;
#[cfg(test)]
mod facts_tests;
mod handshake;
mod probe;
mod records;
mod resolver;
mod server;
mod template;
#[cfg(test)]
mod testing;
mod tor;

pub use template::{Limits, Tls};

veilwatch_core::declare_plugins!(protocol "tls" "TLS over TCP: hellos, certificate, record lengths": Tls);
