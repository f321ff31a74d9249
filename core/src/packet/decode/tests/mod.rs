//! Frames made by hand and by etherparse, and what comes out of them.

mod carriers;
mod fragments;
mod properties;

use super::*;
use crate::packet::LinkType;
use etherparse::PacketBuilder;

fn packet(link: LinkType, data: &[u8]) -> Packet<'_> {
    Packet { number: 1, time_ns: 0, link, wire_len: data.len() as u32, data }
}

fn tcp_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1234, 443, 77, 1024)
        .syn()
        .write(&mut frame, payload)
        .unwrap();
    frame
}

/// The IP packet of [`tcp_frame`].
fn tcp_packet(payload: &[u8]) -> Vec<u8> {
    tcp_frame(payload).split_off(14)
}

/// An Ethernet frame.
fn frame(kind: u16, body: &[u8]) -> Vec<u8> {
    [&[2; 6][..], &[1; 6], &kind.to_be_bytes(), body].concat()
}

/// An IPv4 packet from host 1 to host 2 of 192.0.2.0/24.
fn ipv4(protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = (20 + body.len() as u16).to_be_bytes();
    let head = [0x45, 0, length[0], length[1], 0, 7, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    [&head, body].concat()
}

/// An IPv6 packet whose first header behind its own is `next`.
fn ipv6(next: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    let head = [0x60, 0, 0, 0, length[0], length[1], next, 64];
    [&head, &[0x20; 16][..], &[0x30; 16], body].concat()
}

/// A UDP packet from port 40000.
fn udp(port: u16, body: &[u8]) -> Vec<u8> {
    let (port, length) = (port.to_be_bytes(), (8 + body.len() as u16).to_be_bytes());
    [&[0x9c, 0x40, port[0], port[1], length[0], length[1], 0, 0], body].concat()
}

#[test]
fn reads_ethernet_ipv4_tcp() {
    let frame = tcp_frame(b"hello");
    let got = decode(&packet(LinkType::ETHERNET, &frame)).unwrap();
    assert_eq!((got.src_port, got.dst_port, got.protocol), (1234, 443, 6));
    assert_eq!(got.payload, b"hello");
    assert_eq!(got.tcp, Some(Tcp { seq: 77, flags: Tcp::SYN }));
    assert_eq!((got.ip_len, got.lan), (45, 0));
}

#[test]
fn padding_behind_a_short_packet_is_no_payload() {
    let mut frame = tcp_frame(b"");
    frame.resize(60, 0);
    let got = decode(&packet(LinkType::ETHERNET, &frame)).unwrap();
    assert_eq!((got.payload, got.payload_len), (&b""[..], 0));
}

#[test]
fn a_cut_payload_keeps_its_length_on_the_wire() {
    let frame = tcp_frame(&[7; 100]);
    let cut = Packet { data: &frame[..80], ..packet(LinkType::ETHERNET, &frame) };
    let got = decode(&cut).unwrap();
    assert_eq!((got.payload.len(), got.payload_len), (26, 100));
}

#[test]
fn unknown_links_and_other_protocols_are_named() {
    assert_eq!(decode(&packet(LinkType(147), &[0; 64])), Err(Skip::UnknownLink));
    assert_eq!(decode(&packet(LinkType::ETHERNET, &frame(0x0806, &[0; 46]))), Err(Skip::NotIp));
    assert_eq!(decode(&packet(LinkType::RAW, &ipv4(1, &[8, 0, 0, 0]))), Err(Skip::OtherTransport));
    // Every link type with a name is read, and no other.
    for number in 0..400 {
        let link = LinkType(number);
        assert_eq!(decode(&packet(link, &[])) != Err(Skip::UnknownLink), link.is_known(), "{link}");
    }
}

#[test]
fn udp_says_how_long_it_is() {
    let mut short = ipv4(17, &udp(9, b"abcdef"));
    short[25] = 8 + 4;
    let got = decode(&packet(LinkType::RAW, &short)).unwrap();
    assert_eq!((got.payload, got.payload_len, got.ip_len), (&b"abcd"[..], 4, 34));
    // What cannot be is passed over.
    short[25] = 7;
    assert_eq!(decode(&packet(LinkType::RAW, &short)).unwrap().payload, b"abcdef");
    short[25] = 200;
    assert_eq!(decode(&packet(LinkType::RAW, &short)).unwrap().payload, b"abcdef");
}

#[test]
fn extension_headers_are_passed_over() {
    let plain = udp(443, b"x");
    // Hop by hop (8 bytes), routing (16), destination (8), authentication (24), a fragment that is whole (8).
    let mut chain = vec![43, 0, 1, 4, 0, 0, 0, 0];
    chain.extend([60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    chain.extend([51, 0, 1, 4, 0, 0, 0, 0]);
    chain.extend([44, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    chain.extend([17, 0, 0, 0, 0, 0, 0, 9]);
    chain.extend(&plain);
    let got = decode(&packet(LinkType::IPV6, &ipv6(0, &chain))).map(|got| (got.dst_port, got.payload_len, got.ip_len));
    assert_eq!(got, Ok((443, 1, 40 + 64 + 9)));
    // Cut inside the chain; and without anything behind it.
    let whole = ipv6(0, &chain);
    assert_eq!(decode(&packet(LinkType::IPV6, &whole[..70])), Err(Skip::Truncated));
    assert_eq!(decode(&packet(LinkType::IPV6, &ipv6(59, &[]))), Err(Skip::OtherTransport));
}
