//! Single packets: lines of a table, JSON Lines, trees, bytes. What of it a capture chose reaches a terminal as plain text.

mod hex;
mod json;
mod table;
mod tree;

pub use hex::PacketHexSink;
pub use json::PacketJsonSink;
pub use table::PacketTableSink;
pub use tree::PacketTreeSink;

use super::plain;
use crate::packets::PacketView;
use veilwatch_core::packet::dissect::Address;

/// Seconds since the first packet, with microseconds.
fn since(view: &PacketView<'_>) -> String {
    let microseconds = view.since_ns.unsigned_abs() / 1000;
    let sign = if view.since_ns < 0 { "-" } else { "" };
    format!("{sign}{}.{:06}", microseconds / 1_000_000, microseconds % 1_000_000)
}

fn address(address: Option<Address>) -> String {
    address.map_or_else(|| "–".to_owned(), |address| address.to_string())
}

/// The one line of a packet for a person, without its number.
fn line(view: &PacketView<'_>) -> String {
    format!(
        "{} s, {} → {}, {}, {} bytes: {}",
        since(view),
        address(view.src),
        address(view.dst),
        plain(view.protocol()),
        view.packet.wire_len,
        plain(&view.info)
    )
}
