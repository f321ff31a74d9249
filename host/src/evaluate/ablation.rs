//! What a part of the features is worth: left out, and alone.

use super::figures::Figures;
use super::units::{Level, Negatives, Outcome, against, units};
use super::{Bench, Steps};
use crate::learn::{Dataset, Folds, validate};
use crate::model::Figure;
use serde::Serialize;

/// A classifier on some features, in short.
#[derive(Debug, Clone, Serialize)]
pub struct Short {
    /// What was judged: a classifier, or which features.
    pub name: String,
    /// Columns that it saw.
    pub columns: usize,
    /// Average precision by pair, against both negatives.
    pub average_precision: Option<Figure>,
    /// Recall by pair at a false-positive rate of 1e-3, where there are negatives enough.
    pub recall_at_1e3: Option<Figure>,
    /// F1 of the malicious by pair, at the threshold with the best F1 on the other folds.
    pub malicious_f1: Option<Figure>,
    /// Precision of the malicious there.
    pub malicious_precision: Option<Figure>,
    /// Recall of the malicious there.
    pub malicious_recall: Option<Figure>,
    /// F1 weighted by class, there.
    pub weighted_f1: Option<Figure>,
    /// Precision weighted by class, there.
    pub weighted_precision: Option<Figure>,
    /// Seconds that it took to learn and to score, all folds together; a wall clock's, the only number here that differs
    /// from run to run.
    pub seconds: f64,
    /// Why there are no figures, where there are none.
    pub failed: Option<String>,
}

impl Short {
    fn of(name: String, columns: usize, figures: Option<&Figures>, seconds: f64, failed: Option<String>) -> Self {
        Self {
            name,
            columns,
            average_precision: figures.map(|figures| figures.average_precision),
            recall_at_1e3: figures.and_then(|figures| figures.recall_at(1e-3)),
            malicious_f1: figures.map(|figures| figures.malicious_f1),
            malicious_precision: figures.map(|figures| figures.malicious_precision),
            malicious_recall: figures.map(|figures| figures.malicious_recall),
            weighted_f1: figures.map(|figures| figures.weighted_f1),
            weighted_precision: figures.map(|figures| figures.weighted_precision),
            seconds,
            failed,
        }
    }

    /// Fits and scores on folds; what fails is named and ends nothing.
    pub(super) fn judge(
        bench: &Bench<'_>,
        classifier: (&str, &str),
        name: String,
        data: &Dataset,
        folds: &Folds,
        steps: &mut Steps<'_>,
    ) -> Self {
        let begin = std::time::Instant::now();
        steps.say(&name, 0, folds.count);
        let raw = validate::cross_validate(bench.registry, classifier, data, folds, bench.plan.seed, |fold, _| {
            steps.say(&name, fold + 1, folds.count);
        });
        let seconds = begin.elapsed().as_secs_f64();
        steps.count(&name);
        match raw {
            Ok(raw) => {
                let units = units(&Outcome::new(data, folds, raw), Level::Pair);
                let figures = Figures::of(&against(&units, Negatives::Both), bench.plan.samples(), bench.plan.seed);
                Self::of(name, data.width, figures.as_ref(), seconds, None)
            }
            Err(error) => Self::of(name, data.width, None, seconds, Some(error.to_string())),
        }
    }
}

/// The groups of columns: what stands before the first dot of a name is the extractor's instance.
fn groups(columns: &[String]) -> Vec<&str> {
    let mut groups: Vec<&str> = columns.iter().map(|name| group(name)).collect();
    groups.dedup();
    groups
}

fn group(column: &str) -> &str {
    column.split_once('.').map_or(column, |(group, _)| group)
}

/// Each group left out, and each alone.
pub(super) fn ablations(bench: &Bench<'_>, folds: &Folds, steps: &mut Steps<'_>) -> Vec<Short> {
    let groups = groups(bench.columns);
    if groups.len() < 2 {
        return Vec::new();
    }
    // Without altered copies too, as the others: of these only whole rows are kept.
    let whole = bench.data.without_additions();
    let mut judged = vec![Short::judge(bench, bench.classifier, "all".into(), &whole, folds, steps)];
    for (words, keep) in [("without", false), ("only", true)] {
        for name in &groups {
            let kept: Vec<usize> =
                (0..bench.columns.len()).filter(|at| (group(&bench.columns[*at]) == *name) == keep).collect();
            let data = of_columns(bench.data, &kept);
            judged.push(Short::judge(bench, bench.classifier, format!("{words} {name}"), &data, folds, steps));
        }
    }
    judged
}

/// The data with some of its columns.
fn of_columns(data: &Dataset, columns: &[usize]) -> Dataset {
    let mut values = Vec::with_capacity(data.rows.len() * columns.len());
    (0..data.rows.len()).for_each(|row| values.extend(columns.iter().map(|column| data.row(row)[*column])));
    let terms = (0..columns.len()).filter(|at| data.terms.contains(&columns[*at])).collect();
    Dataset { width: columns.len(), values, terms, ..data.without_additions() }
}
