//! Whether traffic is still what a model was made for.
//!
//! What flows look like today is held against what benign flows looked like in training ([`Reference`]), column by column
//! and over the model's scores, by the population stability index: the sum over bins of the difference of both shares,
//! times the logarithm of their ratio. Below 0.1 it is customary to call a population stable, up to 0.25 shifted, and
//! above that drifted (Siddiqi 2006).
//!
//! A sample of traffic differs from another one by chance, the more the smaller it is. Without any drift the index is
//! distributed as χ² with one degree of freedom less than there are bins, times `1/n + 1/m` for samples of n and m
//! observations (Yurdakul 2018). So that much is taken off, and what chance alone could well have done is called stable;
//! where that much is half of a drift, there are too few flows to tell. The flows of one server in one capture are one
//! observation.

use super::Card;
use super::memory::{Bins, Memory, Reference, Shares, worth};
use crate::engine::{Detection, Sink};
use crate::learn::NOVEL_SHARE;
use crate::learn::validate::PAIR_WEIGHT;
use crate::output::plain_value;
use serde::Serialize;
use std::collections::BTreeMap;
use veilwatch_core::detect::Verdict;
use veilwatch_core::feature::{Column, FeatureSchema};

/// From this index on a population has shifted.
pub const SHIFTED: f64 = 0.1;
/// Beyond this one it has drifted.
pub const DRIFTED: f64 = 0.25;
/// Bins of values that an index is computed over, beside that of missing values.
const GROUPS: f64 = 10.0;
/// Flows that are looked at, at most.
pub const MAX_FLOWS: usize = 200_000;
/// Share of the columns that the model uses most, from which on their drift is that of the whole.
const MANY: f64 = 0.25;
/// How many times as many flows as in training must be novel for that to be drift.
const OFTEN: f64 = 10.0;

/// How far a population has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is what it was, as far as chance lets one tell.
    Stable,
    /// There are too few flows to tell.
    Unclear,
    /// It has moved, and is worth a look.
    Shifted,
    /// It is another one.
    Drifted,
}

impl State {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Unclear => "unclear",
            Self::Shifted => "shifted",
            Self::Drifted => "drifted",
        }
    }
}

/// How far something has moved.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Moved {
    /// The word for it.
    pub state: State,
    /// The population stability index, less what chance does on average.
    pub psi: f64,
    /// What chance does on average.
    pub noise: f64,
}

/// How far a column has moved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnDrift {
    /// Its name.
    pub column: String,
    /// Whether it is one of those that the model uses most.
    pub used: bool,
    /// How far.
    #[serde(flatten)]
    pub moved: Moved,
    /// What it measures, how it was and how it is.
    pub words: String,
}

/// A share of flows beside what was to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// Share of the flows, where those of one server in one capture weigh no more than three.
    pub share: f64,
    /// What it was for benign flows that training had not seen; for alerts, what the threshold was chosen for, where it was
    /// chosen for a budget.
    pub expected: Option<f64>,
}

/// What there is to say of some captures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// Of all together.
    pub state: State,
    /// The same in a sentence.
    pub sentence: String,
    /// Flows that were scored.
    pub flows: usize,
    /// Flows that were scored but not looked at, because there were too many.
    pub not_looked_at: u64,
    /// Independent observations that they are worth.
    pub worth: f64,
    /// Observations that would be enough to tell a shift from chance.
    pub needed: usize,
    /// How far the model's scores have moved.
    pub scores: Moved,
    /// Flows like nothing in training.
    pub novel: Option<Share>,
    /// Flows called malicious: true alerts are among them.
    pub alerts: Share,
    /// Of the columns that the model uses most: how many there are, how many have shifted at least, and how many drifted.
    pub used: [usize; 3],
    /// The same of all columns.
    pub all: [usize; 3],
    /// All columns that have moved, the farthest first.
    pub columns: Vec<ColumnDrift>,
}

/// Takes in flows that were scored.
pub struct Collector<'a> {
    memory: &'a Memory,
    capture: usize,
    /// The bin of every column, flow by flow.
    codes: Vec<u8>,
    /// What else is known of each flow: its pair, its raw score, whether it is novel and an alert.
    flows: Vec<(usize, f32, bool, bool)>,
    pairs: BTreeMap<(usize, [u8; 16]), usize>,
    not_looked_at: u64,
}

impl<'a> Collector<'a> {
    /// One that holds against a memory.
    pub fn new(memory: &'a Memory) -> Self {
        Self { memory, capture: 0, codes: Vec::new(), flows: Vec::new(), pairs: BTreeMap::new(), not_looked_at: 0 }
    }

    /// Flows from here on are another capture's.
    pub fn next_capture(&mut self) {
        self.capture += 1;
    }

    /// Takes in a flow: the responder's address, its row and its raw score, and whether it is novel and called malicious.
    pub(crate) fn add(&mut self, server: [u8; 16], row: &[f32], raw: f64, novel: bool, alert: bool) {
        if self.flows.len() >= MAX_FLOWS {
            self.not_looked_at += 1;
            return;
        }
        let number = self.pairs.len();
        let pair = *self.pairs.entry((self.capture, server)).or_insert(number);
        let values = row.iter().copied().chain(std::iter::repeat(f32::NAN));
        self.codes.extend(self.memory.bins().iter().zip(values).map(|(bins, value)| bins.bin(value)));
        self.flows.push((pair, raw as f32, novel, alert));
    }

    /// What there is to say of all flows.
    /// The thresholds were chosen for so many false alerts in 100,000, where they were.
    pub fn finish(self, schema: &FeatureSchema, card: &Card, budget: Option<f64>) -> Drift {
        let mut sizes = vec![0.0f64; self.pairs.len()];
        self.flows.iter().for_each(|(pair, ..)| sizes[*pair] += 1.0);
        let weight = |pair: usize| (PAIR_WEIGHT / sizes[pair]).min(1.0);
        let total: f64 = self.flows.iter().map(|(pair, ..)| weight(*pair)).sum();
        let share = |is: fn(&(usize, f32, bool, bool)) -> bool| {
            let sum: f64 = self.flows.iter().filter(|flow| is(flow)).map(|(pair, ..)| weight(*pair)).sum();
            if sum > 0.0 { sum / total } else { 0.0 }
        };
        let worth = worth(sizes.iter().map(|size| size.min(PAIR_WEIGHT)));
        let reference = self.memory.reference();
        let held = Held { now: worth, then: f64::from(reference.pairs) };
        let width = self.memory.width();
        let used: Vec<usize> = self.memory.prototypes().columns().collect();
        let mut columns: Vec<ColumnDrift> = Vec::new();
        for (at, ((bins, then), column)) in
            self.memory.bins().iter().zip(&reference.columns).zip(schema.columns()).enumerate()
        {
            let found = self.codes.iter().skip(at).step_by(width.max(1)).zip(&self.flows);
            let now = Shares::of(bins, found.map(|(code, (pair, ..))| (*code, weight(*pair))));
            columns.push(ColumnDrift {
                column: column.name.to_string(),
                used: used.contains(&at),
                moved: held.moved(then, &now),
                words: words(column, bins, then, &now),
            });
        }
        let Reference { score_bins, scores, .. } = reference;
        let now = self.flows.iter().map(|(pair, raw, ..)| (score_bins.bin(*raw), weight(*pair)));
        let scores = held.moved(scores, &Shares::of(score_bins, now));
        let count = |used: bool| {
            let of =
                |least| columns.iter().filter(|column| (column.used || !used) && column.moved.state >= least).count();
            [of(State::Stable), of(State::Shifted), of(State::Drifted)]
        };
        let counts = [count(true), count(false)];
        columns.retain(|column| column.moved.state >= State::Shifted);
        columns.sort_by(|a, b| b.moved.psi.total_cmp(&a.moved.psi));
        let novel =
            card.novelty_limit.map(|_| Share { share: share(|(_, _, novel, _)| *novel), expected: Some(NOVEL_SHARE) });
        let mut drift = Drift {
            state: scores.state,
            sentence: String::new(),
            flows: self.flows.len(),
            not_looked_at: self.not_looked_at,
            worth,
            needed: held.needed(),
            scores,
            novel,
            alerts: Share {
                share: share(|(.., alert)| *alert),
                expected: budget.map(|budget| budget / Card::BUDGET_PAIRS),
            },
            used: counts[0],
            all: counts[1],
            columns,
        };
        drift.judge();
        drift
    }
}

impl Sink for Collector<'_> {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        if let Some(scored) = detection.scored.filter(|scored| scored.score.is_some()) {
            let novel = detection.pipeline.is_novel(scored.novelty);
            let alert = scored.verdict == Some(Verdict::Malicious);
            self.add(detection.flow.responder.address, scored.row, scored.raw, novel, alert);
        }
        Ok(())
    }
}

impl Drift {
    /// Whether the novel flows are too many for chance.
    fn is_novel(&self) -> bool {
        // A handful of observations is no share.
        const FEW: f64 = 5.0;
        self.novel.is_some_and(|Share { share, expected }| {
            expected.is_some_and(|expected| share > OFTEN * expected) && share * self.worth >= FEW
        })
    }

    /// What it comes to.
    fn judge(&mut self) {
        let [all, shifted, drifted] = self.used.map(|count| count as f64);
        let many = |count: f64| all > 0.0 && count >= MANY * all;
        let unclear = self.scores.state == State::Unclear || self.worth < self.needed as f64;
        self.state = if self.scores.state == State::Drifted || many(drifted) || self.is_novel() {
            State::Drifted
        } else if self.scores.state == State::Shifted || many(shifted) {
            State::Shifted
        } else if unclear {
            State::Unclear
        } else {
            State::Stable
        };
        let [all, shifted, drifted] = self.used;
        let mut signs = Vec::new();
        if self.scores.state >= State::Shifted {
            signs.push(format!("its scores have {} (index {:.2})", self.scores.state.name(), self.scores.psi));
        }
        if shifted > 0 {
            let which = format!("{shifted} of the {all} columns that it uses most have shifted");
            signs.push(if drifted > 0 { format!("{which}, {drifted} of them so far as to be others") } else { which });
        }
        if self.is_novel() {
            let share = self.novel.map_or(0.0, |novel| novel.share);
            signs.push(format!("training held nothing like {:.1} % of the flows", share * 100.0));
        }
        let signs = if signs.is_empty() { "nothing stands out".to_owned() } else { signs.join("; ") };
        let verdict = match self.state {
            State::Stable => "the traffic is what the model was made for",
            State::Shifted => "the traffic has moved from what the model was made for; keep an eye on it",
            State::Drifted => {
                "the traffic is not what the model was made for: its threshold may not hold here; learn from such traffic \
                 too, or weigh alerts against it"
            }
            State::Unclear => "there are too few flows to tell",
        };
        self.sentence = format!("{}: {verdict} ({signs})", self.state.name());
        if self.worth < self.needed as f64 {
            let more = format!(
                "; these flows are worth {:.0} independent ones, {} would tell a shift from chance",
                self.worth, self.needed
            );
            self.sentence.push_str(&more);
        }
    }
}

/// How many observations are held against how many.
#[derive(Debug, Clone, Copy)]
struct Held {
    now: f64,
    then: f64,
}

impl Held {
    /// What chance does on average, where there are so many groups, and how far it seldom goes.
    fn chance(self, groups: usize) -> [f64; 2] {
        let freedom = groups.saturating_sub(1) as f64;
        let one = 1.0 / self.now.max(1.0) + 1.0 / self.then.max(1.0);
        [freedom * one, (freedom + 2.0 * (2.0 * freedom).sqrt()) * one]
    }

    /// Observations with which chance alone seldom looks like a shift, against as many as there were then.
    fn needed(self) -> usize {
        let enough = |now: &usize| Self { now: *now as f64, ..self }.chance(GROUPS as usize + 1)[1] < SHIFTED;
        let tried = (1..=20).map(|step| step * 50);
        // With few observations in training no number is enough; then it is said what would be against many.
        tried.clone().find(enough).unwrap_or_else(|| {
            let many =
                |now: &usize| Self { now: *now as f64, then: f64::INFINITY }.chance(GROUPS as usize + 1)[1] < SHIFTED;
            tried.clone().find(many).unwrap_or(1000)
        })
    }

    fn moved(self, then: &Shares, now: &Shares) -> Moved {
        let groups = groups(then, now);
        let [noise, seldom] = self.chance(groups.len());
        let count = groups.len() as f64;
        // Half an observation more in each group, so that an empty one does not make it infinite.
        let smooth = |share: f64, size: f64| (share * size + 0.5) / (size + 0.5 * count);
        let part = |(then, now): &(f64, f64)| {
            let (then, now) = (smooth(*then, self.then), smooth(*now, self.now));
            (now - then) * (now / then).ln()
        };
        let raw: f64 = groups.iter().map(part).sum();
        let psi = (raw - noise).max(0.0);
        let state = if noise > DRIFTED / 2.0 {
            // With so few the approximation is none.
            State::Unclear
        } else if raw <= seldom || psi < SHIFTED {
            State::Stable
        } else if psi <= DRIFTED {
            State::Shifted
        } else {
            State::Drifted
        };
        Moved { state, psi, noise }
    }
}

/// Both shares of missing values, and of values in groups of neighbouring bins that each had a tenth then.
fn groups(then: &Shares, now: &Shares) -> Vec<(f64, f64)> {
    let mut bins = then.iter().zip(now.iter());
    let missing = bins.next().unwrap_or_default();
    let least = (1.0 - missing.0) / GROUPS;
    let mut groups = Vec::new();
    let (mut sum, mut open) = ((0.0, 0.0), false);
    for (then, now) in bins {
        sum = (sum.0 + then, sum.1 + now);
        open = true;
        // Shares are rounded: ten of a tenth must be ten groups.
        if sum.0 > 0.0 && sum.0 >= least - 1e-6 {
            groups.push(std::mem::take(&mut sum));
            open = false;
        }
    }
    match groups.last_mut() {
        // What is left over belongs to the last one, unless nothing in training was there.
        Some(last) if sum.0 > 0.0 => *last = (last.0 + sum.0, last.1 + sum.1),
        Some(_) if sum.1 <= 0.0 => {}
        None if !open => {}
        Some(_) | None => groups.push(sum),
    }
    if missing != (0.0, 0.0) {
        groups.push(missing);
    }
    groups
}

/// What a column measures, how it was and how it is.
fn words(column: &Column, bins: &Bins, then: &Shares, now: &Shares) -> String {
    let [then, now] = [then, now].map(|shares| spread_words(column, bins, shares));
    format!("{}: {then} in training, {now} now", column.words)
}

/// Between what most values lie, and how many are missing.
fn spread_words(column: &Column, bins: &Bins, shares: &Shares) -> String {
    let missing = shares.iter().next().unwrap_or_default();
    let present: Vec<f64> = shares.iter().skip(1).collect();
    let total: f64 = present.iter().sum();
    let percent = |share: f64| format!("{} %", (share * 100.0).round());
    if total <= 0.0 {
        return "none".into();
    }
    let values = if column.unit == "flag" {
        // A flag's values are 0 and 1.
        let is_set = |bin: usize| bins.span(bin).0.is_some_and(|low| low >= 0.0);
        let set: f64 = present.iter().enumerate().filter(|(at, _)| is_set(at + 1)).map(|(_, share)| share).sum();
        format!("yes in {}", percent(set / total))
    } else {
        let end = |share: f64| {
            let mut below = 0.0;
            let mut passed = |part: &f64| {
                below += part;
                below < share * total
            };
            let bin = 1 + present.iter().take_while(|part| passed(part)).count();
            bins.span(bin.min(bins.len() - 1))
        };
        let ((low_begin, low), (high_begin, high)) = (end(0.05), end(0.95));
        let text = |value: f32| plain_value(value, column);
        match (low, high) {
            (Some(low), Some(high)) if low == high => text(low),
            (Some(low), Some(high)) => format!("{} to {}", text(low), text(high)),
            // The last bin is beyond all that training saw.
            (Some(low), None) => format!("{} to more than {}", text(low), text(high_begin.unwrap_or(low))),
            (None, _) => low_begin.map_or("other than ever".into(), |begin| format!("more than {}", text(begin))),
        }
    };
    if missing > 0.005 { format!("{values} ({} missing)", percent(missing)) } else { values }
}

#[cfg(test)]
#[path = "drift_tests.rs"]
mod tests;
