use super::bins::Bins;
use super::bytes::{Flaw, Reader};

/// How some values spread over the bins of a column.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    /// Of each bin, that of missing values first; they add up to 1, or all are 0 where there were no values.
    shares: Vec<f32>,
}

impl Shares {
    /// The shares of weighted bins.
    pub(crate) fn of(bins: &Bins, found: impl Iterator<Item = (u8, f64)>) -> Self {
        let mut sums = vec![0.0f64; bins.len()];
        for (bin, weight) in found {
            if let Some(sum) = sums.get_mut(usize::from(bin)) {
                *sum += weight;
            }
        }
        let total: f64 = sums.iter().sum();
        let share = |sum: &f64| if total > 0.0 { (sum / total) as f32 } else { 0.0 };
        Self { shares: sums.iter().map(share).collect() }
    }

    /// The share of each bin, that of missing values first.
    pub fn iter(&self) -> impl Iterator<Item = f64> {
        self.shares.iter().map(|share| f64::from(*share))
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.shares.iter().flat_map(|share| share.to_le_bytes()));
    }

    fn read(from: &mut Reader<'_>, bins: &Bins) -> Result<Self, Flaw> {
        let shares = (0..bins.len()).map(|_| from.f32()).collect::<Result<Vec<_>, _>>()?;
        let read = Self { shares };
        let sum: f64 = read.iter().sum();
        let adds_up = sum == 0.0 || (sum - 1.0).abs() < 1e-3;
        if adds_up && read.iter().all(|share| share >= 0.0) { Ok(read) } else { Err("shares do not add up") }
    }
}

/// What benign traffic looked like in training: what later traffic is held against.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// How many independent observations the shares are worth: the flows of one (capture, server) pair are no more than one.
    pub pairs: f32,
    /// Of each column.
    pub columns: Vec<Shares>,
    /// The bins of raw scores.
    pub score_bins: Bins,
    /// How raw scores spread, by models that had not seen the flow.
    pub scores: Shares,
}

impl Reference {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.pairs.to_le_bytes());
        self.columns.iter().for_each(|shares| shares.write(out));
        self.score_bins.write(out);
        self.scores.write(out);
    }

    /// Reads what was written beside the bins of all columns.
    pub(super) fn read(from: &mut Reader<'_>, bins: &[Bins]) -> Result<Self, Flaw> {
        let pairs = from.f32()?;
        if pairs < 0.0 {
            return Err("it is worth less than nothing");
        }
        let columns = bins.iter().map(|bins| Shares::read(from, bins)).collect::<Result<Vec<_>, _>>()?;
        let score_bins = Bins::read(from)?;
        let scores = Shares::read(from, &score_bins)?;
        Ok(Self { pairs, columns, score_bins, scores })
    }
}

/// How many independent observations weighted groups are worth (Kish 1965): as many as there are groups where all weigh
/// the same, and fewer where some weigh more.
pub(crate) fn worth(weights_of_groups: impl Iterator<Item = f64>) -> f64 {
    let (sum, squares) =
        weights_of_groups.fold((0.0, 0.0), |(sum, squares), weight| (sum + weight, squares + weight * weight));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}
