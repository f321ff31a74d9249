//! The rhythm of a conversation: whether somebody calls home by the clock.
//!
//! What RITA looks at, in four parts (how regular the times are, how alike the sizes, how evenly the time is covered,
//! how many of the expected calls came), but over a bounded ring of the latest flows, so that a flow costs the same
//! however long the conversation is. Few flows prove little: `confidence` says how much the numbers are worth.

use smallvec::SmallVec;

/// Latest flows that the rhythm is taken from.
const RING: usize = 32;

/// Gaps from which on there is a rhythm at all: with fewer, any two numbers look regular.
const LEAST_GAPS: usize = 3;

/// How far from a whole multiple of the period, in periods, a gap may be and still be one with missed calls.
const MISSED_WITHIN: f64 = 0.2;

/// Longest row of missed calls that is taken for one.
const MOST_MISSED: f64 = 12.0;

/// Slices of time whose coverage is looked at.
const SLICES: usize = 8;

/// Gaps after which the rhythm is half believed.
const HALF_BELIEVED: f64 = 8.0;

/// The rhythm of a conversation's latest flows, the one that asks included; all NaN with fewer than four flows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeaconSnapshot {
    /// Median of the gaps between flows in seconds.
    pub period: f32,
    /// Median distance of the gaps from their median over the period, gaps with missed calls taken apart first.
    pub jitter: f32,
    /// How lopsided the gaps are: Bowley's measure without its sign, 0 to 1.
    pub skew: f32,
    /// Share of calls that the period lets expect and that did not come.
    pub missed: f32,
    /// Median distance of the bytes sent from their median, over that median.
    pub size_jitter: f32,
    /// How lopsided the bytes sent are, 0 to 1.
    pub size_skew: f32,
    /// How evenly the flows lie over the time, 0 to 1.
    pub coverage: f32,
    /// The parts that know times alone, together: 0 to 1.
    pub rhythm: f32,
    /// All four parts together: 0 to 1.
    pub score: f32,
    /// What these numbers are worth: near 0 for few flows, near 1 for many.
    pub confidence: f32,
}

impl Default for BeaconSnapshot {
    fn default() -> Self {
        Self::from_values([f32::NAN; Self::VALUES])
    }
}

impl BeaconSnapshot {
    /// How many numbers it has.
    pub const VALUES: usize = 10;

    /// Its numbers, in the order of their declaration.
    pub fn values(&self) -> [f32; Self::VALUES] {
        let Self { period, jitter, skew, missed, size_jitter, size_skew, coverage, rhythm, score, confidence } = *self;
        [period, jitter, skew, missed, size_jitter, size_skew, coverage, rhythm, score, confidence]
    }

    /// The snapshot with these numbers, in the order of their declaration.
    pub fn from_values(values: [f32; Self::VALUES]) -> Self {
        let [period, jitter, skew, missed, size_jitter, size_skew, coverage, rhythm, score, confidence] = values;
        Self { period, jitter, skew, missed, size_jitter, size_skew, coverage, rhythm, score, confidence }
    }
}

/// Gaps and sizes of the latest flows of one conversation: 264 bytes, from its second flow on.
#[derive(Debug, Clone, Default)]
pub(super) struct Ring {
    gaps: [f32; RING],
    sizes: [f32; RING],
    /// Gaps taken in so far; the next one stands at this place, modulo the ring.
    taken: usize,
}

impl Ring {
    /// Takes a flow in: seconds since the one before it, and bytes that its originator sent.
    pub(super) fn add(&mut self, gap: f64, size: f64) {
        let at = self.taken % RING;
        (self.gaps[at], self.sizes[at]) = (gap as f32, size as f32);
        // Only whether it is full, and the place, count: it need not grow for ever.
        self.taken = if self.taken + 1 >= 2 * RING { RING } else { self.taken + 1 };
    }

    /// The rhythm so far.
    pub(super) fn snapshot(&self) -> BeaconSnapshot {
        let count = self.taken.min(RING);
        if count < LEAST_GAPS {
            return BeaconSnapshot::default();
        }
        // Oldest first.
        let first = if self.taken > RING { self.taken % RING } else { 0 };
        let gap = |at: usize| f64::from(self.gaps[(first + at) % RING]);
        let mut sorted: Sample = (0..count).map(gap).collect();
        let period = Spread::of(&mut sorted).median;
        let calls = |gap: f64| {
            let calls = if period > 0.0 { (gap / period).round() } else { 1.0 };
            let near = (gap - calls * period).abs() <= MISSED_WITHIN * period;
            if near && (2.0..=MOST_MISSED).contains(&calls) { calls } else { 1.0 }
        };
        let expected: f64 = (0..count).map(|at| calls(gap(at))).sum();
        let mut apart: Sample = (0..count).map(|at| gap(at) / calls(gap(at))).collect();
        let mut sizes: Sample = self.sizes[..count].iter().map(|size| f64::from(*size)).collect();
        let (times, sizes) = (Spread::of(&mut apart), Spread::of(&mut sizes));
        let arrived = count as f64 / expected;
        let coverage = coverage((0..count).map(gap));
        // Of gaps of nothing, as parallel flows have them, no rhythm can be told.
        let regular = if period > 0.0 { times.regular() } else { 0.0 };
        BeaconSnapshot {
            period: period as f32,
            jitter: times.relative() as f32,
            skew: times.skew as f32,
            missed: (1.0 - arrived) as f32,
            size_jitter: sizes.relative() as f32,
            size_skew: sizes.skew as f32,
            coverage: coverage as f32,
            rhythm: ((2.0 * regular + coverage + arrived) / 4.0) as f32,
            score: ((regular + sizes.regular() + coverage + arrived) / 4.0) as f32,
            confidence: (count as f64 / (count as f64 + HALF_BELIEVED)) as f32,
        }
    }
}

/// The rhythm of one conversation flow by flow, for whoever shows what its features saw. It takes flows in the order in which
/// they are detected.
#[derive(Debug, Clone, Default)]
pub struct Rhythm {
    ring: Ring,
    last_ns: Option<u64>,
}

impl Rhythm {
    /// Takes a flow in, by its begin in nanoseconds and the bytes that its originator sent; gives the rhythm so far.
    pub fn flow(&mut self, begin_ns: u64, sent: u64) -> BeaconSnapshot {
        if let Some(last) = self.last_ns.replace(begin_ns) {
            self.ring.add(begin_ns.abs_diff(last) as f64 / 1e9, sent as f64);
        }
        self.ring.snapshot()
    }
}

type Sample = SmallVec<[f64; RING]>;

/// Where the middle of some numbers is, and how they lie about it.
#[derive(Debug, Clone, Copy)]
struct Spread {
    median: f64,
    /// Median distance from the median.
    deviation: f64,
    /// Bowley's measure without its sign: 0 where the quartiles lie evenly about the median.
    skew: f64,
}

impl Spread {
    /// Of at least one number; changes their order.
    fn of(sample: &mut Sample) -> Self {
        sample.sort_unstable_by(f64::total_cmp);
        let [low, median, high] = [0.25, 0.5, 0.75].map(|at| quantile(sample, at));
        let width = high - low;
        let skew = if width > 0.0 { ((low + high - 2.0 * median) / width).abs() } else { 0.0 };
        sample.iter_mut().for_each(|value| *value = (*value - median).abs());
        sample.sort_unstable_by(f64::total_cmp);
        Self { median, deviation: quantile(sample, 0.5), skew }
    }

    fn relative(&self) -> f64 {
        if self.median > 0.0 { self.deviation / self.median } else { f64::NAN }
    }

    /// How regular they are, from 0 to 1: half by the deviation, and half by evenness. Numbers that hardly deviate are even
    /// whatever their quartiles do, which are noise then.
    fn regular(&self) -> f64 {
        let relative = if self.median > 0.0 { (self.deviation / self.median).min(1.0) } else { 0.0 };
        let uneven = self.skew * (4.0 * relative).min(1.0);
        1.0 - (relative + uneven) / 2.0
    }
}

/// By linear interpolation; 0 of nothing.
fn quantile(sorted: &[f64], at: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = at * last as f64;
    let (low, high) = (sorted[place as usize], sorted[(place as usize + 1).min(last)]);
    low + (high - low) * place.fract()
}

/// How evenly flows with these gaps lie over their time: the share of slices that have any, less what their counts vary.
fn coverage(gaps: impl Iterator<Item = f64> + Clone) -> f64 {
    let span: f64 = gaps.clone().sum();
    if span <= 0.0 {
        return 0.0;
    }
    let slices = gaps.clone().count().min(SLICES);
    let mut counts = [0.0; SLICES];
    let mut at = 0.0;
    let mut total = 0.0;
    for gap in gaps {
        at += gap;
        // A flow at the border of two slices counts for the earlier one, as the last flow of all does.
        let slice = ((at / span * slices as f64).ceil() as usize).clamp(1, slices) - 1;
        counts[slice] += 1.0;
        total += 1.0;
    }
    let counts = &counts[..slices];
    let filled = counts.iter().filter(|count| **count > 0.0).count() as f64 / slices as f64;
    let mean = total / slices as f64;
    let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / slices as f64;
    (filled + (1.0 - variance.sqrt() / mean).max(0.0)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from 0 to 1 that look like chance and are the same in every run (Knuth, MMIX).
    fn chance(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / (1 << 24) as f64
        }
    }

    fn ring(gaps: impl Iterator<Item = (f64, f64)>) -> BeaconSnapshot {
        let mut ring = Ring::default();
        gaps.for_each(|(gap, size)| ring.add(gap, size));
        ring.snapshot()
    }

    /// Calls every minute, this much early or late.
    fn beacon(seed: u64, jitter: f64, calls: usize) -> BeaconSnapshot {
        let mut next = chance(seed);
        ring((0..calls).map(|_| (60.0 * (1.0 + jitter * (2.0 * next() - 1.0)), 300.0)))
    }

    /// Somebody at a browser: bursts, long pauses, sizes of every kind.
    fn person(seed: u64, flows: usize) -> BeaconSnapshot {
        let mut next = chance(seed);
        ring((0..flows).map(|_| (-(1.0 - next()).ln() * if next() < 0.3 { 300.0 } else { 4.0 }, next().powi(3) * 9e4)))
    }

    #[test]
    fn by_hand() {
        let clock = beacon(1, 0.0, 20);
        assert_eq!((clock.period, clock.jitter, clock.skew, clock.missed), (60.0, 0.0, 0.0, 0.0));
        assert_eq!((clock.size_jitter, clock.size_skew), (0.0, 0.0));
        assert_eq!(clock.confidence, 20.0 / 28.0);
        // Twenty calls in eight slices: two or three in each.
        assert!(clock.score > 0.95 && clock.rhythm > 0.95, "{clock:?}");
        // Gaps 10, 10, 20, 40: the median is 15; 40 is no multiple of it, and neither is 20.
        let odd = ring([10.0, 10.0, 20.0, 40.0].into_iter().map(|gap| (gap, 1.0)));
        assert_eq!((odd.period, odd.missed), (15.0, 0.0));
        // Distances 5, 5, 5, 25; quartiles 10 and 25.
        assert_eq!((odd.jitter, odd.skew), (5.0 / 15.0, 5.0 / 15.0));
    }

    #[test]
    fn jitter_lowers_the_score_and_chance_is_far_below() {
        for seed in 1..20 {
            let [none, some, much] = [0.0, 0.1, 0.5].map(|jitter| beacon(seed, jitter, 32));
            assert!(none.jitter < some.jitter && some.jitter < much.jitter);
            assert!(none.score >= some.score && some.score > 0.85, "{some:?}");
            assert!(much.score > 0.7, "{much:?}");
            let person = person(seed, 32);
            assert!(person.score < 0.65 && person.score < much.score - 0.15, "{seed}: {person:?} {much:?}");
            assert!(person.rhythm < much.rhythm, "{seed}: {person:?} {much:?}");
        }
    }

    #[test]
    fn missed_calls_are_seen_and_forgiven() {
        for seed in 1..20 {
            let mut next = chance(seed);
            let gaps = (0..32).map(|at| (60.0 * if at % 5 == 4 { 3.0 } else { 1.0 } * (0.98 + 0.04 * next()), 300.0));
            let gappy = ring(gaps);
            // 6 of 32 gaps stand for three calls each.
            assert!((f64::from(gappy.missed) - 12.0 / 44.0).abs() < 1e-6, "{gappy:?}");
            assert!(gappy.jitter < 0.03 && gappy.score > 0.8, "{gappy:?}");
        }
    }

    #[test]
    fn few_flows_say_nothing_or_little() {
        assert!(beacon(1, 0.0, 2).values().iter().all(|value| value.is_nan()));
        let few = beacon(1, 0.0, 3);
        assert!(few.confidence < 0.3 && few.score > 0.9);
        assert!(beacon(1, 0.0, 500).confidence == 0.8);
    }

    #[test]
    fn flow_by_flow_it_is_the_same() {
        let mut rhythm = Rhythm::default();
        let all: Vec<_> = (0..12_u64).map(|at| rhythm.flow(at * 60_000_000_000, 300)).collect();
        assert!(all[2].period.is_nan());
        for (gaps, seen) in all.iter().enumerate().skip(3) {
            assert_eq!(*seen, ring(std::iter::repeat_n((60.0, 300.0), gaps)));
        }
    }

    #[test]
    fn only_the_latest_count_in_their_order() {
        let mut ring = Ring::default();
        (0..200).for_each(|at| ring.add(f64::from(at), 1.0));
        // 168 to 199.
        assert_eq!(ring.snapshot().period, 183.5);
        (0..32).for_each(|_| ring.add(7.0, 1.0));
        assert_eq!((ring.snapshot().period, ring.snapshot().jitter), (7.0, 0.0));
    }

    #[test]
    fn whatever_comes_is_finite_or_nothing() {
        for (gap, size) in [(0.0, 0.0), (1e12, 1e18), (0.0, 5.0), (5.0, 0.0), (1e-9, 1e-9)] {
            let seen = ring(std::iter::repeat_n((gap, size), 40));
            assert!(seen.values().iter().all(|value| !value.is_infinite()), "{seen:?}");
            assert!((0.0..=1.0).contains(&seen.score), "{seen:?}");
        }
        assert_eq!(ring(std::iter::repeat_n((0.0, 9.0), 40)).period, 0.0, "parallel flows");
    }
}
