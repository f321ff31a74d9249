//! Attacker's text made fit to be shown, and times.

use jiff::Timestamp;
use veilwatch_core::detect::is_unruly;

/// Text from bytes of a capture: what is not UTF-8 is replaced, what a terminal would obey is escaped, and it is cut to
/// `limit` bytes.
pub fn bounded(bytes: &[u8], limit: usize) -> String {
    let cut = bytes.len() > limit;
    let mut text = plain(&String::from_utf8_lossy(&bytes[..bytes.len().min(limit)]));
    if cut {
        text.push('…');
    }
    text
}

/// Text for a terminal: control characters and marks that turn the reading direction are shown as escapes.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unruly(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// RFC 3339 to the second, in UTC: dates of certificates, which reach beyond what nanoseconds can count.
pub(super) fn date(seconds: u64) -> String {
    let begin = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
    let since = jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    format!("{}Z", begin.checked_add(since).unwrap_or(jiff::civil::DateTime::MAX))
}

/// RFC 3339 with microseconds, in UTC.
pub fn timestamp(time_ns: u64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(time_ns)).unwrap_or(Timestamp::MAX);
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_a_terminal_as_a_command() {
        assert_eq!(plain("a\u{1b}[31mb\u{202e}c"), "a\\u{1b}[31mb\\u{202e}c");
    }

    #[test]
    fn certificates_may_last_for_ever() {
        assert_eq!(date(253_402_300_799), "9999-12-31T23:59:59Z");
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn times_have_microseconds() {
        assert_eq!(timestamp(1_573_480_014_770_751_999), "2019-11-11T13:46:54.770751Z");
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000000Z");
        assert!(timestamp(u64::MAX).starts_with("2554-"));
    }
}
