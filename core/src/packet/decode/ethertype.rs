//! What an EtherType announces, down to the IP packet.

use super::walk::{Found, Lan, Rest, Walk};
use super::{Skip, ip, llc, mpls, ppp};

const VLAN: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const MPLS: [u16; 2] = [0x8847, 0x8848];
/// Transparent Ethernet bridging (RFC 1701).
const BRIDGED: u16 = 0x6558;
const PPPOE: u16 = 0x8864;
/// The largest value of the field that is a length and no type (IEEE 802.3).
const LONGEST: u16 = 1500;

/// Follows an Ethernet frame. Two calls are hot, and each gets a copy; all others are behind [`frame`].
#[inline(always)]
pub(super) fn outer_frame(walk: Walk, frame: Rest<'_>) -> Found<'_> {
    follow(walk, frame.be16(12)?, frame.after(14)?)
}

/// Follows an Ethernet frame.
pub(super) fn frame(walk: Walk, frame: Rest<'_>) -> Found<'_> {
    payload(walk, frame.be16(12)?, frame.after(14)?)
}

/// Follows what the EtherType `kind` announces; `rest` begins behind it.
#[cold]
#[inline(never)]
pub(super) fn payload(walk: Walk, kind: u16, rest: Rest<'_>) -> Found<'_> {
    follow(walk, kind, rest)
}

#[inline(always)]
fn follow(mut walk: Walk, mut kind: u16, mut rest: Rest<'_>) -> Found<'_> {
    if matches!(kind, IPV4 | IPV6) {
        return Ok((walk, rest));
    }
    for _ in 0..4 {
        if !VLAN.contains(&kind) {
            break;
        }
        let tag = rest.be16(0)? & 0x0fff;
        // Identifier 0 is a priority without a VLAN (IEEE 802.1Q); often only one direction carries it.
        if tag != 0 {
            walk = walk.within(Lan::Vlan(tag));
        }
        kind = rest.be16(2)?;
        rest = rest.after(4)?;
    }
    match kind {
        IPV4 | IPV6 => Ok((walk, rest)),
        _ => rare(walk, kind, rest),
    }
}

#[cold]
#[inline(never)]
fn rare(walk: Walk, kind: u16, rest: Rest<'_>) -> Found<'_> {
    match kind {
        ..=LONGEST => llc::packet(walk, rest.first(u32::from(kind))),
        _ if VLAN.contains(&kind) => payload(walk.enter()?, kind, rest),
        _ if MPLS.contains(&kind) => mpls::stack(walk.enter()?, rest),
        PPPOE => ppp::session(walk.enter()?, rest),
        BRIDGED => frame(walk.enter()?, rest),
        // Provider backbone bridging (IEEE 802.1ah): flags and the service's identifier, then the customer's frame.
        0x88e7 => frame(walk.enter()?.within(Lan::Virtual(rest.be32(0)?)), rest.after(4)?),
        0x88e5 => macsec(walk.enter()?, rest),
        // Cisco MetaData: version, length, a security group tag with its header.
        0x8909 => payload(walk.enter()?, rest.be16(6)?, rest.after(8)?),
        // HSR and the like (IEC 62439-3): path and size, sequence number.
        0x892f => payload(walk.enter()?, rest.be16(4)?, rest.after(6)?),
        // VN-Tag (Cisco; IEEE 802.1BR is close): its two interfaces change places with the direction.
        0x8926 => payload(walk.enter()?, rest.be16(4)?, rest.after(6)?),
        // FabricPath: a tag between two frames.
        0x8903 => frame(walk.enter()?, rest.after(2)?),
        0x22f3 => trill(walk.enter()?, rest),
        0x894f => service_chain(walk.enter()?, rest),
        _ => Err(Skip::NotIp),
    }
}

/// MACsec (IEEE 802.1AE). Frames that are only signed can be read, encrypted ones cannot.
fn macsec(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    const CHANNEL: u8 = 0x20;
    const ENCRYPTED: u8 = 0x0c;
    let control = rest.byte(0)?;
    if control & 0x80 != 0 {
        return Err(Skip::Malformed);
    }
    if control & ENCRYPTED != 0 {
        return Err(Skip::Encrypted);
    }
    let header = if control & CHANNEL != 0 { 14 } else { 6 };
    // A length below 48 is that of the secured data; otherwise it is 0 and the data is all there is.
    let short = rest.byte(1)? & 0x3f;
    let secured = rest.after(header)?;
    let secured = if short == 0 { secured } else { secured.first(u32::from(short)) };
    payload(walk, secured.be16(0)?, secured.after(2)?)
}

/// TRILL (RFC 6325): the names of two bridges, options, a frame.
fn trill(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    let options = usize::from(rest.be16(0)? >> 6 & 0x1f) * 4;
    frame(walk, rest.after(6 + options)?)
}

/// The network service header (RFC 8300), which VXLAN-GPE carries as well.
pub(super) fn service_chain(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    let length = usize::from(rest.byte(1)? & 0x3f) * 4;
    let next = rest.byte(3)?;
    if rest.byte(0)? >> 6 != 0 || length < 8 {
        return Err(Skip::Malformed);
    }
    let rest = rest.after(length)?;
    match next {
        1 | 2 => Ok((walk, rest)),
        3 => frame(walk.enter()?, rest),
        5 => mpls::stack(walk.enter()?, rest),
        _ => Err(Skip::NotIp),
    }
}

/// Whether `rest` may well be an Ethernet frame: there is no other way to tell what a pseudo-wire carries.
pub(super) fn is_likely_frame(rest: Rest<'_>) -> bool {
    let (Ok(kind), Ok(body)) = (rest.be16(12), rest.after(14)) else { return false };
    match kind {
        IPV4 | IPV6 => holds_ip(rest),
        ARP | BRIDGED | PPPOE => true,
        3..=LONGEST => u32::from(kind) <= body.wire,
        _ => VLAN.contains(&kind) || MPLS.contains(&kind),
    }
}

/// Whether `rest` looks like an Ethernet frame with an IP packet that fits.
pub(super) fn holds_ip(rest: Rest<'_>) -> bool {
    let (Ok(kind), Ok(body)) = (rest.be16(12), rest.after(14)) else { return false };
    let version = match kind {
        IPV4 => 4,
        IPV6 => 6,
        _ => return false,
    };
    body.byte(0).is_ok_and(|first| first >> 4 == version) && ip::is_plausible(body)
}
