//! What calls begin with: SIP (RFC 3261) and STUN (RFC 8489). Each is a template of its own.

mod dissect;
mod sip;
mod stun;
#[cfg(test)]
mod tests;

pub use sip::Sip;
pub use stun::Stun;

veilwatch_core::declare_plugins!(
    protocol "sip" "SIP: first request and answer": Sip,
    protocol "stun" "STUN: first messages": Stun,
);
