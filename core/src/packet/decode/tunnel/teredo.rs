//! Teredo (RFC 4380): IPv6 in UDP, through address translation.

use super::super::walk::{Found, Rest, Walk};
use super::super::{Skip, ip};

/// The port of servers; clients and relays have others.
pub(super) const PORT: u16 = 3544;

/// Follows the packet behind authentication and origin indication.
pub(super) fn follow(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    let mut rest = rest;
    if rest.be16(0)? == 1 {
        // Two lengths, the two fields, a nonce and a byte of confirmation.
        let (client, authentication) = (usize::from(rest.byte(2)?), usize::from(rest.byte(3)?));
        rest = rest.after(13 + client + authentication)?;
    }
    if rest.be16(0)? == 0 {
        rest = rest.after(8)?;
    }
    let ours = |address: [u8; 4]| address == [0x20, 1, 0, 0] || (address[0] == 0xfe && address[1] & 0xc0 == 0x80);
    // Teredo's own prefix, or the local addresses of its first messages.
    if rest.byte(0)? >> 4 != 6 || !ip::is_plausible(rest) || !(ours(rest.bytes(8)?) || ours(rest.bytes(24)?)) {
        return Err(Skip::Malformed);
    }
    Ok((walk, rest))
}
