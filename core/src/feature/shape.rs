//! Small measures that several extractors share.

/// Shannon entropy of a byte string in bits per byte; 0 for an empty one.
pub fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let total = bytes.len() as f64;
    counts.iter().filter(|count| **count > 0).fold(0.0, |sum, count| {
        let share = f64::from(*count) / total;
        sum - share * share.log2()
    })
}

/// `part / whole`; `None` where the whole is not positive.
pub fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// The mean of values by their weights, given as `(value, weight)`; NaN where there are none.
pub fn weighted_mean(values: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (sum, total) = values.fold((0.0, 0.0), |(sum, total), (value, weight)| (sum + value * weight, total + weight));
    sum / total
}

/// Quantiles by linear interpolation between neighbours (type 7 of Hyndman and Fan 1996); sorts `values`; all NaN
/// for an empty slice.
pub fn quantiles<const N: usize>(values: &mut [f64], at: [f64; N]) -> [f64; N] {
    values.sort_by(f64::total_cmp);
    at.map(|at| {
        let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
        let place = at.clamp(0.0, 1.0) * last as f64;
        let low = values[place as usize];
        let high = values[(place as usize + 1).min(last)];
        low + (high - low) * place.fract()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_of_known_strings() {
        assert_eq!(entropy(b""), 0.0);
        assert_eq!(entropy(b"aaaa"), 0.0);
        assert_eq!(entropy(b"abcd"), 2.0);
    }

    #[test]
    fn means_by_weight() {
        assert_eq!(weighted_mean([(1.0, 3.0), (5.0, 1.0)].into_iter()), 2.0);
        assert!(weighted_mean(std::iter::empty()).is_nan());
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantiles(&mut [4.0, 1.0, 3.0, 2.0], [0.0, 0.5, 1.0]), [1.0, 2.5, 4.0]);
        assert!(quantiles(&mut [], [0.5])[0].is_nan());
    }
}
