//! What pictures are drawn from: counts in bins, made in the worker flow by flow and never packet by packet.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use veilwatch::engine::Detection;

use super::facts::short;

/// Bins of the time line; their width doubles when the capture outgrows them.
pub const TIME_BINS: usize = 240;
/// The narrowest bin of the time line, in nanoseconds.
const NARROWEST_NS: u64 = 1_000_000;
/// Protocols that are told apart; the rest is one.
pub const PROTOCOLS: usize = 64;
/// Ports below this one name a protocol that no template recognised.
const NAMED_PORTS: u16 = 1024;

/// Bytes of a bin of payload lengths.
pub const LENGTH_STEP: i64 = 100;
/// Bins of payload lengths on each side of zero; the outer ones take all that is longer.
const LENGTH_SIDE: i64 = 16;
/// Bins of payload lengths; the first holds the longest from the responder, the last the longest from the originator.
pub const LENGTH_BINS: usize = 32;

/// Bins of intervals, three to a power of ten from ten microseconds on; the outer ones take what is beyond.
pub const INTERVAL_BINS: usize = 22;

/// Everything that pictures are drawn from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histograms {
    /// Flows by the time they began.
    pub timeline: Timeline,
    /// Flows and bytes by protocol, most bytes first; the last may be nameless and stand for all others.
    pub protocols: Vec<Share>,
    /// Lengths of the first payload packets of flows that were scored: negative where the responder sent them.
    pub lengths: Pair,
    /// Time between neighbours among these packets.
    pub intervals: Pair,
}

/// Flows by the time they began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeline {
    /// Begin of the first bin in nanoseconds since 1970.
    pub start_ns: u64,
    /// Width of a bin.
    pub width_ns: u64,
    /// Flows that began in each.
    pub flows: Vec<u64>,
    /// Alerts among them.
    pub alerts: Vec<u64>,
}

/// One protocol's part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Its name; empty for all others together.
    pub name: String,
    /// Its flows.
    pub flows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The same counts of alerts and of the other flows that were scored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Of alerts.
    pub alerts: Vec<u64>,
    /// Of the rest.
    pub rest: Vec<u64>,
}

impl Pair {
    fn new(bins: usize) -> Self {
        Self { alerts: vec![0; bins], rest: vec![0; bins] }
    }

    fn add(&mut self, bin: usize, is_alert: bool) {
        let side = if is_alert { &mut self.alerts } else { &mut self.rest };
        if let Some(count) = side.get_mut(bin) {
            *count += 1;
        }
    }
}

impl Histograms {
    /// What is wrong with histograms that came out of a file, if anything.
    pub(super) fn flaw(&self) -> Option<&'static str> {
        let Timeline { width_ns, flows, alerts, .. } = &self.timeline;
        if flows.len() > TIME_BINS || flows.len() != alerts.len() || (!flows.is_empty() && *width_ns == 0) {
            return Some("the bins of its time line");
        }
        if self.protocols.len() > PROTOCOLS + 1 || self.protocols.iter().any(|share| share.name != short(&share.name)) {
            return Some("its protocols");
        }
        let fits = |pair: &Pair, bins| pair.alerts.len() == bins && pair.rest.len() == bins;
        if !fits(&self.lengths, LENGTH_BINS) || !fits(&self.intervals, INTERVAL_BINS) {
            return Some("the bins of its lengths or intervals");
        }
        None
    }
}

/// The bin of a payload length.
fn length_bin(length: i32) -> usize {
    // One byte to a hundred is the first bin of its side, and so on: floor for one direction, ceiling for the other.
    let length = i64::from(length);
    let bin = if length > 0 { (length - 1) / LENGTH_STEP } else { (length + 1) / LENGTH_STEP - 1 };
    usize::try_from(bin.clamp(-LENGTH_SIDE, LENGTH_SIDE - 1) + LENGTH_SIDE).unwrap_or_default()
}

/// The lengths of a bin: from (inclusive) and to, of the side it stands for.
pub fn length_range(bin: usize) -> (i64, i64) {
    let low = (i64::try_from(bin).unwrap_or(i64::MAX) - LENGTH_SIDE).saturating_mul(LENGTH_STEP);
    (low, low.saturating_add(LENGTH_STEP))
}

/// The bin of an interval in microseconds.
fn interval_bin(microseconds: u32) -> usize {
    let place = (f64::from(microseconds.max(1)).log10() - 1.0) * 3.0;
    // A hair more: steps of a third of a power of ten do not come out even.
    ((place + 1e-9).floor() + 1.0).clamp(0.0, (INTERVAL_BINS - 1) as f64) as usize
}

/// Where a bin of intervals begins, in microseconds; the first begins at nothing.
pub fn interval_begin(bin: usize) -> f64 {
    if bin == 0 { 0.0 } else { 10f64.powf(1.0 + (bin as f64 - 1.0) / 3.0) }
}

/// Makes histograms, flow by flow.
#[derive(Debug)]
pub struct Counter {
    width_ns: u64,
    bins: BTreeMap<u64, (u64, u64)>,
    /// By template of the pipeline; then by transport and port.
    templates: Vec<(u64, u64)>,
    ports: BTreeMap<(u8, Option<u16>), (u64, u64)>,
    lengths: Pair,
    intervals: Pair,
}

impl Counter {
    /// Counts nothing yet.
    pub fn new(templates: usize) -> Self {
        Self {
            width_ns: NARROWEST_NS,
            bins: BTreeMap::new(),
            templates: vec![(0, 0); templates],
            ports: BTreeMap::new(),
            lengths: Pair::new(LENGTH_BINS),
            intervals: Pair::new(INTERVAL_BINS),
        }
    }

    /// Takes one flow.
    pub fn add(&mut self, detection: &Detection<'_>, is_alert: bool) {
        let flow = detection.flow;
        self.time(flow.first_ns, is_alert);
        let bytes: u64 = flow.stats.iter().fold(0, |sum, stats| sum.saturating_add(stats.bytes));
        let port = Some(flow.responder.port).filter(|port| *port < NAMED_PORTS);
        let share = match flow.template.and_then(|at| self.templates.get_mut(usize::from(at))) {
            Some(share) => share,
            None => self.ports.entry((flow.protocol, port)).or_default(),
        };
        share.0 += 1;
        share.1 = share.1.saturating_add(bytes);
        if detection.scored.is_some() {
            for size in &flow.splt.sizes {
                self.lengths.add(length_bin(*size), is_alert);
            }
            for pair in flow.splt.times_us.windows(2) {
                if let [before, after] = pair {
                    self.intervals.add(interval_bin(after.saturating_sub(*before)), is_alert);
                }
            }
        }
    }

    fn time(&mut self, first_ns: u64, is_alert: bool) {
        loop {
            let bin = first_ns / self.width_ns;
            let first = self.bins.keys().next().map_or(bin, |first| bin.min(*first));
            let last = self.bins.keys().next_back().map_or(bin, |last| bin.max(*last));
            if last - first < TIME_BINS as u64 {
                let counts = self.bins.entry(bin).or_default();
                counts.0 += 1;
                counts.1 += u64::from(is_alert);
                return;
            }
            self.width_ns *= 2;
            let mut wider = BTreeMap::<u64, (u64, u64)>::new();
            for (bin, counts) in &self.bins {
                let sum = wider.entry(bin / 2).or_default();
                sum.0 += counts.0;
                sum.1 += counts.1;
            }
            self.bins = wider;
        }
    }

    /// The histograms; `templates` are the pipeline's ids in order.
    pub fn finish(self, templates: &[String]) -> Histograms {
        let mut timeline = Timeline { width_ns: self.width_ns, ..Timeline::default() };
        if let (Some(first), Some(last)) = (self.bins.keys().next(), self.bins.keys().next_back()) {
            timeline.start_ns = first * self.width_ns;
            for bin in *first..=*last {
                let (flows, alerts) = self.bins.get(&bin).copied().unwrap_or_default();
                timeline.flows.push(flows);
                timeline.alerts.push(alerts);
            }
        }
        let share = |name: String, (flows, bytes): (u64, u64)| Share { name, flows, bytes };
        let recognised =
            templates.iter().zip(self.templates).map(|(id, counts)| share(short(&id.to_uppercase()), counts));
        let other = self.ports.into_iter().map(|((protocol, port), counts)| {
            let transport = if protocol == 6 { "TCP" } else { "UDP" };
            let name =
                port.map_or_else(|| format!("{transport} ≥ {NAMED_PORTS}"), |port| format!("{transport} {port}"));
            share(name, counts)
        });
        let mut protocols: Vec<Share> = recognised.chain(other).filter(|share| share.flows > 0).collect();
        protocols.sort_by(|a, b| (b.bytes, b.flows, &a.name).cmp(&(a.bytes, a.flows, &b.name)));
        if protocols.len() > PROTOCOLS {
            let rest = protocols
                .split_off(PROTOCOLS)
                .into_iter()
                .fold((0, 0u64), |(flows, bytes), share| (flows + share.flows, bytes.saturating_add(share.bytes)));
            protocols.push(share(String::new(), rest));
        }
        Histograms { timeline, protocols, lengths: self.lengths, intervals: self.intervals }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_fall_where_they_belong() {
        for (length, low) in [(1, 0), (100, 0), (101, 100), (1600, 1500), (70_000, 1500)] {
            assert_eq!(length_range(length_bin(length)).0, low, "{length}");
            assert_eq!(length_range(length_bin(-length)).1, -low, "-{length}");
        }
        assert!((i32::MIN..=i32::MIN + 2).chain(i32::MAX - 2..=i32::MAX).all(|l| length_bin(l) < LENGTH_BINS));
    }

    #[test]
    fn intervals_fall_where_they_belong() {
        assert_eq!(interval_bin(0), 0);
        assert_eq!(interval_bin(9), 0);
        assert_eq!(interval_bin(10), 1);
        assert_eq!(interval_bin(99), 3);
        assert_eq!(interval_bin(100), 4);
        assert_eq!(interval_bin(u32::MAX), INTERVAL_BINS - 1);
        for exact in [10u32, 1000, 1_000_000, 10_000_000] {
            let begin = interval_begin(interval_bin(exact));
            assert!((begin - f64::from(exact)).abs() < 1e-6 * f64::from(exact), "{exact} {begin}");
        }
    }

    #[test]
    fn the_time_line_grows_with_the_capture() {
        let mut counter = Counter::new(0);
        for second in (0..100_000).rev() {
            counter.time(1_700_000_000_000_000_000 + second * 1_000_000_000, second % 1000 == 0);
        }
        let Histograms { timeline, .. } = counter.finish(&[]);
        assert!((TIME_BINS / 2..=TIME_BINS).contains(&timeline.flows.len()), "{}", timeline.flows.len());
        assert_eq!(timeline.flows.iter().sum::<u64>(), 100_000);
        assert_eq!(timeline.alerts.iter().sum::<u64>(), 100);
        assert!(timeline.start_ns <= 1_700_000_000_000_000_000);
        let mut counter = Counter::new(0);
        counter.time(0, false);
        counter.time(u64::MAX, true);
        let histograms = counter.finish(&[]);
        assert!(histograms.timeline.flows.len() <= TIME_BINS);
        assert_eq!(histograms.flaw(), None);
    }
}
