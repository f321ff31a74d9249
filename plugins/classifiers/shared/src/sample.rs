//! Chance with a seed, and rows drawn by their weights.

/// A generator of which the same seed always gives the same numbers (SplitMix64, Steele and others 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One for a part of the work, whoever does it and when.
    pub fn of_part(seed: u64, part: u64) -> Self {
        Self(Self(seed).next() ^ Self(part).next())
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// At least 0, less than 1.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Less than `count`, or 0.
    pub fn below(&mut self, count: usize) -> usize {
        (self.share() * count as f64) as usize
    }
}

/// Which rows, and how often each.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The rows that were drawn, in their order, and how often.
    pub rows: Vec<(usize, u32)>,
}

impl Sample {
    /// Draws about `count` rows by their weights: each class its share of them, but at least one; in each class a row
    /// comes as often as its weight says, give or take one.
    pub fn by_weight(labels: &[bool], weights: &[f32], count: usize, seed: u64) -> Self {
        let total = |wanted: bool| -> f64 { of_class(labels, weights, wanted).map(|(_, weight)| weight).sum() };
        let [benign, malicious] = [total(false), total(true)];
        let most = count.max(2) - 1;
        let quota = ((count as f64 * malicious / (benign + malicious)).round() as usize).clamp(1, most);
        Self::by_class(labels, weights, [most + 1 - quota, quota], seed)
    }

    /// Draws this many benign and this many malicious rows by their weights.
    pub fn by_class(labels: &[bool], weights: &[f32], counts: [usize; 2], seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut rows = Vec::new();
        for (wanted, count) in [false, true].into_iter().zip(counts) {
            let class = || of_class(labels, weights, wanted);
            let step = class().map(|(_, weight)| weight).sum::<f64>() / count.max(1) as f64;
            // A row is drawn for each step that ends within its weight.
            let mut left = dice.share();
            let before = rows.len();
            for (row, weight) in class() {
                left += weight / step;
                let times = left.floor();
                left -= times;
                if times >= 1.0 {
                    rows.push((row, times as u32));
                }
            }
            // Rounding may have taken the only one.
            if let Some((row, _)) = class().last()
                && rows.len() == before
                && count > 0
            {
                rows.push((row, 1));
            }
        }
        rows.sort_unstable();
        Self { rows }
    }

    /// Each drawn row as often as it was drawn.
    pub fn repeated(&self) -> Vec<usize> {
        self.rows.iter().flat_map(|(row, times)| std::iter::repeat_n(*row, *times as usize)).collect()
    }
}

fn of_class<'a>(labels: &'a [bool], weights: &'a [f32], wanted: bool) -> impl Iterator<Item = (usize, f64)> + 'a {
    let rows = labels.iter().zip(weights).enumerate();
    rows.filter(move |(_, (label, _))| **label == wanted).map(|(row, (_, weight))| (row, f64::from(*weight)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_of_equal_weight_come_equally_often() {
        let labels: Vec<bool> = (0..100).map(|at| at % 4 == 0).collect();
        for seed in 0..20 {
            let all = Sample::by_weight(&labels, &[0.3; 100], 100, seed);
            assert_eq!(all.rows, (0..100).map(|row| (row, 1)).collect::<Vec<_>>(), "each once");
        }
    }

    proptest! {
        #[test]
        fn a_row_comes_as_often_as_its_weight_says(
            weights in prop::collection::vec(0.001f32..10.0, 4..60),
            counts in [1usize..80, 1usize..80],
            seed in any::<u64>(),
        ) {
            let labels: Vec<bool> = (0..weights.len()).map(|at| at % 2 == 0).collect();
            let sample = Sample::by_class(&labels, &weights, counts, seed);
            for (wanted, count) in [false, true].into_iter().zip(counts) {
                let total: f64 = of_class(&labels, &weights, wanted).map(|(_, weight)| weight).sum();
                let drawn: u32 = sample.rows.iter().filter(|(row, _)| labels[*row] == wanted).map(|(_, times)| times).sum();
                // Rounding may take the last one or add one.
                prop_assert!((i64::from(drawn) - count as i64).abs() <= 1);
                for (row, weight) in of_class(&labels, &weights, wanted) {
                    let times = sample.rows.iter().find(|(drawn, _)| *drawn == row).map_or(0, |(_, times)| *times);
                    let fair = weight / total * count as f64;
                    prop_assert!((f64::from(times) - fair).abs() < 1.0 + 1e-9, "{times} for {fair}");
                }
            }
        }
    }
}
