//! Two cards side by side: which figures differ by more than chance would make them.

use super::{Card, Figure, Report};
use serde::{Deserialize, Serialize};

/// How a figure of one model stands to that of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Its whole interval is better than the other's.
    Better,
    /// Its whole interval is worse.
    Worse,
    /// The intervals overlap: nothing is shown.
    Within,
}

/// One figure of two models.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Compared {
    /// What it is.
    pub figure: &'static str,
    /// That of the first; none where it has none.
    pub one: Option<Figure>,
    /// That of the second.
    pub other: Option<Figure>,
    /// How the second stands to the first, where both have it.
    pub standing: Option<Standing>,
}

/// Names a figure, takes it out of a report, and says whether more of it is better.
type Row = (&'static str, fn(&Report) -> Option<Figure>, bool);

/// The figures of a report, as people read them.
const FIGURES: [Row; 6] = [
    ("average precision, both negatives", |report| Some(report.average_precision), true),
    ("average precision, benign captures", |report| report.average_precision_benign, true),
    ("average precision, infected machines' own traffic", |report| report.average_precision_background, true),
    ("recall at FPR 1e-3", |report| Some(report.recall_at_fpr_1e3), true),
    ("recall at the threshold chosen on the other folds", |report| Some(report.recall_at_threshold), true),
    ("FPR at that threshold", |report| Some(report.fpr_at_threshold), false),
];

impl Report {
    /// Its figures, by what they are called.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, Option<Figure>)> {
        FIGURES.iter().map(|(name, of, _)| (*name, of(self)))
    }

    /// Whether all figures can be: shares, within their intervals.
    pub fn is_possible(&self) -> bool {
        let possible = |Figure { value, low, high }: Figure| 0.0 <= low && low <= value && value <= high && high <= 1.0;
        self.figures().all(|(_, figure)| figure.is_none_or(possible))
    }
}

/// All figures of two cards. What is told is of the second, seen from the first.
pub fn compare(one: &Card, other: &Card) -> Vec<Compared> {
    compare_reports(&one.report, &other.report)
}

/// The same of reports that stand in no card.
pub fn compare_reports(one: &Report, other: &Report) -> Vec<Compared> {
    let compared = |(figure, of, more): &Row| {
        let [one, other] = [of(one), of(other)];
        Compared { figure, one, other, standing: one.zip(other).map(|(one, other)| standing(one, other, *more)) }
    };
    FIGURES.iter().map(compared).collect()
}

fn standing(one: Figure, other: Figure, more_is_better: bool) -> Standing {
    let (above, below) = (other.low > one.high, other.high < one.low);
    match (above, below, more_is_better) {
        (true, _, true) | (_, true, false) => Standing::Better,
        (_, true, true) | (true, _, false) => Standing::Worse,
        _ => Standing::Within,
    }
}

/// Whether two cards' figures are of the same data, split the same way: those of others say little about each other.
pub fn same_protocol(one: &Card, other: &Card) -> bool {
    let of = |card: &Card| {
        let Report { malicious_pairs, benign_pairs, background_pairs, .. } = card.report;
        (malicious_pairs, benign_pairs, background_pairs)
    };
    one.training.data_sha256 == other.training.data_sha256
        && one.training.split == other.training.split
        && of(one) == of(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;

    fn figure(value: f64) -> Figure {
        Figure { value, low: value - 0.05, high: value + 0.05 }
    }

    #[test]
    fn only_what_lies_beyond_the_intervals_is_a_difference() {
        for (one, other, more, less) in [
            (0.5, 0.5, Standing::Within, Standing::Within),
            (0.5, 0.59, Standing::Within, Standing::Within),
            (0.5, 0.61, Standing::Better, Standing::Worse),
            (0.61, 0.5, Standing::Worse, Standing::Better),
        ] {
            let [one, other] = [one, other].map(figure);
            assert_eq!([true, false].map(|better| standing(one, other, better)), [more, less]);
        }
    }

    #[test]
    fn a_card_compares_with_itself() {
        let card = Model::builtin().unwrap().card;
        assert!(card.report.is_possible() && same_protocol(&card, &card));
        assert!(compare(&card, &card).iter().all(|row| row.standing == Some(Standing::Within)));
        let mut other = card.clone();
        other.report.fpr_at_threshold = figure(0.6);
        other.report.average_precision_benign = None;
        other.training.split = "by chance".into();
        assert!(!same_protocol(&card, &other));
        let rows = compare(&card, &other);
        let of = |name: &str| rows.iter().find(|row| row.figure.contains(name)).unwrap().standing;
        assert_eq!((of("FPR at that"), of("benign captures")), (Some(Standing::Worse), None));
        for impossible in [figure(1.0), figure(f64::NAN), Figure { value: 0.5, low: 0.6, high: 0.7 }] {
            let mut report = card.report.clone();
            report.recall_at_threshold = impossible;
            assert!(!report.is_possible());
        }
    }
}
