use super::conclusion;
use super::jsonl::version_name;
use super::text::{bounded, plain, timestamp};
use super::{Selection, counterfactual_words, nearest_words, reason_words, shadow};
use crate::engine::{Detection, Sink, Summary, Warned};
use crate::explain::Explanation;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, Color, ContentArrangement, Table};
use std::collections::HashMap;
use std::fmt::Write;
use veilwatch_core::detect::{Category, Verdict};
use veilwatch_core::packet::Skip;
use veilwatch_core::record::{CertificateInfo, ClientHello, Ja4, Record, ServerHello, ja4};
use veilwatch_core::tables::{Transport, Warning};

/// Keeps the worst flow of each pair of host and server, for a terminal: a beacon's hundred flows look alike. Early records
/// are not shown: when a table is drawn, the final ones are there.
#[derive(Debug)]
pub struct TableSink {
    selection: Selection,
    rows: usize,
    text_bytes: usize,
    /// The worst so far, worst first; the earlier flow of two that score the same.
    worst: Vec<Shown>,
    /// Flows of each pair.
    pairs: HashMap<PairKey, u64>,
    /// Pairs that are counted.
    most: usize,
    /// Flows of pairs that are not.
    not_counted: u64,
    matched: u64,
    /// Flows for the table that the run has not explained and that are explained here: the worst may come late.
    room: u64,
}

/// Originator's address, responder's address and port.
type PairKey = ([u8; 16], [u8; 16], u16);

#[derive(Debug)]
struct Shown {
    pair: PairKey,
    score: f64,
    verdict: Option<Verdict>,
    category: Option<Category>,
    time: String,
    from: String,
    to: String,
    name: String,
    ja4: String,
    notes: Vec<String>,
    reasons: Vec<String>,
    /// What it would be without them.
    without: Option<String>,
    /// Why it is for what it is for.
    purposes: Vec<String>,
    packets: Vec<u64>,
}

impl TableSink {
    /// A sink that keeps `rows` flows.
    pub fn new(selection: Selection, rows: u32, text_bytes: u32) -> Self {
        Self {
            selection,
            rows: rows as usize,
            text_bytes: text_bytes as usize,
            worst: Vec::new(),
            pairs: HashMap::new(),
            most: usize::MAX,
            not_counted: 0,
            matched: 0,
            room: 0,
        }
    }

    /// Explains so many flows at most that the run did not.
    #[must_use]
    pub fn explaining(self, most: u64) -> Self {
        Self { room: most, ..self }
    }

    /// Counts the flows of so many pairs at most.
    #[must_use]
    pub fn with_pairs(self, most: u32) -> Self {
        Self { most: most as usize, ..self }
    }

    /// Flows of which the table does not say to which pair they belong, because there were too many pairs.
    pub fn not_counted(&self) -> u64 {
        self.not_counted
    }

    /// The responder, with the service its port usually stands for.
    fn responder(detection: &Detection<'_>) -> String {
        let (responder, transport) = (detection.flow.responder, Transport::of_protocol(detection.flow.protocol));
        let service = detection.pipeline.tables().service_name(transport, responder.port);
        let service = service.map(|name| format!(" ({})", plain(name))).unwrap_or_default();
        format!("{}:{}{service}", responder.ip(), responder.port)
    }

    /// What the run said of a flow, else what is found here, while there is room.
    fn explanation(&mut self, detection: &Detection<'_>) -> Explanation {
        let Some(scored) = detection.scored else { return Explanation::default() };
        // A classifier that failed to explain a flow is not asked again.
        if self.room == 0 || !scored.no_room {
            return scored.explanation.clone();
        }
        self.room -= 1;
        // A failure counts in the run alone; here the flow has no reasons.
        detection.pipeline.explain(scored).unwrap_or_default()
    }

    fn shown(&mut self, detection: &Detection<'_>) -> Shown {
        let explanation = self.explanation(detection);
        let flow = detection.flow;
        let pipeline = detection.pipeline;
        let value = |id| flow.fields.get(id);
        let hello = ClientHello::read(value);
        let text = |bytes: &[u8]| plain(&bounded(bytes, self.text_bytes));
        let reasons = explanation.reasons.as_slice();
        let warnings = pipeline.warnings(flow);
        let mut packets: Vec<u64> = explanation
            .packets(flow, pipeline.schema())
            .chain(warnings.iter().map(|(_, packet)| *packet))
            .chain([flow.first_packet])
            .collect();
        packets.sort_unstable();
        packets.dedup();
        let said = detection.category.map(|said| said.reasons.as_slice()).unwrap_or_default();
        let mut notes = Vec::new();
        if let Some(server) = ServerHello::read(value) {
            notes.push(version_name(server.selected_version));
        }
        if let Some(certificate) = CertificateInfo::read(value).filter(|certificate| certificate.parsed) {
            notes.push(format!("certificate {} from {}", text(certificate.subject), text(certificate.issuer)));
        }
        notes.extend(detection.scored.and_then(|scored| nearest_words(&explanation, scored, pipeline)));
        Shown {
            pair: pair_of(detection),
            score: detection.scored.and_then(|scored| scored.score).unwrap_or(f64::NAN),
            verdict: detection.scored.and_then(|scored| scored.verdict),
            category: detection.category.map(|said| said.category),
            time: timestamp(flow.first_ns),
            from: format!("{}:{}", flow.originator.ip(), flow.originator.port),
            to: Self::responder(detection),
            name: hello.map(|hello| text(hello.sni)).filter(|name| !name.is_empty()).unwrap_or("–".into()),
            ja4: hello.map(|hello| ja4(&hello, Ja4::of(flow.protocol, &hello))).unwrap_or("–".into()),
            notes,
            reasons: reasons
                .iter()
                .map(|reason| plain(&reason_words(reason, pipeline.schema(), pipeline.card())))
                .chain(warnings.iter().map(|(warning, _)| warning_words(warning)))
                .collect(),
            without: (explanation.counterfactual.as_ref())
                .map(|without| plain(&counterfactual_words(without, pipeline.topics()))),
            purposes: said.iter().map(|reason| plain(&reason.words)).collect(),
            packets,
        }
    }

    /// The table as text; `colour` marks verdicts.
    pub fn render(&self, colour: bool) -> String {
        if self.worst.is_empty() {
            return String::new();
        }
        let mut table = Table::new();
        table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
        fit(&mut table, colour, 100);
        table.set_header(["verdict", "score", "from → to", "why"]);
        for shown in &self.worst {
            let verdict = shown.verdict.map_or("–".into(), |verdict| verdict.to_string());
            let mut cell = Cell::new(verdict);
            if colour {
                cell = cell.fg(match shown.verdict {
                    Some(Verdict::Malicious) => Color::Red,
                    Some(Verdict::Suspicious) => Color::Yellow,
                    _ => Color::Green,
                });
            }
            let mut flow =
                format!("{} →\n{}\nname {}\n{}\n{}", shown.from, shown.to, shown.name, shown.ja4, shown.time);
            let alike = self.pairs.get(&shown.pair).map_or(0, |flows| flows - 1);
            if alike > 0 {
                let _ = write!(flow, "\nand {alike} more to this server");
            }
            for note in &shown.notes {
                let _ = write!(flow, "\n{note}");
            }
            let mut why: String = shown.reasons.iter().map(|reason| format!("• {reason}\n")).collect();
            if let Some(without) = &shown.without {
                let _ = writeln!(why, "{without}");
            }
            if let Some(category) = shown.category {
                let _ = writeln!(why, "for {category}: {}", shown.purposes.join("; "));
            }
            let numbers: Vec<String> = shown.packets.iter().map(u64::to_string).collect();
            let _ = write!(why, "packets {}", numbers.join(", "));
            let score = if shown.score.is_nan() { "–".into() } else { format!("{:.3}", shown.score) };
            table.add_row([cell, Cell::new(score), Cell::new(flow), Cell::new(why)]);
        }
        let mut out = table.to_string();
        out.push('\n');
        let shown: u64 = self.worst.iter().map(|shown| self.pairs.get(&shown.pair).copied().unwrap_or(1)).sum();
        if self.matched > self.worst.len() as u64 {
            let more = self.matched.saturating_sub(shown);
            let rest = if more > 0 { format!("{more} more flows to other servers; ") } else { String::new() };
            let _ = writeln!(out, "{rest}`--all --format jsonl` lists every flow");
        }
        out
    }
}

impl Sink for TableSink {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        if !self.selection.takes(detection) {
            return Ok(());
        }
        self.matched += 1;
        let pair = pair_of(detection);
        if self.pairs.len() < self.most || self.pairs.contains_key(&pair) {
            *self.pairs.entry(pair).or_default() += 1;
        } else {
            self.not_counted += 1;
        }
        let score = detection.scored.and_then(|scored| scored.score).unwrap_or(f64::NEG_INFINITY);
        let known = |shown: &Shown| if shown.score.is_nan() { f64::NEG_INFINITY } else { shown.score };
        let at = self.worst.partition_point(|shown| known(shown) >= score);
        if self.worst[..at].iter().any(|shown| shown.pair == pair) {
            return Ok(());
        }
        self.worst.retain(|shown| shown.pair != pair);
        if at < self.rows {
            let shown = self.shown(detection);
            self.worst.insert(at, shown);
            self.worst.truncate(self.rows);
        }
        Ok(())
    }
}

fn pair_of(detection: &Detection<'_>) -> PairKey {
    let flow = detection.flow;
    (flow.originator.address, flow.responder.address, flow.responder.port)
}

/// Hosts that a person is told of; JSON Lines has more.
const FEW_HOSTS: usize = 3;

/// What a run did, in a few lines for a person.
pub fn summary_text(name: &str, format: &str, summary: &Summary) -> String {
    let mut out = String::new();
    let span = summary.last_ns.saturating_sub(summary.first_ns.unwrap_or_default()) as f64 / 1e9;
    let _ = writeln!(
        out,
        "{}: {format}, {} packets, {} bytes, {span:.1} s from {}",
        plain(name),
        summary.packets,
        summary.wire_bytes,
        summary.first_ns.map_or("no time".into(), timestamp),
    );
    if let Some(filtered) = summary.filtered {
        let _ = writeln!(out, "{filtered} of these packets were kept out by the filter");
    }
    // Of few templates it is worth knowing that one recognised nothing.
    const FEW: usize = 8;
    let all = summary.recognised.len() <= FEW;
    let recognised = summary.recognised.iter().filter(|(_, count)| all || *count > 0);
    let recognised: Vec<String> = recognised.map(|(id, count)| format!("{count} {id}")).collect();
    let recognised = if recognised.is_empty() { "none recognised".into() } else { recognised.join(", ") };
    let unknown = summary.unknown;
    let unknown =
        if unknown > 0 { format!(", {unknown} unknown (training held nothing like them)") } else { String::new() };
    let _ = writeln!(
        out,
        "{} flows ({}), {} scored: {} malicious, {} suspicious{unknown}",
        summary.flows, recognised, summary.scored, summary.malicious, summary.suspicious
    );
    out.push_str(&conclusion::text(&summary.conclusion, FEW_HOSTS));
    let categories: Vec<String> = summary.categories().map(|(category, flows)| format!("{flows} {category}")).collect();
    if !categories.is_empty() {
        let _ = writeln!(out, "what flows are for that are worth a look: {}", categories.join(", "));
    }
    if !summary.warned.is_empty() {
        let told = |warned: &Warned| format!("{} {} ({})", warned.flows, plain(&warned.id), warned.severity.name());
        let told: Vec<String> = summary.warned.iter().map(told).collect();
        let _ = writeln!(out, "flows that warnings speak of, by the tables: {}", told.join(", "));
    }
    for line in summary.shadow.iter().flat_map(shadow::words) {
        let _ = writeln!(out, "{line}");
    }
    if summary.early > 0 {
        let _ = writeln!(out, "{} early records, of flows that went on; their final records count", summary.early);
    }
    let skipped: Vec<String> = Skip::ALL
        .iter()
        .zip(summary.skipped)
        .filter(|(_, count)| *count > 0)
        .map(|(skip, count)| format!("{count} {}", skip_words(*skip)))
        .collect();
    if !skipped.is_empty() {
        let _ = writeln!(out, "not looked into: {}", skipped.join(", "));
    }
    if summary.packet_limit {
        let _ = writeln!(out, "stopped at the number of packets that was asked for");
    }
    for line in summary.warnings() {
        let _ = writeln!(out, "{}", plain(&line));
    }
    out
}

/// A warning in one line.
fn warning_words(warning: &Warning) -> String {
    plain(&format!("warning ({}): {}", warning.severity.name(), warning.words))
}

fn skip_words(skip: Skip) -> &'static str {
    match skip {
        Skip::NotIp => "packets without IP",
        Skip::Fragment => "IP fragments that waited for others",
        Skip::OtherTransport => "packets that are neither TCP nor UDP",
        Skip::Truncated => "packets cut inside their headers",
        Skip::Malformed => "malformed packets",
        Skip::UnknownLink => "packets of a link type that is not decoded",
        Skip::Encrypted => "frames encrypted on the link",
        Skip::TooNested => "packets in too many tunnels",
    }
}

/// Gives a table a width to go by where there is no terminal, or one that says it is next to nothing wide.
pub fn fit(table: &mut Table, terminal: bool, width: u16) {
    const NARROWEST: u16 = 40;
    if !terminal {
        table.force_no_tty().set_width(width);
    } else if table.width().is_none_or(|known| known < NARROWEST) {
        table.set_width(width);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::engine::{Pipeline, Progress, RunOptions, Scored, run};
    use crate::plugins::Registry;
    use crate::source::Source;
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    /// Takes what was explained from flows before the table sees them.
    struct Unexplained {
        table: TableSink,
        no_room: bool,
    }

    impl Sink for Unexplained {
        fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
            let no_room = self.no_room;
            let bare = |scored: &Scored<'_>| (scored.row.to_vec(), Explanation::default());
            let (row, explanation) = detection.scored.map(bare).unwrap_or_default();
            let scored = detection.scored.map(|scored| Scored { row: &row, explanation, no_room, ..scored.clone() });
            self.table.flow(&Detection { scored: scored.as_ref(), ..*detection })
        }
    }

    #[test]
    fn a_table_explains_what_found_no_room_and_not_what_failed() {
        let pipeline = Pipeline::new(Config::builtin().unwrap(), &mut Registry::with_builtins().unwrap()).unwrap();
        let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/captures/malicious-beacon-tls12.pcap");
        let drawn = |no_room| {
            let table = TableSink::new(Selection::default(), 10, 100).explaining(100);
            let mut sink = Unexplained { table, no_room };
            let (stop, progress) = (AtomicBool::new(false), Progress::default());
            let source = Source::open(&capture, &pipeline.config().input).unwrap();
            let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
            run(&pipeline, source, options, &mut sink).unwrap();
            (sink.table.room, sink.table.render(false))
        };
        let (failed, explained) = (drawn(false), drawn(true));
        assert!(failed.0 == 100 && failed.1.contains("packets"), "{}", failed.1);
        assert!(explained.0 < 100 && explained.1.contains('•') && explained.1 != failed.1, "{}", explained.1);
    }
}
