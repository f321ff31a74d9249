//! Long headers (RFC 9000 section 17.2), and how packets stand in a datagram (section 12.2).

use crate::version::{Kind, Version};
use veilwatch_core::plugin::Reader;

/// Most bytes of a connection id in a version that is known (RFC 9000 section 17.2).
const ID_BYTES: usize = 20;

/// A packet with a long header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet<'a> {
    pub(crate) kind: Kind,
    pub(crate) version: Version,
    pub(crate) destination: &'a [u8],
    pub(crate) source: &'a [u8],
    /// An Initial's, or a Retry's.
    pub(crate) token: &'a [u8],
    /// All of it, from its first byte on, as far as the datagram has it.
    pub(crate) bytes: &'a [u8],
    /// Where its packet number stands.
    pub(crate) number_at: usize,
    /// The datagram ends before the packet does.
    pub(crate) cut: bool,
}

/// What stands at the beginning of some bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found<'a> {
    /// A packet of a version whose header is known.
    Packet(Packet<'a>),
    /// A Version Negotiation packet with a server's versions, four bytes each; it is alone in its datagram.
    Negotiation(&'a [u8]),
    /// A long header of a version that is known by its number alone; what follows it is not.
    Foreign(Version),
}

/// A number of variable length (RFC 9000 section 16).
pub(crate) fn varint(reader: &mut Reader<'_>) -> Option<u64> {
    let first = reader.u8()?;
    let rest = reader.take((1 << (first >> 6)) - 1)?;
    Some(rest.iter().fold(u64::from(first & 0x3f), |number, byte| number << 8 | u64::from(*byte)))
}

/// The same, as a count of bytes.
pub(crate) fn length(reader: &mut Reader<'_>) -> Option<usize> {
    usize::try_from(varint(reader)?).ok()
}

/// Whether a first byte may be one that [`read`] looks behind.
pub(crate) fn is_worth_reading(first: u8) -> bool {
    first & 0x80 != 0 || first & 0xc9 == GOOGLE
}

/// Flags of a packet in Google's first form: a version, and a connection id of eight bytes.
const GOOGLE: u8 = 0x09;

/// Reads the long header that some bytes begin with.
pub(crate) fn read(bytes: &[u8]) -> Option<Found<'_>> {
    let mut reader = Reader::new(bytes);
    let first = reader.u8().filter(|first| is_worth_reading(*first))?;
    if first & 0x80 == 0 {
        reader.take(8)?;
        let version = Version(u32::from_be_bytes(reader.take(4)?.try_into().ok()?));
        return version.is_google().then_some(Found::Foreign(version));
    }
    let version = Version(u32::from_be_bytes(reader.take(4)?.try_into().ok()?));
    if version != Version::NEGOTIATION && version.cipher().is_none() {
        return version.is_known().then_some(Found::Foreign(version));
    }
    let mut id = || {
        let len = reader.u8()?;
        reader.take(usize::from(len))
    };
    let (destination, source) = (id()?, id()?);
    if version == Version::NEGOTIATION {
        let versions = reader.rest();
        // A capture may end within them.
        return (versions.len() >= 4).then_some(Found::Negotiation(versions));
    }
    if first & 0x40 == 0 || destination.len() > ID_BYTES || source.len() > ID_BYTES {
        return None;
    }
    let kind = version.kind(first);
    let mut packet =
        Packet { kind, version, destination, source, token: &[], bytes, number_at: bytes.len(), cut: false };
    match kind {
        // A token, and the sixteen bytes of a tag (RFC 9001 section 5.8).
        Kind::Retry => {
            packet.token = reader.rest().len().checked_sub(16).and_then(|len| reader.rest().get(..len))?;
            return Some(Found::Packet(packet));
        }
        Kind::Initial => {
            let len = length(&mut reader)?;
            packet.token = reader.take(len)?;
        }
        Kind::ZeroRtt | Kind::Handshake => {}
    }
    let len = length(&mut reader)?;
    packet.number_at = bytes.len() - reader.rest().len();
    let end = packet.number_at.saturating_add(len);
    packet.cut = end > bytes.len();
    packet.bytes = bytes.get(..end).unwrap_or(bytes);
    // A packet number, and enough behind it to protect the header with (RFC 9001 section 5.4.2).
    (len >= 20).then_some(Found::Packet(packet))
}

/// What stands in one datagram, one behind the other: each with its offset, up to the first that has no long header.
pub(crate) fn packets(datagram: &[u8]) -> impl Iterator<Item = (usize, Found<'_>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let found = read(datagram.get(at..).filter(|rest| !rest.is_empty())?)?;
        let begin = at;
        at = match &found {
            Found::Packet(packet) if packet.kind != Kind::Retry => at + packet.bytes.len(),
            _ => datagram.len(),
        };
        Some((begin, found))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_lengths() {
        // RFC 9000 appendix A.1.
        let told = |bytes: &[u8]| varint(&mut Reader::new(bytes));
        assert_eq!(told(b"\xc2\x19\x7c\x5e\xff\x14\xe8\x8c"), Some(151_288_809_941_952_652));
        assert_eq!(told(b"\x9d\x7f\x3e\x7d"), Some(494_878_333));
        assert_eq!(told(b"\x7b\xbd"), Some(15_293));
        assert_eq!((told(b"\x25"), told(b"\x40\x25")), (Some(37), Some(37)));
        assert_eq!((told(b"\x7b"), told(b"")), (None, None));
    }

    #[test]
    fn coalesced_packets_are_told_apart() {
        let handshake = [&b"\xe0\0\0\0\x01\x02dd\x01s\x14"[..], &[7; 20]].concat();
        let both = [&handshake[..], &handshake, b"\x40short"].concat();
        let told: Vec<_> = packets(&both).map(|(at, _)| at).collect();
        assert_eq!(told, [0, handshake.len()]);
        let Some(Found::Packet(packet)) = read(&both) else { panic!("no packet") };
        assert_eq!((packet.destination, packet.source, packet.number_at), (&b"dd"[..], &b"s"[..], 11));
        assert_eq!((packet.bytes, packet.cut), (&handshake[..], false));
        let Some(Found::Packet(packet)) = read(&handshake[..20]) else { panic!("no packet") };
        assert!(packet.cut);
    }

    #[test]
    fn versions_are_negotiated() {
        let packet = b"\x80\0\0\0\0\0\x01s\0\0\0\x01\x0a\x0a\x0a\x0a";
        let Some(Found::Negotiation(versions)) = read(packet) else { panic!("none") };
        assert_eq!(versions, b"\0\0\0\x01\x0a\x0a\x0a\x0a");
        assert!(read(&packet[..11]).is_none());
        assert!(matches!(read(b"\xc3Q046"), Some(Found::Foreign(Version(0x5130_3436)))));
        assert!(matches!(read(b"\x0dconn 128Q039\x01"), Some(Found::Foreign(Version(0x5130_3339)))));
        assert!(read(b"\x0dconn 128R039\x01").is_none());
    }
}
