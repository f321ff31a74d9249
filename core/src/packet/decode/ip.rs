//! IPv4 (RFC 791) and IPv6 (RFC 8200).

use super::part::{Fragment, FragmentKey, Left};
use super::transport::{self, Envelope};
use super::walk::{Rest, Walk};
use super::{Decoded, Skip};

/// Length of an IPv6 header in bytes.
const V6: usize = 40;

/// Decodes an IP packet inside another.
#[cold]
#[inline(never)]
pub(super) fn packet<'a>(walk: Walk, rest: Rest<'a>, left: Left<'_, 'a>) -> Result<Decoded<'a>, Skip> {
    outer_packet(walk, rest, left)
}

/// Decodes an IP packet; the wire length of `rest` is its length as far as the link layer knows it. One call is hot.
#[inline(always)]
pub(super) fn outer_packet<'a>(walk: Walk, rest: Rest<'a>, left: Left<'_, 'a>) -> Result<Decoded<'a>, Skip> {
    match rest.data.first().map(|b| b >> 4) {
        Some(4) => version4(walk, rest, left),
        Some(6) => version6(walk, rest, left),
        Some(_) => Err(Skip::Malformed),
        None => Err(Skip::Truncated),
    }
}

#[inline(always)]
fn version4<'a>(walk: Walk, rest: Rest<'a>, left: Left<'_, 'a>) -> Result<Decoded<'a>, Skip> {
    let data = rest.data;
    let header = data.first_chunk::<20>().ok_or(Skip::Truncated)?;
    let header_len = usize::from(header[0] & 15) * 4;
    if header_len < 20 {
        return Err(Skip::Malformed);
    }
    if data.len() < header_len {
        return Err(Skip::Truncated);
    }
    let total = u32::from(u16::from_be_bytes([header[2], header[3]]));
    // A total length of zero is what segmentation offload leaves behind: the frame's length is all there is.
    let ip_len = if total == 0 { rest.wire } else { total };
    if (ip_len as usize) < header_len {
        return Err(Skip::Malformed);
    }
    let src = mapped([header[12], header[13], header[14], header[15]]);
    let dst = mapped([header[16], header[17], header[18], header[19]]);
    let end = data.len().min(ip_len as usize);
    let body = Rest { data: &data[header_len..end], wire: ip_len - header_len as u32 };
    let place = u16::from_be_bytes([header[6], header[7]]);
    if place & 0x3fff != 0 {
        *left = Some(fragment4(walk, header, header_len as u32, body));
        return Err(Skip::Fragment);
    }
    transport::decode(walk, header[9], body, Envelope { src, dst, ip_len }, left)
}

#[cold]
#[inline(never)]
fn fragment4<'a>(walk: Walk, header: &[u8; 20], header_len: u32, body: Rest<'a>) -> Fragment<'a> {
    const MORE: u16 = 0x2000;
    let place = u16::from_be_bytes([header[6], header[7]]);
    let key = FragmentKey {
        src: mapped([header[12], header[13], header[14], header[15]]),
        dst: mapped([header[16], header[17], header[18], header[19]]),
        id: u32::from(u16::from_be_bytes([header[4], header[5]])),
        protocol: Some(header[9]),
        lan: walk.lan,
    };
    let offset = u32::from(place & 0x1fff) * 8;
    Fragment { key, walk, next: header[9], headers: header_len, offset, more: place & MORE != 0, body }
}

#[inline(always)]
fn version6<'a>(walk: Walk, rest: Rest<'a>, left: Left<'_, 'a>) -> Result<Decoded<'a>, Skip> {
    let data = rest.data;
    let header = data.first_chunk::<V6>().ok_or(Skip::Truncated)?;
    let payload = u32::from(u16::from_be_bytes([header[4], header[5]]));
    let ip_len = if payload == 0 { rest.wire.max(V6 as u32) } else { payload + V6 as u32 };
    let mut src = [0; 16];
    let mut dst = [0; 16];
    src.copy_from_slice(&header[8..24]);
    dst.copy_from_slice(&header[24..40]);
    let body = Rest { data: &data[V6..data.len().min(ip_len as usize).max(V6)], wire: ip_len - V6 as u32 };
    let envelope = Envelope { src, dst, ip_len };
    match header[6] {
        next @ (6 | 17) => transport::decode(walk, next, body, envelope, left),
        next => extensions(walk, next, body, envelope, left),
    }
}

/// IPv6 extension headers (RFC 8200 section 4), in whatever order they come.
#[cold]
#[inline(never)]
pub(super) fn extensions<'a>(
    walk: Walk,
    mut next: u8,
    mut rest: Rest<'a>,
    envelope: Envelope,
    left: Left<'_, 'a>,
) -> Result<Decoded<'a>, Skip> {
    loop {
        let length = match next {
            // Hop by hop, routing, destination, mobility, host identity, shim: in units of eight bytes.
            0 | 43 | 60 | 135 | 139 | 140 => usize::from(rest.byte(1)?) * 8 + 8,
            // The authentication header, in units of four.
            51 => usize::from(rest.byte(1)?) * 4 + 8,
            44 => {
                let place = rest.be16(2)?;
                let (id, body) = (rest.be32(4)?, rest.after(8)?);
                let (offset, more) = (u32::from(place & 0xfff8), place & 1 != 0);
                next = rest.byte(0)?;
                // One that is whole is no fragment (RFC 6946).
                if offset == 0 && !more {
                    rest = body;
                    continue;
                }
                // The headers before it are in every fragment; its own is in none of what is put together.
                let headers = envelope.ip_len.saturating_sub(body.wire + 8);
                let key = FragmentKey { src: envelope.src, dst: envelope.dst, id, protocol: None, lan: walk.lan };
                *left = Some(Fragment { key, walk, next, headers, offset, more, body });
                return Err(Skip::Fragment);
            }
            _ => return transport::rare(walk, next, rest, envelope, left),
        };
        next = rest.byte(0)?;
        rest = rest.after(length)?;
    }
}

/// Whether `rest` may well begin with an IP packet that fits: for carriers that do not say what they carry.
pub(super) fn is_plausible(rest: Rest<'_>) -> bool {
    let Ok(first) = rest.byte(0) else { return false };
    let fits = |least: u32, length: u32| length >= least && length <= rest.wire;
    match (first >> 4, rest.be16(2), rest.be16(4)) {
        (4, Ok(total), _) => first & 15 >= 5 && fits(u32::from(first & 15) * 4, u32::from(total)),
        (6, _, Ok(payload)) => fits(V6 as u32, u32::from(payload) + V6 as u32),
        _ => false,
    }
}

/// IPv4 addresses as IPv6 has them (RFC 4291 section 2.5.5.2).
fn mapped(v4: [u8; 4]) -> [u8; 16] {
    let mut out = [0; 16];
    out[10] = 0xff;
    out[11] = 0xff;
    out[12..].copy_from_slice(&v4);
    out
}
