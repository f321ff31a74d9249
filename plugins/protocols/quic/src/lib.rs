//! QUIC: what a connection shows before everything is encrypted for good.
//!
//! * `version` knows what differs from version to version, `header` reads long headers and finds the packets of a
//!   datagram.
//! * `protection` opens Initial packets, whose keys anybody can compute; `frames` reads what is in them, and `crypto`
//!   puts the handshake together.
//! * `connection` goes over both directions: who is the client, which keys open what.
//! * `hello` looks into the handshake for what is QUIC's own.
//! * `dissect` draws the same for people; `probe` recognises QUIC by its first datagram, on any port.
//! * [`Quic`] is the protocol template that puts these together, and hands the handshake to whoever reads handshakes.

mod connection;
mod crypto;
mod dissect;
mod frames;
mod header;
mod hello;
mod probe;
mod protection;
mod template;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod version;

pub use template::{Limits, Quic};

veilwatch_core::declare_plugins!(protocol "quic" "QUIC: versions, parameters, the handshake in Initial packets": Quic);
