use super::community::community_id;
use super::conclusion::{ConclusionFacts, HostFacts};
use super::names::{dns, dns_name};
use super::selection::Door;
use super::text::{bounded, date, timestamp};
use super::{Selection, counterfactual_words, reason_words, shadow};
use crate::engine::{Detection, Sink, Summary};
use crate::explain::{Counterfactual, Topics};
use crate::live::{InterfaceCounts, LiveCounts};
use crate::model::memory::Neighbour;
use crate::plugins::PluginReport;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use std::borrow::Cow;
use std::io::Write;
use veilwatch_core::detect::{Category, CategoryReason, Verdict};
use veilwatch_core::flow::{Beginning, FlowRecord};
use veilwatch_core::packet::{FragmentCounters, Skip};
use veilwatch_core::record::{
    CertificateInfo, ClientHello, Ja4, Record, ServerHello, TlsRecords, Value, alert_name, ja3, ja3s, ja4,
};
use veilwatch_core::tables::Transport;

/// Version of the JSON Lines format: it grows when a name changes its meaning or goes away.
pub const FORMAT: u32 = 1;

/// Writes flows and the summary as JSON Lines.
pub struct JsonSink<W> {
    out: W,
    door: Door,
    lines: FlowLines,
    /// Whether there are lines that may not have reached their reader yet.
    unflushed: bool,
}

/// Makes the lines of the format, for whoever keeps them elsewhere than in a stream.
#[derive(Debug, Clone)]
pub struct FlowLines {
    capture: Option<String>,
    text_bytes: usize,
}

#[derive(Serialize)]
struct FlowLine<'a> {
    format: u32,
    event_type: &'static str,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<&'a str>,
    flow_id: u64,
    community_id: String,
    src_ip: String,
    src_port: u16,
    dest_ip: String,
    dest_port: u16,
    proto: &'static str,
    app_proto: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    record: &'static str,
    verdict: Option<Verdict>,
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    novelty: Option<f64>,
    #[serde(skip_serializing_if = "is_false")]
    novel: bool,
    category: Option<Category>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    category_reasons: Vec<CategoryReasonLine<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<ReasonLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counterfactual: Option<CounterfactualLine<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nearest: Vec<Neighbour>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    packets: Vec<u64>,
    flow: FlowFacts,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_name: Option<Json>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    files: Map<String, Json>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    beginning: Map<String, Json>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Json>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it")]
fn is_false(is: &bool) -> bool {
    !is
}

#[derive(Serialize)]
struct SummaryLine<'a> {
    format: u32,
    event_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<&'a str>,
    packets: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    filtered: Option<u64>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    filter_failed: Map<String, Json>,
    wire_bytes: u64,
    first: Option<String>,
    last: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    set_back: u64,
    flows: u64,
    #[serde(skip_serializing_if = "is_zero")]
    early: u64,
    recognised: Map<String, Json>,
    scored: u64,
    #[serde(skip_serializing_if = "is_zero")]
    unscored: u64,
    malicious: u64,
    suspicious: u64,
    #[serde(skip_serializing_if = "is_zero")]
    unknown: u64,
    #[serde(skip_serializing_if = "Map::is_empty")]
    categories: Map<String, Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conclusion: Option<ConclusionFacts>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<HostFacts>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    warned: Map<String, Json>,
    skipped: Map<String, Json>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fragments: Map<String, Json>,
    unknown_links: Map<String, Json>,
    limits: Map<String, Json>,
    overlap_conflicts: u64,
    template_errors: u64,
    #[serde(skip_serializing_if = "Map::is_empty")]
    plugin_errors: Map<String, Json>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    disabled: Vec<DisabledPlugin<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<LiveFacts<'a>>,
    partial: bool,
    interrupted: bool,
    stopped: bool,
    damage: Option<DamageFacts<'a>>,
}

/// What came of the interfaces of a live capture.
#[derive(Serialize)]
struct LiveFacts<'a> {
    interfaces: Vec<InterfaceFacts<'a>>,
    recorded: u64,
    recorded_bytes: u64,
    not_recorded: u64,
}

#[derive(Serialize)]
struct InterfaceFacts<'a> {
    name: &'a str,
    taken: u64,
    received: u64,
    dropped: u64,
    downs: u64,
}

impl<'a> LiveFacts<'a> {
    fn of(counts: &'a LiveCounts) -> Self {
        let interface = |of: &'a InterfaceCounts| {
            let InterfaceCounts { name, taken, received, dropped, downs, .. } = of;
            InterfaceFacts { name, taken: *taken, received: *received, dropped: *dropped, downs: *downs }
        };
        let LiveCounts { interfaces, recorded, recorded_bytes, not_recorded } = counts;
        Self {
            interfaces: interfaces.iter().map(interface).collect(),
            recorded: *recorded,
            recorded_bytes: *recorded_bytes,
            not_recorded: *not_recorded,
        }
    }
}

/// A plugin that was not used, or no more from a record on.
#[derive(Serialize)]
struct DisabledPlugin<'a> {
    id: &'a str,
    plugin: &'a str,
    record: Option<u64>,
    reason: &'a str,
}

impl<'a> DisabledPlugin<'a> {
    fn of(report: &'a PluginReport) -> Self {
        let reason = report.reason.as_deref().unwrap_or_default();
        Self { id: &report.id, plugin: &report.plugin, record: report.record, reason }
    }
}

#[derive(Serialize)]
struct DamageFacts<'a> {
    offset: u64,
    what: &'a str,
}

fn counts<'a>(pairs: impl IntoIterator<Item = (&'a str, u64)>) -> Map<String, Json> {
    pairs.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect()
}

/// Packets of each link type that the filter cannot be used with.
fn filter_failed(summary: &Summary) -> Map<String, Json> {
    summary.filter_failed.iter().map(|(link, failed)| (link.to_string(), failed.packets.into())).collect()
}

/// What became of packets in parts; nothing where there were none.
fn fragments(counted: &FragmentCounters) -> Map<String, Json> {
    let FragmentCounters { joined, unfinished, conflicts, .. } = *counted;
    let pairs = [("joined", joined), ("unfinished", unfinished), ("conflicts", conflicts)];
    counts(pairs.into_iter().filter(|(_, count)| *count > 0))
}

#[derive(Serialize)]
struct ReasonLine<'a> {
    feature: Cow<'a, str>,
    value: Option<f32>,
    words: String,
    contribution: f64,
    /// What all columns of the topic did; not there of warnings.
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<TopicLine<'a>>,
    /// The topic's next column, where it pushed as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    also: Option<ColumnLine<'a>>,
    /// Of a warning: what it weighs.
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'static str>,
    /// Of a warning: what to look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    look: Option<&'a str>,
}

#[derive(Serialize)]
struct TopicLine<'a> {
    name: &'a str,
    contribution: f64,
}

#[derive(Serialize)]
struct ColumnLine<'a> {
    feature: &'a str,
    value: Option<f32>,
    contribution: f64,
}

/// What the score would be without some topics.
#[derive(Serialize)]
struct CounterfactualLine<'a> {
    without: Vec<&'a str>,
    score: f64,
    verdict: Verdict,
    words: String,
}

impl<'a> CounterfactualLine<'a> {
    fn of(counterfactual: &Counterfactual, topics: &'a Topics) -> Self {
        let names = counterfactual.without.iter().filter_map(|topic| topics.get(*topic));
        Self {
            without: names.map(|topic| topic.key.as_str()).collect(),
            score: rounded(counterfactual.score),
            verdict: counterfactual.verdict,
            words: counterfactual_words(counterfactual, topics),
        }
    }
}

/// Why a flow has its category.
#[derive(Serialize)]
struct CategoryReasonLine<'a> {
    rule: &'static str,
    strength: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'a str>,
    words: &'a str,
}

impl<'a> CategoryReasonLine<'a> {
    fn of(reason: &'a CategoryReason) -> Self {
        let CategoryReason { rule, strength, entry, words } = reason;
        Self { rule: rule.name(), strength: strength.name(), entry: entry.as_deref(), words }
    }
}

#[derive(Serialize)]
struct FlowFacts {
    pkts_toserver: u64,
    pkts_toclient: u64,
    bytes_toserver: u64,
    bytes_toclient: u64,
    start: String,
    end: String,
    duration: f64,
    reason: &'static str,
}

impl<W: Write> JsonSink<W> {
    /// A sink; `capture` names the capture on every line, where a run has several.
    pub fn new(out: W, selection: Selection, capture: Option<String>, text_bytes: u32) -> Self {
        Self { out, door: Door::new(selection), lines: FlowLines::new(capture, text_bytes), unflushed: false }
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

    /// Writes the last line.
    pub fn summary(mut self, summary: &Summary) -> std::io::Result<W> {
        let mut line = Vec::new();
        self.lines.summary(summary, &mut line)?;
        self.out.write_all(&line)?;
        self.out.write_all(b"\n")?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl FlowLines {
    /// Lines with texts of at most `text_bytes` of the capture's bytes; `capture` names the capture on every line.
    pub fn new(capture: Option<String>, text_bytes: u32) -> Self {
        Self { capture, text_bytes: text_bytes as usize }
    }

    /// Adds a flow's line to `out`, without the line break.
    pub fn flow(&self, detection: &Detection<'_>, out: &mut Vec<u8>) -> std::io::Result<()> {
        Ok(serde_json::to_writer(out, &self.line(detection))?)
    }

    /// Adds the last line to `out`, without the line break.
    pub fn summary(&self, summary: &Summary, out: &mut Vec<u8>) -> std::io::Result<()> {
        let line = SummaryLine {
            format: FORMAT,
            event_type: "summary",
            capture: self.capture.as_deref(),
            packets: summary.packets,
            filtered: summary.filtered,
            filter_failed: filter_failed(summary),
            wire_bytes: summary.wire_bytes,
            first: summary.first_ns.map(timestamp),
            last: summary.first_ns.map(|_| timestamp(summary.last_ns)),
            set_back: summary.set_back,
            flows: summary.flows,
            early: summary.early,
            recognised: summary.recognised.iter().map(|(id, count)| (id.clone(), (*count).into())).collect(),
            scored: summary.scored,
            unscored: summary.unscored,
            malicious: summary.malicious,
            suspicious: summary.suspicious,
            unknown: summary.unknown,
            categories: counts(summary.categories().map(|(category, flows)| (category.name(), flows))),
            conclusion: ConclusionFacts::of(&summary.conclusion),
            hosts: HostFacts::worst(&summary.conclusion, self.text_bytes),
            warned: counts(summary.warned.iter().map(|warned| (warned.id.as_str(), warned.flows))),
            skipped: counts(Skip::ALL.iter().map(|skip| skip.name()).zip(summary.skipped)),
            fragments: fragments(&summary.fragments),
            unknown_links: summary.unknown_links.iter().map(|(link, n)| (link.to_string(), (*n).into())).collect(),
            limits: counts(summary.limits_hit()),
            overlap_conflicts: summary.flow_counters.overlap_conflicts,
            template_errors: summary.flow_counters.template_errors,
            plugin_errors: counts(summary.plugin_errors.iter().map(|part| (part.id.as_str(), part.records))),
            disabled: summary.disabled.iter().map(DisabledPlugin::of).collect(),
            shadow: summary.shadow.as_ref().map(shadow::run),
            live: summary.live.as_ref().map(LiveFacts::of),
            partial: summary.is_partial(),
            interrupted: summary.interrupted,
            stopped: summary.packet_limit,
            damage: summary.damage.as_ref().map(|damage| DamageFacts { offset: damage.offset, what: &damage.what }),
        };
        Ok(serde_json::to_writer(out, &line)?)
    }

    fn line<'a>(&'a self, detection: &Detection<'a>) -> FlowLine<'a> {
        let flow = detection.flow;
        let pipeline = detection.pipeline;
        let schema = pipeline.schema();
        let scored = detection.scored;
        let mut reasons = Vec::new();
        let there = |value: f32| (!value.is_nan()).then_some(value);
        let explanation = scored.map(|scored| &scored.explanation);
        let mut packets: Vec<u64> =
            explanation.map(|explanation| explanation.packets(flow, schema).collect()).unwrap_or_default();
        for reason in explanation.map(|explanation| explanation.reasons.as_slice()).unwrap_or_default() {
            let Some(column) = schema.columns().get(reason.lead.column) else { continue };
            let topic = pipeline.topics().get(reason.topic);
            let also = reason.also.as_ref().and_then(|also| Some((also, schema.columns().get(also.column)?)));
            reasons.push(ReasonLine {
                feature: column.name.as_ref().into(),
                value: there(reason.lead.value),
                words: reason_words(reason, schema, pipeline.card()),
                contribution: rounded(reason.lead.contribution),
                topic: topic.map(|topic| TopicLine { name: &topic.key, contribution: rounded(reason.contribution) }),
                also: also.map(|(also, column)| ColumnLine {
                    feature: column.name.as_ref(),
                    value: there(also.value),
                    contribution: rounded(also.contribution),
                }),
                severity: None,
                look: None,
            });
        }
        // A warning changes no score; it is worth reading beside what made it.
        for (warning, packet) in pipeline.warnings(flow) {
            packets.push(packet);
            reasons.push(ReasonLine {
                feature: format!("warn.{}", warning.id).into(),
                value: None,
                words: warning.words.to_string(),
                contribution: 0.0,
                topic: None,
                also: None,
                severity: Some(warning.severity.name()),
                look: Some(&warning.look),
            });
        }
        let said = detection.category.map(|said| said.reasons.as_slice()).unwrap_or_default();
        // What a flow is for is told of all of it: of a spread, its first packet is all there is.
        packets.extend(said.first().map(|_| flow.first_packet));
        packets.sort_unstable();
        packets.dedup();
        let [forward, backward] = &flow.stats;
        FlowLine {
            format: FORMAT,
            event_type: "flow",
            timestamp: timestamp(flow.first_ns),
            capture: self.capture.as_deref(),
            flow_id: flow.id,
            community_id: community_id(flow),
            src_ip: flow.originator.ip().to_string(),
            src_port: flow.originator.port,
            dest_ip: flow.responder.ip().to_string(),
            dest_port: flow.responder.port,
            proto: if flow.protocol == 6 { "TCP" } else { "UDP" },
            app_proto: flow.template.and_then(|at| pipeline.template_ids().get(usize::from(at))).map(String::as_str),
            service: pipeline.tables().service_name(Transport::of_protocol(flow.protocol), flow.responder.port),
            record: flow.record(),
            verdict: scored.and_then(|scored| scored.verdict),
            score: scored.and_then(|scored| scored.score).map(rounded),
            shadow: scored.and_then(|scored| shadow::flow(scored, pipeline.config().shadow.all)),
            novelty: scored.and_then(|scored| scored.novelty).map(rounded),
            novel: scored.is_some_and(|scored| pipeline.is_novel(scored.novelty)),
            category: detection.category.map(|said| said.category),
            category_reasons: said.iter().map(CategoryReasonLine::of).collect(),
            reasons,
            counterfactual: explanation
                .and_then(|explanation| explanation.counterfactual.as_ref())
                .map(|counterfactual| CounterfactualLine::of(counterfactual, pipeline.topics())),
            nearest: explanation.map(|explanation| explanation.nearest.iter().map(near).collect()).unwrap_or_default(),
            packets,
            flow: FlowFacts {
                pkts_toserver: forward.packets,
                pkts_toclient: backward.packets,
                bytes_toserver: forward.bytes,
                bytes_toclient: backward.bytes,
                start: timestamp(flow.first_ns),
                end: timestamp(flow.last_ns),
                duration: rounded(flow.shape().duration_ns as f64 / 1e9),
                reason: flow.end.name(),
            },
            tls: self.tls(flow),
            dns: dns(flow, self.text_bytes),
            dns_name: dns_name(flow, self.text_bytes),
            files: files(detection),
            beginning: beginning(flow),
            fields: self.fields(detection),
        }
    }

    /// EVE's `tls` object.
    fn tls(&self, flow: &FlowRecord) -> Option<Json> {
        let value = |id| flow.fields.get(id);
        let client = ClientHello::read(value);
        let server = ServerHello::read(value);
        if client.is_none() && server.is_none() {
            return None;
        }
        let text = |bytes: &[u8]| Json::from(bounded(bytes, self.text_bytes));
        let mut tls = Map::new();
        let version = server.map(|hello| hello.selected_version).or(client.map(|hello| hello.best_version()));
        tls.insert("version".into(), version.map(version_name).into());
        if let Some(hello) = client {
            if !hello.sni.is_empty() {
                tls.insert("sni".into(), text(hello.sni));
            }
            if !hello.alpn.is_empty() {
                tls.insert("alpn".into(), text(hello.alpn));
            }
            tls.insert("ja3".into(), json!({"hash": ja3(&hello)}));
            tls.insert("ja4".into(), ja4(&hello, Ja4::of(flow.protocol, &hello)).into());
        }
        if let Some(hello) = server {
            tls.insert("ja3s".into(), json!({"hash": ja3s(&hello)}));
            tls.insert("session_resumed".into(), hello.resumed.into());
        }
        if let Some(certificate) = CertificateInfo::read(value).filter(|certificate| certificate.parsed) {
            tls.insert("subject".into(), text(certificate.subject));
            tls.insert("issuerdn".into(), text(certificate.issuer));
            tls.insert("serial".into(), crate::hash::hex(certificate.serial).into());
            tls.insert("fingerprint_sha256".into(), crate::hash::hex(certificate.sha256).into());
            tls.insert("notbefore".into(), date(certificate.not_before).into());
            tls.insert("notafter".into(), date(certificate.not_after).into());
        }
        let records = TlsRecords::read(value).filter(|records| records.client_alerts > 0 || records.server_alerts > 0);
        if let Some(records) = records {
            tls.insert("alert".into(), alert(records.last_alert));
        }
        Some(tls.into())
    }

    /// What templates declared beside the typed records.
    fn fields(&self, detection: &Detection<'_>) -> Map<String, Json> {
        let fields = &detection.flow.fields;
        detection
            .pipeline
            .fields()
            .declared()
            .filter_map(|(id, spec)| {
                let json = match fields.get(id)? {
                    Value::U64(number) => number.into(),
                    Value::F64(number) => rounded(number).into(),
                    Value::Bytes(bytes) => bounded(bytes, self.text_bytes).into(),
                    Value::U16List(list) => list.into(),
                };
                Some((spec.name.to_string(), json))
            })
            .collect()
    }
}

impl<W: Write> Sink for JsonSink<W> {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        if !self.door.lets(detection) {
            return Ok(());
        }
        let mut line = Vec::new();
        self.lines.flow(detection, &mut line)?;
        line.push(b'\n');
        self.unflushed = true;
        self.out.write_all(&line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if std::mem::take(&mut self.unflushed) { self.out.flush() } else { Ok(()) }
    }

    fn renew(&mut self) {
        self.door.renew();
    }

    fn early(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        self.flow(detection)
    }
}

/// EVE's names of the two ways that bytes of a flow go.
const WAYS: [&str; 2] = ["toserver", "toclient"];

/// What FILES says of each direction.
fn files(detection: &Detection<'_>) -> Map<String, Json> {
    let files = detection.pipeline.tables().files();
    let Some(sights) = &detection.flow.sights else { return Map::new() };
    let known = |at: Option<u16>| files.get(usize::from(at?));
    let told = WAYS.iter().zip(sights.files).filter_map(|(way, at)| {
        let file = known(at)?;
        Some((String::from(*way), json!({"type": *file.id, "name": *file.name, "media": *file.media})))
    });
    told.collect()
}

/// What streams begin with that nobody knows.
fn beginning(flow: &FlowRecord) -> Map<String, Json> {
    let Some(sights) = flow.sights.as_ref().filter(|_| flow.template.is_none()) else { return Map::new() };
    let told = WAYS.iter().zip(sights.beginnings).filter_map(|(way, begin)| {
        let Beginning { class, bytes, printable, entropy } = begin?;
        let share = rounded(f64::from(printable) / f64::from(bytes.max(1)));
        let entropy = rounded(f64::from(entropy) / 1000.0);
        let said = json!({"class": class.name(), "bytes": bytes, "printable": share, "entropy": entropy});
        Some((String::from(*way), said))
    });
    told.collect()
}

/// The server name that a flow asked for, as lines have it, where it asked for one.
pub fn server_name(flow: &FlowRecord, text_bytes: usize) -> Option<String> {
    let hello = flow.fields.record::<ClientHello<'_>>()?;
    (!hello.sni.is_empty()).then(|| bounded(hello.sni, text_bytes))
}

/// An alert by its names; by its number where it has none.
fn alert(alert: u16) -> Json {
    let [level, description] = alert.to_be_bytes();
    let description = alert_name(description).map_or_else(|| description.to_string(), str::to_owned);
    json!({"level": if level == 2 { "fatal" } else { "warning" }, "description": description})
}

/// What an alert is near to, without the noise of the last bits.
fn near(neighbour: &Neighbour) -> Neighbour {
    Neighbour { distance: rounded(neighbour.distance), ..neighbour.clone() }
}

/// Six decimals: what a score means, without the noise of its last bits.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// EVE's names of TLS versions.
pub(crate) fn version_name(version: u16) -> String {
    match version {
        0x0002 => "SSLv2".into(),
        0x0300 => "SSLv3".into(),
        0x0301 => "TLSv1".into(),
        0x0302 => "TLS 1.1".into(),
        0x0303 => "TLS 1.2".into(),
        0x0304 => "TLS 1.3".into(),
        0xfeff => "DTLS 1.0".into(),
        0xfefd => "DTLS 1.2".into(),
        0xfefc => "DTLS 1.3".into(),
        0x7f00..=0x7fff => format!("TLS 1.3 draft-{:02}", version & 0xff),
        other => format!("0x{other:04x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_alerts_have_names() {
        let names = [0x0303, 0xfeff, 0xfefd, 0xfefc, 0x7f12, 0x0101].map(version_name).join(", ");
        assert_eq!(names, "TLS 1.2, DTLS 1.0, DTLS 1.2, DTLS 1.3, TLS 1.3 draft-18, 0x0101");
        assert_eq!(alert(0x0230), json!({"level": "fatal", "description": "unknown_ca"}));
        assert_eq!(alert(0x01ff), json!({"level": "warning", "description": "255"}));
    }
}
