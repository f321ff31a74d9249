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

/// A number that stands for some bytes, the same in every run, version and machine: FNV-1a (Fowler, Noll, Vo), begun with `seed`,
/// with the last bits stirred (Steele, Lea and Flood 2014). Chosen bytes can be made to meet, so it guards no table.
pub fn hash64(seed: u64, bytes: &[u8]) -> u64 {
    let begin = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = bytes.iter().fold(begin, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
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

    /// Models hold columns that this number chose: it must never change.
    #[test]
    fn hashes_are_what_they_were() {
        assert_eq!(
            [hash64(0, b""), hash64(0, b"a"), hash64(1, b"a")],
            [17_665_956_581_633_026_203, 198_367_012_849_983_736, 15_126_651_949_585_690_419]
        );
        assert!(hash64(0, b"ab") != hash64(0, b"ba"));
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
