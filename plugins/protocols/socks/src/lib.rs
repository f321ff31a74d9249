//! What stands in front of another protocol and says where it goes.
//!
//! * [`Socks`] reads SOCKS 4, 4a and 5 (RFC 1928, RFC 1929) and hands over what goes through the proxy.
//! * [`ProxyProtocol`] reads the header of the PROXY protocol, versions 1 and 2, which a load balancer puts in front.

mod dissect;
mod proxy_protocol;
mod socks;
#[cfg(test)]
mod tests;

pub use proxy_protocol::ProxyProtocol;
pub use socks::{Limits, Socks};

veilwatch_core::declare_plugins!(
    protocol "socks" "SOCKS 4, 4a and 5: where a connection leads to": Socks,
    protocol "proxy-protocol" "the PROXY protocol: whose connection a load balancer passes on": ProxyProtocol
);
