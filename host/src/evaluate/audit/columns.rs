//! Columns by themselves: one that names the capture, the server or the label gives a whole set-up away.

use super::lookups::{folds_training, lookup};
use super::{Check, Subject};
use crate::evaluate::figures::ranking;
use crate::learn::{Dataset, Truth};
use std::collections::BTreeMap;

/// From this share of agreement on, values that belong together are taken for one constant.
pub const AGREE_WITHIN: f64 = 0.95;
/// Up to this share of agreement, values that do not belong together are taken for different.
pub const AGREE_BETWEEN: f64 = 0.05;
/// Groups with at least two members that agreement takes.
pub const LEAST_GROUPS: usize = 10;
/// Average precision that no honest column reaches by itself.
pub const SINGLE_LABEL: f64 = 0.85;
/// Area under the ROC curve with which no honest column tells infected machines' benign flows from benign captures.
pub const SINGLE_PLACE: f64 = 0.95;
/// Bins that a column is cut into when it is looked up.
const BINS: usize = 32;
/// How far two values may stand from each other among all values and still agree: a constant with a little noise is one
/// too. Beside it, equality is asked for.
pub const TOLERANCE: f64 = 0.02;
/// Pairs of each kind that single columns take.
const LEAST_PAIRS: usize = 10;
/// Columns that are named.
const NAMED: usize = 5;

/// Agreement of a column: the chance that two values of one group lie within `tolerance` of each other, and that two of
/// different groups do. Every group counts alike. None where too few groups have two members.
fn agreement(values: &[(u64, f64)], tolerance: f64) -> Option<(f64, f64)> {
    let mut groups: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    values.iter().for_each(|(group, value)| groups.entry(*group).or_default().push(*value));
    groups.retain(|_, group| group.len() > 1);
    if groups.len() < LEAST_GROUPS {
        return None;
    }
    let (mut within, mut same, mut all) = (0.0, 0.0, Vec::new());
    for group in groups.values_mut() {
        group.sort_by(f64::total_cmp);
        let size = group.len() as f64;
        let shares: Vec<(f64, f64)> = group.iter().map(|value| (*value, 1.0 / size)).collect();
        // Of each value with itself, too, which is no agreement of two.
        let near = near(&shares, tolerance);
        within += (near * size * size - size) / (size * (size - 1.0));
        same += near;
        all.extend(shares);
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let count = groups.len() as f64;
    Some((within / count, (near(&all, tolerance) - same) / (count * (count - 1.0))))
}

/// The sum over all two values within the tolerance of the products of their shares; values are sorted.
fn near(sorted: &[(f64, f64)], tolerance: f64) -> f64 {
    let (mut from, mut to, mut window, mut sum) = (0, 0, 0.0, 0.0);
    for (value, share) in sorted {
        while let Some(next) = sorted.get(to).filter(|next| next.0 <= value + tolerance) {
            window += next.1;
            to += 1;
        }
        while sorted[from].0 < value - tolerance {
            window -= sorted[from].1;
            from += 1;
        }
        sum += share * window;
    }
    sum
}

/// A column's values of some rows as places among all of them, from 0 to 1: the same values have the same place, the
/// middle of theirs. What is missing has a place of its own, far from all others.
fn places_of(data: &Dataset, rows: &[usize], column: usize) -> Vec<f64> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let value = |at: usize| data.row(rows[at])[column];
    order.sort_by(|a, b| value(*a).total_cmp(&value(*b)));
    let mut places = vec![-1.0; rows.len()];
    let mut before = 0;
    for tied in order.chunk_by(|a, b| value(*a) == value(*b)) {
        let middle = (before as f64 + tied.len() as f64 / 2.0) / rows.len() as f64;
        tied.iter().filter(|at| !value(**at).is_nan()).for_each(|at| places[*at] = middle);
        before += tied.len();
    }
    places
}

/// The first labelled row of each pair.
fn first_of_pairs(data: &Dataset) -> Vec<usize> {
    let mut first = BTreeMap::new();
    for (at, row) in data.rows.iter().enumerate().filter(|(_, row)| row.truth != Truth::Unlabelled) {
        first.entry(row.pair).or_insert(at);
    }
    first.into_values().collect()
}

pub(super) fn checks(subject: &Subject<'_>) -> Vec<Check> {
    let Subject { data, .. } = subject;
    let pairs = first_of_pairs(data);
    let capture = |row: usize| data.rows[row].capture as u64;
    let server = |row: usize| data.rows[row].keys.server;
    vec![
        constant(
            subject,
            "capture_constant",
            "Does a column name the capture?",
            "of one capture (to different servers)",
            "of different captures",
            &pairs,
            &capture,
        ),
        constant(
            subject,
            "server_constant",
            "Does a column name the server's address?",
            "to one server (in different captures)",
            "to different servers",
            &pairs,
            &server,
        ),
        single_label(subject),
        single_place(subject),
    ]
}

fn constant(
    subject: &Subject<'_>,
    id: &'static str,
    question: &str,
    within: &str,
    between: &str,
    pairs: &[usize],
    group: &dyn Fn(usize) -> u64,
) -> Check {
    let check = Check::new(
        id,
        question,
        format!(
            "fails where a column's values agree (are equal, or within {TOLERANCE:.2} of each other by rank) for at least \
             {AGREE_WITHIN:.2} of two flows {within} and for at most {AGREE_BETWEEN:.2} of two {between}; groups with one \
             member are left out, {LEAST_GROUPS} are needed"
        ),
    );
    let mut found: Vec<(f64, f64, usize)> = Vec::new();
    for column in 0..subject.data.width {
        let places = places_of(subject.data, pairs, column);
        let values: Vec<(u64, f64)> = pairs.iter().zip(places).map(|(row, place)| (group(*row), place)).collect();
        let (Some(exact), Some(near)) = (agreement(&values, 0.0), agreement(&values, TOLERANCE)) else {
            return check.too_little("too few groups with two members");
        };
        found.extend([exact, near].map(|(within, between)| (within, between, column)));
    }
    // The nearest to breaking the rule stands first, by what is missing of one part of it and too much of the other.
    let distance = |one: &(f64, f64, usize)| (AGREE_WITHIN - one.0).max(0.0) + (one.1 - AGREE_BETWEEN).max(0.0);
    found.sort_by(|a, b| distance(a).total_cmp(&distance(b)).then(a.2.cmp(&b.2)));
    found.dedup_by_key(|one| one.2);
    let broken = |one: &&(f64, f64, usize)| distance(one) == 0.0;
    let blame: Vec<(f64, f64, usize)> = found.iter().filter(broken).copied().collect();
    let Some((within, between, column)) = blame.first().or(found.first()).copied() else {
        return check.too_little("there are no columns");
    };
    let name = &subject.columns[column];
    let mut check = check.number("agreement_within", within).number("agreement_between", between).passes(
        blame.is_empty(),
        format!("nearest: `{name}`, which agrees for {within:.2} within and {between:.2} between"),
    );
    check.blame = blame.iter().take(NAMED).map(|(_, _, column)| subject.columns[*column].clone()).collect();
    check
}

/// A score for each row from one column alone: out of fold, by the share of positive rows in its bin.
struct Single<'a> {
    data: &'a Dataset,
    training: Vec<Vec<usize>>,
    folds: &'a crate::learn::Folds,
}

impl Single<'_> {
    /// Average precision and area by pair of a column's bins, looked up in the training folds.
    fn binned(&self, column: usize) -> (f64, f64) {
        let bins = bins(self.data, column);
        let scores = lookup(self.data, self.folds, &self.training, &bins, BINS + 2);
        by_pair(self.data, &scores)
    }

    /// Average precision and area by pair of a column's own values, upwards or downwards, whichever is better. A missing
    /// value stands lowest.
    fn ordered(&self, column: usize) -> (f64, f64) {
        let score = |sign: f32| -> Vec<f64> {
            let values = (0..self.data.rows.len()).map(|row| sign * self.data.row(row)[column]);
            values.map(|value| if value.is_nan() { f64::NEG_INFINITY } else { f64::from(value) }).collect()
        };
        let [up, down] = [1.0, -1.0].map(|sign| by_pair(self.data, &score(sign)));
        (up.0.max(down.0), up.1.max(down.1))
    }
}

/// The bin of each row's value: quantiles of what is there, and one for what is missing.
fn bins(data: &Dataset, column: usize) -> Vec<u32> {
    let mut values: Vec<f32> =
        (0..data.rows.len()).map(|row| data.row(row)[column]).filter(|value| !value.is_nan()).collect();
    values.sort_by(f32::total_cmp);
    let mut edges: Vec<f32> = (1..BINS).filter_map(|at| values.get(at * values.len() / BINS).copied()).collect();
    // The smallest value's own bin is kept apart, so that a flag has two.
    edges.extend(values.iter().find(|value| Some(*value) != values.first()).copied());
    edges.sort_by(f32::total_cmp);
    edges.dedup();
    let bin = |value: f32| match value.is_nan() {
        true => BINS as u32 + 1,
        false => edges.partition_point(|edge| *edge <= value) as u32,
    };
    (0..data.rows.len()).map(|row| bin(data.row(row)[column])).collect()
}

/// Average precision and area by pair, of the highest score of its flows.
pub(super) fn by_pair(data: &Dataset, scores: &[f64]) -> (f64, f64) {
    let mut pairs: BTreeMap<usize, (f64, bool)> = BTreeMap::new();
    for (row, score) in data.rows.iter().zip(scores).filter(|(row, _)| row.truth != Truth::Unlabelled) {
        let pair = pairs.entry(row.pair).or_insert((f64::NEG_INFINITY, false));
        pair.0 = pair.0.max(*score);
        pair.1 |= row.truth == Truth::Malicious;
    }
    ranking(&pairs.into_values().collect::<Vec<_>>())
}

/// Pairs with a row of this truth.
pub(super) fn pairs_of(data: &Dataset, truth: Truth) -> usize {
    let pairs = data.rows.iter().filter(|row| row.truth == truth).map(|row| row.pair);
    pairs.collect::<std::collections::BTreeSet<_>>().len()
}

fn single_label(subject: &Subject<'_>) -> Check {
    let check = Check::new(
        "single_label",
        "Is a column a copy of the label?",
        format!(
            "fails where one column alone, by its order or by {BINS} bins looked up in the training folds, has an average \
             precision by pair of {SINGLE_LABEL:.2} or more against both negatives"
        ),
    );
    let data = subject.data;
    if pairs_of(data, Truth::Malicious) < LEAST_PAIRS {
        return check.too_little("too few malicious pairs");
    }
    let training = folds_training(subject.folds, data);
    let single = Single { data, training, folds: subject.folds };
    let measure = |column: usize| single.binned(column).0.max(single.ordered(column).0);
    judged(subject, check, "average_precision", SINGLE_LABEL, "average precision", measure)
}

fn single_place(subject: &Subject<'_>) -> Check {
    let check = Check::new(
        "single_place",
        "Does a column name the place of capture?",
        format!(
            "fails where one column alone, by {BINS} bins looked up in the training folds, tells infected machines' own \
             benign pairs from those of benign captures with an area under the ROC curve of {SINGLE_PLACE:.2} or more"
        ),
    );
    let data = super::place::places(subject.data);
    if pairs_of(&data, Truth::Malicious) < LEAST_PAIRS || pairs_of(&data, Truth::Benign) < LEAST_PAIRS {
        return check.too_little("too few benign pairs of one kind");
    }
    let training = folds_training(subject.folds, &data);
    let single = Single { data: &data, training, folds: subject.folds };
    judged(subject, check, "roc_auc", SINGLE_PLACE, "area", |column| single.binned(column).1)
}

/// Judges all columns by a measure that must stay below a limit.
fn judged(
    subject: &Subject<'_>,
    check: Check,
    id: &str,
    limit: f64,
    what: &str,
    measure: impl Fn(usize) -> f64,
) -> Check {
    let mut found: Vec<(f64, usize)> = (0..subject.data.width).map(|column| (measure(column), column)).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let named: Vec<String> =
        found.iter().take(NAMED).map(|(value, column)| format!("`{}` {value:.3}", subject.columns[*column])).collect();
    let Some((best, _)) = found.first().copied() else { return check.too_little("there are no columns") };
    let holds = best < limit;
    let mut check = check.number(id, best).passes(holds, format!("highest {what}: {}", named.join(", ")));
    let broken = found.iter().filter(|(value, _)| *value >= limit);
    check.blame = broken.take(NAMED).map(|(_, column)| subject.columns[*column].clone()).collect();
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_by_hand() {
        let made = |value: fn(u32) -> u32| -> Vec<(u64, f64)> {
            (0..20).map(|at| (u64::from(at / 2), f64::from(value(at)))).collect()
        };
        let near = |got: Option<(f64, f64)>, want: (f64, f64)| {
            let got = got.unwrap();
            assert!((got.0 - want.0).abs() < 1e-9 && (got.1 - want.1).abs() < 1e-9, "{got:?}, not {want:?}");
        };
        // Ten groups of two: constants that differ between groups.
        near(agreement(&made(|at| at / 2), 0.0), (1.0, 0.0));
        // The same value everywhere.
        near(agreement(&made(|_| 7), 0.0), (1.0, 1.0));
        // Two values in each group, the same in all: two draws of one group never agree, of two groups by halves.
        near(agreement(&made(|at| at % 2), 0.0), (0.0, 0.5));
        // Neighbours agree within a tolerance of one: each group's own two, and the outer ones of those beside it.
        near(agreement(&made(|at| at), 1.0), (1.0, 9.0 * 2.0 * 0.25 / 90.0));
        // Groups of one say nothing.
        let alone: Vec<(u64, f64)> = (0..20).map(|at| (at, 7.0)).collect();
        assert_eq!(agreement(&alone, 0.0), None);
    }
}
