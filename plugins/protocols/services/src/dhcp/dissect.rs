//! Messages of DHCP as a tree, with options in words.

use super::{COOKIE, HEADER};
use std::net::Ipv4Addr;
use veilwatch_core::plugin::Reader;
use veilwatch_core::plugin::dissect::{Place, TreeSink, beginning_in_hex, text_or_hex};

pub(super) fn draw_message(message: &[u8], place: Place, tree: &mut TreeSink<'_>) {
    let what = match message.first() {
        Some(1) => "of a client",
        Some(2) => "of a server",
        _ => "of nobody that is known",
    };
    tree.open("Message", what, place.at(0, message.len()));
    if draw_header(message, place, tree).is_none() {
        tree.leaf("The rest", "is not there", place.at(message.len(), 0));
    } else {
        draw_options(message, place, tree);
    }
    tree.close();
}

/// RFC 2131 section 2; nothing where it ends within it.
fn draw_header(message: &[u8], place: Place, tree: &mut TreeSink<'_>) -> Option<()> {
    let mut reader = Reader::new(message);
    let (_, kind, length, hops) = (reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?);
    tree.leaf("Hardware", &format!("type {kind}, addresses of {length} bytes"), place.at(1, 2));
    tree.leaf("Hops", &hops.to_string(), place.at(3, 1));
    tree.leaf("Transaction", &format!("{:#010x}", reader.u32()?), place.at(4, 4));
    tree.leaf("Seconds", &reader.u16()?.to_string(), place.at(8, 2));
    let flags = reader.u16()?;
    tree.leaf("Flags", if flags & 0x8000 != 0 { "answer to all" } else { "none" }, place.at(10, 2));
    let addresses = ["Client's address", "Your address", "Next server", "Relay"];
    for (at, label) in addresses.into_iter().enumerate() {
        tree.leaf(label, &Ipv4Addr::from(reader.u32()?).to_string(), place.at(12 + 4 * at, 4));
    }
    let hardware = reader.take(16)?;
    let length = usize::from(length).min(hardware.len());
    let digits: Vec<String> = hardware[..length].iter().map(|byte| format!("{byte:02x}")).collect();
    tree.leaf("Client's hardware address", &digits.join(":"), place.at(28, length));
    for (at, len, label) in [(44, 64, "Server's name"), (108, 128, "File")] {
        let name = reader.take(len)?.split(|byte| *byte == 0).next().unwrap_or_default();
        if !name.is_empty() {
            tree.leaf(label, &text_or_hex(name), place.at(at, name.len()));
        }
    }
    let cookie = reader.take(4)?;
    tree.leaf("Cookie", if cookie == COOKIE { "DHCP" } else { "of something else" }, place.at(236, 4));
    Some(())
}

fn draw_options(message: &[u8], place: Place, tree: &mut TreeSink<'_>) {
    let mut reader = Reader::new(message.get(HEADER..).unwrap_or_default());
    let at = |reader: &Reader<'_>| message.len() - reader.rest().len();
    while let Some(option) = reader.u8().filter(|_| !tree.is_full()) {
        let begin = at(&reader) - 1;
        match option {
            0 => continue,
            255 => {
                tree.leaf("End", "", place.at(begin, 1));
                return;
            }
            _ => {}
        }
        let Some(value) = reader.u8().and_then(|len| reader.take(len.into())) else {
            tree.leaf(&name(option), "cut off here", place.at(begin, message.len() - begin));
            return;
        };
        tree.leaf(&name(option), &words(option, value), place.at(begin, 2 + value.len()));
    }
}

/// Options (IANA, BOOTP Vendor Extensions and DHCP Options).
fn name(option: u8) -> String {
    let name = match option {
        1 => "Subnet mask",
        2 => "Time offset",
        3 => "Routers",
        4 => "Time servers",
        6 => "Name servers",
        7 => "Log servers",
        12 => "Host name",
        15 => "Domain",
        26 => "MTU",
        28 => "Broadcast address",
        31 => "Router discovery",
        33 => "Static routes",
        42 => "NTP servers",
        43 => "Of the vendor",
        44 => "NetBIOS name servers",
        46 => "NetBIOS node type",
        47 => "NetBIOS scope",
        50 => "Address asked for",
        51 => "Lease",
        52 => "Overload",
        53 => "Kind of message",
        54 => "Server",
        55 => "Options asked for",
        56 => "Words",
        57 => "Largest message",
        58 => "Renewal",
        59 => "Rebinding",
        60 => "Vendor class",
        61 => "Client identifier",
        66 => "TFTP server",
        67 => "Boot file",
        77 => "User class",
        81 => "Full name of the client",
        82 => "Of the relay",
        93 => "Architecture",
        114 => "Captive portal",
        119 => "Domains to search",
        121 => "Routes",
        252 => "Proxy settings",
        other => return format!("Option {other}"),
    };
    name.into()
}

fn words(option: u8, value: &[u8]) -> String {
    let addresses = || value.as_chunks::<4>().0.iter().map(|address| Ipv4Addr::from(*address).to_string());
    match (option, value) {
        (53, &[kind]) => {
            let name = match kind {
                1 => "discover",
                2 => "offer",
                3 => "request",
                4 => "decline",
                5 => "acknowledge",
                6 => "refuse",
                7 => "release",
                8 => "inform",
                _ => return kind.to_string(),
            };
            format!("{name}, {kind}")
        }
        (1 | 3 | 4 | 6 | 7 | 28 | 42 | 44 | 50 | 54, _) if value.len().is_multiple_of(4) => {
            addresses().collect::<Vec<_>>().join(", ")
        }
        (51 | 58 | 59, &[a, b, c, d]) => format!("{} s", u32::from_be_bytes([a, b, c, d])),
        (26 | 57, &[a, b]) => format!("{} bytes", u16::from_be_bytes([a, b])),
        (55, list) => list.iter().map(u8::to_string).collect::<Vec<_>>().join(", "),
        (12 | 15 | 47 | 56 | 60 | 66 | 67 | 77 | 114 | 252, text) => text_or_hex(text),
        (_, other) => beginning_in_hex(other),
    }
}
