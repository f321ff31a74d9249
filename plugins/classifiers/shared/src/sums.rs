//! Models that add up one number a column.

use crate::bins::Bins;
use crate::codec::{Reader, Writer, number};
use crate::columns::Columns;
use crate::learner::Model;
use crate::lookup::Lookup;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::PluginError;

/// Adds up `linear × number + square × number²` over the numbers that [`Columns`] make of a row.
///
/// A number is zero at the training mean, so each column's part is its difference to that.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    columns: Columns,
    base: f64,
    /// Two factors a number: of itself and of its square.
    factors: Vec<[f64; 2]>,
}

impl Curves {
    /// From the factors of each number, and the score of a row that has none.
    ///
    /// # Errors
    /// Where their counts differ, or one is no number.
    pub fn new(columns: Columns, base: f64, factors: Vec<[f64; 2]>) -> Result<Self, PluginError> {
        if factors.len() != columns.len() {
            return Err(PluginError::data(format!("{} columns, but {} factors", columns.len(), factors.len())));
        }
        number(base)?;
        factors.iter().flatten().try_for_each(|factor| number(*factor).map(drop))?;
        Ok(Self { columns, base, factors })
    }

    /// From one factor a number.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn linear(columns: Columns, base: f64, factors: &[f64]) -> Result<Self, PluginError> {
        Self::new(columns, base, factors.iter().map(|factor| [*factor, 0.0]).collect())
    }

    /// How rows become numbers.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    fn parts<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = (usize, f64)> + 'a {
        let numbers = self.columns.of(row).zip(&self.factors);
        numbers.map(|((source, number), [linear, square])| (source, number * (linear + square * number)))
    }
}

impl Model for Curves {
    fn width(&self) -> usize {
        self.columns.width()
    }

    fn score(&self, rows: &Rows<'_>, scores: &mut [f64]) {
        for (row, score) in rows.iter().zip(scores) {
            *score = self.base + self.parts(row).map(|(_, part)| part).sum::<f64>();
        }
    }

    fn explain(&self, row: &[f32], parts: &mut [f64]) {
        parts.fill(0.0);
        for (source, part) in self.parts(row) {
            parts[source] += part;
        }
    }

    fn write(&self, to: &mut Writer) -> Result<(), PluginError> {
        self.columns.write(to)?;
        to.put(&self.base)?;
        self.factors.iter().try_for_each(|factors| to.put(factors))
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, PluginError> {
        let columns = Columns::read(from)?;
        let base = from.number()?;
        let factors = (0..columns.len()).map(|_| from.take()).collect::<Result<_, _>>()?;
        Self::new(columns, base, factors)
    }
}

/// Adds up what a table has for the bin of each column's value.
#[derive(Debug, Clone, PartialEq)]
pub struct BinTable {
    bins: Bins,
    base: f64,
    /// For each column what each code adds, less the training mean of it.
    parts: Vec<Vec<f64>>,
    /// The same, to score by.
    lookup: Lookup,
}

impl BinTable {
    /// From what each code of each column adds to a score, and the weighted frequencies of the codes in training. A code
    /// that no row had says nothing: it adds what the others do in the mean.
    ///
    /// # Errors
    /// Where a number is none.
    pub fn new(
        bins: Bins,
        mut base: f64,
        mut parts: Vec<Vec<f64>>,
        frequencies: &[Vec<f64>],
    ) -> Result<Self, PluginError> {
        for (parts, frequencies) in parts.iter_mut().zip(frequencies) {
            let total: f64 = frequencies.iter().sum();
            let mean = parts.iter().zip(frequencies).map(|(part, weight)| part * weight).sum::<f64>() / total;
            for (part, weight) in parts.iter_mut().zip(frequencies) {
                *part = if *weight > 0.0 { *part - mean } else { 0.0 };
            }
            base += mean;
        }
        number(base)?;
        parts.iter().flatten().try_for_each(|part| number(*part).map(drop))?;
        Self::of(bins, base, parts)
    }

    fn of(bins: Bins, base: f64, parts: Vec<Vec<f64>>) -> Result<Self, PluginError> {
        let lookup = Lookup::new(&bins, &parts)?;
        Ok(Self { bins, base, parts, lookup })
    }

    /// The cuts of the columns.
    pub fn bins(&self) -> &Bins {
        &self.bins
    }

    fn row_parts<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
        self.bins.of(row).zip(&self.parts).map(|(code, parts)| parts.get(code).copied().unwrap_or(0.0))
    }
}

impl Model for BinTable {
    fn width(&self) -> usize {
        self.bins.width()
    }

    fn score(&self, rows: &Rows<'_>, scores: &mut [f64]) {
        self.lookup.score(self.base, rows.data(), scores);
    }

    fn explain(&self, row: &[f32], parts: &mut [f64]) {
        parts.iter_mut().zip(self.row_parts(row)).for_each(|(cell, part)| *cell = part);
    }

    fn write(&self, to: &mut Writer) -> Result<(), PluginError> {
        self.bins.write(to)?;
        to.put(&self.base)?;
        self.parts.iter().flatten().try_for_each(|part| to.put(part))
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, PluginError> {
        let bins = Bins::read(from)?;
        let base = from.number()?;
        let mut parts = Vec::with_capacity(bins.width());
        for column in 0..bins.width() {
            parts.push((0..bins.codes(column)).map(|_| from.number()).collect::<Result<Vec<_>, _>>()?);
        }
        Self::of(bins, base, parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_adds_up_around_its_mean() {
        // Two cuts, none; three rows of weight in the first bin, one in the second.
        let mut writer = Writer::new(*b"TEST", 1);
        writer.put(&(2u32, 2u32, 1.0f32, 2.0f32, 0u32)).unwrap();
        let bytes = writer.finish();
        let bins = Bins::read(&mut Reader::new(&bytes, *b"TEST", 1, "a test").unwrap()).unwrap();
        let parts = vec![vec![9.0, 4.0, 8.0, 7.0], vec![1.0, 3.0]];
        let table = BinTable::new(bins, 10.0, parts, &[vec![0.0, 3.0, 1.0, 0.0], vec![1.0, 1.0]]).unwrap();
        // Missing in the first column is what no row had.
        let unknown = table.row_parts(&[f32::NAN, 0.0]).next().unwrap();
        assert_eq!(unknown, 0.0);
        let row = [1.5, f32::NAN];
        let (mut scores, mut parts) = ([0.0], [0.0; 2]);
        table.score(&Rows::new(&row, 2), &mut scores);
        table.explain(&row, &mut parts);
        assert_eq!((scores, parts), ([10.0 + 8.0 + 1.0], [8.0 - 5.0, 1.0 - 2.0]));
    }
}
