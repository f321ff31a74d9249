//! Early records: what is known of a flow while it goes on.
//!
//! A flow gives one at most, at a packet of its own that is late enough, and only its packets decide at which: neither
//! sweeps nor threads can move it. The flow itself goes on as if nobody had asked.

use super::open::{Flow, flow_id};
use super::{EndReason, FlowLimits, FlowRecord};

/// When a flow gives its early record: whichever comes first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Early {
    /// Packets of both directions.
    packets: u64,
    /// Nanoseconds since the flow's first packet.
    after_ns: u64,
}

impl Early {
    /// What the limits ask for; `None` where they ask for no early records.
    pub(super) fn of(limits: &FlowLimits) -> Option<Self> {
        let never = |count: u32, unit: u64| if count == 0 { u64::MAX } else { u64::from(count) * unit };
        let early =
            Self { packets: never(limits.early_packets, 1), after_ns: never(limits.early_seconds, 1_000_000_000) };
        (limits.early_packets > 0 || limits.early_seconds > 0).then_some(early)
    }

    /// Whether a flow gives it now, its packet of `time_ns` counted. One that was closed gives none: all that an early
    /// record could say, the final one is about to.
    #[inline]
    pub(super) fn is_due(&self, flow: &Flow, time_ns: u64) -> bool {
        !flow.early_given
            && (flow.record.stats[0].packets + flow.record.stats[1].packets >= self.packets
                || time_ns.saturating_sub(flow.record.first_ns) >= self.after_ns)
            && flow.closed_ns.is_none()
    }
}

impl Flow {
    /// The flow as it is at its packet of `time_ns`.
    #[cold]
    pub(super) fn snapshot(&self, time_ns: u64) -> Box<FlowRecord> {
        let mut record = self.record.clone();
        record.id = flow_id(&self.key, record.first_ns);
        (record.originator, record.responder) = self.endpoints();
        record.protocol = self.key.protocol;
        record.ended_ns = time_ns;
        record.end = EndReason::Early;
        record
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FlowTable, Templates};
    use super::*;
    use crate::flow::Direction;
    use crate::packet::{Decoded, Tcp};
    use crate::plugin::{PluginError, Probe, Progress, ProtocolTemplate, RecordSink, StreamView};
    use crate::record::{ClientHello, Mark};

    const SECOND: u64 = 1_000_000_000;

    /// Reads all that the originator says, and never has enough.
    struct Listener;

    impl ProtocolTemplate for Listener {
        fn probe(&self, _: &StreamView<'_>) -> Probe {
            Probe::Certain
        }
        fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
            out.mark(Mark::ClientHello, Direction::Forward, 0);
            out.record(&ClientHello { sni: stream.forward, ..ClientHello::default() });
            Ok(Progress::of(stream, false, false))
        }
    }

    /// Ten packets of one TCP flow, a second apart; the last one resets it. Packets are numbered from 1, and with
    /// `sweeps` the table is looked through after each.
    fn records(limits: FlowLimits, sweeps: bool) -> Vec<FlowRecord> {
        let templates = Templates::new(vec![Box::new(Listener)]);
        let mut table = FlowTable::new(limits, 1);
        for at in 0..10u32 {
            let payload: &[u8] = if at == 0 { b"" } else { b"ab" };
            let flags = match at {
                0 => Tcp::SYN,
                9 => Tcp::RST,
                _ => Tcp::ACK,
            };
            let packet = Decoded {
                src: [1; 16],
                dst: [2; 16],
                src_port: 9,
                dst_port: 443,
                protocol: 6,
                lan: 0,
                ip_len: 40 + payload.len() as u32,
                payload_len: payload.len() as u32,
                tcp: Some(Tcp { seq: if at == 0 { 10 } else { 11 + 2 * (at - 1) }, flags }),
                payload,
            };
            let time_ns = u64::from(at) * SECOND;
            table.push(u64::from(at) + 1, time_ns, &packet, &templates);
            if sweeps {
                table.expire(time_ns, &templates);
            }
        }
        table.finish_all(20 * SECOND, &templates);
        table.take_finished()
    }

    fn limits(early_packets: u32, early_seconds: u32) -> FlowLimits {
        FlowLimits { early_packets, early_seconds, ..FlowLimits::default() }
    }

    /// Packets and time of the early record.
    fn early(limits: FlowLimits) -> Option<(u64, u64)> {
        let records = records(limits, false);
        let early: Vec<&FlowRecord> = records.iter().filter(|record| record.is_early()).collect();
        assert!(early.len() <= 1 && records.len() == early.len() + 1, "one early record at most, and one final");
        early.first().map(|record| (record.stats[0].packets, record.ended_ns / SECOND))
    }

    #[test]
    fn packets_or_seconds_whichever_comes_first() {
        assert_eq!(early(limits(0, 0)), None);
        assert_eq!(early(limits(1, 0)), Some((1, 0)));
        assert_eq!(early(limits(4, 0)), Some((4, 3)));
        assert_eq!(early(limits(0, 5)), Some((6, 5)));
        assert_eq!(early(limits(4, 5)), Some((4, 3)));
        assert_eq!(early(limits(8, 5)), Some((6, 5)));
    }

    #[test]
    fn a_flow_that_ends_before_gives_none() {
        assert_eq!(early(limits(11, 0)), None);
        assert_eq!(early(limits(0, 10)), None);
        // The packet that closes it comes too late.
        assert_eq!(early(limits(10, 0)), None);
        assert_eq!(early(limits(9, 0)), Some((9, 8)));
    }

    #[test]
    fn it_says_what_was_read_so_far() {
        let records = records(limits(4, 0), false);
        let record = &records[0];
        assert_eq!((record.end, record.end.name()), (EndReason::Early, "early"));
        assert_eq!(record.fields.record::<ClientHello<'_>>().unwrap().sni, b"ababab");
        assert_eq!(record.marks[Mark::ClientHello as usize], Some(2));
        assert_eq!(record.splt.sizes[..], [2, 2, 2]);
        assert_eq!((record.first_ns, record.last_ns, record.first_packet), (0, 3 * SECOND, 1));
        assert_eq!(record.id, records[1].id);
    }

    #[test]
    fn the_flow_goes_on_as_if_nobody_had_asked() {
        let all =
            |limits, sweeps| records(limits, sweeps).iter().map(|record| format!("{record:?}")).collect::<Vec<_>>();
        let without = all(limits(0, 0), false);
        let with = all(limits(3, 0), false);
        assert_eq!((without.len(), with.len()), (1, 2));
        assert_eq!(with[1], without[0]);
        assert_eq!(all(limits(3, 0), true), with, "sweeps move nothing");
    }
}
