//! Sequence of packet lengths and times: the rhythm of a flow's beginning, its quantiles and its bursts.

use smallvec::SmallVec;
use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, FlowView, RowWriter, RowsMut, quantiles, ratio};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};

declare_plugins!(feature "splt" "lengths and times of the first payload packets, quantiles, bursts": Splt);

/// The extractor.
#[derive(Debug)]
pub struct Splt {
    packets: usize,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SpltSettings {
    /// Packets that get columns of their own.
    packets: usize,
}

impl Default for SpltSettings {
    fn default() -> Self {
        Self { packets: 20 }
    }
}

const QUANTILES: [(f64, &str); 5] = [(0.1, "p10"), (0.25, "p25"), (0.5, "p50"), (0.75, "p75"), (0.9, "p90")];

const SUMMARY: [(&str, &str, &str); 9] = [
    ("turns", "count", "changes of direction among the first payload packets"),
    ("forward_count", "count", "payload packets of the originator among the first"),
    ("backward_count", "count", "payload packets of the responder among the first"),
    ("bursts", "count", "runs of payload packets in one direction"),
    ("burst_bytes_max", "bytes", "largest run of payload in one direction"),
    ("burst_bytes_mean", "bytes", "mean run of payload in one direction"),
    ("pause_share", "ratio", "share of the longest pause in the time of the first payload packets"),
    ("think_time", "seconds", "time that the first answer took beyond the round trip of the TCP handshake"),
    ("distinct_sizes", "ratio", "share of different lengths among the first payload packets"),
];

/// Larger payloads tell the segment size and the offloading of the machine that captured, not the traffic.
fn clipped(size: i32) -> i32 {
    const BELOW_ANY_MSS: i32 = 1200;
    size.clamp(-BELOW_ANY_MSS, BELOW_ANY_MSS)
}

impl Splt {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let SpltSettings { packets } = settings.read()?;
        let most = veilwatch_core::flow::Splt::CAPACITY;
        if packets > most {
            return Err(PluginError::settings(format!("`packets = {packets}`: a flow records {most} at most")));
        }
        Ok(Self { packets })
    }

    fn fill(&self, flow: &FlowView<'_>, row: &mut RowWriter<'_>) {
        let splt = flow.splt();
        let count = splt.sizes.len();
        for at in 0..self.packets {
            row.maybe(splt.sizes.get(at).map(|size| f64::from(clipped(*size))));
        }
        let seconds = |us: u32| f64::from(us) / 1e6;
        let gaps: SmallVec<[f64; 32]> =
            splt.times_us.windows(2).map(|pair| seconds(pair[1].saturating_sub(pair[0]))).collect();
        for at in 0..self.packets.saturating_sub(1) {
            row.maybe(gaps.get(at).copied());
        }
        let at = QUANTILES.map(|(at, _)| at);
        for forward in [true, false] {
            let mut sizes: SmallVec<[f64; 32]> = splt
                .sizes
                .iter()
                .filter(|size| (**size > 0) == forward)
                .map(|size| f64::from(clipped(*size).abs()))
                .collect();
            quantiles(&mut sizes, at).into_iter().for_each(|value| row.put(value));
        }
        quantiles(&mut gaps.clone(), at).into_iter().for_each(|value| row.put(value));

        let forward = splt.sizes.iter().filter(|size| **size > 0).count();
        let bursts: SmallVec<[f64; 32]> = splt
            .sizes
            .chunk_by(|a, b| (*a > 0) == (*b > 0))
            .map(|run| run.iter().map(|size| f64::from(size.abs())).sum())
            .collect();
        row.put(bursts.len().saturating_sub(1) as f64);
        row.put(forward as f64);
        row.put((count - forward) as f64);
        row.put(bursts.len() as f64);
        row.put(bursts.iter().copied().fold(0.0, f64::max));
        row.maybe(ratio(bursts.iter().sum(), bursts.len() as f64));
        let longest = gaps.iter().copied().fold(0.0, f64::max);
        row.maybe(ratio(longest, gaps.iter().sum()));
        let first = splt.sizes.first().copied().unwrap_or_default();
        let answer = splt.sizes.iter().position(|size| (*size > 0) != (first > 0));
        // Without the round trip it would tell where the traffic was captured.
        let (opened, accepted) = (flow.direction(Direction::Forward), flow.direction(Direction::Backward));
        let handshake = opened.syn > 0 && accepted.syn > 0;
        let round_trip = accepted.first_ns.saturating_sub(opened.first_ns) as f64 / 1e9;
        let answer = answer.map(|at| seconds(splt.times_us[at].saturating_sub(splt.times_us[0])));
        row.maybe(answer.filter(|_| handshake).map(|answer| (answer - round_trip).max(0.0)));
        let mut distinct: SmallVec<[i32; 32]> = splt.sizes.into();
        distinct.sort_unstable();
        distinct.dedup();
        row.maybe(ratio(distinct.len() as f64, count as f64));
    }
}

impl FeatureExtractor for Splt {
    fn columns(&self) -> Vec<Column> {
        let mut columns = Vec::new();
        let mut add = |name: String, unit: &'static str, words: String| {
            columns.push(Column::new(name, unit, words, Evidence::Flow));
        };
        for at in 1..=self.packets {
            add(format!("size_{at}"), "bytes", format!("length of payload packet {at}, negative from the responder"));
        }
        for at in 1..self.packets {
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
        for (name, unit, words) in SUMMARY {
            add(name.to_owned(), unit, words.to_owned());
        }
        columns
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let mut row = rows.writer(at);
            self.fill(&flow, &mut row);
            debug_assert_eq!(row.left(), 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `veilwatch config example` prints every default: the file it prints holds those of this plugin.
    #[test]
    fn the_example_holds_the_defaults() {
        let file: toml::Table = include_str!("../../../../config/default.toml").parse().unwrap();
        let entries = file["plugin"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["use"].as_str() == Some("feature/splt")).unwrap();
        let written = entry["settings"].as_table().unwrap();
        let read: SpltSettings = written.clone().try_into().unwrap();
        assert_eq!(read, SpltSettings::default());
        let keys = 1;
        assert_eq!(written.len(), keys, "a setting is missing in config/default.toml");
    }
}
