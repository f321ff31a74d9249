use super::selection::Door;
use super::text::{bounded, plain};
use super::{Selection, reason_words};
use crate::engine::{Detection, Sink};
use std::fmt::Write as _;
use std::io::{self, Write};
use veilwatch_core::detect::Verdict;
use veilwatch_core::record::{ClientHello, Record};

/// Writes a line for each flow as it comes, for whoever looks on: early records too, of flows that go on.
pub struct LiveSink<W> {
    out: W,
    door: Door,
    colour: bool,
    text_bytes: usize,
    is_first: bool,
}

/// Widths of the columns but the last.
const WIDTHS: [usize; 5] = [12, 10, 5, 21, 44];
const NAMES: [&str; 6] = ["time", "verdict", "score", "from", "to", "why"];

impl<W: Write> LiveSink<W> {
    /// A sink; `colour` marks verdicts.
    pub fn new(out: W, selection: Selection, colour: bool, text_bytes: u32) -> Self {
        Self { out, door: Door::new(selection), colour, text_bytes: text_bytes as usize, is_first: true }
    }

    /// The same for so many flows at most, in each stretch of time.
    #[must_use]
    pub fn at_most(self, lines: u64) -> Self {
        Self { door: self.door.at_most(lines), ..self }
    }

    /// Flows that were to be written and were too many.
    pub fn not_written(&self) -> u64 {
        self.door.turned_away()
    }

    fn line(&mut self, detection: &Detection<'_>) -> io::Result<()> {
        let flow = detection.flow;
        let scored = detection.scored;
        let verdict = scored.and_then(|scored| scored.verdict);
        let time = super::timestamp(flow.first_ns);
        let name = ClientHello::read(|id| flow.fields.get(id))
            .map(|hello| plain(&bounded(hello.sni, self.text_bytes)))
            .filter(|name| !name.is_empty());
        let end = |end: &veilwatch_core::flow::Endpoint| std::net::SocketAddr::new(end.ip(), end.port).to_string();
        let to = end(&flow.responder);
        let mut why = String::new();
        if flow.is_early() {
            why.push_str("so far: ");
        }
        if let Some(said) = detection.category {
            let _ = write!(why, "{}; ", said.category);
        }
        let reasons = scored.map(|scored| scored.explanation.reasons.as_slice()).unwrap_or_default();
        let words = reasons
            .iter()
            .take(2)
            .map(|reason| reason_words(reason, detection.pipeline.schema(), detection.pipeline.card()));
        why.push_str(&plain(&words.collect::<Vec<_>>().join("; ")));
        let word = verdict.map_or("–".into(), |verdict| verdict.to_string());
        let cells = [
            time.get(11..23).unwrap_or(&time).to_owned(),
            word,
            scored.and_then(|scored| scored.score).map_or("–".into(), |score| format!("{score:.3}")),
            end(&flow.originator),
            name.map_or(to.clone(), |name| format!("{name} ({to})")),
        ];
        self.row(&cells, why.trim_end_matches("; "), if self.colour { colour_of(verdict) } else { None })
    }

    fn row(&mut self, cells: &[String; 5], why: &str, colour: Option<&str>) -> io::Result<()> {
        let mut line = String::new();
        for (at, (cell, width)) in cells.iter().zip(WIDTHS).enumerate() {
            let marked = colour.filter(|_| at == 1);
            line.push_str(marked.unwrap_or_default());
            let _ = write!(line, "{cell:<width$}");
            line.push_str(marked.map(|_| "\x1b[0m").unwrap_or_default());
            line.push_str("  ");
        }
        line.push_str(why);
        // One piece, so that nothing gets in between.
        writeln!(self.out, "{}", line.trim_end())
    }
}

impl<W: Write> Sink for LiveSink<W> {
    fn flow(&mut self, detection: &Detection<'_>) -> io::Result<()> {
        if !self.door.lets(detection) {
            return Ok(());
        }
        if std::mem::take(&mut self.is_first) {
            let [cells @ .., why] = NAMES.map(str::to_owned);
            self.row(&cells, &why, None)?;
        }
        self.line(detection)
    }

    fn early(&mut self, detection: &Detection<'_>) -> io::Result<()> {
        self.flow(detection)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn renew(&mut self) {
        self.door.renew();
    }
}

fn colour_of(verdict: Option<Verdict>) -> Option<&'static str> {
    match verdict {
        Some(Verdict::Malicious) => Some("\x1b[31m"),
        Some(Verdict::Suspicious) => Some("\x1b[33m"),
        _ => None,
    }
}
