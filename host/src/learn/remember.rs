//! What a model remembers of the rows that it learnt from, beside its weights.

use super::folds::{group, publisher};
use super::random::{Random, fnv};
use super::{Dataset, Truth, validate};
use crate::model::memory::{
    Bins, COLUMNS, KNOTS, Kind, MAX_PROTOTYPES, Memory, Prototypes, Reference, Shares, learn_all, worth,
};
use std::collections::{BTreeMap, BTreeSet};
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::Classifier;

/// Share of held-out benign flows, pairs capped, that are called novel.
pub(crate) const NOVEL_SHARE: f64 = 0.005;

/// Parts that are held out one by one.
const PARTS: u64 = 10;

/// Rows of each class whose explanations tell which columns a classifier uses.
const EXPLAINED: usize = 128;

/// Flows of a malicious (capture, server) pair that are remembered, at most.
const FLOWS_OF_MALICIOUS: usize = 8;

/// The same of a benign pair.
const FLOWS_OF_BENIGN: usize = 2;

/// A memory, and from which novelty on a flow is novel; the latter is not there where nothing could be held out.
pub(crate) struct Remembered {
    pub(crate) memory: Memory,
    pub(crate) novelty_limit: Option<f64>,
}

/// What is remembered of some data by a classifier that has learnt from it; `raw` are the rows' scores by models that had
/// not seen them, NaN where there is none.
pub(crate) fn remember(data: &Dataset, classifier: &dyn Classifier, raw: &[f64], seed: u64) -> Remembered {
    let labelled: Vec<usize> = (0..data.rows.len()).filter(|row| data.rows[*row].truth != Truth::Unlabelled).collect();
    let weights = validate::weights(data, &labelled);
    let mut values = Vec::with_capacity(labelled.len() * data.width);
    labelled.iter().for_each(|row| values.extend_from_slice(data.row(*row)));
    let bins = learn_all(&Rows::new(&values, data.width), &weights);
    let columns = used_columns(data, &labelled, classifier, &bins, seed);
    let weighted: Vec<(usize, f64)> = labelled.into_iter().zip(weights).collect();
    // What people marked, and what is weakly labelled, was learnt from too: it is nothing new. It measures nothing.
    let beside =
        (0..data.rows.len()).filter(|row| data.rows[*row].truth == Truth::Unlabelled && data.lesson(*row).is_some());
    let known: Vec<usize> = weighted.iter().map(|(row, _)| *row).chain(beside).collect();
    let prototypes = prototypes(data, &known, &columns, &bins, seed);
    let remoteness = held_out(data, &weighted, &columns, seed);
    let all = remoteness.iter().map(|(_, remote, weight)| (*remote, *weight)).collect();
    let reference = reference(data, &weighted, &bins, raw);
    let memory = Memory::new(bins, reference, prototypes, knots(all));
    let benign = remoteness.iter().filter(|(row, ..)| data.rows[*row].truth != Truth::Malicious);
    let novelty_limit = limit(benign.map(|(_, remote, weight)| (memory.share_below(*remote), *weight)).collect());
    Remembered { memory, novelty_limit }
}

/// The columns that a classifier uses most, as its explanations of some rows tell; where they tell nothing, those that
/// vary most.
fn used_columns(data: &Dataset, labelled: &[usize], classifier: &dyn Classifier, bins: &[Bins], seed: u64) -> Vec<u16> {
    let mut used = vec![0.0; data.width];
    let mut parts = vec![0.0; data.width];
    for malicious in [true, false] {
        let class = labelled.iter().filter(|row| (data.rows[**row].truth == Truth::Malicious) == malicious);
        for row in draw(class.copied().collect(), EXPLAINED, seed) {
            parts.fill(0.0);
            if classifier.explain(data.row(row), &mut parts).is_ok() {
                used.iter_mut().zip(&parts).for_each(|(used, part)| *used += part.abs());
            }
        }
    }
    let mut order: Vec<usize> = (0..data.width.min(usize::from(u16::MAX))).collect();
    let varied = |at: &usize| bins.get(*at).map_or(0, Bins::len);
    order.sort_by(|a, b| used[*b].total_cmp(&used[*a]).then(varied(b).cmp(&varied(a))).then(a.cmp(b)));
    order.truncate(COLUMNS);
    order.sort_unstable();
    order.into_iter().map(|at| at as u16).collect()
}

/// So many of some rows by chance, in their order.
fn draw(mut rows: Vec<usize>, most: usize, seed: u64) -> Vec<usize> {
    if rows.len() > most {
        let mut random = Random::of(seed, &["memory"]);
        for at in 0..most {
            let other = at + (random.next() % (rows.len() - at) as u64) as usize;
            rows.swap(at, other);
        }
        rows.truncate(most);
        rows.sort_unstable();
    }
    rows
}

/// Some flows of each pair, of the malicious ones first: the flows of a beacon are not all alike, if only because later ones
/// follow more.
fn of_pairs(data: &Dataset, rows: impl Iterator<Item = usize>, seed: u64) -> Vec<usize> {
    let mut pairs: [BTreeMap<usize, Vec<usize>>; 2] = Default::default();
    for row in rows {
        let Some(pairs) = pairs.get_mut(usize::from(!is_malicious(data, row))) else { continue };
        pairs.entry(data.rows[row].pair).or_default().push(row);
    }
    let [malicious, benign] = pairs;
    let some = |pairs: BTreeMap<usize, Vec<usize>>, most: usize| -> Vec<usize> {
        pairs.into_values().flat_map(|rows| evenly(&rows, most).collect::<Vec<_>>()).collect()
    };
    // However much malware there is, what is benign has its half: novelty is unlike either.
    let most = if benign.is_empty() { MAX_PROTOTYPES } else { MAX_PROTOTYPES / 2 };
    let malicious = draw(some(malicious, FLOWS_OF_MALICIOUS), most, seed);
    let room = MAX_PROTOTYPES.saturating_sub(malicious.len());
    malicious.into_iter().chain(draw(some(benign, FLOWS_OF_BENIGN), room, seed)).collect()
}

/// At most so many of some rows, from the first to the last.
fn evenly(rows: &[usize], most: usize) -> impl Iterator<Item = usize> {
    let count = rows.len().min(most);
    (0..count)
        .filter_map(move |at| rows.get(at * rows.len().saturating_sub(1) / count.saturating_sub(1).max(1)).copied())
}

/// Whether a row is malware: by its label, else by what it was learnt as.
fn is_malicious(data: &Dataset, row: usize) -> bool {
    match data.rows[row].truth {
        Truth::Unlabelled => data.lesson(row).is_some_and(|(malicious, _)| malicious),
        truth => truth == Truth::Malicious,
    }
}

fn prototypes(data: &Dataset, known: &[usize], columns: &[u16], bins: &[Bins], seed: u64) -> Prototypes {
    let mut prototypes = Prototypes::new(columns, bins);
    for row in of_pairs(data, known.iter().copied(), seed) {
        let (kind, family) = match data.rows[row].truth {
            _ if is_malicious(data, row) => (Kind::Malicious, family(data, row)),
            Truth::Background => (Kind::Background, ""),
            _ => (Kind::Benign, ""),
        };
        prototypes.remember(data.row(row), kind, family);
    }
    prototypes.spread();
    prototypes
}

/// The family of a malicious row: the one that its label names, else its capture's.
fn family(data: &Dataset, row: usize) -> &str {
    let named = data.rows[row].kin.iter().find_map(|tie| tie.strip_prefix("family "));
    named.unwrap_or(&data.captures[data.rows[row].capture].family)
}

/// How remote each row is from what is learnt from without its group, with its weight; nothing where there are too few
/// groups to hold any out.
fn held_out(data: &Dataset, weighted: &[(usize, f64)], columns: &[u16], seed: u64) -> Vec<(usize, u16, f64)> {
    let publishers: BTreeSet<&str> =
        weighted.iter().map(|(row, _)| publisher(&data.captures[data.rows[*row].capture])).collect();
    // What one publisher has is more alike than what comes from elsewhere; where there are few, families and captures.
    let part = |row: usize| {
        let capture = &data.captures[data.rows[row].capture];
        let name = if publishers.len() as u64 >= PARTS { publisher(capture) } else { group(capture) };
        (fnv(seed, name.bytes()) >> 32) % PARTS
    };
    let mut found = Vec::with_capacity(weighted.len());
    for tested in 0..PARTS {
        let (out, rest) = weighted.iter().copied().partition::<Vec<_>, _>(|(row, _)| part(*row) == tested);
        if out.is_empty() || rest.is_empty() {
            continue;
        }
        // The bins, too, know nothing of what is held out; the columns do, since the classifier that chose them learnt from
        // all: what is held out is taken for a little less remote than it would be.
        let values: Vec<f32> = rest.iter().flat_map(|(row, _)| some(data.row(*row), columns)).collect();
        let weights: Vec<f64> = rest.iter().map(|(_, weight)| *weight).collect();
        let places: Vec<u16> = (0..columns.len()).map(|at| at as u16).collect();
        let mut prototypes = Prototypes::new(&places, &learn_all(&Rows::new(&values, columns.len()), &weights));
        for row in of_pairs(data, rest.iter().map(|(row, _)| *row), seed) {
            prototypes.remember(&some(data.row(row), columns).collect::<Vec<_>>(), Kind::Benign, "");
        }
        prototypes.spread();
        for (row, weight) in out {
            let place = prototypes.place(&some(data.row(row), columns).collect::<Vec<_>>());
            found.extend(prototypes.remoteness(&place).map(|remote| (row, remote, weight)));
        }
    }
    found
}

/// Some columns of a row.
fn some<'a>(row: &'a [f32], columns: &'a [u16]) -> impl Iterator<Item = f32> {
    columns.iter().map(|at| row.get(usize::from(*at)).copied().unwrap_or(f32::NAN))
}

/// Weighted numbers at even shares of all.
fn knots(mut weighted: Vec<(u16, f64)>) -> Vec<u16> {
    weighted.sort_by_key(|(remote, _)| *remote);
    let total: f64 = weighted.iter().map(|(_, weight)| weight).sum();
    let mut knots = Vec::with_capacity(KNOTS);
    let mut below = 0.0;
    for (remote, weight) in &weighted {
        below += weight;
        while knots.len() < KNOTS && (knots.len() as f64 + 0.5) * total <= below * KNOTS as f64 {
            knots.push(*remote);
        }
    }
    knots
}

/// The least novelty that at most [`NOVEL_SHARE`] of weighted flows reach; nothing without any.
fn limit(mut weighted: Vec<(f64, f64)>) -> Option<f64> {
    weighted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let total: f64 = weighted.iter().map(|(_, weight)| weight).sum();
    let (mut reached, mut limit) = (0.0, (total > 0.0).then_some(1.0));
    for tied in weighted.chunk_by(|a, b| a.0 == b.0) {
        reached += tied.iter().map(|(_, weight)| weight).sum::<f64>();
        if reached > NOVEL_SHARE * total {
            break;
        }
        limit = tied.first().map(|(novelty, _)| *novelty);
    }
    limit
}

/// What benign captures look like; where there is none, the infected machines' own traffic.
fn reference(data: &Dataset, weighted: &[(usize, f64)], bins: &[Bins], raw: &[f64]) -> Reference {
    let is = |truth: Truth| move |(row, _): &&(usize, f64)| data.rows[*row].truth == truth;
    let truth = if weighted.iter().any(|one| is(Truth::Benign)(&one)) { Truth::Benign } else { Truth::Background };
    let benign: Vec<(usize, f64)> = weighted.iter().filter(is(truth)).copied().collect();
    let column = |(at, bins): (usize, &Bins)| {
        let value = |row: usize| data.row(row).get(at).copied().unwrap_or(f32::NAN);
        Shares::of(bins, benign.iter().map(|(row, weight)| (bins.bin(value(*row)), *weight)))
    };
    let score = |row: usize| raw.get(row).map_or(f32::NAN, |raw| *raw as f32);
    let score_bins = Bins::learn(benign.iter().map(|(row, weight)| (score(*row), *weight)));
    let mut pairs: BTreeMap<usize, f64> = BTreeMap::new();
    benign.iter().for_each(|(row, weight)| *pairs.entry(data.rows[*row].pair).or_default() += weight);
    Reference {
        pairs: worth(pairs.into_values()) as f32,
        columns: bins.iter().enumerate().map(column).collect(),
        scores: Shares::of(&score_bins, benign.iter().map(|(row, weight)| (score_bins.bin(score(*row)), *weight))),
        score_bins,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::{CaptureFacts, Keys, Row};
    use crate::model::drift::{Collector, State};
    use crate::model::{Card, Model};
    use std::sync::LazyLock;
    use veilwatch_core::feature::{Column, Evidence, FeatureSchema};
    use veilwatch_core::plugin::{PluginError, TrainingSet};

    const WIDTH: usize = 50;

    /// Explains every row by its last column alone, if at all.
    struct Last(bool);

    impl Classifier for Last {
        fn fit(&mut self, _: &TrainingSet<'_>) -> Result<(), PluginError> {
            Ok(())
        }
        fn save(&self) -> Result<Vec<u8>, PluginError> {
            Ok(Vec::new())
        }
        fn load(&mut self, _: &[u8]) -> Result<(), PluginError> {
            Ok(())
        }
        fn predict(&self, _: &Rows<'_>, _: &mut [f64]) -> Result<(), PluginError> {
            Ok(())
        }
        fn explain(&self, _: &[f32], parts: &mut [f64]) -> Result<(), PluginError> {
            parts[WIDTH - 1] = -1.0;
            if self.0 { Ok(()) } else { Err(PluginError::failed("no")) }
        }
    }

    /// Thirty captures of as many publishers, with ten servers each; in the first three, malware speaks.
    fn data() -> Dataset {
        let mut data = Dataset { width: WIDTH, ..Dataset::default() };
        let mut random = Random::of(1, &["rows"]);
        for capture in 0..30 {
            let family = if capture < 3 { format!("duck{capture}") } else { String::new() };
            data.captures.push(CaptureFacts {
                path: capture.to_string(),
                family,
                source: format!("s{capture}"),
                ..CaptureFacts::default()
            });
            for server in 0..10 {
                let truth = match (capture, server % 5) {
                    (0..3, 0) => Truth::Malicious,
                    (0..3, _) => Truth::Background,
                    _ => Truth::Benign,
                };
                let kin = if (capture, server) == (1, 0) { vec!["family swan".to_owned()] } else { Vec::new() };
                let pair = capture * 10 + server;
                data.rows.push(Row { capture, pair, truth, kin, packet: 1, keys: Keys::default() });
                let more = if truth == Truth::Malicious { 40.0 } else { 0.0 };
                let value = |at: usize| (random.share() * 50.0) as f32 + if at.is_multiple_of(2) { more } else { 0.0 };
                data.values.extend((0..WIDTH).map(value));
            }
        }
        data
    }

    fn learnt(data: &Dataset, explains: bool, seed: u64) -> Remembered {
        let raw: Vec<f64> = (0..data.rows.len()).map(|row| f64::from(data.row(row)[0])).collect();
        remember(data, &Last(explains), &raw, seed)
    }

    /// What most tests ask of: learning is slow in a debug build.
    static LEARNT: LazyLock<(Dataset, Memory, f64)> = LazyLock::new(|| {
        let data = data();
        let Remembered { memory, novelty_limit } = learnt(&data, true, 1);
        (data, memory, novelty_limit.unwrap())
    });

    #[test]
    fn the_same_rows_and_seed_give_the_same_bytes() {
        let (data, memory, _) = &*LEARNT;
        let bytes = |seed| learnt(data, true, seed).memory.to_bytes();
        assert!(bytes(1) == memory.to_bytes());
        assert!(bytes(2) != memory.to_bytes(), "the seed says what is held out");
        assert!(memory.to_bytes().len() < 1 << 20);
    }

    #[test]
    fn columns_are_those_that_the_classifier_uses() {
        let (data, memory, _) = &*LEARNT;
        assert_eq!(memory.prototypes().columns().last(), Some(WIDTH - 1));
        // Where it explains nothing, there are as many.
        let columns: Vec<usize> = learnt(data, false, 1).memory.prototypes().columns().collect();
        assert_eq!((columns.len(), columns[0]), (COLUMNS, 0));
    }

    #[test]
    fn so_many_held_out_flows_are_novel_and_those_of_training_are_not() {
        let (data, memory, limit) = &*LEARNT;
        assert!((0.99..=1.0).contains(limit), "{limit}");
        let novelty = |row: &[f32]| memory.novelty(row).unwrap();
        assert!((0..data.rows.len()).all(|row| novelty(data.row(row)) < *limit));
        assert_eq!(novelty(&[-1e5; WIDTH]), 1.0);
        // A label names another family than its capture; what is benign there has none.
        let family = |row: usize| memory.nearest(data.row(row), 1)[0].family.clone();
        assert_eq!([family(0), family(10), family(20), family(2)], ["duck0", "swan", "duck2", ""]);
    }

    #[test]
    fn without_groups_nothing_is_held_out() {
        let mut data = data();
        data.captures.iter_mut().for_each(|capture| (capture.family, capture.source) = ("one".into(), String::new()));
        let Remembered { memory, novelty_limit } = learnt(&data, true, 1);
        assert_eq!((memory.novelty(data.row(0)), novelty_limit), (None, None));
        assert_eq!(Memory::from_bytes(&memory.to_bytes()).as_ref(), Ok(&memory));
    }

    #[test]
    fn training_held_against_itself_is_stable_and_altered_it_is_not() {
        let (data, memory, limit) = &*LEARNT;
        let card = Card { novelty_limit: Some(*limit), ..Model::builtin().unwrap().card };
        let columns = (0..WIDTH).map(|at| Column::new(format!("c{at}"), "bytes", "it", Evidence::Flow)).collect();
        let schema = FeatureSchema::join([("it", columns)]).unwrap();
        let judged = |change: fn(&mut f32)| {
            let mut collector = Collector::new(memory);
            for (at, row) in data.rows.iter().enumerate().filter(|(_, row)| row.truth == Truth::Benign) {
                let mut values = data.row(at).to_vec();
                values.iter_mut().take(WIDTH / 2).for_each(change);
                let novel = memory.novelty(&values) >= Some(*limit);
                // Of three servers each: enough to tell.
                for server in 0..3 {
                    let server = (row.pair as u128 * 3 + server).to_be_bytes();
                    collector.add(server, &values, f64::from(values[0]), novel, false);
                }
            }
            collector.finish(&schema, &card, None)
        };
        let same = judged(|_| ());
        assert_eq!((same.state, same.all), (State::Stable, [WIDTH, 0, 0]), "{}", same.sentence);
        // Padded to blocks, and cut.
        let padded = judged(|value| *value = (*value / 16.0).ceil() * 16.0);
        assert_eq!(padded.state, State::Drifted, "{}", padded.sentence);
        let cut = judged(|value| *value = if *value > 25.0 { f32::NAN } else { *value });
        assert_eq!(cut.state, State::Drifted, "{}", cut.sentence);
    }
}
