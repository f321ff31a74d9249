//! What the tables say of payload: types of files, bytes that are worth a warning, and what unknown streams begin with.
//!
//! Packets are looked at one by one as they come, as far as [`FLOATING_REACH`] bytes of each direction: nothing is kept
//! for it.

use super::open::Flow;
use super::{Beginning, Direction, SeenWarning, Templates};
use crate::packet::{Decoded, Tcp};
use crate::tables::{FLOATING_REACH, Transport};

/// What is known of one direction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Looked {
    /// Bytes of it that were looked at; nothing more is once they are [`FLOATING_REACH`].
    bytes: u16,
    /// Where the next payload stands.
    place: Place,
    /// What the head says of the body behind it.
    coding: Coding,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// At the beginning.
    #[default]
    Begin,
    /// In the head of an HTTP message.
    Head,
    /// There, at the beginning of a line.
    HeadLine,
    /// At the beginning of that message's body.
    Body,
    /// Somewhere.
    Rest,
}

/// How a body travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    Plain,
    /// The size of the first chunk stands on a line before it.
    Chunked,
    /// Compressed on its way, or not there: it says nothing of files.
    Hidden,
}

impl Looked {
    /// Whether more of the direction is to be looked at.
    #[inline]
    pub(super) fn wants_more(self) -> bool {
        usize::from(self.bytes) < FLOATING_REACH
    }

    /// Goes through a piece of an HTTP message's head, and gives its body as far as it is there. Fields whose name or
    /// value is cut between two packets are not seen.
    fn head<'a>(&mut self, payload: &'a [u8]) -> Option<&'a [u8]> {
        const END: &[u8] = b"\r\n\r\n";
        let seen = payload.get(..FLOATING_REACH).unwrap_or(payload);
        let end = match self.place {
            Place::HeadLine if seen.starts_with(b"\r\n") => Some(2),
            _ => memchr::memmem::find(seen, END).map(|at| at + END.len()),
        };
        let (head, body) = payload.split_at(end.unwrap_or(seen.len()));
        for line in head.split(|byte| *byte == b'\n') {
            self.coding = match line {
                _ if begins(line, b"content-encoding:") => Coding::Hidden,
                _ if begins(line, b"transfer-encoding:") && self.coding == Coding::Plain => Coding::Chunked,
                _ => continue,
            };
        }
        self.place = match end {
            Some(_) => Place::Body,
            None if head.ends_with(b"\r\n") => Place::HeadLine,
            None => Place::Head,
        };
        if body.is_empty() { None } else { self.body(body) }
    }

    /// The contents of a body that begins here.
    fn body<'a>(&mut self, body: &'a [u8]) -> Option<&'a [u8]> {
        self.place = Place::Rest;
        match self.coding {
            Coding::Plain => Some(body),
            Coding::Chunked => {
                let line = body.windows(2).take(20).position(|window| window == b"\r\n")?;
                body.get(line + 2..)
            }
            Coding::Hidden => None,
        }
    }
}

/// Whether a line begins so, in any case.
fn begins(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name))
}

impl Flow {
    /// Looks at one packet's payload, and keeps `most` warnings of the flow; returns how many were left out for that.
    #[inline(never)]
    pub(super) fn look(
        &mut self,
        direction: Direction,
        number: u64,
        packet: &Decoded<'_>,
        templates: &Templates,
        most: u32,
    ) -> u64 {
        let at = direction.index();
        let (Some(tables), payload) = (templates.tables(), packet.payload) else { return 0 };
        if payload.is_empty() {
            return 0;
        }
        let mut looked = self.looked[at];
        looked.bytes = looked.bytes.saturating_add(payload.len().min(FLOATING_REACH) as u16);
        // A stream whose beginning is missing begins nowhere.
        let begins = looked.place == Place::Begin
            && match (packet.tcp, self.anchors[at]) {
                (Some(tcp), Some(anchor)) => !tcp.has(Tcp::SYN) && tcp.seq == anchor.wrapping_add(1),
                _ => true,
            };
        if begins && packet.tcp.is_some() && matches!(payload, [20..=23, 3, ..]) {
            // Records of TLS: what is in them is encrypted, or looked at by those who know it.
            self.looked[at].bytes = FLOATING_REACH as u16;
            return 0;
        }
        let file = match looked.place {
            Place::Begin if begins && is_http(payload) => {
                // Nothing is behind a head that says so (RFC 9112 section 6.3).
                let bare = [&b" 204"[..], b" 304", b" 1"]
                    .iter()
                    .any(|code| payload.get(8..).is_some_and(|rest| rest.starts_with(code)));
                looked.coding = if bare { Coding::Hidden } else { Coding::Plain };
                looked.head(payload)
            }
            Place::Begin => {
                looked.place = Place::Rest;
                (begins && self.record.template.is_none()).then_some(payload)
            }
            Place::Head | Place::HeadLine => looked.head(payload),
            Place::Body => looked.body(payload),
            Place::Rest => None,
        };
        let transport = Transport::of_protocol(self.key.protocol);
        if looked.place == Place::Rest && !tables.looks_everywhere(transport) {
            looked.bytes = FLOATING_REACH as u16;
        }
        self.looked[at] = looked;
        if begins && self.record.template.is_none() {
            self.record.sights.get_or_insert_default().beginnings[at] = Beginning::of(payload);
        }
        if let Some(file) = file.and_then(|file| tables.file_place(file)) {
            self.record.sights.get_or_insert_default().files[at] = Some(file);
        }
        let (sights, mut left_out) = (&mut self.record.sights, 0);
        tables.seen(transport, payload, begins, |warning| {
            let warned = &mut sights.get_or_insert_default().warned;
            if warned.iter().any(|known| known.warning == warning) {
                return;
            }
            warned.push(SeenWarning { warning, packet: number });
            if warned.len() > most as usize {
                left_out += 1;
                // The places of warnings grow as their weight falls.
                let least = warned.iter().map(|seen| seen.warning).max();
                warned.retain(|seen| Some(seen.warning) != least);
            }
        });
        left_out
    }
}

/// Whether a direction begins with a message of HTTP/1 that may have a body.
fn is_http(payload: &[u8]) -> bool {
    [&b"HTTP/1."[..], b"POST ", b"PUT "].iter().any(|begin| payload.starts_with(begin))
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
                category: None,
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
        let seen = record.warned().iter().map(|seen| tables.warn()[usize::from(seen.warning)].id.to_string()).collect();
        (record, seen)
    }

    #[test]
    fn bytes_warn_where_they_may() {
        assert_eq!(flow(1, &[(true, b"HELO a secret")]).1, ["first", "port", "any"]);
        let (record, _) = flow(1, &[(true, b"a"), (false, b"b"), (true, b"a secret")]);
        assert_eq!(record.warned()[0].packet, 3);
        // Ports are compared in the end, when it is known who answered.
        assert_eq!(flow(4444, &[(true, b"HELO")]).1, ["first", "port"]);
        assert_eq!(flow(1, &[(true, b"a"), (true, b"HELO"), (false, b"the secret"), (true, b"secret")]).1, ["any"]);
        // As far as it reaches.
        let far = [b'x'; FLOATING_REACH];
        assert!(flow(1, &[(true, &far), (true, b"secret")]).1.is_empty());
        assert!(flow(1, &[(true, b"\x16\x03\x01\0\x06secret")]).1.is_empty());
    }

    #[test]
    fn files_begin_streams_and_bodies() {
        let files = |said: &[(bool, &[u8])]| flow(1, said).0.sights.map_or([None; 2], |sights| sights.files);
        assert_eq!(files(&[(true, b"MZ\x90")]), [Some(0), None]);
        assert_eq!(files(&[(true, b"a"), (true, b"MZ")]), [None; 2]);
        let head = &b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"[..];
        assert_eq!(files(&[(true, b"GET / HTTP/1.1\r\n\r\n"), (false, &[head, b"MZ\x90"].concat())]), [None, Some(0)]);
        assert_eq!(files(&[(true, b"GET"), (false, &head[..8]), (false, &head[8..]), (false, b"MZ\x90")])[1], Some(0));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\nMZ";
        assert_eq!(files(&[(true, b"GET"), (false, chunked)])[1], Some(0));
        let packed = &b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\nMZ"[..];
        assert_eq!(files(&[(true, b"GET"), (false, packed)])[1], None);
        for (whole, cuts, wanted) in [(packed, [41, 43], None), (&chunked[..], [45, 47], Some(0))] {
            for (head, body) in cuts.map(|cut| whole.split_at(cut)) {
                assert_eq!(files(&[(true, b"GET"), (false, head), (false, body)])[1], wanted, "{head:?}");
            }
        }
        assert_eq!(files(&[(true, b"GET"), (false, b"HTTP/1.1 304 Not Modified\r\n\r\n"), (false, b"MZ")])[1], None);
    }

    #[test]
    fn the_worst_warnings_are_kept_and_the_others_counted() {
        let templates = tables();
        let mut table = FlowTable::new(FlowLimits { warnings: 1, ..FlowLimits::default() }, 1);
        let payload = b"HELO a secret";
        let tcp = Some(Tcp { seq: 1, flags: Tcp::ACK });
        let (ip_len, payload_len) = (40 + payload.len() as u32, payload.len() as u32);
        let [src, dst] = [[1; 16], [2; 16]];
        let packet =
            Decoded { src, dst, src_port: 9, dst_port: 4444, protocol: 6, lan: 0, ip_len, payload_len, tcp, payload };
        table.push(1, 1, &packet, &templates);
        table.finish_all(0, &templates);
        let worst = templates.tables().unwrap().warn().iter().position(|warning| &*warning.id == "any").unwrap();
        assert_eq!(
            table.take_finished()[0].warned().iter().map(|seen| seen.warning as usize).collect::<Vec<_>>(),
            [worst]
        );
        assert_eq!(table.counters().warnings_left_out, 2);
    }

    #[test]
    fn unknown_streams_are_looked_at_once() {
        let (record, _) = flow(1, &[(true, b"hello there"), (true, &[0; 40])]);
        assert_eq!(
            record.sights.unwrap().beginnings.map(|begin| begin.map(|begin| begin.class.name())),
            [Some("text"), None]
        );
    }
}
