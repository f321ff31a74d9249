//! Messages of SNMP as a tree: values in BER, variables with their names.

use super::{INTEGER, KINDS, Message, OCTETS, value};
use std::net::Ipv4Addr;
use veilwatch_core::plugin::Reader;
use veilwatch_core::plugin::dissect::{Place, TreeSink, beginning_in_hex, text_or_hex};

/// A value in BER with where it stands: its body begins at a place of its own.
struct Found<'a> {
    tag: u8,
    body: &'a [u8],
    /// The whole value, and its body.
    whole: Place,
    inside: Place,
    len: usize,
    /// Not all of its body is there.
    cut: bool,
}

/// Reads values one behind the other.
struct Walk<'a> {
    reader: Reader<'a>,
    place: Place,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8], place: Place) -> Self {
        Self { reader: Reader::new(bytes), place }
    }

    fn next(&mut self) -> Option<Found<'a>> {
        let rest = self.reader.rest();
        let tag = *rest.first()?;
        let (body, cut) = match value(&mut self.reader, tag) {
            Some(body) => (body, false),
            // Behind the bytes of its length.
            None => match *rest.get(1)? {
                0..=0x7f => (rest.get(2..)?, true),
                long @ 0x81..=0x84 => (rest.get(2 + usize::from(long & 0x7f)..)?, true),
                _ => return None,
            },
        };
        let len = rest.len() - self.reader.rest().len();
        let whole = self.place;
        self.place = self.place.behind(len);
        Some(Found { tag, body, whole, inside: whole.behind(len - body.len()), len, cut })
    }

    /// The next value as a leaf.
    fn leaf(&mut self, label: &str, tree: &mut TreeSink<'_>) -> Option<Found<'a>> {
        let found = self.next()?;
        let cut = if found.cut { ", cut off here" } else { "" };
        tree.leaf(label, &format!("{}{cut}", words(found.tag, found.body)), found.whole.at(0, found.len));
        Some(found)
    }
}

pub(super) fn draw_message(message: &[u8], place: Place, tree: &mut TreeSink<'_>) {
    let read = Message::read(message);
    let words = match &read {
        Some((Message { version: 3, .. }, _)) => "version 3".into(),
        Some((Message { version, kind, .. }, _)) => format!("version {version}, {}", kind.unwrap_or_default()),
        None => "cut off, or none".into(),
    };
    let rest = read.as_ref().map_or(0, |(_, rest)| rest.len());
    tree.open("Message", &words, place.at(0, message.len() - rest));
    if Walk::new(message, place).next().is_none_or(|outer| draw_inside(&outer, tree).is_none()) {
        tree.leaf("The rest", "is not there", None);
    }
    tree.close();
    if rest > 0 {
        tree.leaf("Behind the message", "", place.at(message.len() - rest, rest));
    }
}

fn draw_inside(outer: &Found<'_>, tree: &mut TreeSink<'_>) -> Option<()> {
    let mut inside = Walk::new(outer.body, outer.inside);
    let version = inside.next()?;
    let name = match version.body {
        [0] => "1",
        [1] => "2c",
        [3] => "3",
        _ => "none that is known",
    };
    tree.leaf("Version", name, version.whole.at(0, version.len));
    if version.body == [3] {
        let header = inside.next()?;
        let mut members = Walk::new(header.body, header.inside);
        for label in ["Message ID", "Largest message", "Flags", "Security model"] {
            members.leaf(label, tree)?;
        }
        inside.leaf("Security parameters", tree)?;
        inside.leaf("Data", tree)?;
        return Some(());
    }
    inside.leaf("Community", tree)?;
    let pdu = inside.next()?;
    let kind = usize::from(pdu.tag).checked_sub(0xa0).and_then(|at| KINDS.get(at).copied()).unwrap_or("unknown");
    tree.open("PDU", kind, pdu.whole.at(0, pdu.len));
    let drawn = draw_pdu(&pdu, kind, tree);
    tree.close();
    drawn
}

/// RFC 3416 section 3, and the trap of RFC 1157 section 4.1.6.
fn draw_pdu(pdu: &Found<'_>, kind: &str, tree: &mut TreeSink<'_>) -> Option<()> {
    let mut members = Walk::new(pdu.body, pdu.inside);
    let labels: &[&str] = match kind {
        "trap_v1" => &["Enterprise", "Agent", "Generic trap", "Specific trap", "Time"],
        "get_bulk_request" => &["Request ID", "Without repetition", "Repetitions at most"],
        _ => &["Request ID", "Error", "Error at"],
    };
    for label in labels {
        members.leaf(label, tree)?;
    }
    let list = members.next()?;
    let mut variables = Walk::new(list.body, list.inside);
    while let Some(variable) = variables.next().filter(|_| !tree.is_full()) {
        let mut pair = Walk::new(variable.body, variable.inside);
        let (Some(name), Some(value)) = (pair.next(), pair.next()) else { return None };
        let value = words(value.tag, value.body);
        tree.leaf("Variable", &format!("{} = {value}", words(name.tag, name.body)), variable.whole.at(0, variable.len));
    }
    Some(())
}

/// A value in words (RFC 2578 section 2).
fn words(tag: u8, body: &[u8]) -> String {
    let number = || body.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    match (tag, body) {
        (INTEGER, [first, ..]) if body.len() <= 8 => {
            let empty = 64 - 8 * body.len();
            let sign = if *first >= 0x80 && empty > 0 { u64::MAX << (64 - empty) } else { 0 };
            (number() | sign).cast_signed().to_string()
        }
        (OCTETS, _) => match text_or_hex(body) {
            text if text.as_bytes() == body => format!("\"{text}\""),
            digits => digits,
        },
        (0x05, _) => "nothing".into(),
        (0x06, _) => oid(body),
        (0x40, &[a, b, c, d]) => Ipv4Addr::new(a, b, c, d).to_string(),
        // Counters, a gauge.
        (0x41 | 0x42 | 0x46, _) if (1..=9).contains(&body.len()) => number().to_string(),
        (0x43, _) if (1..=5).contains(&body.len()) => format!("{}.{:02} s", number() / 100, number() % 100),
        (0x80, _) => "no such object".into(),
        (0x81, _) => "no such instance".into(),
        (0x82, _) => "the end of what there is".into(),
        _ => beginning_in_hex(body),
    }
}

/// Numbers of seven bits a byte; the first holds two of them (X.690 section 8.19).
fn oid(body: &[u8]) -> String {
    const NUMBERS: usize = 64;
    let mut numbers = Vec::new();
    let mut number = 0u64;
    for byte in body {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.push(first.to_string());
                number -= 40 * first;
            }
            numbers.push(number.to_string());
            number = 0;
        }
        if numbers.len() >= NUMBERS {
            numbers.push("…".into());
            break;
        }
    }
    numbers.join(".")
}
