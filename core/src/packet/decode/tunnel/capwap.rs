//! CAPWAP (RFC 5415): what access points carry to their controller, as long as they do not encrypt it.

use super::super::walk::{Found, Rest, Walk};
use super::super::{Skip, ethertype, wifi};

/// The assigned port of data.
pub(super) const PORT: u16 = 5247;

/// Follows a frame, which is Ethernet's or a wireless one.
pub(super) fn follow(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    const NATIVE: u32 = 0x100;
    const FRAGMENT: u32 = 0x80;
    const KEEP_ALIVE: u32 = 0x08;
    const RESERVED: u32 = 0x07;
    const WIRELESS_LAN: u32 = 1;
    let head = rest.be32(0)?;
    let length = head >> 19 & 0x1f;
    // The first byte is zero: version 0, and no encryption.
    if head >> 24 != 0 || length < 2 || head & (FRAGMENT | KEEP_ALIVE | RESERVED) != 0 {
        return Err(Skip::Malformed);
    }
    let body = rest.after(length as usize * 4)?;
    // Few bits were looked at: only with IP inside are they believed.
    let inner = match head & NATIVE {
        0 => ethertype::frame(walk, body),
        _ if head >> 9 & 0x1f == WIRELESS_LAN => wifi::either_frame(walk, body),
        _ => return Err(Skip::Malformed),
    };
    inner.map_err(|skip| if skip == Skip::NotIp { Skip::Malformed } else { skip })
}
