//! Text of a certificate that is kept up to a limit: what is over it is neither written nor held.

use std::fmt;

/// Text of at most so many bytes, cut at a character's end.
#[derive(Debug)]
pub(super) struct Text {
    kept: String,
    limit: usize,
    full: bool,
}

impl Text {
    /// An empty text that will likely have so many bytes.
    pub(super) fn new(limit: usize, room: usize) -> Self {
        Self { kept: String::with_capacity(room.min(limit)), limit, full: false }
    }

    /// Whether something did not fit: nothing is added from then on.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Pieces of a byte or more after which it is full.
    pub(super) fn pieces_left(&self) -> usize {
        self.limit - self.kept.len() + 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn push(&mut self, text: &str) {
        if self.full {
            return;
        }
        let room = self.limit - self.kept.len();
        self.full = text.len() > room;
        self.kept.push_str(&text[..text.floor_char_boundary(room)]);
    }

    /// Escapes what would read as structure (RFC 4514 section 2.4) and control characters.
    pub(super) fn push_escaped(&mut self, text: &str) {
        let special = |byte: u8| matches!(byte, b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';');
        let mut rest = text;
        while let Some(at) = rest.bytes().position(|byte| special(byte) || byte.is_ascii_control()) {
            let (plain, behind) = rest.split_at(at);
            let (escaped, behind) = behind.split_at(1);
            self.push(plain);
            match escaped.as_bytes() {
                [byte] if byte.is_ascii_control() => {
                    self.push("\\");
                    self.push_hex(*byte);
                }
                _ => {
                    self.push("\\");
                    self.push(escaped);
                }
            }
            if self.full {
                return;
            }
            rest = behind;
        }
        self.push(rest);
    }

    pub(super) fn push_char(&mut self, c: char) {
        self.push(c.encode_utf8(&mut [0; 4]));
    }

    pub(super) fn push_hex(&mut self, byte: u8) {
        for half in [byte >> 4, byte & 15] {
            self.push_char(char::from_digit(u32::from(half), 16).unwrap_or_default());
        }
    }

    pub(super) fn take(self) -> String {
        self.kept
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_cut_at_a_characters_end_and_takes_no_more() {
        let mut text = Text::new(4, 9);
        text.push("abc");
        assert!(!text.is_full());
        text.push("éd");
        text.push("e");
        assert!(text.is_full());
        assert_eq!(text.take(), "abc");
    }

    #[test]
    fn structure_and_control_characters_are_escaped() {
        let mut text = Text::new(100, 0);
        text.push_escaped("a, b+\"c\\<é>;\n\u{7f}d");
        assert_eq!(text.take(), "a\\, b\\+\\\"c\\\\\\<é\\>\\;\\0a\\7fd");
    }
}
