//! Settings of a classifier are chosen on inner folds alone: never with a look at what is tested.
//!
//! The choice is part of learning. Whoever fits a classifier to some rows chooses on these rows, so that in a
//! cross-validation every outer fold chooses for itself, and its figures are those of the whole procedure.

use super::metrics::{Pair, Pairs};
use super::random::Random;
use super::{Dataset, LearnError, Truth, validate};
use crate::plugins::Registry;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The grids in the box.
const DEFAULT: &str = include_str!("../../../config/training/search.toml");

/// How many inner folds there may be.
const INNER_FOLDS: std::ops::RangeInclusive<usize> = 2..=20;

/// Most combinations of a grid.
const VARIANTS: usize = 256;

/// What is tried: each combination of some values of a classifier's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Folds within the rows that are learnt from.
    pub inner_folds: usize,
    /// Values by setting.
    pub values: BTreeMap<String, Vec<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    inner_folds: usize,
    classifier: BTreeMap<String, BTreeMap<String, Vec<toml::Value>>>,
}

impl Grid {
    /// The grid of a classifier by its `kind/name`, from a file or from the box.
    pub fn load(path: Option<&Path>, classifier: &str) -> Result<Self, LearnError> {
        let name = path.unwrap_or("config/training/search.toml".as_ref()).to_owned();
        let wrong = |what: String| LearnError::File { path: name.clone(), what };
        let text = match path {
            Some(path) => std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?.into(),
            None => Cow::Borrowed(DEFAULT),
        };
        let mut file: File = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let values = file
            .classifier
            .remove(classifier)
            .ok_or_else(|| wrong(format!("there is no [classifier.\"{classifier}\"] to search over")))?;
        let grid = Self { inner_folds: file.inner_folds, values };
        grid.flaw().map_or(Ok(grid), |what| Err(wrong(what)))
    }

    /// What makes it one that cannot be searched, if anything: it may come from a card that somebody else wrote.
    pub fn flaw(&self) -> Option<String> {
        if !INNER_FOLDS.contains(&self.inner_folds) {
            Some(format!("inner_folds must be from {} to {}", INNER_FOLDS.start(), INNER_FOLDS.end()))
        } else if !(1..=VARIANTS).contains(&self.count()) {
            Some(format!("{} combinations; there may be 1 to {VARIANTS}", self.count()))
        } else {
            None
        }
    }

    /// How many combinations there are.
    pub fn count(&self) -> usize {
        self.values.values().fold(1, |count, values| count.saturating_mul(values.len()))
    }

    /// Each combination, over settings in TOML.
    pub fn variants(&self, settings: &str) -> Result<Vec<String>, LearnError> {
        let wrong = |what: String| LearnError::File { path: "the classifier's settings".into(), what };
        let base: toml::Table = toml::from_str(settings).map_err(|error| wrong(error.to_string()))?;
        let mut variants = vec![base];
        for (name, values) in &self.values {
            let with = |base: &toml::Table, value: &toml::Value| {
                let mut variant = base.clone();
                variant.insert(name.clone(), value.clone());
                variant
            };
            variants = variants.iter().flat_map(|base| values.iter().map(move |value| with(base, value))).collect();
        }
        variants.iter().map(|variant| toml::to_string(variant).map_err(|error| wrong(error.to_string()))).collect()
    }
}

/// The settings to fit to some rows: those given, or of a grid the one with the best average precision by pair, over both
/// kinds of negatives, on folds within these rows; of equals the first.
pub(super) fn choose<'a>(
    registry: &Registry,
    (path, settings): (&str, &'a str),
    data: &Dataset,
    rows: &[usize],
    seed: u64,
) -> Result<Cow<'a, str>, LearnError> {
    let Some(grid) = &data.recipe.search else { return Ok(settings.into()) };
    let folds = inner(data, rows, grid.inner_folds, seed);
    // A fold says something if it tests malicious rows, and leaves both kinds to learn from.
    let learnable = |fold: usize| {
        let part =
            |inside: bool| rows.iter().zip(&folds).filter(move |(_, of)| (**of == fold) == inside).map(|(row, _)| *row);
        let taught = |label: bool| part(false).any(|row| data.lesson(row).is_some_and(|(known, _)| known == label));
        part(true).any(|row| is_malicious(data, row)) && taught(true) && taught(false)
    };
    let tested: Vec<usize> = (0..grid.inner_folds).filter(|fold| learnable(*fold)).collect();
    let variants = grid.variants(settings)?;
    let first = variants.first().cloned().unwrap_or_default();
    if tested.is_empty() {
        return Ok(first.into());
    }
    let mut best = (f64::NEG_INFINITY, first);
    for variant in variants {
        let mut pairs: BTreeMap<usize, Pair> = BTreeMap::new();
        for fold in &tested {
            let part = |inside: bool| -> Vec<usize> {
                rows.iter().zip(&folds).filter(|(_, of)| (*of == fold) == inside).map(|(row, _)| *row).collect()
            };
            let model = validate::fit_as(registry, (path, &variant), data, &part(false), seed)?;
            let judged: Vec<usize> =
                part(true).into_iter().filter(|row| data.rows[*row].truth != Truth::Unlabelled).collect();
            for (row, score) in judged.iter().zip(validate::scores(&*model, path, data, &judged)?) {
                let known = Pair { capture: data.rows[*row].capture, malicious: false, score: f64::NEG_INFINITY };
                let pair = pairs.entry(data.rows[*row].pair).or_insert(known);
                pair.malicious |= is_malicious(data, *row);
                pair.score = pair.score.max(score);
            }
        }
        let precision = Pairs::new(pairs.into_values().collect()).average_precision(|_| 1.0);
        if precision > best.0 {
            best = (precision, variant);
        }
    }
    Ok(best.1.into())
}

fn is_malicious(data: &Dataset, row: usize) -> bool {
    data.rows[row].truth == Truth::Malicious
}

/// A fold for each of some rows: rows of one capture, and malicious rows that share a tie or whose captures share a family,
/// are in one, as are benign captures of sources that share captures. Groups are dealt out by size, those with malicious
/// rows and the others each for themselves, so that no fold has most of either.
pub(super) fn inner(data: &Dataset, rows: &[usize], count: usize, seed: u64) -> Vec<usize> {
    let mut groups = Groups((0..data.captures.len()).collect());
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        let row = &data.rows[*row];
        for tie in &row.kin {
            let first = *seen.entry(tie).or_insert(row.capture);
            groups.join(first, row.capture);
        }
    }
    let mut together: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, capture) in data.captures.iter().enumerate() {
        let first = *together.entry(super::folds::group(capture)).or_insert(at);
        groups.join(first, at);
    }
    // Pairs by group; those with malicious ones first.
    let mut sizes: BTreeMap<(bool, usize), BTreeSet<usize>> = BTreeMap::new();
    let tied: BTreeSet<usize> =
        rows.iter().filter(|row| is_malicious(data, **row)).map(|row| groups.of(data.rows[*row].capture)).collect();
    for row in rows.iter().filter(|row| data.rows[**row].truth != Truth::Unlabelled) {
        let group = groups.of(data.rows[*row].capture);
        if is_malicious(data, *row) || !tied.contains(&group) {
            sizes.entry((!tied.contains(&group), group)).or_default().insert(data.rows[*row].pair);
        }
    }
    let mut order: Vec<((bool, usize), usize)> = sizes.into_iter().map(|(group, pairs)| (group, pairs.len())).collect();
    let chance = |group: usize| Random::of(seed, &[&data.captures[group].path]).next();
    order.sort_by_key(|((benign, group), pairs)| (*benign, std::cmp::Reverse(*pairs), chance(*group)));
    let mut filled = vec![[0; 2]; count];
    let mut fold_of = BTreeMap::new();
    for ((benign, group), pairs) in order {
        let fold = (0..count).min_by_key(|fold| filled[*fold][usize::from(benign)]).unwrap_or_default();
        filled[fold][usize::from(benign)] += pairs;
        fold_of.insert(group, fold);
    }
    rows.iter().map(|row| fold_of.get(&groups.of(data.rows[*row].capture)).copied().unwrap_or_default()).collect()
}

/// Captures that belong together, each by one of them.
struct Groups(Vec<usize>);

impl Groups {
    fn of(&self, mut capture: usize) -> usize {
        while self.0[capture] != capture {
            capture = self.0[capture];
        }
        capture
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        self.0[one.max(other)] = one.min(other);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CaptureFacts, Keys, Row};
    use super::*;

    #[test]
    fn a_grid_is_every_combination() {
        let grid = Grid::load(None, "classifier/boosted-trees").unwrap();
        let settings = "trees = 120\nmax_depth = 6\n";
        let variants = grid.variants(settings).unwrap();
        assert_eq!(variants.len(), grid.count());
        let read: Vec<toml::Table> = variants.iter().map(|variant| toml::from_str(variant).unwrap()).collect();
        assert!(read.iter().all(|one| one.contains_key("trees")));
        assert!((1..read.len()).all(|at| read[..at].iter().all(|before| *before != read[at])));
        // From any of them the same come out: that is how a card is enough to make a model again.
        assert_eq!(grid.variants(&variants[variants.len() - 1]).unwrap(), variants);
        let text = serde_json::to_string(&grid).unwrap();
        assert_eq!(serde_json::from_str::<Grid>(&text).unwrap(), grid);
        assert!(Grid::load(None, "classifier/none").is_err());
        assert_eq!(grid.flaw(), None);
        for inner_folds in [0, 1, 1_000_000_000_000] {
            assert!(Grid { inner_folds, ..grid.clone() }.flaw().is_some(), "{inner_folds}");
        }
        let many = vec![toml::Value::Integer(1); 300];
        for values in [many, Vec::new()] {
            assert!(Grid { values: [("trees".to_owned(), values)].into(), ..grid.clone() }.flaw().is_some());
        }
    }

    #[test]
    fn what_is_tied_is_in_one_inner_fold_and_every_fold_has_its_share() {
        let capture = |family: &str, at: usize| CaptureFacts {
            path: format!("{at}"),
            family: family.to_owned(),
            ..CaptureFacts::default()
        };
        let families = ["a", "b", "c", "d", "a", "", "", ""];
        let row = |capture: usize, truth, kin: &[&str]| Row {
            capture,
            pair: capture,
            truth,
            kin: kin.iter().map(|tie| (*tie).to_owned()).collect(),
            packet: 1,
            keys: Keys::default(),
        };
        let data = Dataset {
            captures: families.iter().enumerate().map(|(at, family)| capture(family, at)).collect(),
            rows: vec![
                row(0, Truth::Malicious, &["family a"]),
                row(1, Truth::Malicious, &["family b", "server 1"]),
                row(2, Truth::Malicious, &["family c", "server 1"]),
                row(3, Truth::Malicious, &["family d"]),
                row(4, Truth::Background, &[]),
                row(5, Truth::Benign, &[]),
                row(6, Truth::Benign, &[]),
                row(7, Truth::Benign, &[]),
            ],
            ..Dataset::default()
        };
        let rows: Vec<usize> = (0..8).collect();
        let folds = inner(&data, &rows, 3, 1);
        assert_eq!(folds[1], folds[2], "one server");
        assert_eq!(folds[0], folds[4], "one family");
        let malicious: BTreeSet<usize> = folds[..4].iter().copied().collect();
        assert_eq!(malicious.len(), 3);
    }
}
