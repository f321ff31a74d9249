//! Wireless LAN (IEEE 802.11) and the headers that drivers put before it.

use super::walk::{Found, Rest, Walk};
use super::{Skip, link, llc};
use crate::packet::LinkType;

/// Follows a frame of IEEE 802.11. Only data frames that are not encrypted hold packets.
///
/// Of an aggregate (A-MSDU) the first packet counts: one frame gives one packet.
pub(super) fn frame(walk: Walk, rest: Rest<'_>, padded: bool) -> Found<'_> {
    body(walk, rest.bytes(0)?, rest.byte(22)?, rest, padded)
}

/// The same in CAPWAP, where Cisco sends the two bytes of frame control and of the sequence number the other way round.
pub(super) fn either_frame(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    let is_data = |control: u8| control & 0x0f == 8;
    match rest.bytes(0)? {
        [first, second] if !is_data(first) && is_data(second) => {
            body(walk, [second, first], rest.byte(23)?, rest, false)
        }
        control => body(walk, control, rest.byte(22)?, rest, false),
    }
}

fn body(walk: Walk, [control, flags]: [u8; 2], number: u8, rest: Rest<'_>, padded: bool) -> Found<'_> {
    const DATA: u8 = 2;
    const BOTH_WAYS: u8 = 3;
    const PROTECTED: u8 = 0x40;
    const ORDERED: u8 = 0x80;
    let (kind, subtype) = (control >> 2 & 3, control >> 4);
    let (empty, quality) = (subtype & 4 != 0, subtype & 8 != 0);
    if kind != DATA || empty {
        return Err(Skip::NotIp);
    }
    if flags & PROTECTED != 0 {
        return Err(Skip::Encrypted);
    }
    // Only the first fragment of a frame has the headers.
    if number & 0x0f != 0 {
        return Err(Skip::Fragment);
    }
    let mut header = if flags & 3 == BOTH_WAYS { 30 } else { 24 };
    let mut aggregate = false;
    if quality {
        aggregate = rest.byte(header)? & 0x80 != 0;
        header += 2;
        if flags & ORDERED != 0 {
            header += 4;
        }
    }
    if padded {
        header = header.next_multiple_of(4);
    }
    let body = rest.after(header)?;
    if aggregate {
        // Destination, source and length, as IEEE 802.3 has them.
        let length = u32::from(body.be16(12)?);
        return llc::packet(walk.enter()?, body.after(14)?.first(length));
    }
    llc::packet(walk, body)
}

/// Radiotap: a length, and flags of which one says that the body is aligned to four bytes.
pub(super) fn radiotap(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    let length = usize::from(le16(rest, 2)?);
    if rest.byte(0)? != 0 || length < 8 {
        return Err(Skip::Malformed);
    }
    frame(walk, rest.after(length)?, aligns(rest.first(length as u32)).unwrap_or(false))
}

/// Reads the flags field of a radiotap header, which is its second field behind any number of words that say which
/// fields there are.
fn aligns(header: Rest<'_>) -> Result<bool, Skip> {
    const TIME: u32 = 1;
    const FLAGS: u32 = 2;
    const MORE: u32 = 1 << 31;
    const ALIGNED: u8 = 0x20;
    let present = le32(header, 4)?;
    let mut at = 8;
    let mut word = present;
    while word & MORE != 0 {
        word = le32(header, at)?;
        at += 4;
    }
    if present & TIME != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    Ok(present & FLAGS != 0 && header.byte(at)? & ALIGNED != 0)
}

/// Per-packet information: a length, and the link type of what follows.
pub(super) fn per_packet(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    let length = usize::from(le16(rest, 2)?);
    let inner = u16::try_from(le32(rest, 4)?).map_err(|_| Skip::Malformed)?;
    if length < 8 {
        return Err(Skip::Malformed);
    }
    link::nested(walk, LinkType(inner), rest.after(length)?)
}

/// The header of Prism cards, or the one of AVS that took its number over: the first bytes tell them apart.
pub(super) fn prism(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    if rest.be32(0)? & 0xffff_f000 == 0x8021_1000 {
        return avs(walk, rest);
    }
    // The card's byte order is not noted anywhere; a length is small in only one of the two.
    let length = le32(rest, 4)?.min(rest.be32(4)?);
    frame(walk, rest.after(length as usize)?, false)
}

/// The AVS header: a magic number and a length.
pub(super) fn avs(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    let length = rest.be32(4)?;
    if length < 8 {
        return Err(Skip::Malformed);
    }
    frame(walk, rest.after(length as usize)?, false)
}

fn le16(rest: Rest<'_>, at: usize) -> Result<u16, Skip> {
    rest.bytes(at).map(u16::from_le_bytes)
}

fn le32(rest: Rest<'_>, at: usize) -> Result<u32, Skip> {
    rest.bytes(at).map(u32::from_le_bytes)
}
