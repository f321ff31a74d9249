//! Figures by (capture, server) pair, with intervals by capture.

use crate::model::Figure;

/// One (capture, server) pair: its truth, and the highest score of its flows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The pair's capture.
    pub capture: usize,
    /// Whether one of its flows is malicious.
    pub malicious: bool,
    /// The highest score of its flows.
    pub score: f64,
}

/// Pairs in falling order of score.
#[derive(Debug, Clone, Default)]
pub struct Pairs {
    sorted: Vec<Pair>,
}

/// Bootstrap samples behind an interval.
const SAMPLES: usize = 1000;

impl Pairs {
    /// Pairs of any order.
    pub fn new(mut pairs: Vec<Pair>) -> Self {
        pairs.sort_by(|a, b| b.score.total_cmp(&a.score));
        Self { sorted: pairs }
    }

    /// The pairs that a test takes, for example one kind of negatives.
    pub fn iter(&self) -> impl Iterator<Item = &Pair> {
        self.sorted.iter()
    }

    /// Average precision: the area under the precision–recall steps, pairs of one score taken together; NaN where one of the
    /// classes is missing.
    pub fn average_precision(&self, weight: impl Fn(&Pair) -> f64) -> f64 {
        let (mut hits, mut seen, mut area) = (0.0, 0.0, 0.0);
        for tied in self.sorted.chunk_by(|a, b| a.score == b.score) {
            let gained: f64 = tied.iter().filter(|pair| pair.malicious).map(&weight).sum();
            seen += tied.iter().map(&weight).sum::<f64>();
            hits += gained;
            if seen > 0.0 {
                area += gained * hits / seen;
            }
        }
        if hits > 0.0 && seen > hits { area / hits } else { f64::NAN }
    }

    /// The highest recall whose false-positive rate is at most `limit`.
    pub fn recall_at(&self, limit: f64, weight: impl Fn(&Pair) -> f64) -> f64 {
        let total = |malicious: bool| -> f64 {
            self.sorted.iter().filter(|pair| pair.malicious == malicious).map(&weight).sum()
        };
        let (positive, negative) = (total(true), total(false));
        let (mut hits, mut alarms, mut best) = (0.0, 0.0, 0.0);
        for tied in self.sorted.chunk_by(|a, b| a.score == b.score) {
            hits += tied.iter().filter(|pair| pair.malicious).map(&weight).sum::<f64>();
            alarms += tied.iter().filter(|pair| !pair.malicious).map(&weight).sum::<f64>();
            if alarms > limit * negative {
                break;
            }
            best = hits;
        }
        if positive > 0.0 { best / positive } else { f64::NAN }
    }

    /// A figure with its 95 % interval: captures are drawn with replacement, because the pairs of one capture are not
    /// independent.
    pub fn figure(&self, seed: u64, measure: impl Fn(&Self, &dyn Fn(&Pair) -> f64) -> f64) -> Figure {
        let value = measure(self, &|_| 1.0);
        let captures = self.sorted.iter().map(|pair| pair.capture + 1).max().unwrap_or_default();
        let mut present = vec![false; captures];
        self.sorted.iter().for_each(|pair| present[pair.capture] = true);
        let present: Vec<usize> = (0..captures).filter(|capture| present[*capture]).collect();
        let mut random = SplitMix(seed);
        let mut drawn = Vec::with_capacity(SAMPLES);
        let mut times = vec![0.0; captures];
        for _ in 0..SAMPLES {
            times.fill(0.0);
            for _ in 0..present.len() {
                times[present[(random.next() % present.len() as u64) as usize]] += 1.0;
            }
            let sample = measure(self, &|pair| times[pair.capture]);
            if !sample.is_nan() {
                drawn.push(sample);
            }
        }
        let [low, high] = veilwatch_core::feature::quantiles(&mut drawn, [0.025, 0.975]);
        Figure { value, low, high }
    }
}

/// Benign pairs that make a tail, at least, however rare the alarms are to be...
const LEAST_EXCESSES: f64 = 20.0;
/// ... where there are so many that these are few of them. Of fewer the highest says as much as any tail.
const ENOUGH: usize = 1000;

/// Share of the benign pairs that is taken for the tail, at most, unless so many alarms are asked for.
const MOST_TAIL: f64 = 0.1;

/// The score that a share `rate` of benign pairs reaches, with a smoothed tail: among the ten times as many that score
/// highest (a tenth of all at most, and no fewer than twenty of a thousand or more), excesses are taken as exponential, so that not one or two odd pairs alone decide.
pub(crate) fn tail_threshold(mut benign: Vec<f64>, rate: f64) -> f64 {
    let least = if benign.len() < ENOUGH { 0.0 } else { LEAST_EXCESSES / benign.len() as f64 };
    // Only far out do excesses fall off as they should: where alarms are frequent, what was seen speaks for itself.
    let tail = (10.0 * rate).min(MOST_TAIL).max(rate).max(least).min(1.0);
    let [start] = veilwatch_core::feature::quantiles(&mut benign, [1.0 - tail]);
    let excesses: Vec<f64> = benign.iter().filter(|score| **score > start).map(|score| score - start).collect();
    if excesses.is_empty() {
        return start;
    }
    let mean = excesses.iter().sum::<f64>() / excesses.len() as f64;
    start + mean * (tail / rate).ln()
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, and the same everywhere.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(f64, bool)]) -> Pairs {
        Pairs::new(
            list.iter()
                .enumerate()
                .map(|(capture, (score, malicious))| Pair { capture, malicious: *malicious, score: *score })
                .collect(),
        )
    }

    #[test]
    fn average_precision_by_hand() {
        // Precision at the two hits: 1/1 and 2/3.
        let got = pairs(&[(0.9, true), (0.8, false), (0.7, true), (0.1, false)]).average_precision(|_| 1.0);
        assert!((got - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        // All tied: precision is the share of malicious pairs, whatever their order.
        let tied = pairs(&[(0.5, true), (0.5, false), (0.5, false), (0.5, false)]).average_precision(|_| 1.0);
        assert!((tied - 0.25).abs() < 1e-12);
        // Against nothing there is none.
        assert!(pairs(&[(0.9, true), (0.8, true)]).average_precision(|_| 1.0).is_nan());
        assert!(pairs(&[(0.9, false)]).average_precision(|_| 1.0).is_nan());
    }

    #[test]
    fn recall_at_a_false_positive_rate() {
        let mut list: Vec<(f64, bool)> = (0..1000).map(|at| (f64::from(at) / 1000.0, false)).collect();
        list.extend([(0.9995, true), (0.9985, true), (0.5, true)]);
        // One alarm is allowed: it stands at 0.999, so the hit at 0.9985 still counts.
        assert!((pairs(&list).recall_at(1e-3, |_| 1.0) - 2.0 / 3.0).abs() < 1e-12);
        assert!((pairs(&list).recall_at(0.0, |_| 1.0) - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn intervals_hold_the_figure_and_repeat() {
        let list: Vec<(f64, bool)> = (0..200).map(|at| (f64::from(at % 37), at % 9 == 0)).collect();
        let one = pairs(&list).figure(7, |pairs, weight| pairs.average_precision(weight));
        let two = pairs(&list).figure(7, |pairs, weight| pairs.average_precision(weight));
        assert_eq!(one, two);
        assert!(one.low <= one.value && one.value <= one.high, "{one:?}");
    }

    #[test]
    fn the_tail_is_smooth() {
        // Exponential scores with mean 1: the 1e-3 threshold is ln(1000).
        let scores: Vec<f64> = (1..20_000).map(|at| -(f64::from(at) / 20_000.0).ln()).collect();
        let got = tail_threshold(scores, 1e-3);
        assert!((got - 1000f64.ln()).abs() < 0.15, "{got}");
    }
}
