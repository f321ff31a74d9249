//! LDAP over TCP (RFC 4511): the first bind, and TLS behind the StartTLS extended operation.
//!
//! * `message` reads the envelope of LDAP's messages, which are BER.
//! * [`Ldap`] is the protocol template.

mod dissect;
mod message;
mod template;
#[cfg(test)]
mod tests;

pub use template::{Ldap, Limits};

veilwatch_core::declare_plugins!(protocol "ldap" "LDAP in clear: the first bind, and StartTLS": Ldap);
