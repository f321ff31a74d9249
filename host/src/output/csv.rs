use super::Selection;
use super::text::{bounded, timestamp};
use crate::engine::{Detection, Sink};
use std::io::Write;
use veilwatch_core::record::{ClientHello, Ja4, Record, ja4};

/// Writes flows as CSV with a header line.
pub struct CsvSink<W: Write> {
    out: ::csv::Writer<W>,
    selection: Selection,
    capture: Option<String>,
    text_bytes: usize,
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
            out.write_record([
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
            ])?;
        }
        Ok(Self { out, selection, capture, text_bytes: text_bytes as usize })
    }

    /// Writes what is still in memory.
    pub fn finish(mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Sink for CsvSink<W> {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        if !self.selection.takes(detection) {
            return Ok(());
        }
        let flow = detection.flow;
        let schema = detection.pipeline.schema();
        let hello = ClientHello::read(|id| flow.fields.get(id));
        let reasons = detection.scored.map(|scored| scored.reasons.as_slice()).unwrap_or_default();
        let columns = reasons.iter().filter_map(|reason| schema.columns().get(reason.column));
        let mut packets: Vec<u64> = columns.clone().map(|column| flow.packet_of(column.evidence.mark())).collect();
        packets.sort_unstable();
        packets.dedup();
        let packets: Vec<String> = packets.iter().map(u64::to_string).collect();
        let names: Vec<&str> = columns.map(|column| column.name.as_ref()).collect();
        self.out.write_record([
            harmless(self.capture.clone().unwrap_or_default()),
            timestamp(flow.first_ns),
            flow.id.to_string(),
            flow.originator.ip().to_string(),
            flow.originator.port.to_string(),
            flow.responder.ip().to_string(),
            flow.responder.port.to_string(),
            if flow.protocol == 6 { "TCP" } else { "UDP" }.into(),
            detection.scored.and_then(|scored| scored.verdict).map(|verdict| verdict.to_string()).unwrap_or_default(),
            detection.scored.and_then(|scored| scored.score).map(|score| format!("{score:.6}")).unwrap_or_default(),
            harmless(hello.map(|hello| bounded(hello.sni, self.text_bytes)).unwrap_or_default()),
            hello.map(|hello| ja4(&hello, Ja4::Tcp)).unwrap_or_default(),
            names.join(" "),
            packets.join(" "),
        ])?;
        Ok(())
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
