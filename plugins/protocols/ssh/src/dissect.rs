//! The same for people: banners, and packets with their kinds until they are encrypted, with the lists of a KEXINIT.

use crate::side::{BEGIN, Banner, KEXINIT, Offer, PACKET};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};
use veilwatch_core::plugin::{Reader, StreamView};

/// Packets behind it are encrypted (RFC 4253 section 7.3).
const NEWKEYS: u8 = 21;

/// Draws both directions; `reversed` where the originator is the server.
pub(crate) fn draw(stream: &StreamView<'_>, reversed: bool, banner_bytes: usize, tree: &mut TreeSink<'_>) {
    let (client, server) =
        if reversed { (Direction::Backward, Direction::Forward) } else { (Direction::Forward, Direction::Backward) };
    for (which, (direction, name)) in [(client, "SSH, client"), (server, "SSH, server")].into_iter().enumerate() {
        let bytes = stream.bytes(direction);
        if bytes.is_empty() {
            continue;
        }
        tree.open(name, "", Some(ByteRange::new(direction, 0, bytes.len())));
        Drawn { bytes, direction, which }.draw(banner_bytes, tree);
        tree.close();
    }
}

/// One side's bytes.
struct Drawn<'a> {
    bytes: &'a [u8],
    direction: Direction,
    /// 0 for the client, 1 for the server.
    which: usize,
}

impl Drawn<'_> {
    fn range(&self, at: usize, len: usize) -> Option<ByteRange> {
        Some(ByteRange::new(self.direction, at, len))
    }

    fn draw(&self, banner_bytes: usize, tree: &mut TreeSink<'_>) {
        let mut at = 0;
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty() && !tree.is_full()) {
            let end = rest.iter().take(banner_bytes).position(|byte| *byte == b'\n');
            let line = &rest[..end.unwrap_or(rest.len().min(banner_bytes))];
            let len = line.len() + usize::from(end.is_some());
            if !rest.starts_with(BEGIN) {
                let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
                tree.leaf("Line before the banner", &text, self.range(at, len));
                at += len;
                continue;
            }
            let banner = Banner::read(line);
            self.draw_banner(&banner, at, len, end.is_some(), tree);
            if end.is_some() && banner.has_packets() {
                self.draw_packets(at + len, tree);
            } else if at + len < self.bytes.len() {
                tree.leaf("Not read", "", self.range(at + len, self.bytes.len() - at - len));
            }
            return;
        }
    }

    fn draw_banner(&self, banner: &Banner<'_>, at: usize, len: usize, whole: bool, tree: &mut TreeSink<'_>) {
        let parts = [("Version", banner.version), ("Software", banner.software), ("Comments", banner.comments)];
        let text = |part: Option<&[u8]>| String::from_utf8_lossy(part.unwrap_or_default()).into_owned();
        let cut = if whole { "" } else { ", without an end" };
        tree.open("Banner", &format!("{}{cut}", text(banner.software)), self.range(at, len));
        let mut behind = at + BEGIN.len();
        for (label, part) in parts {
            let Some(part) = part else { break };
            tree.leaf(label, &text(Some(part)), self.range(behind, part.len()));
            behind += part.len() + 1;
        }
        tree.close();
    }

    fn draw_packets(&self, mut at: usize, tree: &mut TreeSink<'_>) {
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty() && !tree.is_full()) {
            let mut reader = Reader::new(rest);
            let Some(length) = reader.u32().and_then(|length| usize::try_from(length).ok()) else {
                tree.leaf("Packet", "cut off within its length", self.range(at, rest.len()));
                return;
            };
            if !(2..=PACKET).contains(&length) {
                tree.leaf("No packet in clear", "nothing is read from here on", self.range(at, rest.len()));
                return;
            }
            let there = length.min(rest.len() - 4);
            let packet = &rest[4..4 + there];
            let kind = packet.get(1).copied();
            let words = kind.map_or_else(|| "cut off here".into(), message);
            tree.open("Packet", &words, self.range(at, 4 + there));
            let cut = if there < length { ", cut off here" } else { "" };
            tree.leaf("Length", &format!("{length} bytes{cut}"), self.range(at, 4));
            if let Some(padding) = packet.first() {
                tree.leaf("Padding", &format!("{padding} bytes"), self.range(at + 4, 1));
                let body = packet.get(2..(length - usize::from(*padding).min(length)).min(there)).unwrap_or_default();
                match kind {
                    Some(KEXINIT) => self.draw_offer(body, at + 6, tree),
                    Some(1) => self.draw_disconnect(body, at + 6, tree),
                    _ => {}
                }
            }
            tree.close();
            at += 4 + there;
            if kind == Some(NEWKEYS) {
                if at < self.bytes.len() {
                    tree.leaf("Encrypted packets", "", self.range(at, self.bytes.len() - at));
                }
                return;
            }
        }
    }

    /// The lists of a KEXINIT (section 7.1), which begins at this place of the side.
    fn draw_offer(&self, body: &[u8], begin: usize, tree: &mut TreeSink<'_>) {
        const LISTS: [&str; 10] = [
            "Key exchanges",
            "Host keys",
            "Ciphers, client to server",
            "Ciphers, server to client",
            "MACs, client to server",
            "MACs, server to client",
            "Compressions, client to server",
            "Compressions, server to client",
            "Languages, client to server",
            "Languages, server to client",
        ];
        let mut reader = Reader::new(body);
        let place = |reader: &Reader<'_>| begin + body.len() - reader.rest().len();
        if reader.take(16).is_none() {
            return;
        }
        tree.leaf("Cookie", "16 bytes", self.range(begin, 16));
        for label in LISTS {
            let at = place(&reader);
            let Some(list) = reader.u32().and_then(|len| reader.take(usize::try_from(len).ok()?)) else {
                tree.leaf(label, "not all there", self.range(at, begin + body.len() - at));
                return;
            };
            let names = list.split(|byte| *byte == b',').filter(|name| !name.is_empty());
            tree.open(label, &names.clone().count().to_string(), self.range(at, 4 + list.len()));
            let mut from = at + 4;
            for name in list.split(|byte| *byte == b',') {
                if tree.is_full() {
                    break;
                }
                if !name.is_empty() {
                    tree.leaf("Name", &String::from_utf8_lossy(name), self.range(from, name.len()));
                }
                from += name.len() + 1;
            }
            tree.close();
        }
        if let Some(follows) = reader.u8() {
            let words = if follows == 0 { "no" } else { "yes" };
            tree.leaf("A guessed key exchange follows", words, self.range(place(&reader) - 1, 1));
        }
        if let Some(offer) = Offer::read(body) {
            tree.leaf("HASSH", &offer.hassh(self.which), None);
        }
    }

    /// Why somebody leaves (section 11.1).
    fn draw_disconnect(&self, body: &[u8], begin: usize, tree: &mut TreeSink<'_>) {
        let mut reader = Reader::new(body);
        let Some(reason) = reader.u32() else { return };
        tree.leaf("Reason", &reason.to_string(), self.range(begin, 4));
        if let Some(text) = reader.u32().and_then(|len| reader.take(usize::try_from(len).ok()?)) {
            tree.leaf("Description", &String::from_utf8_lossy(text), self.range(begin + 8, text.len()));
        }
    }
}

/// Message numbers (IANA, SSH Protocol Parameters), as far as they come in clear.
fn message(kind: u8) -> String {
    let name = match kind {
        1 => "DISCONNECT",
        2 => "IGNORE",
        3 => "UNIMPLEMENTED",
        4 => "DEBUG",
        KEXINIT => "KEXINIT",
        NEWKEYS => "NEWKEYS",
        30..=49 => "key exchange",
        other => return format!("message {other}"),
    };
    format!("{name}, {kind}")
}
