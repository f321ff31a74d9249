//! Numbers and times as people read them.

use veilwatch::worker::Inspection;

/// `1234567` as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut words = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            words.push(',');
        }
        words.push(digit);
    }
    words
}

/// Bytes with a unit: `248.4 MB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if number < 1000 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1000.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        // Rounding must not give "1000.0 kB".
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// A length of time: `1.5 s`, `4 min 10 s`, `3 h 7 min`, `12 d 4 h`.
pub fn span(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    match seconds {
        0..60 if nanoseconds < 1_000_000_000 => format!("{} ms", nanoseconds / 1_000_000),
        0..60 => format!("{}.{} s", seconds, nanoseconds / 100_000_000 % 10),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A packet's time, to the second (UTC).
pub fn time(nanoseconds: u64) -> String {
    crate::clock::readable(i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(i64::MAX))
}

/// Begin, end and length of what was looked at.
pub fn times(inspection: &Inspection) -> Option<[String; 3]> {
    let (first, last) = (inspection.first_ns?, inspection.last_ns?);
    Some([time(first), time(last), span(last.saturating_sub(first))])
}

/// A score with three digits, rounded down: what is not over a threshold must not look as if it were.
pub fn score(score: f64) -> String {
    format!("{:.3}", (score * 1000.0).floor() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_can_be_read() {
        assert_eq!(
            ["0", "999", "1,000", "12,345", "1,234,567"],
            [0, 999, 1000, 12_345, 1_234_567].map(count).each_ref().map(String::as_str)
        );
        assert_eq!(
            [0, 999, 1000, 999_949, 999_950, 248_428_336, u64::MAX].map(bytes),
            ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "248.4 MB", "18446.7 PB"]
        );
        let second = 1_000_000_000;
        assert_eq!(
            [5_000_000, 1_500_000_000, 250 * second, 11_220 * second, 1_051_200 * second].map(span),
            ["5 ms", "1.5 s", "4 min 10 s", "3 h 7 min", "12 d 4 h"]
        );
        assert_eq!([0.9999, 0.8119999, 1.0, 0.0].map(score), ["0.999", "0.811", "1.000", "0.000"]);
    }
}
