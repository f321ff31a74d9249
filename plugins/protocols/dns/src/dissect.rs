//! The same for people: messages with their flags in words, questions, and records with what they say.

use crate::message::{Answer, Bad, Header, Message, Name, Question};
use std::net::{Ipv4Addr, Ipv6Addr};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink, beginning_in_hex, sides};
use veilwatch_core::plugin::{Carrier, Reader, StreamView};
use veilwatch_core::record::{dns_code_name, dns_type_name};

/// Draws both directions.
pub(crate) fn draw(stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
    sides(stream, "DNS", tree, |direction, bytes, tree| match stream.carrier {
        Carrier::Tcp => draw_framed(bytes, direction, tree),
        Carrier::Udp => draw_datagrams(stream, direction, tree),
    });
}

/// Messages with their lengths in front.
fn draw_framed(bytes: &[u8], direction: Direction, tree: &mut TreeSink<'_>) {
    let mut at = 0;
    while let Some(&[high, low]) = bytes.get(at..).and_then(|rest| rest.first_chunk()).filter(|_| !tree.is_full()) {
        let len = usize::from(u16::from_be_bytes([high, low]));
        let begin = at + 2;
        let there = len.min(bytes.len() - begin);
        let drawn = Drawn { message: &bytes[begin..begin + there], direction, base: begin };
        drawn.draw(Some(len), tree);
        at = begin + len;
    }
}

/// Datagrams as far as it is known where they end; behind that, one message ends where the next one begins.
fn draw_datagrams(stream: &StreamView<'_>, direction: Direction, tree: &mut TreeSink<'_>) {
    let mut known = 0;
    for (base, message) in stream.datagrams(direction) {
        if tree.is_full() {
            return;
        }
        known = base + message.len();
        let end = Drawn { message, direction, base }.draw(None, tree).unwrap_or(message.len());
        if end < message.len() {
            tree.leaf("Behind the message", "", Some(ByteRange::new(direction, base + end, message.len() - end)));
        }
    }
    let bytes = stream.bytes(direction);
    while let Some(message) = bytes.get(known..).filter(|rest| !rest.is_empty() && !tree.is_full()) {
        match (Drawn { message, direction, base: known }).draw(None, tree) {
            Some(end) => known += end,
            None => return,
        }
    }
}

/// A message, and where it stands.
struct Drawn<'a> {
    message: &'a [u8],
    direction: Direction,
    /// Bytes before it.
    base: usize,
}

impl<'a> Drawn<'a> {
    fn range(&self, at: usize, len: usize) -> Option<ByteRange> {
        Some(ByteRange::new(self.direction, self.base + at, len))
    }

    /// Draws the message, with the length in front of it where it has one, and says where it ends if its sections could
    /// be followed.
    fn draw(&self, len: Option<usize>, tree: &mut TreeSink<'_>) -> Option<usize> {
        let Ok(Message { header, end, .. }) = Message::read(self.message) else {
            tree.leaf("Message", "cut off within its header", self.range(0, self.message.len()));
            return None;
        };
        let end = end.ok();
        let what = if header.response { "response" } else { "query" };
        match len {
            Some(len) => {
                let whole = ByteRange::new(self.direction, self.base - 2, self.message.len() + 2);
                tree.open("Message", what, Some(whole));
                let cut = if self.message.len() < len { ", cut off here" } else { "" };
                let place = ByteRange::new(self.direction, self.base - 2, 2);
                tree.leaf("Length", &format!("{len} bytes{cut}"), Some(place));
            }
            None => tree.open("Message", what, self.range(0, end.unwrap_or(self.message.len()))),
        }
        self.draw_header(header, tree);
        if let Err((at, bad)) = self.draw_sections(header, tree) {
            let why = match bad {
                Bad::Cut => "is not there",
                Bad::Wrong => "cannot be read: a name that leads nowhere",
            };
            tree.leaf("The rest", why, self.range(at, self.message.len() - at));
        }
        tree.close();
        end
    }

    fn draw_header(&self, header: Header, tree: &mut TreeSink<'_>) {
        let mut words = Reader::new(self.message);
        let (id, flags) = (words.u16().unwrap_or_default(), words.u16().unwrap_or_default());
        tree.leaf("ID", &format!("{id:#06x}"), self.range(0, 2));
        let bits = [
            (0x0400, "authoritative"),
            (0x0200, "truncated"),
            (0x0100, "recursion desired"),
            (0x0080, "recursion available"),
            (0x0020, "authentic data"),
            (0x0010, "checking disabled"),
        ];
        let mut said = vec![opcode(header.opcode)];
        said.extend(bits.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, word)| (*word).to_owned()));
        said.extend(header.response.then(|| dns_code_name(header.rcode)));
        tree.leaf("Flags", &format!("{}, {flags:#06x}", said.join(", ")), self.range(2, 2));
        let Header { questions, answers, authorities, additionals, .. } = header;
        let counts =
            format!("questions {questions}, answers {answers}, authorities {authorities}, additional {additionals}");
        tree.leaf("Counts", &counts, self.range(4, 8));
    }

    /// Questions and records; where one of them is not there or cannot be read, its place.
    fn draw_sections(&self, header: Header, tree: &mut TreeSink<'_>) -> Result<(), (usize, Bad)> {
        let mut at = Header::LEN;
        for _ in 0..header.questions {
            if tree.is_full() {
                return Ok(());
            }
            let (question, end) = Question::read(self.message, at).map_err(|bad| (at, bad))?;
            let value = format!("{} {}, {}", text(&question.name), dns_type_name(question.kind), class(question.class));
            tree.leaf("Question", &value, self.range(at, end - at));
            at = end;
        }
        let sections =
            [("Answer", header.answers), ("Authority", header.authorities), ("Additional", header.additionals)];
        for (label, count) in sections {
            for _ in 0..count {
                if tree.is_full() {
                    return Ok(());
                }
                let (record, end) = Answer::read(self.message, at).map_err(|bad| (at, bad))?;
                self.draw_record(label, &record, at, end, tree);
                at = end;
            }
        }
        Ok(())
    }

    fn draw_record(&self, label: &str, record: &Answer<'_>, at: usize, end: usize, tree: &mut TreeSink<'_>) {
        let data = end - record.data.len();
        // Type, class, time and length stand before the data.
        let fixed = data - 10;
        let name =
            Name::read(self.message, at).map_or_else(|_| "a name that leads nowhere".into(), |(name, _)| text(&name));
        let said = self.words(record, data);
        tree.open(label, &format!("{name} {} {said}", dns_type_name(record.kind)), self.range(at, end - at));
        tree.leaf("Name", &name, self.range(at, fixed - at));
        tree.leaf("Type", &format!("{}, {}", dns_type_name(record.kind), record.kind), self.range(fixed, 2));
        let raw = Reader::new(&self.message[fixed + 2..]).u16().unwrap_or_default();
        if record.kind == OPT {
            // What would be class and time says what the sender can take (RFC 6891 section 6.1.2).
            tree.leaf("UDP payload", &format!("{raw} bytes at most"), self.range(fixed + 2, 2));
            let (version, secure) = (record.ttl >> 16 & 0xff, record.ttl & 0x8000 != 0);
            let secure = if secure { ", with signatures (DO)" } else { "" };
            let upper = record.ttl >> 24;
            tree.leaf(
                "EDNS",
                &format!("version {version}, upper part of the code {upper}{secure}"),
                self.range(fixed + 4, 4),
            );
        } else {
            let flush = if raw & 0x8000 != 0 { ", what was known before is void" } else { "" };
            tree.leaf("Class", &format!("{}{flush}", class(record.class)), self.range(fixed + 2, 2));
            tree.leaf("Time to live", &format!("{} s", record.ttl), self.range(fixed + 4, 4));
        }
        tree.leaf("Data", &said, self.range(data, record.data.len()));
        tree.close();
    }

    /// What a record's data say, which begin at `at`.
    fn words(&self, record: &Answer<'a>, at: usize) -> String {
        self.read_data(record, at).unwrap_or_else(|| match record.data {
            [] => "nothing".into(),
            data => beginning_in_hex(data),
        })
    }

    fn read_data(&self, record: &Answer<'a>, at: usize) -> Option<String> {
        let name = |at: usize| Name::read(self.message, at).ok().map(|(name, end)| (text(&name), end));
        let mut data = Reader::new(record.data);
        match (record.kind, record.data) {
            (1, &[a, b, c, d]) => Some(Ipv4Addr::new(a, b, c, d).to_string()),
            (28, data) => Some(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).to_string()),
            // NS, CNAME, PTR.
            (2 | 5 | 12, _) => Some(name(at)?.0),
            // SOA.
            (6, _) => {
                let (primary, behind) = name(at)?;
                let (mailbox, behind) = name(behind)?;
                let mut numbers = Reader::new(self.message.get(behind..at + record.data.len())?);
                Some(format!("{primary}, mailbox {mailbox}, serial {}", numbers.u32()?))
            }
            // MX.
            (15, _) => Some(format!("{}, preference {}", name(at + 2)?.0, data.u16()?)),
            // TXT: texts behind a length each.
            (16, _) => {
                let mut texts = Vec::new();
                while let Some(len) = data.u8() {
                    texts.push(format!("\"{}\"", String::from_utf8_lossy(data.take(len.into())?)));
                }
                Some(texts.join(" "))
            }
            // SRV.
            (33, _) => {
                let (priority, weight, port) = (data.u16()?, data.u16()?, data.u16()?);
                Some(format!("{} port {port}, priority {priority}, weight {weight}", name(at + 6)?.0))
            }
            _ => None,
        }
    }
}

/// What EDNS stands in.
const OPT: u16 = 41;

fn text(name: &Name) -> String {
    String::from_utf8_lossy(name.text()).into_owned()
}

/// OpCodes (IANA, DNS Parameters).
fn opcode(code: u8) -> String {
    let name = match code {
        0 => "standard query",
        1 => "inverse query",
        2 => "status",
        4 => "notify",
        5 => "update",
        other => return format!("opcode {other}"),
    };
    name.into()
}

fn class(class: u16) -> String {
    // Of a question of mDNS the highest bit asks for an answer to this host alone (RFC 6762 section 5.4).
    let alone = if class & 0x8000 != 0 { ", to this host alone" } else { "" };
    let name = match class & 0x7fff {
        1 => "IN",
        3 => "CH",
        4 => "HS",
        254 => "NONE",
        255 => "ANY",
        other => return format!("class {other}{alone}"),
    };
    format!("{name}{alone}")
}
