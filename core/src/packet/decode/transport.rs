//! TCP (RFC 9293) and UDP (RFC 768); whatever else IP carries may be a tunnel.

use super::part::Left;
use super::walk::{Rest, Walk};
use super::{Decoded, Skip, Tcp, tunnel};

/// What the IP header says of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope {
    pub(super) src: [u8; 16],
    pub(super) dst: [u8; 16],
    pub(super) ip_len: u32,
}

/// Decodes what the IP protocol `protocol` carries, where that is not the common case.
#[cold]
#[inline(never)]
pub(super) fn rare<'a>(
    walk: Walk,
    protocol: u8,
    rest: Rest<'a>,
    envelope: Envelope,
    left: Left<'_, 'a>,
) -> Result<Decoded<'a>, Skip> {
    decode(walk, protocol, rest, envelope, left)
}

/// Decodes what the IP protocol `protocol` carries.
#[inline(always)]
pub(super) fn decode<'a>(
    walk: Walk,
    protocol: u8,
    rest: Rest<'a>,
    envelope: Envelope,
    left: Left<'_, 'a>,
) -> Result<Decoded<'a>, Skip> {
    match protocol {
        6 => tcp(walk, rest, envelope),
        17 => udp(walk, rest, envelope, left),
        _ => tunnel::by_protocol(walk, protocol, rest, envelope, left),
    }
}

#[inline(always)]
fn tcp<'a>(walk: Walk, rest: Rest<'a>, envelope: Envelope) -> Result<Decoded<'a>, Skip> {
    let data = rest.data;
    let header = data.first_chunk::<20>().ok_or(Skip::Truncated)?;
    let len = usize::from(header[12] >> 4) * 4;
    if len < 20 || len > rest.wire as usize {
        return Err(Skip::Malformed);
    }
    let Envelope { src, dst, ip_len } = envelope;
    Ok(Decoded {
        src,
        dst,
        src_port: u16::from_be_bytes([header[0], header[1]]),
        dst_port: u16::from_be_bytes([header[2], header[3]]),
        protocol: 6,
        lan: walk.lan,
        ip_len,
        payload_len: rest.wire - len as u32,
        tcp: Some(Tcp { seq: u32::from_be_bytes([header[4], header[5], header[6], header[7]]), flags: header[13] }),
        payload: data.get(len..).unwrap_or(&[]),
    })
}

#[inline(always)]
fn udp<'a>(walk: Walk, rest: Rest<'a>, envelope: Envelope, left: Left<'_, 'a>) -> Result<Decoded<'a>, Skip> {
    const HEADER: u32 = 8;
    let header = rest.data.first_chunk::<8>().ok_or(Skip::Truncated)?;
    let src_port = u16::from_be_bytes([header[0], header[1]]);
    let dst_port = u16::from_be_bytes([header[2], header[3]]);
    // UDP says again how long it is; a length that cannot be leaves IP's.
    let said = u32::from(u16::from_be_bytes([header[4], header[5]]));
    let wire = if said >= HEADER { said.min(rest.wire) } else { rest.wire };
    let body =
        Rest { data: &rest.data[8..rest.data.len().min(wire as usize).max(8)], wire: wire.saturating_sub(HEADER) };
    if tunnel::may_be(src_port, dst_port)
        && let Some(inner) = tunnel::by_port(walk, src_port, dst_port, body, left)
    {
        return inner;
    }
    let Envelope { src, dst, ip_len } = envelope;
    Ok(Decoded {
        src,
        dst,
        src_port,
        dst_port,
        protocol: 17,
        lan: walk.lan,
        ip_len,
        payload_len: body.wire,
        tcp: None,
        payload: body.data,
    })
}
