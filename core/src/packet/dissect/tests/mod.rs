//! Packets made by hand and by etherparse, and what their trees say.

mod headers;
mod properties;

use super::*;
use crate::packet::LinkType;
use crate::tables::Tables;
use std::fmt::Write;

fn packet(link: LinkType, data: &[u8]) -> Packet<'_> {
    Packet { number: 7, time_ns: 1_500_000_000, link, wire_len: data.len() as u32, data }
}

fn around(tables: &Tables) -> Surroundings<'_> {
    Surroundings { tables, begin_ns: 1_000_000_000, first_seq: None, first_ack: None }
}

/// Tree and line of a packet.
fn read<'a>(packet: &Packet<'a>) -> (PacketTree, Outline<'a>) {
    let tables = Tables::default();
    let Dissected { drawing, outline } = dissect(packet, &around(&tables));
    (drawing.finish(), outline)
}

/// What a field says, of each of its nodes.
fn values(tree: &PacketTree, field: &str) -> Vec<String> {
    tree.field(field).map(|node| node.value.clone()).collect()
}

fn value(tree: &PacketTree, field: &str) -> String {
    values(tree, field).join("; ")
}

/// Fields of the layers, in order.
fn layers(tree: &PacketTree) -> Vec<&str> {
    tree.layers().map(|node| &*node.field).collect()
}

fn lines(tree: &PacketTree) -> String {
    tree.nodes.iter().fold(String::new(), |mut text, node| {
        let _ = writeln!(text, "{}{} {}: {}", "  ".repeat(node.depth.into()), node.field, node.label, node.value);
        text
    })
}

/// An Ethernet frame.
fn frame(kind: u16, body: &[u8]) -> Vec<u8> {
    [&[2; 6][..], &[1; 6], &kind.to_be_bytes(), body].concat()
}

/// An IPv4 packet from host 1 to host 2 of 192.0.2.0/24, its checksum right.
fn ipv4(protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = (20 + body.len() as u16).to_be_bytes();
    let mut head = [0x45, 0, length[0], length[1], 0, 7, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    let sum = (!checksum::sum(&[&head])).to_be_bytes();
    head[10..12].copy_from_slice(&sum);
    [&head, body].concat()
}

/// An IPv6 packet whose first header behind its own is `next`.
fn ipv6(next: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    let head = [0x60, 0, 0, 0, length[0], length[1], next, 64];
    [&head, &[0x20; 16][..], &[0x30; 16], body].concat()
}

/// A UDP packet from port 40000 without a checksum.
fn udp(port: u16, body: &[u8]) -> Vec<u8> {
    let (port, length) = (port.to_be_bytes(), (8 + body.len() as u16).to_be_bytes());
    [&[0x9c, 0x40, port[0], port[1], length[0], length[1], 0, 0], body].concat()
}
