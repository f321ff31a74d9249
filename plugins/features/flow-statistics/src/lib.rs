//! Counts, lengths and times of a flow's packets: what is left when everything in them is encrypted.
//!
//! The round trip of the TCP handshake and the shortest gap are left out: they tell how far the servers were from where
//! the traffic was captured, and whether a gateway nearby answered for them.

use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, FlowView, RowWriter, RowsMut, ratio};
use veilwatch_core::flow::{Direction, DirectionStats};
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};

declare_plugins!(feature "flow-statistics" "counts, lengths and times of a flow's packets": FlowStatistics);

/// The extractor; it has no settings.
#[derive(Debug)]
pub struct FlowStatistics;

/// Columns of each direction: name, unit, words.
const OF_DIRECTION: [(&str, &str, &str); 15] = [
    ("packets", "count", "packets"),
    ("bytes", "bytes", "bytes"),
    ("payload_bytes", "bytes", "payload bytes"),
    ("payload_packets", "count", "packets with payload"),
    ("length_min", "bytes", "smallest payload"),
    ("length_max", "bytes", "largest payload, 1200 at most"),
    ("length_mean", "bytes", "mean payload"),
    ("length_deviation", "bytes", "spread of the payload lengths"),
    ("gap_max", "seconds", "longest gap between packets"),
    ("gap_mean", "seconds", "mean gap between packets"),
    ("gap_deviation", "seconds", "spread of the gaps between packets"),
    ("push_share", "ratio", "share of packets with PSH"),
    ("fin", "count", "packets with FIN"),
    ("reset", "count", "packets with RST"),
    ("retransmitted", "ratio", "share of payload packets that repeat earlier bytes"),
];

const OF_FLOW: [(&str, &str, &str); 11] = [
    ("duration", "seconds", "duration of the flow"),
    ("sent_share", "ratio", "share of the payload that the originator sent"),
    ("packet_share", "ratio", "share of the packets that the originator sent"),
    ("payload_share", "ratio", "share of payload in all bytes"),
    ("bytes_per_second", "bytes/s", "bytes per second"),
    ("packets_per_second", "1/s", "packets per second"),
    ("tail", "seconds", "silence between the responder's last packet and the originator's last"),
    ("syn", "count", "attempts to open the connection"),
    ("port_https", "flag", "the responder's port is 443"),
    ("port_tls", "flag", "the responder's port is another one assigned to TLS"),
    ("port_high", "flag", "the responder's port is above 1023 and not assigned to TLS"),
];

/// Larger payloads tell the segment size and the offloading of the machine that captured, not the traffic.
const BELOW_ANY_MSS: f64 = 1200.0;

/// Ports assigned to protocols over TLS (IANA), and 8443, which everybody uses.
const TLS_PORTS: [u16; 15] = [261, 448, 465, 563, 614, 636, 684, 695, 853, 989, 990, 992, 993, 995, 8443];

impl FlowStatistics {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none()?;
        Ok(Self)
    }

    fn fill(flow: &FlowView<'_>, row: &mut RowWriter<'_>) {
        let forward = flow.direction(Direction::Forward);
        let backward = flow.direction(Direction::Backward);
        direction(&forward, row);
        direction(&backward, row);
        let duration = flow.duration();
        let payload = (forward.payload_bytes + backward.payload_bytes) as f64;
        let bytes = (forward.bytes + backward.bytes) as f64;
        let packets = (forward.packets + backward.packets) as f64;
        row.put(duration);
        row.maybe(ratio(forward.payload_bytes as f64, payload));
        row.maybe(ratio(forward.packets as f64, packets));
        row.maybe(ratio(payload, bytes));
        // Flows shorter than a millisecond would only measure the clock.
        row.maybe((duration >= 0.001).then(|| bytes / duration));
        row.maybe((duration >= 0.001).then(|| packets / duration));
        let both = forward.packets > 0 && backward.packets > 0;
        let seconds = |later: u64, earlier: u64| (i128::from(later) - i128::from(earlier)) as f64 / 1e9;
        row.maybe(both.then(|| seconds(forward.last_ns, backward.last_ns)));
        row.put(f64::from(forward.syn));
        let port = flow.responder_port();
        row.flag(port == 443);
        row.flag(TLS_PORTS.contains(&port));
        row.flag(port > 1023 && !TLS_PORTS.contains(&port));
    }
}

fn direction(stats: &DirectionStats, row: &mut RowWriter<'_>) {
    let packets = stats.packets as f64;
    row.put(packets);
    row.put(stats.bytes as f64);
    row.put(stats.payload_bytes as f64);
    row.put(stats.lengths.count as f64);
    let (lengths, gaps) = (&stats.lengths, &stats.gaps);
    let some = lengths.count > 0;
    row.maybe(some.then_some(lengths.min));
    row.maybe(some.then(|| lengths.max.min(BELOW_ANY_MSS)));
    row.maybe(some.then_some(lengths.mean));
    row.maybe(some.then(|| lengths.deviation()));
    let some = gaps.count > 0;
    row.maybe(some.then_some(gaps.max));
    row.maybe(some.then_some(gaps.mean));
    row.maybe(some.then(|| gaps.deviation()));
    row.maybe(ratio(f64::from(stats.psh), packets));
    row.put(f64::from(stats.fin));
    row.put(f64::from(stats.rst));
    row.maybe(ratio(f64::from(stats.retransmitted), stats.lengths.count as f64));
}

impl FeatureExtractor for FlowStatistics {
    fn columns(&self) -> Vec<Column> {
        let mut columns = Vec::new();
        for (prefix, who) in [("forward", "originator"), ("backward", "responder")] {
            columns.extend(OF_DIRECTION.map(|(name, unit, words)| {
                Column::new(format!("{prefix}_{name}"), unit, format!("{words} of the {who}"), Evidence::Flow)
            }));
        }
        columns.extend(OF_FLOW.map(|(name, unit, words)| Column::new(name, unit, words, Evidence::Flow)));
        columns
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let mut row = rows.writer(at);
            Self::fill(&flow, &mut row);
            debug_assert_eq!(row.left(), 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilwatch_core::flow::{FlowRecord, Moments, Templates};
    use veilwatch_core::record::FieldTable;
    use veilwatch_testkit::conformance::assert_conforms;
    use veilwatch_testkit::flows::Table;
    use veilwatch_testkit::talk::Talk;

    fn moments(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|value| moments.add(*value));
        moments
    }

    fn flow() -> FlowRecord {
        let mut flow = Talk::tcp().open().flow(&Templates::default());
        (flow.first_ns, flow.last_ns, flow.responder.port) = (1_000_000_000, 5_000_000_000, 8443);
        let [forward, backward] = &mut flow.stats;
        *forward = DirectionStats {
            packets: 6,
            bytes: 1240,
            payload_bytes: 1000,
            syn: 2,
            fin: 1,
            psh: 3,
            retransmitted: 1,
            first_ns: 1_000_000_000,
            last_ns: 4_500_000_000,
            lengths: moments(&[100.0, 900.0]),
            gaps: moments(&[0.5, 1.5]),
            ..DirectionStats::default()
        };
        *backward = DirectionStats {
            packets: 2,
            bytes: 3160,
            payload_bytes: 3000,
            rst: 1,
            first_ns: 1_500_000_000,
            last_ns: 4_000_000_000,
            lengths: moments(&[3000.0]),
            ..DirectionStats::default()
        };
        flow
    }

    #[test]
    fn values_by_hand() {
        let table = Table::new(&declarations()[0], "", &FieldTable::new(), &[flow()]).unwrap();
        let get = |name: &str| table.get(0, name).unwrap();
        for (name, wanted) in [
            ("forward_packets", 6.0),
            ("forward_bytes", 1240.0),
            ("forward_payload_packets", 2.0),
            ("forward_length_min", 100.0),
            ("forward_length_mean", 500.0),
            ("forward_length_deviation", 400.0),
            ("forward_gap_max", 1.5),
            ("forward_gap_mean", 1.0),
            ("forward_gap_deviation", 0.5),
            ("forward_push_share", 0.5),
            ("forward_fin", 1.0),
            ("forward_retransmitted", 0.5),
            ("backward_reset", 1.0),
            // A segment of the machine that captured, cut to what any segment may have.
            ("backward_length_max", 1200.0),
            ("duration", 4.0),
            ("sent_share", 0.25),
            ("packet_share", 0.75),
            ("payload_share", (4000.0 / 4400.0) as f32),
            ("bytes_per_second", 1100.0),
            ("packets_per_second", 2.0),
            ("tail", 0.5),
            ("syn", 2.0),
            ("port_https", 0.0),
            ("port_tls", 1.0),
            ("port_high", 0.0),
        ] {
            assert_eq!(get(name), wanted, "{name}");
        }
        assert!(get("backward_gap_max").is_nan());
    }

    #[test]
    fn what_was_not_seen_is_missing_and_no_zero() {
        let mut short = flow();
        short.last_ns = short.first_ns + 500_000;
        short.stats[1] = DirectionStats::default();
        let mut empty = flow();
        empty.stats = Default::default();
        let table = Table::new(&declarations()[0], "", &FieldTable::new(), &[short, empty]).unwrap();
        let missing = |row: usize, name: &str| table.get(row, name).unwrap().is_nan();
        assert!(
            ["bytes_per_second", "packets_per_second", "tail", "backward_length_min"].iter().all(|it| missing(0, it))
        );
        assert!(["sent_share", "packet_share", "payload_share", "forward_push_share"].iter().all(|it| missing(1, it)));
        assert_eq!(table.get(1, "forward_packets"), Some(0.0));
    }

    #[test]
    fn it_conforms() {
        assert_conforms(declarations());
    }
}
