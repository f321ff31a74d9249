//! Services that every network has: NTP (RFC 5905), DHCP (RFC 2131) and SNMP (RFC 3416), by what their first datagram must
//! have. Each is a template of its own.

mod dhcp;
mod ntp;
mod snmp;
#[cfg(test)]
mod tests;

pub use dhcp::Dhcp;
pub use ntp::Ntp;
pub use snmp::Snmp;

veilwatch_core::declare_plugins!(
    protocol "ntp" "NTP: versions, modes, strata": Ntp,
    protocol "dhcp" "DHCP: what hosts call themselves, and what they ask for": Dhcp,
    protocol "snmp" "SNMP: versions, communities, kinds of messages": Snmp,
);
