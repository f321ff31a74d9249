//! An evaluation in short, which lies beside a model's card and goes with the model: what people look at before they trust it.
//!
//! It is data that may come from anybody: [`Digest::parse`] reads it within bounds, and holds every number against what it
//! can be. Nothing vouches for it (the card's signature is over the card), so that whoever shows it says of which data it is.

use super::audit::Ending;
use super::{Judgement, Level, Negatives, Short};
use crate::model::{Card, Figure};
use serde::{Deserialize, Serialize};

/// Points of a curve that are kept; a straight line between two of them stands for the rest.
const POINTS: usize = 300;
/// Entries of any list that are read.
const ENTRIES: usize = 1000;
/// Characters of any text that are read.
const TEXT: usize = 2000;

/// An evaluation in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// Layout.
    pub format: u32,
    /// Version of Veilwatch that judged.
    pub made_by: String,
    /// Whether it was the quick way.
    pub quick: bool,
    /// SHA-256 over the captures and labels.
    pub data_sha256: String,
    /// Hash of the schema.
    pub schema_sha256: String,
    /// The classifier that was judged.
    pub classifier: String,
    /// Folds of the headline.
    pub folds: usize,
    /// Malicious pairs, benign ones, and those of infected machines; none where only the table was made.
    pub pairs: Option<[usize; 3]>,
    /// The figures to quote, by name; none where they are withheld.
    pub figures: Vec<NamedFigure>,
    /// Why they are withheld.
    pub withheld: Vec<String>,
    /// Whether the audit passed; none where there was none.
    pub audit_passed: Option<bool>,
    /// Its checks.
    pub checks: Vec<CheckDigest>,
    /// The classifier under other divisions of the data.
    pub protocols: Vec<NamedFigure>,
    /// All classifiers on the same folds, in this pipeline's features.
    pub classifiers: Vec<ClassifierDigest>,
    /// Our intervals beside a published baseline's points.
    pub baseline: Vec<BaselineDigest>,
    /// `(false-positive rate, recall)`, upwards.
    pub roc: Vec<(f64, f64)>,
    /// `(recall, precision)`, upwards in recall.
    pub precision_recall: Vec<(f64, f64)>,
    /// Of each bin of scores: mean score, share of malicious pairs, pairs.
    pub reliability: Vec<(f64, f64, usize)>,
}

/// A figure by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedFigure {
    /// What it is.
    pub name: String,
    /// The figure.
    pub figure: Figure,
}

/// A check of the audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckDigest {
    /// Its name.
    pub id: String,
    /// `passed`, `failed`, `too_little` or `told`.
    pub ending: String,
    /// What it asks.
    pub question: String,
    /// What was found.
    pub found: String,
}

/// A classifier of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierDigest {
    /// Its name.
    pub name: String,
    /// Average precision by pair, against both negatives.
    pub average_precision: Option<Figure>,
    /// F1 of the malicious, at the threshold with the best F1 on the other folds.
    pub f1: Option<Figure>,
    /// Precision of the malicious there.
    pub precision: Option<Figure>,
    /// Recall of the malicious there.
    pub recall: Option<Figure>,
    /// F1 of both classes, weighted by their sizes.
    pub weighted_f1: Option<Figure>,
    /// Why there are no figures.
    pub failed: Option<String>,
}

/// One of our figures beside a published one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineDigest {
    /// Which.
    pub figure: String,
    /// Ours.
    pub ours: Figure,
    /// The published one, which has no interval.
    pub baseline: f64,
}

impl Digest {
    /// The layout that this version reads and writes.
    pub const FORMAT: u32 = 1;
    /// The name of its file in a model's folder.
    pub const FILE: &str = "evaluation.json";
    /// Bytes of that file, at most.
    pub const BYTES: u64 = 1 << 20;

    /// The digest of a judgement.
    pub fn of(judgement: &Judgement) -> Self {
        let named = |name: &str, figure: Figure| NamedFigure { name: name.to_owned(), figure };
        let report = judgement.report.as_ref().filter(|_| judgement.headline.is_some());
        let figures = report.iter().flat_map(|report| report.figures());
        let both =
            |report: &super::ProtocolReport| Some(report.figures(Level::Pair, Negatives::Both)?.average_precision);
        let protocols = judgement.protocols.iter().filter(|_| judgement.headline.is_some());
        let checks = judgement.audit.iter().flat_map(|audit| &audit.checks);
        let curves = judgement.curves.as_ref();
        Self {
            format: Self::FORMAT,
            made_by: judgement.made_by.to_owned(),
            quick: judgement.quick,
            data_sha256: judgement.data_sha256.clone(),
            schema_sha256: judgement.schema_sha256.clone(),
            classifier: judgement.classifier.clone(),
            folds: judgement.folds,
            pairs: report.map(|report| [report.malicious_pairs, report.benign_pairs, report.background_pairs]),
            figures: figures.filter_map(|(name, figure)| Some(named(name, figure?))).collect(),
            withheld: judgement.withheld.iter().map(|words| short(words)).collect(),
            audit_passed: judgement.audit.as_ref().map(|audit| audit.passed),
            checks: checks
                .map(|check| CheckDigest {
                    id: check.id.to_owned(),
                    ending: match check.ending {
                        Ending::Passed => "passed",
                        Ending::Failed => "failed",
                        Ending::TooLittle => "too_little",
                        Ending::Told => "told",
                    }
                    .to_owned(),
                    question: short(&check.question),
                    found: short(&check.found),
                })
                .collect(),
            protocols: protocols.filter_map(|report| Some(named(report.protocol.name(), both(report)?))).collect(),
            classifiers: judgement.table.iter().map(ClassifierDigest::of).collect(),
            baseline: judgement
                .baseline
                .iter()
                .map(|row| BaselineDigest { figure: row.figure.to_owned(), ours: row.ours, baseline: row.baseline })
                .collect(),
            roc: curves.map(|curves| thinned(&curves.roc)).unwrap_or_default(),
            precision_recall: curves.map(|curves| thinned(&curves.precision_recall)).unwrap_or_default(),
            reliability: curves.map(|curves| curves.reliability.clone()).unwrap_or_default(),
        }
    }

    /// Reads bytes that may be anybody's; none where they are no digest that can be.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() as u64 > Self::BYTES {
            return None;
        }
        serde_json::from_slice(bytes).ok().filter(Self::is_possible)
    }

    /// Whether it is of the data, the features and the classifier that a card tells of.
    pub fn is_of(&self, card: &Card) -> bool {
        self.data_sha256 == card.training.data_sha256
            && self.schema_sha256 == card.schema_sha256
            && self.classifier == card.classifier
    }

    /// Its bytes, as they lie in a model's folder.
    ///
    /// # Errors
    /// Where a number is none.
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Whether lists and texts are within bounds and all numbers are shares.
    fn is_possible(&self) -> bool {
        let share = |number: f64| (0.0..=1.0).contains(&number);
        let sound = |figure: &Figure| {
            let Figure { value, low, high } = *figure;
            // Bootstrap intervals of odd samples need not hold their figure.
            share(value) && share(low) && share(high) && low <= high
        };
        let told = |figure: &Option<Figure>| figure.as_ref().is_none_or(sound);
        let lengths = [
            self.figures.len(),
            self.withheld.len(),
            self.checks.len(),
            self.protocols.len(),
            self.classifiers.len(),
            self.baseline.len(),
            self.roc.len(),
            self.precision_recall.len(),
            self.reliability.len(),
        ];
        let of_checks = |check: &CheckDigest| {
            ["passed", "failed", "too_little", "told"].contains(&check.ending.as_str())
                && [&check.id, &check.question, &check.found].iter().all(|text| fits(text))
        };
        let of_classifiers = |row: &ClassifierDigest| {
            [&row.average_precision, &row.f1, &row.precision, &row.recall, &row.weighted_f1].into_iter().all(told)
                && fits(&row.name)
                && row.failed.as_deref().is_none_or(fits)
        };
        self.format == Self::FORMAT
            && lengths.iter().all(|length| *length <= ENTRIES)
            && [&self.made_by, &self.data_sha256, &self.schema_sha256, &self.classifier].iter().all(|text| fits(text))
            && self.withheld.iter().all(|text| fits(text))
            && self.figures.iter().chain(&self.protocols).all(|one| sound(&one.figure) && fits(&one.name))
            && self.checks.iter().all(of_checks)
            && self.classifiers.iter().all(of_classifiers)
            && self.baseline.iter().all(|row| sound(&row.ours) && share(row.baseline) && fits(&row.figure))
            && self.roc.iter().chain(&self.precision_recall).all(|(x, y)| share(*x) && share(*y))
            && self.reliability.iter().all(|(score, part, _)| share(*score) && share(*part))
    }
}

impl ClassifierDigest {
    fn of(row: &Short) -> Self {
        Self {
            name: short(&row.name),
            average_precision: row.average_precision,
            f1: row.malicious_f1,
            precision: row.malicious_precision,
            recall: row.malicious_recall,
            weighted_f1: row.weighted_f1,
            failed: row.failed.as_deref().map(short),
        }
    }
}

fn fits(text: &str) -> bool {
    text.len() <= 4 * TEXT
}

fn short(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

/// Some of the points of a curve, the first and the last among them.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let last = points.len().saturating_sub(1);
    let step = last.div_ceil(POINTS).max(1);
    points.iter().enumerate().filter(|(at, _)| at % step == 0 || *at == last).map(|(_, point)| *point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinned_curves_keep_their_ends() {
        let line: Vec<(f64, f64)> = (0..=10_000).map(|at| (f64::from(at) / 1e4, f64::from(at) / 1e4)).collect();
        let thin = thinned(&line);
        assert!(thin.len() <= POINTS + 2, "{}", thin.len());
        assert_eq!((thin.first(), thin.last()), (line.first(), line.last()));
        assert_eq!(thinned(&line[..3]), line[..3]);
        assert!(thinned(&[]).is_empty());
    }

    fn digest() -> Digest {
        let figure = Figure { value: 0.5, low: 0.4, high: 0.6 };
        let named = NamedFigure { name: "average precision".into(), figure };
        Digest {
            format: Digest::FORMAT,
            made_by: "0".into(),
            quick: true,
            data_sha256: "a".repeat(64),
            schema_sha256: "b".repeat(64),
            classifier: "classifier/x".into(),
            folds: 2,
            pairs: Some([1, 2, 3]),
            figures: vec![named.clone()],
            withheld: Vec::new(),
            audit_passed: Some(true),
            checks: vec![CheckDigest {
                id: "single_label".into(),
                ending: "passed".into(),
                question: "?".into(),
                found: "!".into(),
            }],
            protocols: vec![named],
            classifiers: Vec::new(),
            baseline: vec![BaselineDigest { figure: "recall".into(), ours: figure, baseline: 0.5 }],
            roc: vec![(0.0, 0.0), (1.0, 1.0)],
            precision_recall: vec![(0.5, 1.0)],
            reliability: vec![(0.5, 0.5, 2)],
        }
    }

    #[test]
    fn impossible_numbers_are_refused() {
        let digest = digest();
        assert_eq!(Digest::parse(&digest.to_bytes().unwrap()).as_ref(), Some(&digest));
        let parsed = |change: &dyn Fn(&mut Digest)| {
            let mut other = digest.clone();
            change(&mut other);
            Digest::parse(&other.to_bytes().unwrap()).is_some()
        };
        assert!(!parsed(&|digest| digest.roc.push((0.5, 1.5))));
        assert!(!parsed(&|digest| digest.reliability.push((-0.1, 0.5, 1))));
        assert!(!parsed(&|digest| digest.baseline[0].baseline = 7.0));
        assert!(!parsed(&|digest| digest.figures[0].figure.low = 1.0));
        assert!(!parsed(&|digest| digest.roc = vec![(0.0, 0.0); ENTRIES + 1]));
        assert!(!parsed(&|digest| digest.checks[0].ending = "fine".into()));
        assert!(!parsed(&|digest| digest.classifier = "x".repeat(4 * TEXT + 1)));
        assert!(!parsed(&|digest| digest.format = 2));
        assert!(Digest::parse(b"[]").is_none());
    }
}
