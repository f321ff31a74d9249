//! A line that somebody writes.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A question to whoever sits there, and the answer so far.
pub(super) struct Prompt {
    pub(super) what: Asked,
    pub(super) text: String,
    /// Bytes of the text before the cursor.
    pub(super) cursor: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Number,
    Find,
    Filter,
    Save,
    Leave,
}

impl Asked {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Number => "go to packet",
            Self::Find => "find in packets' lines",
            Self::Filter => "display filter",
            Self::Save => "save the listed packets as",
            Self::Leave => "captured packets are not saved; leave? (y/n)",
        }
    }
}

/// What a key did to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edited {
    /// The text is another one.
    Changed,
    /// It is as it was.
    Nothing,
    /// It is to count.
    Entered,
    /// It is not to count.
    GivenUp,
}

/// Most bytes of an answer: more than any is allowed to have, so that whoever asks can say so.
const MOST: usize = 8192;

impl Prompt {
    pub(super) fn new(what: Asked, text: &str) -> Self {
        Self { what, text: text.to_owned(), cursor: text.len() }
    }

    /// Puts a text in the place of some bytes.
    pub(super) fn replace(&mut self, range: std::ops::Range<usize>, with: &str) {
        if self.text.get(range.clone()).is_some() && self.text.len() + with.len() <= MOST {
            self.cursor = range.start + with.len();
            self.text.replace_range(range, with);
        }
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Edited {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let before = self.text.get(..self.cursor).unwrap_or_default();
        let last = before.chars().next_back().map_or(0, char::len_utf8);
        let next = self.text.get(self.cursor..).and_then(|behind| behind.chars().next()).map_or(0, char::len_utf8);
        let word = before.trim_end().rfind(' ').map_or(0, |at| at + 1);
        match key.code {
            KeyCode::Enter => return Edited::Entered,
            KeyCode::Esc => return Edited::GivenUp,
            KeyCode::Left => self.cursor -= last,
            KeyCode::Right => self.cursor += next,
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.len(),
            KeyCode::Char('a') if control => self.cursor = 0,
            KeyCode::Char('e') if control => self.cursor = self.text.len(),
            KeyCode::Backspace if last > 0 => return self.cut(self.cursor - last),
            KeyCode::Delete if next > 0 => {
                self.cursor += next;
                return self.cut(self.cursor - next);
            }
            KeyCode::Char('u') if control => return self.cut(0),
            KeyCode::Char('w') if control => return self.cut(word),
            KeyCode::Char(letter)
                if !control
                    && !key.modifiers.contains(KeyModifiers::ALT)
                    && self.text.len() + letter.len_utf8() <= MOST =>
            {
                self.text.insert(self.cursor, letter);
                self.cursor += letter.len_utf8();
                return Edited::Changed;
            }
            _ => {}
        }
        Edited::Nothing
    }

    /// Takes out what stands between a place and the cursor.
    fn cut(&mut self, from: usize) -> Edited {
        self.text.replace_range(from..self.cursor, "");
        self.cursor = from;
        Edited::Changed
    }
}
