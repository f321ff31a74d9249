//! GTP-U (3GPP TS 29.281): what a mobile network carries. Tunnels have one identifier for each direction.

use super::super::Skip;
use super::super::walk::{Found, Rest, Walk};

/// The assigned port.
pub(super) const PORT: u16 = 2152;

/// Follows a packet of the user over its extension headers; other messages are none of ours.
pub(super) fn follow(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    const HEAD: u8 = 0x30;
    const EXTENDED: u8 = 4;
    const OPTIONAL: u8 = 7;
    const USER_DATA: u8 = 255;
    let [flags, message] = rest.bytes(0)?;
    let length = u32::from(rest.be16(2)?);
    if flags & 0xf8 != HEAD || message != USER_DATA || length + 8 > rest.wire {
        return Err(Skip::Malformed);
    }
    let mut body = rest.after(8)?.first(length);
    if flags & OPTIONAL == 0 {
        return Ok((walk, body));
    }
    // With any of the three flags all three fields are there.
    let mut next = body.byte(3)?;
    body = body.after(4)?;
    if flags & EXTENDED == 0 {
        return Ok((walk, body));
    }
    while next != 0 {
        let units = usize::from(body.byte(0)?);
        if units == 0 {
            return Err(Skip::Malformed);
        }
        next = body.byte(units * 4 - 1)?;
        body = body.after(units * 4)?;
    }
    Ok((walk, body))
}
