//! Logical link control (IEEE 802.2) and what it announces: SNAP (RFC 1042) or IP.

use super::Skip;
use super::ethertype;
use super::walk::{Found, Rest, Walk};

/// Follows a packet that begins with the two service access points.
pub(super) fn packet(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    match rest.bytes(0)? {
        [0xaa | 0xab, 0xaa | 0xab, 3] => snap(walk, rest.after(3)?),
        [6, 6, 3] => Ok((walk, rest.after(3)?)),
        [0xfe, 0xfe, 3] => network_layer(walk, rest.after(3)?),
        _ => Err(Skip::NotIp),
    }
}

/// The five bytes of SNAP: who numbers, and the number.
pub(super) fn snap(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    let kind = rest.be16(3)?;
    let body = rest.after(5)?;
    match (rest.bytes(0)?, kind) {
        // EtherTypes, by Xerox and by IEEE 802.1H; Cisco numbers its own and IP as they do.
        ([0, 0, 0] | [0, 0, 0xf8] | [0, 0, 0x0c], 0x0600..) => ethertype::payload(walk, kind, body),
        // Bridged Ethernet (RFC 2427, RFC 2684) behind two bytes of padding, with and without its checksum.
        ([0, 0x80, 0xc2], 1 | 7) => ethertype::frame(walk.enter()?, body.after(2)?),
        _ => Err(Skip::NotIp),
    }
}

/// The network layer protocol identifier (ISO/IEC TR 9577), as Frame Relay uses it too (RFC 2427).
pub(super) fn network_layer(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    match rest.byte(0)? {
        0xcc | 0x8e => Ok((walk, rest.after(1)?)),
        0x80 => snap(walk, rest.after(1)?),
        _ => Err(Skip::NotIp),
    }
}
