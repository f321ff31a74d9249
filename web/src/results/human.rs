//! Numbers as people read them.

use veilwatch::output::timestamp;
use veilwatch::worker::Inspection;

/// `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1.2 M`: two or three digits of a number, with a letter for its size.
pub fn short_number(number: f64) -> String {
    let scaled = [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")];
    let (size, letter) = scaled.into_iter().find(|(size, _)| number.abs() >= *size).unwrap_or((1.0, ""));
    format!("{}{letter}", three_digits(number / size))
}

/// `1.2 MB`.
pub fn bytes(number: u64) -> String {
    let short = short_number(number as f64);
    if short.contains(' ') { format!("{short}B") } else { format!("{short} B") }
}

/// `65 s`, `3.5 ms`, `2.1 h`: a span of nanoseconds.
pub fn duration(nanoseconds: f64) -> String {
    let units = [(86_400e9, "d"), (3600e9, "h"), (60e9, "min"), (1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    // A span of 90 s is easier than one of 1.5 min.
    let (size, unit) = units.into_iter().find(|(size, _)| nanoseconds >= 2.0 * size).unwrap_or((1e3, "µs"));
    format!("{} {unit}", three_digits(nanoseconds / size))
}

/// `12.3 %` of a share from 0 to 1.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.1 { "< 0.1 %".to_owned() } else { format!("{} %", three_digits(percent)) }
}

/// `2023-11-14 22:13:23`: a time in UTC.
pub fn time(nanoseconds: u64) -> String {
    timestamp(nanoseconds).get(..19).unwrap_or_default().replace('T', " ")
}

fn three_digits(number: f64) -> String {
    let places = if number.abs() >= 99.95 { 0 } else { 1 };
    let text = format!("{number:.places$}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Begin, end and length of what was looked at of a capture.
pub fn times(inspection: &Inspection) -> Option<[String; 3]> {
    let (first, last) = (inspection.first_ns?, inspection.last_ns?);
    Some([time(first), time(last), duration(last.saturating_sub(first) as f64)])
}

/// A score with three digits, rounded down: what is not over a threshold must not look as if it were.
pub fn score(score: f64) -> String {
    format!("{:.3}", (score * 1000.0).floor() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(123), "123");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(short_number(0.0), "0");
        assert_eq!(short_number(999.0), "999");
        assert_eq!(short_number(1_234_567.0), "1.2 M");
        assert_eq!(bytes(12), "12 B");
        assert_eq!(bytes(239_356_216), "239 MB");
        assert_eq!(duration(65e9), "65 s");
        assert_eq!(duration(3_500_000.0), "3.5 ms");
        assert_eq!(percent(0.1234), "12.3 %");
        assert_eq!(percent(0.0001), "< 0.1 %");
        assert_eq!(time(1_573_480_014_770_751_999), "2019-11-11 13:46:54");
    }
}
