//! Notices: what the context stage has to know of a flow while it goes on.
//!
//! A flow of DNS over UDP ends with its silence, long after the flow that it led to began, and perhaps ended. So what it
//! hears is told at the packet that brought it, and so is the begin of every flow. A notice has the number of its packet:
//! in that order, and no other, they are the same whatever the threads and whenever somebody looks.

use super::open::Flow;
use crate::record::{Dns, FieldId, Value};

/// What one packet of a flow brought that others need to know at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Number of the packet.
    pub packet: u64,
    /// Packet time in nanoseconds since 1970.
    pub time_ns: u64,
    /// Address of the host that opened the flow.
    pub host: [u8; 16],
    /// What it is.
    pub what: Noticed,
}

/// The kinds of [`Notice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noticed {
    /// A flow begins with this packet.
    Began {
        /// Address of its responder.
        to: [u8; 16],
    },
    /// DNS: the packet asks, or answers.
    Names {
        /// Queries in it.
        queries: u32,
        /// Answers in it that say that there is no such name.
        nxdomains: u32,
        /// Where names led, as [`DnsLinks`](crate::record::DnsLinks) reads it.
        links: Box<[u8]>,
    },
}

/// What a flow of DNS has told so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    queries: u64,
    nxdomains: u64,
    /// Bytes of [`Dns::LINKS`].
    links: usize,
}

impl Flow {
    /// That it begins with this packet.
    pub(super) fn beginning(&self, packet: u64, time_ns: u64) -> Notice {
        let (host, to) = self.endpoints();
        Notice { packet, time_ns, host: host.address, what: Noticed::Began { to: to.address } }
    }

    /// What its template read of names at this packet, where that is new.
    pub(super) fn news(&mut self, packet: u64, time_ns: u64) -> Option<Notice> {
        let fields = &self.record.fields;
        let count = |id: FieldId| match fields.get(id) {
            Some(Value::U64(count)) => Some(count),
            _ => None,
        };
        let (queries, nxdomains) = (count(Dns::QUERIES)?, count(Dns::NXDOMAINS)?);
        let links = match fields.get(Dns::LINKS) {
            Some(Value::Bytes(links)) => links,
            _ => &[],
        };
        let new = |now: u64, before: u64| u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
        let what = Noticed::Names {
            queries: new(queries, self.told.queries),
            nxdomains: new(nxdomains, self.told.nxdomains),
            links: links.get(self.told.links..).unwrap_or_default().into(),
        };
        self.told = Told { queries, nxdomains, links: links.len() };
        if matches!(&what, Noticed::Names { queries: 0, nxdomains: 0, links } if links.is_empty()) {
            return None;
        }
        Some(Notice { packet, time_ns, host: self.endpoints().0.address, what })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FlowLimits, FlowTable, Templates};
    use super::*;
    use crate::packet::Decoded;
    use crate::plugin::{PluginError, Probe, Progress, ProtocolTemplate, RecordSink, StreamView};
    use crate::record::DnsLinks;

    /// A `?` is a query, a `!` an answer with an address, an `x` one without such a name.
    struct Asking;

    impl ProtocolTemplate for Asking {
        fn probe(&self, _: &StreamView<'_>) -> Probe {
            Probe::Certain
        }
        fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
            if stream.forward.first() == Some(&b'!') {
                // What was seen first is the answer.
                out.swap_directions();
            }
            let all = [stream.forward, stream.backward].concat();
            let count = |byte: u8| all.iter().filter(|seen| **seen == byte).count() as u32;
            let mut links = Vec::new();
            (0..count(b'!')).for_each(|at| DnsLinks::push(&mut links, b"a.example", &[([at as u8; 16], 60)]));
            out.record(&Dns { queries: count(b'?'), nxdomains: count(b'x'), links: &links, ..Dns::default() });
            Ok(Progress::of(stream, false, false))
        }
    }

    /// Packets of one flow, all that they say, and the table looked through after each or not.
    fn notices(said: &[(bool, &[u8])], sweeps: bool) -> Vec<Notice> {
        let templates = Templates::new(vec![Box::new(Asking)]);
        let mut table = FlowTable::new(FlowLimits::default(), 1).with_notices();
        let mut all = Vec::new();
        for (at, (forth, payload)) in (1..).zip(said) {
            let (src, dst) = if *forth { (1, 2) } else { (2, 1) };
            let packet = Decoded {
                src: [src; 16],
                dst: [dst; 16],
                src_port: u16::from(src),
                dst_port: u16::from(dst),
                protocol: 17,
                lan: 0,
                ip_len: 28 + payload.len() as u32,
                payload_len: payload.len() as u32,
                tcp: None,
                payload,
            };
            table.push(at, at * 1000, &packet, &templates);
            if sweeps {
                table.expire(at * 1000, &templates);
                all.extend(table.drain_notices());
            }
        }
        table.finish_all(5000, &templates);
        all.extend(table.drain_notices());
        all
    }

    fn names(packet: u64, queries: u32, nxdomains: u32, address: Option<u8>) -> Notice {
        let mut links = Vec::new();
        address.iter().for_each(|at| DnsLinks::push(&mut links, b"a.example", &[([*at; 16], 60)]));
        let what = Noticed::Names { queries, nxdomains, links: links.into() };
        Notice { packet, time_ns: packet * 1000, host: [1; 16], what }
    }

    #[test]
    fn each_packet_tells_what_is_new_in_it() {
        let began = Notice { packet: 1, time_ns: 1000, host: [1; 16], what: Noticed::Began { to: [2; 16] } };
        let said: [(bool, &[u8]); 5] = [(true, b"?"), (true, b"?"), (false, b"!"), (false, b"."), (false, b"!x")];
        let wanted =
            [began, names(1, 1, 0, None), names(2, 1, 0, None), names(3, 0, 0, Some(0)), names(5, 0, 1, Some(1))];
        assert_eq!(notices(&said, false), wanted);
        assert_eq!(notices(&said, true), wanted, "whenever somebody looks");
    }

    #[test]
    fn who_asked_is_who_the_template_says_opened_it() {
        let told = notices(&[(false, b"!")], false);
        assert_eq!(told[1], names(1, 0, 0, Some(0)));
        assert_eq!(told.len(), 2);
    }
}
