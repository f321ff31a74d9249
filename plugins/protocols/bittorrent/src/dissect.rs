//! The same for people: handshakes and the messages between peers; over UDP what the DHT's messages hold.

use crate::template::{BEGIN, HASH, PEER};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink, datagrams, hex, sides};
use veilwatch_core::plugin::{Carrier, Reader, StreamView};

/// Values inside of each other that are drawn.
const DEPTH: usize = 8;
/// Bytes of a value that is no text which are shown.
const SHOWN: usize = 32;

/// Draws both directions.
pub(crate) fn draw(stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
    if stream.carrier == Carrier::Udp {
        // Behind the datagrams that are known nobody knows where others end, but values do.
        return datagrams(stream, "BitTorrent", tree, |bytes, place, tree| {
            Values { bytes, at: 0, base: place.base, direction: place.direction }.draw_all(tree);
        });
    }
    sides(stream, "BitTorrent", tree, |direction, bytes, tree| draw_peer(bytes, direction, tree));
}

/// A handshake (BEP 3), and messages with their lengths in front.
fn draw_peer(bytes: &[u8], direction: Direction, tree: &mut TreeSink<'_>) {
    let range = |at: usize, len: usize| Some(ByteRange::new(direction, at, len));
    if !bytes.starts_with(BEGIN) {
        tree.leaf("No handshake", "nothing is read", range(0, bytes.len()));
        return;
    }
    let cut = if bytes.len() < PEER.end { "cut off here" } else { "" };
    tree.open("Handshake", cut, range(0, bytes.len().min(PEER.end)));
    tree.leaf("Protocol", "BitTorrent protocol", range(0, BEGIN.len()));
    if let Some(bits) = bytes.get(BEGIN.len()..HASH.start) {
        let known = [(5, 0x10, "extension messages"), (7, 0x04, "fast"), (7, 0x01, "DHT")];
        let mut said: Vec<&str> = Vec::new();
        said.extend(
            known.iter().filter(|(at, bit, _)| bits.get(*at).is_some_and(|byte| byte & bit != 0)).map(|known| known.2),
        );
        said.extend(said.is_empty().then_some("none"));
        tree.leaf("Extensions", &said.join(", "), range(BEGIN.len(), bits.len()));
    }
    if let Some(hash) = bytes.get(HASH) {
        tree.leaf("Hash of what is shared", &hex(hash), range(HASH.start, hash.len()));
    }
    if let Some(peer) = bytes.get(PEER) {
        tree.leaf("Peer", &text_or_hex(peer), range(PEER.start, peer.len()));
    }
    tree.close();
    let mut at = PEER.end;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty() && !tree.is_full()) {
        let mut reader = Reader::new(rest);
        let Some(len) = reader.u32() else {
            tree.leaf("Message", "cut off within its length", range(at, rest.len()));
            return;
        };
        let whole = (len as usize).saturating_add(4);
        let cut = if whole > rest.len() { ", cut off here" } else { "" };
        let name = match reader.u8() {
            _ if len == 0 => "keep-alive".into(),
            Some(kind) => message(kind),
            None => "of an unknown kind".into(),
        };
        tree.leaf("Message", &format!("{name}, {len} bytes{cut}"), range(at, whole.min(rest.len())));
        at += whole.min(rest.len());
    }
}

/// Messages between peers (BEP 3, 5, 6 and 10).
fn message(kind: u8) -> String {
    let name = match kind {
        0 => "choke",
        1 => "unchoke",
        2 => "interested",
        3 => "not interested",
        4 => "have",
        5 => "bitfield",
        6 => "request",
        7 => "piece",
        8 => "cancel",
        9 => "port of the DHT",
        13 => "suggest",
        14 => "have all",
        15 => "have none",
        16 => "reject",
        17 => "allowed fast",
        20 => "extension",
        other => return format!("kind {other}"),
    };
    format!("{name} ({kind})")
}

/// Values in bencoding (BEP 3), read from the front.
struct Values<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes before them in the stream.
    base: usize,
    direction: Direction,
}

impl<'a> Values<'a> {
    fn range(&self, at: usize, end: usize) -> Option<ByteRange> {
        Some(ByteRange::new(self.direction, self.base + at, end - at))
    }

    fn draw_all(&mut self, tree: &mut TreeSink<'_>) {
        while self.at < self.bytes.len() && !tree.is_full() {
            if self.draw("Message", 0, tree).is_none() {
                let end = self.bytes.len();
                tree.leaf("No message, or cut off here", "", self.range(self.at.min(end), end));
                return;
            }
        }
    }

    /// Draws the next value under a label; nothing where it is none or not all there.
    fn draw(&mut self, label: &str, depth: usize, tree: &mut TreeSink<'_>) -> Option<()> {
        let begin = self.at;
        match *self.bytes.get(begin)? {
            kind @ (b'd' | b'l') if depth < DEPTH => {
                self.at += 1;
                let end = self.end(begin, depth).unwrap_or(self.bytes.len());
                tree.open(label, "", self.range(begin, end));
                let drawn = self.draw_members(kind == b'd', depth, tree);
                tree.close();
                drawn
            }
            b'i' => {
                let len = self.bytes[begin..].iter().position(|byte| *byte == b'e')?;
                let digits = String::from_utf8_lossy(&self.bytes[begin + 1..begin + len]).into_owned();
                self.at += len + 1;
                tree.leaf(label, &digits, self.range(begin, self.at));
                Some(())
            }
            b'0'..=b'9' => {
                let text = self.text()?;
                tree.leaf(label, &words(label, text), self.range(begin, self.at));
                Some(())
            }
            _ => None,
        }
    }

    /// What a dictionary or a list holds, up to its end.
    fn draw_members(&mut self, named: bool, depth: usize, tree: &mut TreeSink<'_>) -> Option<()> {
        while *self.bytes.get(self.at)? != b'e' {
            if tree.is_full() {
                return None;
            }
            let label = if named { name(self.text()?) } else { "Value".into() };
            self.draw(&label, depth + 1, tree)?;
        }
        self.at += 1;
        Some(())
    }

    /// Where the value at an offset ends.
    fn end(&self, at: usize, depth: usize) -> Option<usize> {
        match *self.bytes.get(at)? {
            b'd' | b'l' if depth < DEPTH => {
                let mut at = at + 1;
                while *self.bytes.get(at)? != b'e' {
                    at = self.end(at, depth + 1)?;
                }
                Some(at + 1)
            }
            b'i' => Some(at + self.bytes[at..].iter().position(|byte| *byte == b'e')? + 1),
            _ => self.text_at(at).map(|(_, end)| end),
        }
    }

    /// The next bytes that stand behind their number.
    fn text(&mut self) -> Option<&'a [u8]> {
        let (text, end) = self.text_at(self.at)?;
        self.at = end;
        Some(text)
    }

    /// Bytes behind their number and a colon, and what stands behind them.
    fn text_at(&self, at: usize) -> Option<(&'a [u8], usize)> {
        /// Digits of a length that are read.
        const DIGITS: usize = 6;
        let rest = self.bytes.get(at..)?;
        let digits = rest.iter().take(DIGITS).take_while(|byte| byte.is_ascii_digit()).count();
        let len = rest[..digits].iter().fold(0, |len, digit| len * 10 + usize::from(digit - b'0'));
        let begin = digits + 1;
        let text = rest.get(begin..begin + len).filter(|_| digits > 0 && rest.get(digits) == Some(&b':'))?;
        Some((text, at + begin + len))
    }
}

/// What a key of the DHT's messages stands for (BEP 5).
fn name(key: &[u8]) -> String {
    let name = match key {
        b"a" => "Question",
        b"e" => "Error",
        b"q" => "Asks for",
        b"r" => "Answer",
        b"t" => "Transaction",
        b"v" => "Version",
        b"y" => "Kind",
        b"id" => "Node",
        b"info_hash" => "Hash of what is shared",
        b"ip" => "Address of the other",
        b"nodes" | b"nodes6" => "Nodes",
        b"target" => "Node that is looked for",
        b"token" => "Token",
        b"values" => "Peers",
        b"port" => "Port",
        other => return text_or_hex(other),
    };
    name.into()
}

fn words(label: &str, text: &[u8]) -> String {
    match (label, text) {
        ("Kind", b"q") => "question".into(),
        ("Kind", b"r") => "answer".into(),
        ("Kind", b"e") => "error".into(),
        ("Node" | "Hash of what is shared" | "Node that is looked for", id) if id.len() == 20 => hex(id),
        ("Nodes", nodes) => format!("{} bytes", nodes.len()),
        (_, text) => text_or_hex(text),
    }
}

/// Text where it is some, and hexadecimal digits where it is not.
fn text_or_hex(bytes: &[u8]) -> String {
    let seen = &bytes[..bytes.len().min(SHOWN)];
    let more = if seen.len() < bytes.len() { "…" } else { "" };
    match seen.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        true => format!("{}{more}", String::from_utf8_lossy(seen)),
        false => format!("{}{more}", hex(seen)),
    }
}
