//! Messages of STUN as a tree, with addresses as they are.

use super::{COOKIE, HEADER, SOFTWARE, length};
use std::net::{IpAddr, SocketAddr};
use veilwatch_core::plugin::Reader;
use veilwatch_core::plugin::dissect::{Place, TreeSink, beginning_in_hex, hex};

/// Draws the message with which bytes begin, and says how long it is; over TURN's connections also what it carries.
pub(super) fn draw_message(bytes: &[u8], place: Place, tree: &mut TreeSink<'_>) -> Option<usize> {
    if let [0x40..=0x7f, _, high, low, ..] = *bytes {
        // A channel's data, filled up to whole words over TCP (RFC 8656 section 12.4).
        let len = 4 + usize::from(u16::from_be_bytes([high, low]));
        let there = len.next_multiple_of(4).min(bytes.len());
        tree.leaf("Channel data", &format!("channel {:#06x}, {} bytes", number(bytes, 0), len - 4), place.at(0, there));
        return Some(there);
    }
    let len = length(bytes).ok()?;
    let there = len.min(bytes.len());
    let kind = number(bytes, 0);
    tree.open("Message", &words(kind), place.at(0, there));
    tree.leaf("Type", &format!("{}, {kind:#06x}", words(kind)), place.at(0, 2));
    let cut = if there < len { ", cut off here" } else { "" };
    tree.leaf("Length", &format!("{} bytes{cut}", len - HEADER), place.at(2, 2));
    tree.leaf("Cookie", &hex(&COOKIE), place.at(4, 4));
    let transaction = bytes.get(8..HEADER).unwrap_or_default();
    tree.leaf("Transaction", &hex(transaction), place.at(8, transaction.len()));
    let mut attributes = Reader::new(bytes.get(HEADER..there).unwrap_or_default());
    while let Some(kind) = attributes.u16().filter(|_| !tree.is_full()) {
        let at = there - attributes.rest().len() - 2;
        let Some(value) = attributes.u16().and_then(|len| attributes.take(len.into())) else {
            tree.leaf(&attribute(kind), "cut off here", place.at(at, there - at));
            break;
        };
        tree.leaf(&attribute(kind), &say(kind, value, transaction), place.at(at, 4 + value.len()));
        attributes.take(value.len().next_multiple_of(4) - value.len());
    }
    tree.close();
    Some(there)
}

fn number(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |both| u16::from_be_bytes(*both))
}

/// Class and method (RFC 8489 section 5; RFC 8656 section 17 for those of TURN).
fn words(kind: u16) -> String {
    let class = match (kind & 0x100 != 0, kind & 0x10 != 0) {
        (false, false) => "request",
        (false, true) => "indication",
        (true, false) => "success",
        (true, true) => "error",
    };
    let method = kind & 0xf | kind >> 1 & 0x70 | kind >> 2 & 0xf80;
    let name = match method {
        1 => "Binding",
        3 => "Allocate",
        4 => "Refresh",
        6 => "Send",
        7 => "Data",
        8 => "CreatePermission",
        9 => "ChannelBind",
        10 => "Connect",
        11 => "ConnectionBind",
        12 => "ConnectionAttempt",
        other => return format!("Method {other} {class}"),
    };
    format!("{name} {class}")
}

/// Names of attributes (IANA, STUN Attributes).
fn attribute(kind: u16) -> String {
    let name = match kind {
        0x0001 => "MAPPED-ADDRESS",
        0x0003 => "CHANGE-REQUEST",
        0x0006 => "USERNAME",
        0x0008 => "MESSAGE-INTEGRITY",
        0x0009 => "ERROR-CODE",
        0x000a => "UNKNOWN-ATTRIBUTES",
        0x000c => "CHANNEL-NUMBER",
        0x000d => "LIFETIME",
        0x0012 => "XOR-PEER-ADDRESS",
        0x0013 => "DATA",
        0x0014 => "REALM",
        0x0015 => "NONCE",
        0x0016 => "XOR-RELAYED-ADDRESS",
        0x0017 => "REQUESTED-ADDRESS-FAMILY",
        0x0019 => "REQUESTED-TRANSPORT",
        0x001c => "MESSAGE-INTEGRITY-SHA256",
        0x0020 => "XOR-MAPPED-ADDRESS",
        0x0024 => "PRIORITY",
        0x0025 => "USE-CANDIDATE",
        SOFTWARE => "SOFTWARE",
        0x8023 => "ALTERNATE-SERVER",
        0x8028 => "FINGERPRINT",
        0x8029 => "ICE-CONTROLLED",
        0x802a => "ICE-CONTROLLING",
        0x802b => "RESPONSE-ORIGIN",
        0x802c => "OTHER-ADDRESS",
        other => return format!("Attribute {other:#06x}"),
    };
    name.into()
}

/// What an attribute says.
fn say(kind: u16, value: &[u8], transaction: &[u8]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = match (kind, value) {
        (0x0001 | 0x8023 | 0x802b | 0x802c, _) => address(value, &[]),
        (0x0012 | 0x0016 | 0x0020, _) => address(value, transaction),
        (0x0006 | 0x0014 | 0x0015 | SOFTWARE, _) => Some(text(value)),
        (0x0009, [_, _, class, number, reason @ ..]) => {
            Some(format!("{}, {}", u32::from(class & 7) * 100 + u32::from(*number), text(reason)))
        }
        (0x000c, &[high, low, ..]) => Some(format!("{:#06x}", u16::from_be_bytes([high, low]))),
        (0x000d, &[a, b, c, d]) => Some(format!("{} s", u32::from_be_bytes([a, b, c, d]))),
        (0x0024, &[a, b, c, d]) => Some(u32::from_be_bytes([a, b, c, d]).to_string()),
        (0x0019, [17, ..]) => Some("UDP".into()),
        (0x0019, [6, ..]) => Some("TCP".into()),
        (0x0013, _) => Some(format!("{} bytes", value.len())),
        _ => None,
    };
    said.unwrap_or_else(|| beginning_in_hex(value))
}

/// An address and port (section 14.1), which the cookie and a transaction may hide from what changes addresses on the way
/// (section 14.2): that is undone where a transaction is given.
fn address(value: &[u8], transaction: &[u8]) -> Option<String> {
    let mut mask = [0; 16];
    if !transaction.is_empty() {
        COOKIE.iter().chain(transaction).zip(&mut mask).for_each(|(from, to)| *to = *from);
    }
    let [_, family, high, low, bytes @ ..] = value else { return None };
    let port = u16::from_be_bytes([high ^ mask[0], low ^ mask[1]]);
    let mut shown = [0; 16];
    shown.iter_mut().zip(bytes).zip(mask).for_each(|((to, from), mask)| *to = from ^ mask);
    let address = match (family, bytes.len()) {
        (1, 4) => IpAddr::from(*shown.first_chunk::<4>()?),
        (2, 16) => IpAddr::from(shown),
        _ => return None,
    };
    Some(SocketAddr::new(address, port).to_string())
}
