//! Rows as small whole numbers: where a value lies among learnt cuts, or that it is missing.

use crate::MAX_WIDTH;
use crate::codec::{Reader, Writer};
use veilwatch_core::plugin::{PluginError, TrainingSet};

/// Cuts of a column, at most.
pub const MAX_CUTS: usize = 254;

/// The cuts of each column, ascending. A value lies in the bin whose number is that of the cuts it reaches.
#[derive(Debug, Clone, PartialEq)]
pub struct Bins {
    cuts: Vec<Vec<f32>>,
}

impl Bins {
    /// Learns up to `most` cuts of each column from the training rows, by their weights: between two values that occur,
    /// where they part the rows most evenly. A column of one value has none.
    pub fn learn(data: &TrainingSet<'_>, most: usize) -> Self {
        let cuts = (0..data.rows.width()).map(|column| {
            let mut sorted: Vec<(f32, f64)> = data
                .rows
                .iter()
                .zip(data.weights)
                .map(|(row, weight)| (row[column], f64::from(*weight)))
                .filter(|(value, _)| !value.is_nan())
                .collect();
            sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
            cuts(&sorted, most.min(MAX_CUTS))
        });
        Self { cuts: cuts.collect() }
    }

    /// Columns of the rows.
    pub fn width(&self) -> usize {
        self.cuts.len()
    }

    /// The cuts of a column.
    pub fn cuts(&self, column: usize) -> &[f32] {
        self.cuts.get(column).map_or(&[], Vec::as_slice)
    }

    /// Codes that a column's values can have: missing, and the bins.
    pub fn codes(&self, column: usize) -> usize {
        self.cuts(column).len() + 2
    }

    /// The code of a value: 0 where it is missing, else 1 and the number of its bin.
    pub fn code(&self, column: usize, value: f32) -> usize {
        if value.is_nan() {
            return 0;
        }
        1 + self.cuts(column).partition_point(|cut| *cut <= value)
    }

    /// The codes of a row.
    pub fn of<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = usize> + 'a {
        row.iter().enumerate().map(|(column, value)| self.code(column, *value))
    }

    /// How much weight the rows of each code of each column have.
    pub fn frequencies(&self, data: &TrainingSet<'_>) -> Vec<Vec<f64>> {
        let [mut benign, malicious] = self.frequencies_of_classes(data);
        for (benign, malicious) in benign.iter_mut().flatten().zip(malicious.iter().flatten()) {
            *benign += malicious;
        }
        benign
    }

    /// The same of the benign and of the malicious rows, with weights scaled to a mean of 1.
    pub fn frequencies_of_classes(&self, data: &TrainingSet<'_>) -> [Vec<Vec<f64>>; 2] {
        let none = || (0..self.width()).map(|column| vec![0.0; self.codes(column)]).collect();
        let mut classes: [Vec<Vec<f64>>; 2] = [none(), none()];
        let total: f64 = data.weights.iter().map(|weight| f64::from(*weight)).sum();
        let scale = data.weights.len() as f64 / total;
        for ((row, label), weight) in data.rows.iter().zip(data.labels).zip(data.weights) {
            for (counts, code) in classes[usize::from(*label)].iter_mut().zip(self.of(row)) {
                counts[code] += f64::from(*weight) * scale;
            }
        }
        classes
    }

    /// Writes them.
    ///
    /// # Errors
    /// Where postcard cannot.
    pub fn write(&self, to: &mut Writer) -> Result<(), PluginError> {
        to.put(&(self.cuts.len() as u32))?;
        for cuts in &self.cuts {
            to.put(&(cuts.len() as u32))?;
            cuts.iter().try_for_each(|cut| to.put(cut))?;
        }
        Ok(())
    }

    /// Reads them from bytes that may be anybody's.
    ///
    /// # Errors
    /// Where a count cannot be, or cuts do not ascend.
    pub fn read(from: &mut Reader<'_>) -> Result<Self, PluginError> {
        let width = from.count("columns", MAX_WIDTH, 1)?;
        if width == 0 {
            return Err(PluginError::data("the weights are for rows without columns"));
        }
        let mut all = Vec::with_capacity(width);
        for _ in 0..width {
            let count = from.count("cuts of a column", MAX_CUTS, 4)?;
            let mut cuts = Vec::with_capacity(count);
            for _ in 0..count {
                let cut: f32 = from.take()?;
                if !cut.is_finite() || cuts.last().is_some_and(|last| *last >= cut) {
                    return Err(PluginError::data("the cuts of a column do not ascend"));
                }
                cuts.push(cut);
            }
            all.push(cuts);
        }
        Ok(Self { cuts: all })
    }
}

/// Up to `most` cuts between sorted values with weights.
fn cuts(sorted: &[(f32, f64)], most: usize) -> Vec<f32> {
    // Where the value changes, and the weight of what is below.
    let mut edges: Vec<(f64, f32)> = Vec::new();
    let mut below = 0.0;
    for pair in sorted.windows(2) {
        let [(low, weight), (high, _)] = pair else { continue };
        below += weight;
        if low < high {
            edges.push((below, between(*low, *high)));
        }
    }
    let total = below + sorted.last().map_or(0.0, |(_, weight)| *weight);
    if edges.len() <= most {
        return edges.into_iter().map(|(_, cut)| cut).collect();
    }
    let mut cuts: Vec<f32> = Vec::with_capacity(most);
    for at in 1..=most {
        let wanted = total * at as f64 / (most + 1) as f64;
        let after = edges.partition_point(|(below, _)| *below < wanted);
        // The nearer of the two edges around the place.
        let near = [after.checked_sub(1), Some(after)].into_iter().flatten().filter_map(|at| edges.get(at));
        let best = near.min_by(|one, other| (one.0 - wanted).abs().total_cmp(&(other.0 - wanted).abs()));
        if let Some((_, cut)) = best
            && cuts.last().is_none_or(|last| last < cut)
        {
            cuts.push(*cut);
        }
    }
    cuts
}

/// A number above `low` and not above `high`, half way where there is room.
fn between(low: f32, high: f32) -> f32 {
    let middle = (f64::from(low) / 2.0 + f64::from(high) / 2.0) as f32;
    if middle > low && middle <= high { middle } else { high }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use veilwatch_core::feature::Rows;

    fn bins(values: &[f32], weights: &[f32], most: usize) -> Bins {
        let labels = vec![true; values.len()];
        Bins::learn(&TrainingSet { rows: Rows::new(values, 1), labels: &labels, weights, seed: 1 }, most)
    }

    #[test]
    fn cuts_part_the_rows_evenly_by_weight() {
        let values = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, f32::NAN];
        assert_eq!(bins(&values, &[1.0; 9], 1).cuts(0), [0.5], "the median is the least value");
        let heavy = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 90.0, 1.0];
        assert_eq!(bins(&values, &heavy, 1).cuts(0), [1.5]);
        let all = bins(&values, &[1.0; 9], 8);
        assert_eq!(all.cuts(0), [0.5, 1.5]);
        let codes = [f32::NAN, f32::NEG_INFINITY, 0.0, 0.5, 1.4, 1.5, f32::INFINITY].map(|value| all.code(0, value));
        assert_eq!(codes, [0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(all.codes(0), 4);
        assert!(bins(&[3.0, f32::NAN, 3.0], &[1.0; 3], 8).cuts(0).is_empty());
    }

    proptest! {
        #[test]
        fn cuts_ascend_and_part_what_differs(values in prop::collection::vec(any::<f32>(), 2..60), most in 1usize..20) {
            let values: Vec<f32> = values.into_iter().filter(|value| value.is_finite()).collect();
            prop_assume!(!values.is_empty());
            let bins = bins(&values, &vec![1.0; values.len()], most);
            let cuts = bins.cuts(0);
            prop_assert!(cuts.len() <= most && cuts.windows(2).all(|pair| pair[0] < pair[1]));
            let low = values.iter().copied().fold(f32::MAX, f32::min);
            let high = values.iter().copied().fold(f32::MIN, f32::max);
            prop_assert_eq!(cuts.is_empty(), low == high);
            // Each cut has rows on both sides.
            prop_assert!(cuts.iter().all(|cut| low < *cut && *cut <= high));
            let mut writer = Writer::new(*b"TEST", 1);
            bins.write(&mut writer).unwrap();
            let bytes = writer.finish();
            prop_assert_eq!(Bins::read(&mut Reader::new(&bytes, *b"TEST", 1, "a test").unwrap()).unwrap(), bins);
        }
    }
}
