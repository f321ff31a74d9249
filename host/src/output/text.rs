//! Attacker's text made fit to be shown, and times.

use jiff::Timestamp;

/// Text from bytes of a capture: what is not UTF-8 is replaced, and it is cut to `limit` bytes.
pub(super) fn bounded(bytes: &[u8], limit: usize) -> String {
    let cut = bytes.len() > limit;
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(limit)]).into_owned();
    if cut {
        text.push('…');
    }
    text
}

/// Text for a terminal: control characters and marks that turn the reading direction are shown as escapes.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
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
    fn times_have_microseconds() {
        assert_eq!(timestamp(1_573_480_014_770_751_999), "2019-11-11T13:46:54.770751Z");
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000000Z");
        assert!(timestamp(u64::MAX).starts_with("2554-"));
    }
}
