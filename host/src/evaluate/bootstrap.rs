//! Intervals: captures are drawn with replacement, because what stands in one capture is not independent.

use crate::learn::metrics::SplitMix;
use crate::model::Figure;
use veilwatch_core::feature::quantiles;

/// How often each capture is drawn, once a sample. Who measures goes once through what was sorted before, so that a
/// sample costs one pass.
pub(super) struct Bootstrap {
    /// Captures to draw from, each once.
    present: Vec<usize>,
    /// One more than the largest of them.
    size: usize,
    samples: usize,
    seed: u64,
}

impl Bootstrap {
    /// Draws from these captures; they may repeat.
    pub(super) fn new(captures: impl Iterator<Item = usize>, samples: usize, seed: u64) -> Self {
        let mut present: Vec<usize> = captures.collect();
        present.sort_unstable();
        present.dedup();
        Self { size: present.last().map_or(0, |last| last + 1), present, samples, seed }
    }

    /// Captures that are drawn from.
    pub(super) fn captures(&self) -> usize {
        self.present.len()
    }

    /// Calls `measure` with the times that each capture was drawn, once a sample.
    pub(super) fn each(&self, mut measure: impl FnMut(&[f64])) {
        let mut random = SplitMix(self.seed);
        let mut times = vec![0.0; self.size];
        for _ in 0..self.samples {
            times.fill(0.0);
            for _ in 0..self.present.len() {
                let drawn = (random.next() % self.present.len() as u64) as usize;
                times[self.present[drawn]] += 1.0;
            }
            measure(&times);
        }
    }

    /// Several measures at once, each with its 95 % interval. Samples that a measure is undefined in (no malicious capture
    /// was drawn) are left out of its interval; where these are more than half, it has none.
    pub(super) fn figures<const N: usize>(&self, measure: impl Fn(Option<&[f64]>) -> [f64; N]) -> [Figure; N] {
        let value = measure(None);
        let mut drawn: Vec<Vec<f64>> = vec![Vec::with_capacity(self.samples); N];
        self.each(|times| {
            let sample = measure(Some(times));
            drawn.iter_mut().zip(sample).filter(|(_, sample)| !sample.is_nan()).for_each(|(all, one)| all.push(one));
        });
        std::array::from_fn(|at| interval(value[at], &mut drawn[at], self.samples))
    }
}

/// A value with the middle 95 % of what samples gave.
pub(super) fn interval(value: f64, drawn: &mut [f64], samples: usize) -> Figure {
    let [low, high] = if drawn.len() * 2 > samples { quantiles(drawn, [0.025, 0.975]) } else { [f64::NAN, f64::NAN] };
    Figure { value, low, high }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_captures_are_drawn_as_there_are() {
        let bootstrap = Bootstrap::new([3, 1, 3, 7].into_iter(), 50, 1);
        assert_eq!(bootstrap.captures(), 3);
        let mut samples = 0;
        bootstrap.each(|times| {
            samples += 1;
            assert_eq!(times.iter().sum::<f64>(), 3.0);
            assert_eq!(times[0] + times[2] + times[4], 0.0);
        });
        assert_eq!(samples, 50);
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_theory() {
        // 400 captures, of which a quarter has the value 1: the standard error is sqrt(.25 · .75 / 400) = .0217.
        let value = |at: usize| f64::from(u8::from(at.is_multiple_of(4)));
        let bootstrap = Bootstrap::new(0..400, 2000, 1);
        let [mean] = bootstrap.figures(|times| {
            let weight = |at: usize| times.map_or(1.0, |times| times[at]);
            [(0..400).map(|at| weight(at) * value(at)).sum::<f64>() / (0..400).map(weight).sum::<f64>()]
        });
        assert_eq!(mean.value, 0.25);
        assert!((mean.high - mean.low - 2.0 * 1.96 * 0.0217).abs() < 0.008, "{mean:?}");
    }

    #[test]
    fn what_is_mostly_undefined_has_no_interval() {
        let [figure] = Bootstrap::new(0..10, 100, 1).figures(|times| [times.map_or(1.0, |_| f64::NAN)]);
        assert!(figure.low.is_nan() && figure.value == 1.0);
    }
}
