use super::{address, since};
use crate::output::plain;
use crate::packets::{PacketSink, PacketView};
use std::io::{self, Write};

/// One line a packet. Columns are as wide as anything so far: what comes later may be wider, and the lines before it have
/// been read.
#[derive(Debug)]
pub struct PacketTableSink<W> {
    out: W,
    /// Columns of the terminal; none where a line may be as long as it is.
    terminal: Option<usize>,
    widths: [usize; COLUMNS],
    begun: bool,
}

/// Columns before the last one, which nothing follows.
const COLUMNS: usize = 6;
const NAMES: [&str; COLUMNS] = ["No.", "Time", "Source", "Destination", "Protocol", "Length"];
/// Columns of numbers stand to the right.
const NUMBERS: [bool; COLUMNS] = [true, true, false, false, false, true];
/// How wide they are to begin with.
const WIDTHS: [usize; COLUMNS] = [6, 11, 15, 15, 8, 6];
/// A name that somebody chose makes no column wider than this; what goes past is cut.
const WIDEST: usize = 39;

impl<W: Write> PacketTableSink<W> {
    /// A table for a terminal so many columns wide, or for whoever reads lines of any length.
    pub fn new(out: W, terminal: Option<usize>) -> Self {
        Self { out, terminal, widths: WIDTHS, begun: false }
    }

    fn row(&mut self, cells: &[String; COLUMNS], last: &str) -> io::Result<()> {
        let mut line = String::new();
        for ((cell, wide), right) in cells.iter().zip(&mut self.widths).zip(NUMBERS) {
            let cell = cut(cell, WIDEST);
            *wide = width(&cell).max(*wide);
            let room = " ".repeat(*wide - width(&cell));
            line.push_str(&if right { format!("{room}{cell}  ") } else { format!("{cell}{room}  ") });
        }
        line.push_str(last);
        let line = self.terminal.map_or_else(|| line.clone(), |columns| cut(&line, columns));
        writeln!(self.out, "{}", line.trim_end())
    }
}

impl<W: Write> PacketSink for PacketTableSink<W> {
    fn packet(&mut self, view: &PacketView<'_>) -> io::Result<()> {
        if !self.begun {
            self.begun = true;
            self.row(&NAMES.map(str::to_owned), "Info")?;
        }
        let cells = [
            view.packet.number.to_string(),
            since(view),
            address(view.src),
            address(view.dst),
            plain(view.protocol()),
            view.packet.wire_len.to_string(),
        ];
        let warning = if view.warnings.is_empty() { "" } else { "! " };
        self.row(&cells, &format!("{warning}{}", plain(&view.info)))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Columns that a character takes: two for those of East Asia and for pictures.
fn columns(c: char) -> usize {
    let wide = matches!(c,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}' | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}');
    if wide { 2 } else { 1 }
}

fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// The text in so many columns; where it is cut, the last one says so.
fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let (mut kept, mut used) = (String::new(), 0);
    for c in text.chars() {
        used += columns(c);
        if used >= most {
            break;
        }
        kept.push(c);
    }
    if most > 0 {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_fits() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!((cut("abc", 1), cut("abc", 0)), ("…".to_owned(), String::new()));
    }
}
