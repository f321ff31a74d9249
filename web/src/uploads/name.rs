//! What is kept of a file's name. It is shown and never opened: paths on disk are made from hashes and random keys.

use crate::accounts::steers;

/// The most characters of a capture's name.
pub const MAX_NAME: usize = 120;
/// What a capture without a usable name is called.
pub const NO_NAME: &str = "capture";

/// The name to show for a file that somebody called `raw`: the last part of a path of any system, without characters
/// that steer a terminal or the direction of writing.
pub fn shown_name(raw: &str) -> String {
    let last = raw.rsplit(['/', '\\']).next().unwrap_or_default();
    // Far longer than any name that is kept; what follows need not be looked at.
    let shown: String = last.chars().take(MAX_NAME * 8).filter(|c| !steers(*c)).collect();
    let shown: String = shown.trim().chars().take(MAX_NAME).collect();
    match shown.trim_end() {
        "" | "." | ".." => NO_NAME.to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_part_stays() {
        for (raw, shown) in [
            ("day one.pcap", "day one.pcap"),
            ("../../etc/passwd", "passwd"),
            (r"C:\Users\ada\抓包.pcapng", "抓包.pcapng"),
            (r"a/b\c.pcap", "c.pcap"),
            ("..", NO_NAME),
            (r"..\.", NO_NAME),
            ("captures/", NO_NAME),
            ("", NO_NAME),
            (" \t ", NO_NAME),
            ("\0\r\n", NO_NAME),
        ] {
            assert_eq!(shown_name(raw), shown, "{raw:?}");
        }
    }

    #[test]
    fn nothing_steers_and_nothing_is_long() {
        assert_eq!(shown_name("a\u{202e}pcap.exe\u{1b}[31m\u{2066}"), "apcap.exe[31m");
        assert_eq!(shown_name(&"ä".repeat(10_000)), "ä".repeat(MAX_NAME));
        assert_eq!(shown_name(&format!("{}x", "\u{202e}".repeat(100_000))), NO_NAME);
    }
}
