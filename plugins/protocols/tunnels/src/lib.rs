//! Tunnels that show what they are in their first bytes: WireGuard, and OpenVPN over UDP and TCP. Each is a template of its
//! own.

mod dissect;
mod openvpn;
#[cfg(test)]
mod tests;
mod wireguard;

pub use openvpn::OpenVpn;
pub use wireguard::WireGuard;

veilwatch_core::declare_plugins!(
    protocol "wireguard" "WireGuard: handshakes": WireGuard,
    protocol "openvpn" "OpenVPN: how its control channel begins": OpenVpn,
);
