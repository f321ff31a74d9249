//! Messages of NTP as a tree, with times as dates.

use super::{CONTROL, HEADER, PRIVATE};
use std::net::Ipv4Addr;
use veilwatch_core::plugin::Reader;
use veilwatch_core::plugin::dissect::{Place, TreeSink, beginning_in_hex, text_or_hex};

pub(super) fn draw_message(message: &[u8], place: Place, tree: &mut TreeSink<'_>) {
    let Some(&flags) = message.first() else { return };
    let (version, mode) = (flags >> 3 & 7, flags & 7);
    tree.open("Message", &format!("{}, version {version}", mode_name(mode)), place.at(0, message.len()));
    tree.leaf("Version", &version.to_string(), place.at(0, 1));
    tree.leaf("Mode", &format!("{}, {mode}", mode_name(mode)), place.at(0, 1));
    let (least, drawn) = match mode {
        6 => (CONTROL, draw_control(message, place, tree)),
        7 => (PRIVATE, draw_private(message, place, tree)),
        _ => (HEADER, draw_header(message, place, tree)),
    };
    if drawn.is_none() {
        tree.leaf("The rest", "is not there", place.at(message.len(), 0));
    }
    if let Some(rest) = message.get(least..).filter(|rest| !rest.is_empty()) {
        let what = if least == HEADER { "Extensions and codes" } else { "Data" };
        tree.leaf(what, &beginning_in_hex(rest), place.at(least, rest.len()));
    }
    tree.close();
}

fn mode_name(mode: u8) -> &'static str {
    match mode {
        1 => "active peer",
        2 => "passive peer",
        3 => "client",
        4 => "server",
        5 => "broadcast",
        6 => "control",
        7 => "private",
        _ => "reserved",
    }
}

/// RFC 5905 section 7.3; nothing where it ends within it.
fn draw_header(message: &[u8], place: Place, tree: &mut TreeSink<'_>) -> Option<()> {
    let mut reader = Reader::new(message);
    let leap = match reader.u8()? >> 6 {
        0 => "no warning",
        1 => "the last minute has 61 seconds",
        2 => "the last minute has 59 seconds",
        _ => "the clock is not set",
    };
    tree.leaf("Leap second", leap, place.at(0, 1));
    let stratum = reader.u8()?;
    let words = match stratum {
        0 => "0, not told, or a word to the client",
        1 => "1, it has a clock",
        2..=15 => "that far from a clock",
        16 => "16, its clock is not set",
        _ => "reserved",
    };
    let words = if matches!(stratum, 0 | 1 | 16) { words.into() } else { format!("{stratum}, {words}") };
    tree.leaf("Stratum", &words, place.at(1, 1));
    for (at, label) in [(2, "Poll interval"), (3, "Precision")] {
        let exponent = i8::from_be_bytes([reader.u8()?]);
        tree.leaf(label, &format!("2^{exponent} s"), place.at(at, 1));
    }
    for (at, label) in [(4, "Root delay"), (8, "Root dispersion")] {
        tree.leaf(label, &format!("{:.6} s", f64::from(reader.u32()?) / 65_536.0), place.at(at, 4));
    }
    let reference = reader.take(4)?;
    let words = match (stratum, reference) {
        (0 | 1, name) => text_or_hex(name.split(|byte| *byte == 0).next().unwrap_or_default()),
        (_, &[a, b, c, d]) => Ipv4Addr::new(a, b, c, d).to_string(),
        _ => String::new(),
    };
    tree.leaf("Reference", &words, place.at(12, 4));
    for (at, label) in [(16, "Reference time"), (24, "Origin time"), (32, "Receive time"), (40, "Transmit time")] {
        let (seconds, fraction) = (reader.u32()?, reader.u32()?);
        tree.leaf(label, &time(seconds, fraction), place.at(at, 8));
    }
    Some(())
}

/// RFC 9327 section 2.
fn draw_control(message: &[u8], place: Place, tree: &mut TreeSink<'_>) -> Option<()> {
    let mut reader = Reader::new(message.get(1..)?);
    let kind = reader.u8()?;
    let name = match kind & 0x1f {
        1 => "read status",
        2 => "read variables",
        3 => "write variables",
        4 => "read clock variables",
        5 => "write clock variables",
        6 => "set trap",
        7 => "trap",
        _ => "other",
    };
    let answer = if kind & 0x80 != 0 { "response" } else { "request" };
    tree.leaf("Operation", &format!("{name}, {}, {answer}", kind & 0x1f), place.at(1, 1));
    for (at, label) in [(2, "Sequence"), (4, "Status"), (6, "Association"), (8, "Offset"), (10, "Count")] {
        tree.leaf(label, &reader.u16()?.to_string(), place.at(at, 2));
    }
    Some(())
}

/// What ntpd had for itself.
fn draw_private(message: &[u8], place: Place, tree: &mut TreeSink<'_>) -> Option<()> {
    let mut reader = Reader::new(message);
    let answer = if reader.u8()? & 0x80 != 0 { "response" } else { "request" };
    let sequence = reader.u8()? & 0x7f;
    tree.leaf("Sequence", &format!("{sequence}, {answer}"), place.at(1, 1));
    tree.leaf("Implementation", &reader.u8()?.to_string(), place.at(2, 1));
    let code = reader.u8()?;
    let name = if matches!(code, 20 | 42) { ", the list of clients (monlist)" } else { "" };
    tree.leaf("Request", &format!("{code}{name}"), place.at(3, 1));
    let items = reader.u16()?;
    tree.leaf("Items", &format!("{}, error {}", items & 0xfff, items >> 12), place.at(4, 2));
    tree.leaf("Bytes of an item", &(reader.u16()? & 0xfff).to_string(), place.at(6, 2));
    Some(())
}

/// A timestamp (RFC 5905 section 6): seconds since 1900, and those with a clear highest bit since February 2036.
fn time(seconds: u32, fraction: u32) -> String {
    const DAY: u64 = 86_400;
    if (seconds, fraction) == (0, 0) {
        return "not set".into();
    }
    let era = if seconds >> 31 == 0 { 1 << 32 } else { 0 };
    let since_1900 = era + u64::from(seconds);
    let (mut days, second) = (since_1900 / DAY, since_1900 % DAY);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1900;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let micros = (u64::from(fraction) * 1_000_000) >> 32;
    format!("{year}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}.{micros:06} UTC", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time(3_913_056_000, 1 << 31), "2024-01-01 00:00:00.500000 UTC");
        assert_eq!(time(3_918_239_999, u32::MAX), "2024-02-29 23:59:59.999999 UTC");
        assert_eq!(time(u32::MAX, 0), "2036-02-07 06:28:15.000000 UTC");
        assert_eq!((time(0, 1).as_str(), time(0, 0).as_str()), ("2036-02-07 06:28:16.000000 UTC", "not set"));
    }
}
