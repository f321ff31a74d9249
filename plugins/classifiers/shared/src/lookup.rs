//! What each bin of each column adds, laid out so that many rows are scored without a branch.
//!
//! All columns have as many cuts, one less than a power of two: those that are missing lie at infinity. A search then takes
//! the same steps for every value, and those of several rows overlap.

use crate::bins::Bins;
use veilwatch_core::plugin::PluginError;

/// Bins of all columns together, at most: 48 MB of them.
const MAX_BINS: usize = 1 << 22;

/// Rows that are looked up side by side.
const LANES: usize = 8;

/// Cuts and parts of all columns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lookup {
    width: usize,
    /// Bins of each column: a power of two.
    bins: usize,
    /// `bins − 1` of each column.
    cuts: Vec<f32>,
    /// `bins + 1` of each column: where the value is missing, then one a bin.
    parts: Vec<f64>,
}

impl Lookup {
    /// From the cuts of each column and what each of its codes adds.
    ///
    /// # Errors
    /// Where there are too many.
    pub(crate) fn new(bins: &Bins, parts: &[Vec<f64>]) -> Result<Self, PluginError> {
        let width = bins.width();
        let most = (0..width).map(|column| bins.cuts(column).len() + 1).max().unwrap_or(1);
        let padded = most.next_power_of_two().max(2);
        if width * padded > MAX_BINS {
            return Err(PluginError::data(format!("{width} columns of up to {most} bins exceed the size limits")));
        }
        let mut lookup = Self { width, bins: padded, cuts: Vec::new(), parts: Vec::new() };
        for column in 0..width {
            lookup.cuts.extend_from_slice(bins.cuts(column));
            lookup.cuts.resize((column + 1) * (padded - 1), f32::INFINITY);
            // A value that is beyond all numbers lies in the last bin that there is.
            let parts = parts.get(column).map_or(&[][..], Vec::as_slice);
            lookup.parts.extend_from_slice(parts);
            lookup.parts.resize((column + 1) * (padded + 1), parts.last().copied().unwrap_or_default());
        }
        Ok(lookup)
    }

    /// Writes what each row's bins add up to, and `base`. A row's sum is taken in the order of the columns.
    pub(crate) fn score(&self, base: f64, rows: &[f32], scores: &mut [f64]) {
        match self.bins {
            2 => self.add::<2>(base, rows, scores),
            4 => self.add::<4>(base, rows, scores),
            8 => self.add::<8>(base, rows, scores),
            16 => self.add::<16>(base, rows, scores),
            32 => self.add::<32>(base, rows, scores),
            64 => self.add::<64>(base, rows, scores),
            128 => self.add::<128>(base, rows, scores),
            _ => self.add::<256>(base, rows, scores),
        }
    }

    fn add<const BINS: usize>(&self, base: f64, rows: &[f32], scores: &mut [f64]) {
        let mut groups = scores.chunks_exact_mut(LANES);
        let mut lanes = rows.chunks_exact(LANES * self.width);
        for (rows, scores) in lanes.by_ref().zip(groups.by_ref()) {
            let rows: [&[f32]; LANES] = std::array::from_fn(|lane| &rows[lane * self.width..][..self.width]);
            let mut sums = [base; LANES];
            let columns = self.cuts.chunks_exact(BINS - 1).zip(self.parts.chunks_exact(BINS + 1));
            for (column, (cuts, parts)) in columns.enumerate() {
                for (sum, row) in sums.iter_mut().zip(&rows) {
                    *sum += parts[code::<BINS>(cuts, row[column])];
                }
            }
            scores.copy_from_slice(&sums);
        }
        for (row, score) in lanes.remainder().chunks_exact(self.width).zip(groups.into_remainder()) {
            let columns = self.cuts.chunks_exact(BINS - 1).zip(self.parts.chunks_exact(BINS + 1));
            let parts = columns.zip(row).map(|((cuts, parts), value)| parts[code::<BINS>(cuts, *value)]);
            *score = parts.fold(base, |sum, part| sum + part);
        }
    }
}

/// 0 where the value is missing, else 1 and the number of cuts that it reaches.
#[inline(always)]
fn code<const BINS: usize>(cuts: &[f32], value: f32) -> usize {
    let mut reached = 0;
    let mut half = BINS / 2;
    while half > 0 {
        reached += half * usize::from(cuts[reached + half - 1] <= value);
        half /= 2;
    }
    (1 + reached) * usize::from(!value.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Lesson;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_search_finds(most in 1usize..=254, seed in 0u64..1000, rows in 1usize..40) {
            let lesson = Lesson::new(300, 6, 0.2, seed);
            let bins = Bins::learn(&lesson.set(1), most);
            let parts: Vec<Vec<f64>> = (0..6)
                .map(|column| (0..bins.codes(column)).map(|code| (column * 1000 + code) as f64 * 0.37).collect())
                .collect();
            let lookup = Lookup::new(&bins, &parts).unwrap();
            let mut values = lesson.values[..rows * 6].to_vec();
            // On a cut, and beyond all of them.
            values[0] = bins.cuts(0).first().copied().unwrap_or_default();
            values[1] = f32::MAX;
            values[2] = f32::MIN;
            let mut scores = vec![0.0; rows];
            lookup.score(0.25, &values, &mut scores);
            for (row, score) in values.chunks(6).zip(scores) {
                let direct = bins.of(row).zip(&parts).fold(0.25, |sum, (code, parts)| sum + parts[code]);
                prop_assert_eq!(direct, score);
            }
        }
    }
}
