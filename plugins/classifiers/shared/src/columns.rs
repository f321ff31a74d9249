//! Rows as vectors of comparable numbers, for models that measure distances or multiply.

use crate::MAX_WIDTH;
use crate::codec::{Reader, Writer, number};
use std::collections::HashMap;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{PluginError, TrainingSet};

/// Share of the weight that must miss a value, and that must not, for an indicator to be worth its column.
const MISSING_SHARE: f64 = 0.005;
/// Farthest that a number may be allowed to lie from zero.
pub const MAX_LIMIT: f64 = 1000.0;
/// Bytes of a column as it is written, at least: its place, what it is, two numbers.
const MIN_COLUMN: usize = 2 + 2 * 8;

/// How the columns of rows become numbers of about the same size.
#[derive(Debug, Clone, PartialEq)]
pub struct Columns {
    width: usize,
    limit: f64,
    kept: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq)]
struct Column {
    /// The row's column that it is made of.
    source: usize,
    what: What,
    /// Mean and deviation of the training rows before they are scaled.
    mean: f64,
    deviation: f64,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    /// The value on a scale that is even near the median and logarithmic far from it.
    Value { median: f64, unit: f64 },
    /// One where the value is missing, zero elsewhere.
    Missing,
}

impl Column {
    fn of(&self, row: &[f32], limit: f64) -> f64 {
        let value = row.get(self.source).copied().unwrap_or(f32::NAN);
        ((self.what.of(value) - self.mean) / self.deviation).clamp(-limit, limit)
    }
}

impl What {
    fn of(&self, value: f32) -> f64 {
        match self {
            Self::Missing => f64::from(u8::from(value.is_nan())),
            Self::Value { .. } if value.is_nan() => 0.0,
            Self::Value { median, unit } => ((f64::from(value) - median) / unit).asinh(),
        }
    }
}

impl Columns {
    /// Learns medians, units, means and deviations from the training rows, by their weights. Numbers stay within
    /// `limit` of zero; with `indicators` there is a column for each pattern of missing values.
    ///
    /// # Errors
    /// Where no column tells anything.
    pub fn learn(data: &TrainingSet<'_>, limit: f64, indicators: bool) -> Result<Self, PluginError> {
        let width = data.rows.width();
        let total: f64 = data.weights.iter().map(|weight| f64::from(*weight)).sum();
        let mut kept = Vec::new();
        let mut patterns: HashMap<Vec<bool>, ()> = HashMap::new();
        for source in 0..width {
            let values: Vec<f32> = data.rows.iter().map(|row| row[source]).collect();
            let mut sorted: Vec<(f32, f64)> = values
                .iter()
                .zip(data.weights)
                .filter(|(value, _)| !value.is_nan())
                .map(|(value, weight)| (*value, f64::from(*weight)))
                .collect();
            sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
            let present: f64 = sorted.iter().map(|(_, weight)| weight).sum();
            if let Some(what) = even(&sorted, present) {
                kept.extend(Column::learn(source, what, &values, data.weights, total));
            }
            let missing = 1.0 - present / total;
            if indicators && (MISSING_SHARE..=1.0 - MISSING_SHARE).contains(&missing) {
                let pattern: Vec<bool> = values.iter().map(|value| value.is_nan()).collect();
                if patterns.insert(pattern, ()).is_none() {
                    kept.extend(Column::learn(source, What::Missing, &values, data.weights, total));
                }
            }
        }
        if kept.is_empty() {
            return Err(PluginError::data("no column of the rows to train on ever changes: nothing can be learnt"));
        }
        Ok(Self { width, limit, kept })
    }

    /// Columns of the rows.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Numbers that are made of a row.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there are none; there always are some.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Farthest from zero that a number can be.
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// The numbers of a row, each with the column of the row that it is made of.
    pub fn of<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = (usize, f64)> + 'a {
        self.kept.iter().map(|column| (column.source, column.of(row, self.limit)))
    }

    /// The numbers of some rows, row after row.
    pub fn matrix(&self, rows: &Rows<'_>, picked: &[usize]) -> Vec<f64> {
        let mut matrix = Vec::with_capacity(picked.len() * self.len());
        for row in picked {
            matrix.extend(self.of(rows.row(*row)).map(|(_, number)| number));
        }
        matrix
    }

    /// Writes them.
    ///
    /// # Errors
    /// Where postcard cannot.
    pub fn write(&self, to: &mut Writer) -> Result<(), PluginError> {
        to.put(&(self.width as u32, self.limit, self.kept.len() as u32))?;
        for column in &self.kept {
            to.put(&(column.source as u32, column.mean, column.deviation))?;
            match column.what {
                What::Value { median, unit } => to.put(&(1u8, median, unit))?,
                What::Missing => to.put(&0u8)?,
            }
        }
        Ok(())
    }

    /// Reads them from bytes that may be anybody's.
    ///
    /// # Errors
    /// Where a count, an index or a number cannot be.
    pub fn read(from: &mut Reader<'_>) -> Result<Self, PluginError> {
        let bad = |what: String| Err(PluginError::data(what));
        let (width, limit): (u32, f64) = from.take()?;
        let width = width as usize;
        if width == 0 || width > MAX_WIDTH {
            return bad(format!("rows of {width} columns; 1 to {MAX_WIDTH} are possible"));
        }
        if !(limit > 0.0 && limit <= MAX_LIMIT) {
            return bad(format!("numbers up to {limit}; up to {MAX_LIMIT} are possible"));
        }
        let count = from.count("columns", 2 * width, MIN_COLUMN)?;
        if count == 0 {
            return bad("the weights have no columns".to_owned());
        }
        let mut kept = Vec::with_capacity(count);
        for _ in 0..count {
            let (source, mean, deviation): (u32, f64, f64) = from.take()?;
            let source = source as usize;
            let what = match from.take::<u8>()? {
                0 => What::Missing,
                1 => What::Value { median: from.number()?, unit: positive(from.take()?)? },
                kind => return bad(format!("a column of the kind {kind}, which cannot be")),
            };
            if source >= width {
                return bad(format!("a column is made of column {source}, which rows do not have"));
            }
            kept.push(Column { source, what, mean: number(mean)?, deviation: positive(deviation)? });
        }
        Ok(Self { width, limit, kept })
    }
}

/// A number that others are divided by.
fn positive(value: f64) -> Result<f64, PluginError> {
    if value >= f64::MIN_POSITIVE && value.is_finite() {
        return Ok(value);
    }
    Err(PluginError::data(format!("a column's scale is {value}; it must be positive")))
}

impl Column {
    /// Nothing where it never changes.
    fn learn(source: usize, what: What, values: &[f32], weights: &[f32], total: f64) -> Option<Self> {
        let of = || values.iter().zip(weights).map(|(value, weight)| (what.of(*value), f64::from(*weight)));
        let mean = of().map(|(number, weight)| number * weight).sum::<f64>() / total;
        let variance = of().map(|(number, weight)| (number - mean).powi(2) * weight).sum::<f64>() / total;
        let deviation = variance.sqrt();
        // Rounding makes a spread of its own where there is none.
        (deviation > 1e-9 * (1.0 + mean.abs())).then_some(Self { source, what, mean, deviation })
    }
}

/// The median and the unit of sorted values with weights; nothing where they are all the same.
fn even(sorted: &[(f32, f64)], total: f64) -> Option<What> {
    let (first, last) = (sorted.first()?.0, sorted.last()?.0);
    if first == last {
        return None;
    }
    let mut sums = Vec::with_capacity(sorted.len());
    let mut sum = 0.0;
    for (_, weight) in sorted {
        sum += weight;
        sums.push(sum);
    }
    let at = |share: f64| {
        let place = sums.partition_point(|sum| *sum < share * total).min(sorted.len() - 1);
        f64::from(sorted[place].0)
    };
    let median = at(0.5);
    let far = |(value, weight): &(f32, f64)| (f64::from(*value) - median).powi(2) * weight;
    let deviation = || (sorted.iter().map(far).sum::<f64>() / total).sqrt();
    let units = [at(0.75) - at(0.25), at(0.95) - at(0.05)];
    let unit = units.into_iter().find(|unit| *unit > 0.0).unwrap_or_else(deviation);
    (unit > f64::MIN_POSITIVE && unit.is_finite()).then_some(What::Value { median, unit })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f32 = f32::NAN;

    fn columns(values: &[f32], width: usize, weights: &[f32]) -> Columns {
        let labels = vec![true; weights.len()];
        Columns::learn(&TrainingSet { rows: Rows::new(values, width), labels: &labels, weights, seed: 1 }, 4.0, true)
            .unwrap()
    }

    #[test]
    fn columns_have_the_mean_zero_and_the_deviation_one_by_weight() {
        // One with a long tail; one that never changes; one of which half is missing, as of the last.
        let values: Vec<f32> = (0..40)
            .flat_map(|at| {
                let there = if at % 2 == 0 { at as f32 } else { NAN };
                [(at as f32 / 2.0).exp(), 7.0, there, there]
            })
            .collect();
        let weights: Vec<f32> = (0..40).map(|at| 0.5 + (at % 3) as f32).collect();
        let learnt = columns(&values, 4, &weights);
        let what: Vec<(usize, bool)> = learnt.kept.iter().map(|c| (c.source, c.what == What::Missing)).collect();
        assert_eq!(what, [(0, false), (2, false), (2, true), (3, false)], "the pattern of the last is known");
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        for at in 0..learnt.len() {
            let numbers: Vec<f64> = Rows::new(&values, 4).iter().map(|row| learnt.of(row).nth(at).unwrap().1).collect();
            let sum = |power: i32| -> f64 {
                numbers.iter().zip(&weights).map(|(number, weight)| number.powi(power) * f64::from(*weight)).sum()
            };
            assert!((sum(1) / total).abs() < 1e-9 && (sum(2) / total - 1.0).abs() < 1e-9, "column {at}");
        }
        // Whatever the value, the number is near.
        for value in [NAN, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY, 0.0] {
            assert!(learnt.of(&[value; 4]).all(|(_, number)| number.abs() <= 4.0));
        }
    }

    #[test]
    fn what_is_missing_lies_at_the_median() {
        let values = [1.0, 2.0, 5.0, 9.0, 11.0, NAN];
        let learnt = columns(&values, 1, &[1.0; 6]);
        let [of_median, of_missing] = [[5.0], [NAN]].map(|row| learnt.of(&row).next().unwrap().1);
        assert_eq!(of_median, of_missing);
    }

    #[test]
    fn comes_back_from_bytes() {
        let values = [1.0, NAN, 2.0, 3.0, 9.0, 1.0, 11.0, NAN];
        let learnt = columns(&values, 2, &[1.0; 4]);
        let mut writer = Writer::new(*b"TEST", 1);
        learnt.write(&mut writer).unwrap();
        let bytes = writer.finish();
        let read = |bytes: &[u8]| Columns::read(&mut Reader::new(bytes, *b"TEST", 1, "a test").unwrap());
        assert_eq!(read(&bytes).unwrap(), learnt);
        assert!((5..bytes.len()).all(|end| read(&bytes[..end]).is_err()));
    }
}
