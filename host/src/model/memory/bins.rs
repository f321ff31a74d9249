use super::bytes::{Flaw, Reader};
use veilwatch_core::feature::Rows;

/// Edges between a column's bins, at most.
pub const MAX_EDGES: usize = 31;

/// The bin of a value that is missing. The others are numbered from 1, in the order of values.
pub const MISSING: u8 = 0;

/// The bins of a column: between quantiles of what training saw, with one below all of it, one above, and one for a value
/// that is missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Bins {
    /// In rising order; behind the last one only infinity, which no value passes.
    edges: [f32; MAX_EDGES],
    count: u8,
}

impl Bins {
    /// The bins of weighted values, among which NaN are the missing ones.
    pub(crate) fn learn(values: impl Iterator<Item = (f32, f64)>) -> Self {
        let mut known: Vec<(f32, f64)> = values.filter(|(value, weight)| value.is_finite() && *weight > 0.0).collect();
        known.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: f64 = known.iter().map(|(_, weight)| weight).sum();
        let mut bins = Self { edges: [f32::INFINITY; MAX_EDGES], count: 0 };
        let (Some((least, _)), Some((most, _))) = (known.first(), known.last()) else { return bins };
        bins.push(least.next_down());
        // One edge is below everything, and the last one is the largest value: quantiles are between.
        let (mut below, mut quantile) = (0.0, 0);
        const STEPS: usize = MAX_EDGES - 2;
        for (value, weight) in &known {
            below += weight;
            if below * STEPS as f64 >= quantile as f64 * total {
                bins.push(*value);
                quantile = (below * STEPS as f64 / total) as usize + 1;
            }
        }
        bins.push(*most);
        bins
    }

    /// Adds an edge, unless there is no room or it is no larger than the last.
    fn push(&mut self, edge: f32) {
        let at = usize::from(self.count);
        let grows = at.checked_sub(1).and_then(|last| self.edges.get(last)).is_none_or(|last| edge > *last);
        if let Some(place) = self.edges.get_mut(at).filter(|_| grows && edge.is_finite()) {
            *place = edge;
            self.count += 1;
        }
    }

    /// The bin of a value.
    #[inline]
    pub fn bin(&self, value: f32) -> u8 {
        // All edges are looked at: without branches that is faster than to search. They are counted in numbers as wide as
        // the edges, so that several go at once.
        let passed: u32 = self.edges.iter().map(|edge| u32::from(*edge < value)).sum();
        if value.is_nan() { MISSING } else { passed as u8 + 1 }
    }

    /// How many bins there are, that of missing values among them.
    pub fn len(&self) -> usize {
        usize::from(self.count) + 2
    }

    /// Whether training saw no value at all.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values of a bin: more than the first, and at most the second; nothing at an open end, and both for the bin of
    /// missing values.
    pub fn span(&self, bin: usize) -> (Option<f32>, Option<f32>) {
        let edge = |at: Option<usize>| {
            at.filter(|at| *at < usize::from(self.count)).and_then(|at| self.edges.get(at)).copied()
        };
        (edge(bin.checked_sub(2)), edge(bin.checked_sub(1)))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.count);
        out.extend(self.edges.iter().take(usize::from(self.count)).flat_map(|edge| edge.to_le_bytes()));
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Flaw> {
        let count = from.u8()?;
        if usize::from(count) > MAX_EDGES {
            return Err("a column has more bins than there can be");
        }
        let mut bins = Self { edges: [f32::INFINITY; MAX_EDGES], count: 0 };
        for _ in 0..count {
            bins.push(from.f32()?);
        }
        if bins.count == count { Ok(bins) } else { Err("the edges of a column's bins do not rise") }
    }
}

/// The bins of every column of some weighted rows.
pub(crate) fn learn_all(rows: &Rows<'_>, weights: &[f64]) -> Vec<Bins> {
    let column = |at: usize| {
        rows.iter().zip(weights).map(move |(row, weight)| (row.get(at).copied().unwrap_or(f32::NAN), *weight))
    };
    (0..rows.width()).map(|at| Bins::learn(column(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> Bins {
        Bins::learn(values.iter().map(|value| (*value, 1.0)))
    }

    #[test]
    fn a_flag_has_a_bin_for_each_value_and_one_on_either_side() {
        let bins = of(&[0.0, 1.0, 0.0, f32::NAN]);
        let found = [f32::NAN, -1.0, 0.0, 1.0, 2.0].map(|value| bins.bin(value));
        assert_eq!((found, bins.len()), ([MISSING, 1, 2, 3, 4], 5));
        assert_eq!(
            [bins.span(0), bins.span(3), bins.span(4)],
            [(None, None), (Some(0.0), Some(1.0)), (Some(1.0), None)]
        );
    }

    #[test]
    fn many_values_fill_their_bins_evenly_and_by_weight() {
        let bins = of(&(0..10_000).map(|at| at as f32).collect::<Vec<_>>());
        let mut counts = [0; MAX_EDGES + 2];
        (0..10_000).for_each(|at| counts[usize::from(bins.bin(at as f32))] += 1);
        assert_eq!(bins.len(), MAX_EDGES + 2);
        let inner = &counts[3..bins.len() - 1];
        assert!(inner.iter().all(|count| (300..400).contains(count)), "{counts:?}");
        assert_eq!((bins.bin(-1.0), usize::from(bins.bin(1e9))), (1, bins.len() - 1));
        // What weighs next to nothing gets no bins of its own.
        let heavy = Bins::learn((0..100).map(|at| (at as f32, if at < 90 { 1e-9 } else { 1.0 })));
        assert!((0..89).map(|at| heavy.bin(at as f32)).max() <= Some(3));
    }

    #[test]
    fn nothing_seen_is_one_bin_beside_the_missing() {
        let bins = of(&[f32::NAN, f32::INFINITY]);
        assert!(bins.is_empty() && bins.len() == 2);
        assert_eq!([f32::NAN, 0.0, f32::NEG_INFINITY].map(|value| bins.bin(value)), [0, 1, 1]);
    }
}
