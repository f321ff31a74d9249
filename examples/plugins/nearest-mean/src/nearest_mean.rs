//! A classifier: is a flow nearer to the mean of the malicious flows, or to that of the benign ones?
//!
//! Each column is measured by itself, in units of the class's own spread. The raw score is the squared distance to the
//! benign mean minus that to the malicious one, so it is a sum over columns, and explaining it is exact.

use serde::Deserialize;
use std::fmt::Write;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Classifier, PluginError, Settings, TrainingSet};

veilwatch_core::declare_plugins!(classifier "nearest-mean" "the nearer of two means; small, to be read": NearestMean);

/// First line of the weights; the number grows when the format changes.
const TITLE: &str = "veilwatch nearest-mean 1";

/// Most columns that weights may have.
const MAX_COLUMNS: usize = 65_536;

/// The settings; both count in training, and `farthest` is kept with the weights.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NearestMeanSettings {
    /// Least spread of a class in a column, as a share of the spread of all rows: a column that never changes in
    /// training must not decide all by itself later.
    pub least_spread: f64,
    /// The distance, in spreads, from which on far is far: it bounds what one column can do.
    pub farthest: f64,
}

impl Default for NearestMeanSettings {
    fn default() -> Self {
        Self { least_spread: 0.2, farthest: 3.0 }
    }
}

/// The classifier: its settings, and what it learnt.
#[derive(Debug)]
pub struct NearestMean {
    settings: NearestMeanSettings,
    learnt: Option<Learnt>,
}

/// Mean and spread of one column in one class.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    mean: f64,
    spread: f64,
}

/// What was learnt.
#[derive(Debug, PartialEq)]
struct Learnt {
    farthest: f64,
    /// For each column benign and malicious; none where a class never had a value, or all values are alike.
    columns: Vec<Option<[Place; 2]>>,
}

impl NearestMean {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let settings: NearestMeanSettings = settings.read()?;
        for (name, value, least, most) in
            [("least_spread", settings.least_spread, 0.001, 1.0), ("farthest", settings.farthest, 0.1, 100.0)]
        {
            // NaN lies in no range.
            if !(least..=most).contains(&value) {
                return Err(PluginError::settings(format!("`{name}` is {value}; give {least} to {most}")));
            }
        }
        Ok(Self { settings, learnt: None })
    }

    /// What was learnt, if it was learnt from rows of this width.
    fn learnt(&self, width: usize) -> Result<&Learnt, PluginError> {
        let learnt = self.learnt.as_ref().ok_or_else(untrained)?;
        if learnt.columns.len() == width {
            return Ok(learnt);
        }
        let known = learnt.columns.len();
        Err(PluginError::data(format!("trained on rows of {known} columns, these have {width}; train again")))
    }
}

impl Classifier for NearestMean {
    fn fit(&mut self, data: &TrainingSet<'_>) -> Result<(), PluginError> {
        self.learnt = None;
        check(data)?;
        let columns = (0..data.rows.width())
            .map(|column| {
                let all = place(data, column, |_| true).filter(|all| all.spread > 0.0)?;
                let least = all.spread * self.settings.least_spread;
                let class = |label: bool| {
                    let Place { mean, spread } = place(data, column, |known| known == label)?;
                    Some(Place { mean, spread: spread.max(least) })
                };
                Some([class(false)?, class(true)?])
            })
            .collect();
        self.learnt = Some(Learnt { farthest: self.settings.farthest, columns });
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, PluginError> {
        Ok(self.learnt.as_ref().ok_or_else(untrained)?.write().into_bytes())
    }

    fn load(&mut self, weights: &[u8]) -> Result<(), PluginError> {
        self.learnt = Some(Learnt::read(weights)?);
        Ok(())
    }

    fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError> {
        let learnt = self.learnt(rows.width())?;
        if scores.len() != rows.len() {
            return Err(PluginError::data(format!("{} rows, but room for {} scores", rows.len(), scores.len())));
        }
        for (row, score) in rows.iter().zip(scores) {
            *score = learnt.parts(row).sum();
        }
        Ok(())
    }

    fn explain(&self, row: &[f32], contributions: &mut [f64]) -> Result<(), PluginError> {
        let learnt = self.learnt(row.len())?;
        if contributions.len() != row.len() {
            let room = contributions.len();
            return Err(PluginError::data(format!("{} columns, but room for {room} contributions", row.len())));
        }
        contributions.iter_mut().zip(learnt.parts(row)).for_each(|(cell, part)| *cell = part);
        Ok(())
    }
}

impl Learnt {
    /// Each column's part in the raw score: above 0 where the value is nearer to the malicious mean, 0 where it is
    /// missing. Divided by the columns that tell something, so that a raw score means the same however many there are.
    fn parts(&self, row: &[f32]) -> impl Iterator<Item = f64> {
        let telling = self.columns.iter().flatten().count().max(1) as f64;
        row.iter().zip(&self.columns).map(move |(value, column)| match column {
            Some(places) if !value.is_nan() => {
                let [benign, malicious] = places.map(|place| {
                    let distance = ((f64::from(*value) - place.mean) / place.spread).abs();
                    distance.min(self.farthest).powi(2)
                });
                (benign - malicious) / telling
            }
            _ => 0.0,
        })
    }

    /// As text: numbers are written so that reading them gives the same bits.
    fn write(&self) -> String {
        let mut text = format!("{TITLE}\ncolumns {} farthest {:e}\n", self.columns.len(), self.farthest);
        for column in &self.columns {
            let _ = match column {
                // Writing into a text cannot fail.
                Some([b, m]) => writeln!(text, "{:e} {:e} {:e} {:e}", b.mean, b.spread, m.mean, m.spread),
                None => writeln!(text, "-"),
            };
        }
        text
    }

    /// From bytes that may be anybody's: every number is checked, and nothing is allocated by a count alone.
    fn read(weights: &[u8]) -> Result<Self, PluginError> {
        let bad = |line: usize, what: &str| {
            PluginError::data(format!("line {line} of the weights: {what}; train again, or get the model again"))
        };
        let text = std::str::from_utf8(weights).map_err(|_| bad(1, "this is no text"))?;
        let mut lines = text.split_terminator('\n');
        if lines.next() != Some(TITLE) {
            return Err(bad(1, &format!("`{TITLE}` is expected")));
        }
        let head: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let (columns, farthest) = match head[..] {
            ["columns", columns, "farthest", farthest] => (columns.parse::<usize>().ok(), number(farthest)),
            _ => (None, None),
        };
        let (Some(columns), Some(farthest)) = (columns, farthest.filter(|farthest| *farthest > 0.0)) else {
            return Err(bad(2, "`columns`, a count, `farthest` and a number above 0 are expected"));
        };
        let there = lines.clone().take(MAX_COLUMNS + 1).count();
        if columns != there || columns > MAX_COLUMNS || !text.ends_with('\n') {
            return Err(bad(2, &format!("{columns} columns are announced (at most {MAX_COLUMNS}), {there} are there")));
        }
        let mut learnt = Self { farthest, columns: Vec::with_capacity(columns) };
        for (at, line) in lines.enumerate() {
            let numbers: Option<Vec<f64>> = line.split(' ').map(number).collect();
            learnt.columns.push(match numbers.as_deref() {
                _ if line == "-" => None,
                Some(&[mean, spread, other_mean, other_spread]) if spread > 0.0 && other_spread > 0.0 => {
                    Some([Place { mean, spread }, Place { mean: other_mean, spread: other_spread }])
                }
                _ => return Err(bad(at + 3, "mean and spread of both classes are expected, spreads above 0")),
            });
        }
        Ok(learnt)
    }
}

/// A finite number.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Weighted mean and spread of one column over the rows whose label is wanted and that have a value.
fn place(data: &TrainingSet<'_>, column: usize, wanted: impl Fn(bool) -> bool) -> Option<Place> {
    let values = || {
        let rows = data.rows.iter().zip(data.labels).zip(data.weights);
        rows.filter(|((row, label), _)| wanted(**label) && !row[column].is_nan())
            .map(|((row, _), weight)| (f64::from(row[column]), f64::from(*weight)))
    };
    let total: f64 = values().map(|(_, weight)| weight).sum();
    let mean = values().map(|(value, weight)| value * weight).sum::<f64>() / total;
    let squares = values().map(|(value, weight)| (value - mean).powi(2) * weight).sum::<f64>();
    (total > 0.0).then(|| Place { mean, spread: (squares / total).sqrt() })
}

fn check(data: &TrainingSet<'_>) -> Result<(), PluginError> {
    let (rows, width) = (data.rows.len(), data.rows.width());
    if data.labels.len() != rows || data.weights.len() != rows || width > MAX_COLUMNS {
        return Err(PluginError::data(format!(
            "{rows} rows of {width} columns, {} labels, {} weights: one label and one weight a row are needed, and at \
             most {MAX_COLUMNS} columns",
            data.labels.len(),
            data.weights.len()
        )));
    }
    if !data.labels.contains(&true) || !data.labels.contains(&false) {
        return Err(PluginError::data("training needs rows of both kinds, malicious and benign"));
    }
    if data.weights.iter().any(|weight| !(weight.is_finite() && *weight > 0.0)) {
        return Err(PluginError::data("weights of rows are positive numbers"));
    }
    if data.rows.data().iter().any(|value| value.is_infinite()) {
        return Err(PluginError::data("a row has an infinite value; extractors write finite numbers, or NaN"));
    }
    Ok(())
}

fn untrained() -> PluginError {
    PluginError::failed("there is no model yet: train or load one first")
}
