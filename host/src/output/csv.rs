use super::Selection;
use super::selection::Door;
use super::text::{bounded, timestamp};
use crate::engine::{Detection, Sink};
use std::io::Write;
use std::net::IpAddr;
use veilwatch_core::record::{ClientHello, Ja4, ja4};

/// The columns by name.
pub const CSV_COLUMNS: [&str; 17] = [
    "capture",
    "timestamp",
    "flow_id",
    "src_ip",
    "src_port",
    "dest_ip",
    "dest_port",
    "proto",
    "verdict",
    "score",
    "sni",
    "ja4",
    "reasons",
    "packets",
    "record",
    "category",
    "category_reasons",
];

/// A flow as a line of CSV says it.
#[derive(Debug, Clone, Copy)]
pub struct CsvFlow<'a> {
    /// The capture, where a run has several.
    pub capture: Option<&'a str>,
    /// Time of the first packet in nanoseconds since 1970.
    pub first_ns: u64,
    /// The flow's number.
    pub flow_id: u64,
    /// The originator.
    pub src: (IpAddr, u16),
    /// The responder.
    pub dest: (IpAddr, u16),
    /// IP protocol number.
    pub protocol: u8,
    /// The verdict's name, where it was scored.
    pub verdict: Option<&'a str>,
    /// The score, where it was scored.
    pub score: Option<f64>,
    /// The server name.
    pub sni: &'a str,
    /// JA4 of the client.
    pub ja4: &'a str,
    /// Names of the features that speak against it.
    pub reasons: &'a [&'a str],
    /// Numbers of the packets to look at, in order.
    pub packets: &'a [u64],
    /// `early` or `final`.
    pub record: &'a str,
    /// What it is for, where that is told.
    pub category: Option<&'a str>,
    /// Names of the rules that say so.
    pub category_reasons: &'a [&'a str],
}

impl CsvFlow<'_> {
    /// The cells, in the order of [`CSV_COLUMNS`]; none of them is a formula.
    pub fn cells(&self) -> [String; 17] {
        let packets: Vec<String> = self.packets.iter().map(u64::to_string).collect();
        [
            harmless(self.capture.unwrap_or_default().to_owned()),
            timestamp(self.first_ns),
            self.flow_id.to_string(),
            self.src.0.to_string(),
            self.src.1.to_string(),
            self.dest.0.to_string(),
            self.dest.1.to_string(),
            if self.protocol == 6 { "TCP" } else { "UDP" }.into(),
            harmless(self.verdict.unwrap_or_default().to_owned()),
            self.score.map(|score| format!("{score:.6}")).unwrap_or_default(),
            harmless(self.sni.to_owned()),
            harmless(self.ja4.to_owned()),
            harmless(self.reasons.join(" ")),
            packets.join(" "),
            harmless(self.record.to_owned()),
            harmless(self.category.unwrap_or_default().to_owned()),
            harmless(self.category_reasons.join(" ")),
        ]
    }
}

/// Adds a line of CSV, with its line break, to `out`.
pub fn csv_line<T: AsRef<[u8]>>(cells: impl IntoIterator<Item = T>, out: &mut Vec<u8>) -> std::io::Result<()> {
    let mut writer = ::csv::WriterBuilder::new().has_headers(false).from_writer(out);
    writer.write_record(cells)?;
    writer.flush()
}

/// The error below a CSV writer as it was: a closed pipe stays one.
pub fn csv_error(error: ::csv::Error) -> std::io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => std::io::Error::other(format!("{other:?}")),
    }
}

/// Writes flows as CSV with a header line.
pub struct CsvSink<W: Write> {
    out: ::csv::Writer<W>,
    door: Door,
    capture: Option<String>,
    text_bytes: usize,
    /// Whether there are lines that may not have reached their reader yet.
    unflushed: bool,
}

impl<W: Write> CsvSink<W> {
    /// A sink; `header` writes the line of names first.
    pub fn new(
        out: W,
        selection: Selection,
        capture: Option<String>,
        text_bytes: u32,
        header: bool,
    ) -> std::io::Result<Self> {
        let mut out = ::csv::WriterBuilder::new().has_headers(false).from_writer(out);
        if header {
            out.write_record(CSV_COLUMNS).map_err(csv_error)?;
        }
        Ok(Self { out, door: Door::new(selection), capture, text_bytes: text_bytes as usize, unflushed: header })
    }

    /// The same for so many flows at most.
    #[must_use]
    pub fn at_most(self, lines: u64) -> Self {
        Self { door: self.door.at_most(lines), ..self }
    }

    /// Flows that were to be written and were too many.
    pub fn not_written(&self) -> u64 {
        self.door.turned_away()
    }

    /// Writes what is still in memory.
    pub fn finish(mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Sink for CsvSink<W> {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        if !self.door.lets(detection) {
            return Ok(());
        }
        let flow = detection.flow;
        let schema = detection.pipeline.schema();
        let hello = flow.fields.record::<ClientHello<'_>>();
        let reasons = detection.scored.map(|scored| scored.explanation.reasons.as_slice()).unwrap_or_default();
        let columns = reasons.iter().filter_map(|reason| schema.columns().get(reason.lead.column));
        let mut packets: Vec<u64> = columns.clone().map(|column| flow.packet_of(column.evidence.mark())).collect();
        let said = detection.category.map(|said| said.reasons.as_slice()).unwrap_or_default();
        packets.extend(said.first().map(|_| flow.first_packet));
        packets.sort_unstable();
        packets.dedup();
        let rules: Vec<&str> = said.iter().map(|reason| reason.rule.name()).collect();
        let names: Vec<&str> = columns.map(|column| column.name.as_ref()).collect();
        let line = CsvFlow {
            capture: self.capture.as_deref(),
            first_ns: flow.first_ns,
            flow_id: flow.id,
            src: (flow.originator.ip(), flow.originator.port),
            dest: (flow.responder.ip(), flow.responder.port),
            protocol: flow.protocol,
            verdict: detection.scored.and_then(|scored| scored.verdict).map(|verdict| verdict.name()),
            score: detection.scored.and_then(|scored| scored.score),
            sni: &hello.map(|hello| bounded(hello.sni, self.text_bytes)).unwrap_or_default(),
            ja4: &hello.map(|hello| ja4(&hello, Ja4::of(flow.protocol, &hello))).unwrap_or_default(),
            reasons: &names,
            packets: &packets,
            record: flow.record(),
            category: detection.category.map(|said| said.category.name()),
            category_reasons: &rules,
        };
        self.unflushed = true;
        self.out.write_record(line.cells()).map_err(csv_error)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if std::mem::take(&mut self.unflushed) { self.out.flush() } else { Ok(()) }
    }

    fn early(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        self.flow(detection)
    }
}

/// A cell that no spreadsheet takes for a formula (OWASP, CSV injection).
pub fn harmless(text: String) -> String {
    // Spreadsheets look past spaces and byte-order marks, and some take full-width signs.
    let first = text.trim_start_matches([' ', '\u{feff}', '\u{a0}']).chars().next();
    if first.is_some_and(|c| "=+-@\t\r\n＝＋－＠".contains(c)) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_become_text() {
        assert_eq!(harmless("=cmd()".into()), "'=cmd()");
        assert_eq!(harmless(" \u{feff}＝cmd()".into()), "' \u{feff}＝cmd()");
        assert_eq!(harmless("duck.example".into()), "duck.example");
    }
}
