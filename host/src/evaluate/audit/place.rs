//! What is no sign of malice: when it was captured, and where.

use super::columns::{by_pair, pairs_of};
use super::{Check, Subject};
use crate::evaluate::Steps;
use crate::learn::folds::publisher;
use crate::learn::{Dataset, Folds, LearnError, Truth, validate};
use std::collections::{BTreeMap, BTreeSet};

/// What capture time alone may reach of the model's average precision.
pub const TIME_SHARE: f64 = 0.5;
/// What a classifier that never saw malware may reach of it.
pub const NEVER_SAW_SHARE: f64 = 0.5;
/// Pairs of each kind that it takes.
const LEAST_PAIRS: usize = 20;
/// Publishers that are told apart, those with most pairs.
const PUBLISHERS: usize = 3;

/// Benign captures against infected machines' benign flows, which stand as malicious; what is malicious has no label.
pub(super) fn places(data: &Dataset) -> Dataset {
    let mut data = data.to_be_relabelled();
    for row in &mut data.rows {
        row.kin.clear();
        row.truth = match row.truth {
            Truth::Background => Truth::Malicious,
            Truth::Benign => Truth::Benign,
            Truth::Malicious | Truth::Unlabelled => Truth::Unlabelled,
        };
    }
    data
}

pub(super) fn checks(subject: &Subject<'_>, steps: &mut Steps<'_>) -> Result<Vec<Check>, LearnError> {
    let model = by_pair(subject.data, &subject.model.raw);
    let [place, never] = place_and_never(subject, model.0, steps)?;
    Ok(vec![time_only(subject, model.0, steps)?, never, place, source(subject, steps)?])
}

fn raw(
    subject: &Subject<'_>,
    data: &Dataset,
    folds: &Folds,
    what: &str,
    steps: &mut Steps<'_>,
) -> Result<Vec<f64>, LearnError> {
    let raw = validate::cross_validate(subject.registry, subject.classifier, data, folds, subject.seed, |fold, _| {
        steps.say(what, fold + 1, folds.count);
    })?;
    steps.count(what);
    Ok(raw)
}

fn time_only(subject: &Subject<'_>, model: f64, steps: &mut Steps<'_>) -> Result<Check, LearnError> {
    let check = Check::new(
        "time_only",
        "Would the time of capture do as well as the model?",
        format!(
            "fails where the classifier, given nothing but the flow's day, weekday and hour, has more than {TIME_SHARE:.2} \
             of the model's average precision by pair"
        ),
    );
    if pairs_of(subject.data, Truth::Malicious) < LEAST_PAIRS {
        return Ok(check.too_little("too few malicious pairs"));
    }
    let times = |row: &crate::learn::Row| {
        let hours = row.keys.first_ns / 3_600_000_000_000;
        [(hours / 24) as f32, (hours / 24 % 7) as f32, (hours % 24) as f32]
    };
    let data = Dataset {
        width: 3,
        values: subject.data.rows.iter().flat_map(times).collect(),
        terms: Vec::new(),
        ..subject.data.without_additions()
    };
    let found = by_pair(&data, &raw(subject, &data, subject.folds, "audit: time alone", steps)?);
    Ok(check.number("average_precision", found.0).number("roc_auc", found.1).passes(
        found.0 <= TIME_SHARE * model,
        format!("time alone: average precision {:.3}, ROC-AUC {:.3}; model {model:.3}", found.0, found.1),
    ))
}

fn place_and_never(subject: &Subject<'_>, model: f64, steps: &mut Steps<'_>) -> Result<[Check; 2], LearnError> {
    let probe = Check::new(
        "place_probe",
        "Can benign captures be told from infected machines' own benign flows?",
        "is told and not judged: they differ in era, operating system and software, so that honest features tell them \
         apart; figures against each kind of negatives stand in the report for that reason"
            .into(),
    );
    let never = Check::new(
        "never_saw_malware",
        "Does a classifier that never saw malware find it?",
        format!(
            "fails where the classifier, taught to tell infected machines' benign flows from benign captures, has more than \
             {NEVER_SAW_SHARE:.2} of the model's average precision by pair on malicious against both negatives"
        ),
    );
    let data = places(subject.data);
    if pairs_of(&data, Truth::Malicious) < LEAST_PAIRS || pairs_of(&data, Truth::Benign) < LEAST_PAIRS {
        let too_few = "too few benign pairs of one kind";
        return Ok([probe.too_little(too_few), never.too_little(too_few)]);
    }
    let scores = raw(subject, &data, subject.folds, "audit: a classifier that never saw malware", steps)?;
    let told = by_pair(&data, &scores);
    let found = by_pair(subject.data, &scores);
    let text = format!("average precision {:.3}, ROC-AUC {:.3}; model {model:.3}", found.0, found.1);
    Ok([
        probe
            .number("roc_auc", told.1)
            .told(format!("ROC-AUC {:.3} by pair, with whole families and publishers held back", told.1)),
        never
            .number("average_precision", found.0)
            .number("roc_auc", found.1)
            .passes(found.0 <= NEVER_SAW_SHARE * model, text),
    ])
}

fn source(subject: &Subject<'_>, steps: &mut Steps<'_>) -> Result<Check, LearnError> {
    let check = Check::new(
        "source_probe",
        "Can a benign flow's publisher be told?",
        "is told and not judged: publishers capture different software".into(),
    );
    let benign = |truth: Truth| truth == Truth::Benign;
    let mut sizes: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for row in subject.data.rows.iter().filter(|row| benign(row.truth)) {
        sizes.entry(publisher(&subject.data.captures[row.capture])).or_default().insert(row.pair);
    }
    let mut order: Vec<(&str, usize)> = sizes.iter().map(|(name, pairs)| (*name, pairs.len())).collect();
    order.sort_by_key(|(name, size)| (std::cmp::Reverse(*size), *name));
    order.truncate(PUBLISHERS);
    if order.len() < 2 || order.iter().any(|(_, size)| *size < LEAST_PAIRS) {
        return Ok(check.too_little("too few publishers with benign pairs enough"));
    }
    let mut told = Vec::new();
    let mut check = check;
    for (name, _) in order {
        let mut data = subject.data.to_be_relabelled();
        for row in &mut data.rows {
            row.kin.clear();
            row.truth = match row.truth {
                Truth::Benign if publisher(&subject.data.captures[row.capture]) == name => Truth::Malicious,
                Truth::Benign => Truth::Benign,
                _ => Truth::Unlabelled,
            };
        }
        let folds = Folds::by_capture(&data, subject.seed, 5);
        let area = by_pair(&data, &raw(subject, &data, &folds, "audit: publishers", steps)?).1;
        check = check.number(name, area);
        told.push(format!("{name} {area:.3}"));
    }
    Ok(check.told(format!("ROC-AUC by pair, captures held back: {}", told.join(", "))))
}
