//! What the tables say of payload: types of files, bytes that are worth a warning, and what unknown streams begin with.
//!
//! Packets are looked at one by one as they come, as far as [`FLOATING_REACH`] bytes of each direction: nothing is kept
//! for it.

use super::open::Flow;
use super::{Beginning, Direction, FlowRecord, Templates};
use crate::packet::{Decoded, Tcp};
use crate::tables::{FLOATING_REACH, Facts, Transport};

/// What is known of one direction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Looked {
    /// Bytes of it that were looked at; nothing more is once they are [`FLOATING_REACH`].
    bytes: u16,
    /// Where the next payload stands.
    place: Place,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// At the beginning.
    #[default]
    Begin,
    /// In the head of an HTTP message.
    Head,
    /// At the beginning of that message's body.
    Body,
    /// Somewhere.
    Rest,
}

impl Looked {
    /// Whether more of the direction is to be looked at.
    #[inline]
    pub(super) fn wants_more(self) -> bool {
        usize::from(self.bytes) < FLOATING_REACH
    }
}

impl Flow {
    /// Looks at one packet's payload.
    #[inline(never)]
    pub(super) fn look(&mut self, direction: Direction, packet: &Decoded<'_>, templates: &Templates) {
        let at = direction.index();
        let (Some(tables), payload) = (templates.tables(), packet.payload) else { return };
        if payload.is_empty() {
            return;
        }
        let Looked { bytes, place } = self.looked[at];
        self.looked[at].bytes = bytes.saturating_add(payload.len().min(FLOATING_REACH) as u16);
        // A stream whose beginning is missing begins nowhere.
        let begins = place == Place::Begin
            && match (packet.tcp, self.anchors[at]) {
                (Some(tcp), Some(anchor)) => !tcp.has(Tcp::SYN) && tcp.seq == anchor.wrapping_add(1),
                _ => true,
            };
        if begins && packet.tcp.is_some() && matches!(payload, [20..=23, 3, ..]) {
            // Records of TLS: what is in them is encrypted, or looked at by those who know it.
            self.looked[at].bytes = FLOATING_REACH as u16;
            return;
        }
        let (next, file) = match place {
            Place::Begin if !begins => (Place::Rest, None),
            Place::Begin if is_http(payload) => body(payload),
            Place::Begin => (Place::Rest, self.record.template.is_none().then_some(payload)),
            Place::Head => body(payload),
            Place::Body => (Place::Rest, Some(payload)),
            Place::Rest => (Place::Rest, None),
        };
        self.looked[at].place = next;
        let transport = Transport::of_protocol(self.key.protocol);
        if next == Place::Rest && !tables.looks_everywhere(transport) {
            self.looked[at].bytes = FLOATING_REACH as u16;
        }
        if begins && self.record.template.is_none() {
            self.record.beginnings[at] = Beginning::of(payload);
        }
        if let Some(file) = file {
            self.record.files[at] = tables.file_place(file);
        }
        let (_, responder) = self.endpoints();
        let facts = Facts { transport, port: responder.port, name: &[], bytes: payload };
        let warned = &mut self.record.warned;
        tables.seen(&facts, begins, |warning| {
            if warned.len() < FlowRecord::WARNINGS && !warned.contains(&warning) {
                warned.push(warning);
            }
        });
    }
}

/// Whether a direction begins with a message of HTTP/1 that may have a body.
fn is_http(payload: &[u8]) -> bool {
    [&b"HTTP/1."[..], b"POST ", b"PUT "].iter().any(|begin| payload.starts_with(begin))
}

/// Where what follows stands, and the body as far as it is there. One that is compressed on its way says nothing of
/// files.
fn body(payload: &[u8]) -> (Place, Option<&[u8]>) {
    const END: &[u8] = b"\r\n\r\n";
    let seen = payload.get(..FLOATING_REACH).unwrap_or(payload);
    let Some(end) = memchr::memmem::find(seen, END) else { return (Place::Head, None) };
    let (head, body) = payload.split_at(end + END.len());
    let has = |name: &[u8]| head.windows(name.len()).any(|window| window.eq_ignore_ascii_case(name));
    if has(b"\r\nContent-Encoding:") {
        return (Place::Rest, None);
    }
    let body = match body {
        // The size of the first chunk stands on a line before it.
        [_, ..] if has(b"\r\nTransfer-Encoding: chunked") => {
            let line = body.windows(2).take(20).position(|window| window == b"\r\n");
            line.and_then(|line| body.get(line + 2..)).unwrap_or_default()
        }
        body => body,
    };
    if body.is_empty() { (Place::Body, None) } else { (Place::Rest, Some(body)) }
}

#[cfg(test)]
mod tests {
    use super::super::{FlowLimits, FlowRecord, FlowTable, Templates};
    use super::*;
    use crate::tables::{FileType, Place as Written, Severity, Signature, TablesBuilder, Warning};
    use std::sync::Arc;

    fn tables() -> Templates {
        let place = Written { file: "test".into(), line: 1 };
        let signature = |text: &str| Signature::parse(text).unwrap();
        let mut builder = TablesBuilder::new();
        builder.file(FileType {
            id: "exe".into(),
            name: "program".into(),
            media: "".into(),
            extensions: Vec::new(),
            signatures: vec![signature("0: 'MZ'")],
            place: place.clone(),
        });
        for (id, bytes, ports) in
            [("any", "any: 'secret'", false), ("first", "0: 'HELO'", false), ("port", "0: 'HELO'", true)]
        {
            let ports = if ports { vec![crate::tables::PortRange { first: 4444, last: 4444 }] } else { Vec::new() };
            builder.warning(Warning {
                id: id.into(),
                severity: Severity::Low,
                words: "".into(),
                look: "".into(),
                transport: Some(Transport::Tcp),
                ports,
                names: Vec::new(),
                bytes: vec![signature(bytes)],
                place: place.clone(),
            });
        }
        Templates::default().with_tables(Arc::new(builder.build()))
    }

    /// What is told of a flow in which these payloads come: forth (`true`) or back.
    fn flow(port: u16, said: &[(bool, &[u8])]) -> (FlowRecord, Vec<String>) {
        let templates = tables();
        let mut table = FlowTable::new(FlowLimits::default(), 1);
        let mut seqs = [100u32; 2];
        for (number, (forth, payload)) in (1..).zip(said) {
            let seq = &mut seqs[usize::from(*forth)];
            let ends = [([1; 16], 40_000), ([2; 16], port)];
            let [(src, src_port), (dst, dst_port)] = if *forth { ends } else { [ends[1], ends[0]] };
            let packet = Decoded {
                src,
                dst,
                src_port,
                dst_port,
                protocol: 6,
                lan: 0,
                ip_len: 40 + payload.len() as u32,
                payload_len: payload.len() as u32,
                tcp: Some(Tcp { seq: *seq, flags: Tcp::ACK }),
                payload,
            };
            *seq += payload.len() as u32;
            table.push(number, number, &packet, &templates);
        }
        table.finish_all(0, &templates);
        let record = table.take_finished().remove(0);
        let tables = templates.tables().unwrap();
        let seen = record.warned.iter().map(|at| tables.warn()[usize::from(*at)].id.to_string()).collect();
        (record, seen)
    }

    #[test]
    fn bytes_warn_where_they_may() {
        assert_eq!(flow(1, &[(true, b"HELO a secret")]).1, ["first", "any"]);
        assert_eq!(flow(4444, &[(true, b"HELO")]).1, ["first", "port"]);
        assert_eq!(flow(1, &[(true, b"a"), (true, b"HELO"), (false, b"the secret"), (true, b"secret")]).1, ["any"]);
        // As far as it reaches.
        let far = [b'x'; FLOATING_REACH];
        assert!(flow(1, &[(true, &far), (true, b"secret")]).1.is_empty());
        assert!(flow(1, &[(true, b"\x16\x03\x01\0\x06secret")]).1.is_empty());
    }

    #[test]
    fn files_begin_streams_and_bodies() {
        let files = |said: &[(bool, &[u8])]| flow(1, said).0.files;
        assert_eq!(files(&[(true, b"MZ\x90")]), [Some(0), None]);
        assert_eq!(files(&[(true, b"a"), (true, b"MZ")]), [None; 2]);
        let head = &b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"[..];
        assert_eq!(files(&[(true, b"GET / HTTP/1.1\r\n\r\n"), (false, &[head, b"MZ\x90"].concat())]), [None, Some(0)]);
        assert_eq!(files(&[(true, b"GET"), (false, &head[..8]), (false, &head[8..]), (false, b"MZ\x90")])[1], Some(0));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\nMZ";
        assert_eq!(files(&[(true, b"GET"), (false, chunked)])[1], Some(0));
        let packed = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\nMZ";
        assert_eq!(files(&[(true, b"GET"), (false, packed)])[1], None);
    }

    #[test]
    fn unknown_streams_are_looked_at_once() {
        let (record, _) = flow(1, &[(true, b"hello there"), (true, &[0; 40])]);
        assert_eq!(record.beginnings.map(|begin| begin.map(|begin| begin.class.name())), [Some("text"), None]);
    }
}
