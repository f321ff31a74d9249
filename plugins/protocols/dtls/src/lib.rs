//! DTLS over UDP (RFC 4347, RFC 6347, RFC 9147): what a connection shows before it is encrypted.
//!
//! * `record` walks the records of a datagram; `probe` recognises DTLS by the first of them, on any port.
//! * `handshake` puts messages together from their fragments, in whatever order and however often they come.
//! * `connection` goes through both directions.
//! * [`Dtls`] is the protocol template: it writes fields of its own, and hands the handshake on in the form that it has in
//!   TLS, so that whoever reads [`TLS_HANDSHAKE`](veilwatch_core::plugin::TLS_HANDSHAKE) writes the same `tls` fields for
//!   it. `dissect` draws records and fragments for people.

mod connection;
mod dissect;
mod handshake;
mod probe;
mod record;
mod template;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use template::{Dtls, Limits};

veilwatch_core::declare_plugins!(protocol "dtls" "DTLS over UDP: records, cookies, handshake": Dtls);
