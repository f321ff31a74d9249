//! Sequence of packet lengths and times: the rhythm of a flow's beginning, its quantiles, its bursts and its pauses.
//!
//! Times that hold a round trip are left out or are shares of others: they tell how far the servers were.

use smallvec::SmallVec;
use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{
    Column, Evidence, FlowBatch, FlowView, HandshakeEnd, RowWriter, RowsMut, SpltView, quantiles, ratio,
};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings, within};

declare_plugins!(feature "splt" "lengths and times of the first payload packets, quantiles, bursts": Splt);

/// The extractor.
#[derive(Debug)]
pub struct Splt {
    settings: SpltSettings,
}

#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SpltSettings {
    /// Packets that get columns of their own.
    packets: usize,
    /// Whether only packets behind the handshake of TLS count, and of these only the first `packets`.
    after_handshake: bool,
}

impl Default for SpltSettings {
    fn default() -> Self {
        Self { packets: 25, after_handshake: false }
    }
}

/// Most packets behind a handshake: a flow records 32, and a long handshake must not push them out of sight.
const MOST_AFTER: usize = 12;

const QUANTILES: [(f64, &str); 5] = [(0.1, "p10"), (0.25, "p25"), (0.5, "p50"), (0.75, "p75"), (0.9, "p90")];

const SUMMARY: [(&str, &str, &str); 18] = [
    ("turns", "count", "changes of direction among the first payload packets"),
    ("forward_count", "count", "payload packets of the originator among the first"),
    ("backward_count", "count", "payload packets of the responder among the first"),
    ("bursts", "count", "runs of payload packets in one direction"),
    ("burst_bytes_max", "bytes", "largest run of payload in one direction"),
    ("burst_bytes_mean", "bytes", "mean run of payload in one direction"),
    ("pause_share", "ratio", "share of the longest pause in the time of the first payload packets"),
    ("distinct_sizes", "ratio", "share of different lengths among the first payload packets"),
    ("burst_packets_max", "count", "payload packets of the longest run in one direction"),
    ("burst_packets_mean", "count", "payload packets of a run in one direction, on average"),
    ("forward_burst_bytes_max", "bytes", "largest run of payload of the originator"),
    ("forward_burst_bytes_mean", "bytes", "mean run of payload of the originator"),
    ("backward_burst_bytes_max", "bytes", "largest run of payload of the responder"),
    ("backward_burst_bytes_mean", "bytes", "mean run of payload of the responder"),
    ("burst_ratio", "ratio", "share of the originator in the payload of the runs"),
    ("think_share", "ratio", "share of the time that passed before packets of the originator"),
    ("pauses", "count", "pauses of a second or more between the first payload packets"),
    ("even_gaps", "ratio", "smallest gap over the largest among the pauses of the originator"),
];

/// What needs the handshake among the packets.
const OF_HANDSHAKE: [(&str, &str, &str); 3] = [
    ("think_time", "seconds", "time that the first answer took beyond the round trip of the TCP handshake"),
    ("handshake_share", "ratio", "share of the handshake of TLS in the time of the first payload packets"),
    ("data_pause", "seconds", "pause of the client between the handshake of TLS and its first data"),
];

/// Larger payloads tell the segment size and the offloading of the machine that captured, not the traffic.
fn clipped(size: i32) -> i32 {
    const BELOW_ANY_MSS: i32 = 1200;
    size.clamp(-BELOW_ANY_MSS, BELOW_ANY_MSS)
}

fn seconds(us: u32) -> f64 {
    f64::from(us) / 1e6
}

type Numbers = SmallVec<[f64; 32]>;

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

impl Splt {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let settings: SpltSettings = settings.read()?;
        let SpltSettings { packets, after_handshake } = settings;
        let most = veilwatch_core::flow::Splt::CAPACITY;
        if packets > most {
            return Err(PluginError::settings(format!("`packets = {packets}`: a flow records {most} at most")));
        }
        if after_handshake {
            within("packets", packets, 0..=MOST_AFTER)?;
        }
        Ok(Self { settings })
    }

    /// The packets that count; `None` where they cannot be told.
    fn packets<'a>(&self, flow: &FlowView<'a>, end: Option<HandshakeEnd>) -> Option<SpltView<'a>> {
        let SpltView { sizes, times_us } = flow.splt();
        if !self.settings.after_handshake {
            return Some(SpltView { sizes, times_us });
        }
        let begin = end?.packets?;
        let full = sizes.len() >= veilwatch_core::flow::Splt::CAPACITY;
        let until = begin + self.settings.packets;
        if full && sizes.len() < until {
            return None;
        }
        let until = until.min(sizes.len());
        Some(SpltView { sizes: sizes.get(begin..until)?, times_us: times_us.get(begin..until)? })
    }

    fn fill(&self, flow: &FlowView<'_>, row: &mut RowWriter<'_>) {
        let end = HandshakeEnd::of(flow);
        let Some(splt) = self.packets(flow, end) else { return };
        let count = splt.sizes.len();
        for at in 0..self.settings.packets {
            row.maybe(splt.sizes.get(at).map(|size| f64::from(clipped(*size))));
        }
        let gaps: Numbers = splt.times_us.windows(2).map(|pair| seconds(pair[1].saturating_sub(pair[0]))).collect();
        for at in 0..self.settings.packets.saturating_sub(1) {
            row.maybe(gaps.get(at).copied());
        }
        let at = QUANTILES.map(|(at, _)| at);
        for forward in [true, false] {
            let mut sizes: Numbers = splt
                .sizes
                .iter()
                .filter(|size| (**size > 0) == forward)
                .map(|size| f64::from(clipped(*size).abs()))
                .collect();
            quantiles(&mut sizes, at).into_iter().for_each(|value| row.put(value));
        }
        quantiles(&mut gaps.clone(), at).into_iter().for_each(|value| row.put(value));
        bursts(splt, &gaps, row);
        let mut distinct: SmallVec<[i32; 32]> = splt.sizes.into();
        distinct.sort_unstable();
        distinct.dedup();
        row.maybe(ratio(distinct.len() as f64, count as f64));
        runs(splt, &gaps, row);
        if !self.settings.after_handshake {
            of_handshake(flow, splt, end, row);
        }
    }
}

/// Bytes of the runs in one direction.
fn run_bytes(run: &[i32]) -> f64 {
    run.iter().map(|size| f64::from(size.unsigned_abs())).sum()
}

fn bursts(splt: SpltView<'_>, gaps: &[f64], row: &mut RowWriter<'_>) {
    let forward = splt.sizes.iter().filter(|size| **size > 0).count();
    let bursts: Numbers = splt.sizes.chunk_by(|a, b| (*a > 0) == (*b > 0)).map(run_bytes).collect();
    row.put(bursts.len().saturating_sub(1) as f64);
    row.put(forward as f64);
    row.put((splt.sizes.len() - forward) as f64);
    row.put(bursts.len() as f64);
    row.put(largest(&bursts));
    row.maybe(ratio(bursts.iter().sum(), bursts.len() as f64));
    row.maybe(ratio(largest(gaps), gaps.iter().sum()));
}

fn runs(splt: SpltView<'_>, gaps: &[f64], row: &mut RowWriter<'_>) {
    let runs = || splt.sizes.chunk_by(|a, b| (*a > 0) == (*b > 0));
    let count = runs().count() as f64;
    row.put(runs().map(<[i32]>::len).max().unwrap_or_default() as f64);
    row.maybe(ratio(splt.sizes.len() as f64, count));
    let of = |forward: bool| -> Numbers {
        runs().filter(|run| run.first().is_some_and(|size| (*size > 0) == forward)).map(run_bytes).collect()
    };
    let both = [of(true), of(false)];
    for bytes in &both {
        row.maybe((!bytes.is_empty()).then(|| largest(bytes)));
        row.maybe(ratio(bytes.iter().sum(), bytes.len() as f64));
    }
    let [sent, answered] = both.map(|bytes| bytes.iter().sum::<f64>());
    row.maybe(ratio(sent, sent + answered));
    let before_forward = gaps.iter().zip(splt.sizes.iter().skip(1)).filter(|(_, size)| **size > 0);
    let pauses: Numbers = before_forward.map(|(gap, _)| *gap).collect();
    row.maybe(ratio(pauses.iter().sum(), gaps.iter().sum()));
    row.put(gaps.iter().filter(|gap| **gap >= 1.0).count() as f64);
    let long: Numbers = pauses.into_iter().filter(|gap| *gap >= 1.0).collect();
    let least = long.iter().copied().fold(f64::INFINITY, f64::min);
    row.maybe((long.len() > 1).then(|| least / largest(&long)));
}

fn of_handshake(flow: &FlowView<'_>, splt: SpltView<'_>, end: Option<HandshakeEnd>, row: &mut RowWriter<'_>) {
    let times = splt.times_us;
    let since = |later: usize, earlier: usize| Some(seconds(times.get(later)?.saturating_sub(*times.get(earlier)?)));
    let first = splt.sizes.first().copied().unwrap_or_default();
    let answer = splt.sizes.iter().position(|size| (*size > 0) != (first > 0));
    // Without the round trip it would tell where the traffic was captured.
    let (opened, accepted) = (flow.direction(Direction::Forward), flow.direction(Direction::Backward));
    let handshake = opened.syn > 0 && accepted.syn > 0;
    let round_trip = accepted.first_ns.saturating_sub(opened.first_ns) as f64 / 1e9;
    let answer = answer.and_then(|at| since(at, 0)).filter(|_| handshake);
    row.maybe(answer.map(|answer| (answer - round_trip).max(0.0)));
    let behind = end.and_then(|end| end.packets);
    let whole = since(times.len().saturating_sub(1), 0);
    let share = |behind: usize| ratio(since(behind.checked_sub(1)?, 0)?, whole?);
    row.maybe(behind.and_then(share));
    let pause = |behind: usize| {
        let data = splt.sizes.iter().skip(behind).position(|size| *size > 0)? + behind;
        // From the packet before it, whoever sent that: no answer is waited for.
        since(data, data.checked_sub(1)?)
    };
    row.maybe(behind.and_then(pause));
}

impl FeatureExtractor for Splt {
    fn columns(&self) -> Vec<Column> {
        let SpltSettings { packets, after_handshake } = self.settings;
        let evidence = if after_handshake { Evidence::ApplicationData } else { Evidence::Flow };
        let mut columns = Vec::new();
        let mut add = |name: String, unit: &'static str, words: String| {
            let words = if after_handshake { format!("{words}, behind the handshake") } else { words };
            columns.push(Column::new(name, unit, words, evidence));
        };
        for at in 1..=packets {
            add(format!("size_{at}"), "bytes", format!("length of payload packet {at}, negative from the responder"));
        }
        for at in 1..packets {
            add(format!("gap_{at}"), "seconds", format!("time between payload packets {at} and {}", at + 1));
        }
        for (prefix, words, unit) in [
            ("forward_size", "payload length of the originator", "bytes"),
            ("backward_size", "payload length of the responder", "bytes"),
            ("gap", "time between the first payload packets", "seconds"),
        ] {
            for (at, name) in QUANTILES {
                add(format!("{prefix}_{name}"), unit, format!("{words}, {} % quantile", at * 100.0));
            }
        }
        let handshake = if after_handshake { &[][..] } else { &OF_HANDSHAKE };
        for (name, unit, words) in SUMMARY.iter().chain(handshake) {
            add((*name).to_owned(), unit, (*words).to_owned());
        }
        columns
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            self.fill(&flow, &mut rows.writer(at));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
