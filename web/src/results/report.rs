//! One page that stands alone: everything that is shown of a result, to be kept, printed or sent on.
//!
//! It needs no portal, no network and no script. What does not fit is counted, and where to find it is said.

use serde_json::{Value, json};
use thiserror::Error;

use super::facts::ResultSummary;
use super::human;
use super::human::{bytes, duration, grouped, percent, time};
use super::pictures::{Ink, PictureError, PictureKind, picture};
use super::read::{AlertRow, HostRow, ResultError, ResultFile, category_message};
use super::sentence::{Counts, beside, said, sentence, warnings};
use crate::clock::readable;
use crate::pages::language::Messages;
use crate::pages::{Language, PageError, Templates};

/// Hosts in a report.
pub const REPORT_HOSTS: u32 = 50;
/// Alerts in a report.
pub const REPORT_ALERTS: u32 = 200;
/// Marks in a report.
pub const REPORT_MARKS: usize = 500;

/// Why a report cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The result cannot be read.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// A picture cannot be drawn.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The template and what goes into it do not fit.
    #[error(transparent)]
    Page(#[from] PageError),
}

/// What the portal knows of an entry beside its result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportFacts {
    /// The file name as it was given.
    pub name: String,
    /// What its owner wrote about it.
    pub note: String,
    /// What it was sorted into.
    pub category: Option<String>,
    /// Who uploaded it.
    pub owner: String,
    /// When, in seconds since 1970.
    pub uploaded_at: i64,
    /// When the analysis ended.
    pub analysed_at: i64,
    /// SHA-256 of the capture.
    pub sha256: String,
    /// Its bytes.
    pub bytes: u64,
    /// What people say of its alerts.
    pub marks: Vec<ReportMark>,
}

/// What somebody says of an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportMark {
    /// The flow.
    pub flow_id: u64,
    /// Whether it is malicious.
    pub malicious: bool,
    /// Why they say so.
    pub reason: String,
    /// Who says so.
    pub by: String,
    /// When, in seconds since 1970.
    pub at: i64,
}

/// A report in a language.
///
/// # Errors
/// Where the result cannot be read, or the page cannot be made.
pub fn report(
    templates: &Templates,
    language: Language,
    facts: &ReportFacts,
    file: &ResultFile,
) -> Result<String, ReportError> {
    let messages = templates.messages(language)?;
    let summary = file.summary()?;
    let histograms = file.histograms()?;
    let (hosts, host_count) = (file.hosts(REPORT_HOSTS, 0)?, file.host_count()?);
    let alerts = file.alerts(REPORT_ALERTS, 0)?;
    let mut pictures = Vec::new();
    for kind in PictureKind::ALL {
        let drawn = picture(kind, &histograms, messages, Ink::Page)?;
        pictures.push(json!({
            "title": drawn.title, "svg": drawn.svg, "alternative": drawn.alternative, "columns": drawn.columns,
            "rows": drawn.rows.iter().map(|(name, cells)| json!({"name": name, "cells": cells})).collect::<Vec<_>>(),
        }));
    }
    let verdict = sentence(&Counts::from(&summary));
    let all_alerts = summary.malicious.saturating_add(summary.suspicious);
    let marks = facts.marks.iter().take(REPORT_MARKS).map(|mark| {
        json!({
            "flow_id": mark.flow_id.to_string(), "malicious": mark.malicious, "reason": mark.reason, "by": mark.by,
            "at": readable(mark.at),
        })
    });
    let data = json!({
        "tag": language.tag(),
        "name": facts.name,
        "note": facts.note,
        "tone": verdict.tone.name(),
        "sentence": verdict.text(messages),
        "beside": beside(&summary, messages),
        "warnings": warnings(&summary, messages),
        "facts": facts_list(facts, &summary, messages),
        "hosts": hosts.iter().map(host).collect::<Vec<_>>(),
        "hosts_left_out": left_out(host_count, hosts.len()),
        "alerts": alerts.iter().map(alert).collect::<Vec<_>>(),
        "alerts_left_out": left_out(all_alerts, alerts.len()),
        "pictures": pictures,
        "skipped": summary.skipped.iter().map(|(name, n)| {
            json!({"name": messages.get(&format!("result.skip-{name}")).unwrap_or(name), "n": grouped(*n)})
        }).collect::<Vec<_>>(),
        "pipeline": pipeline(&summary),
        "marks": marks.collect::<Vec<_>>(),
        "marks_left_out": left_out(facts.marks.len() as u64, facts.marks.len().min(REPORT_MARKS)),
        "version": env!("CARGO_PKG_VERSION"),
    });
    Ok(templates.render(language, "report", &data)?)
}

/// How many of all are not shown; null where all are.
fn left_out(all: u64, shown: usize) -> Value {
    match all.saturating_sub(shown as u64) {
        0 => Value::Null,
        n => grouped(n).into(),
    }
}

/// The facts of the capture: names by message, and values.
fn facts_list(facts: &ReportFacts, summary: &ResultSummary, messages: &Messages) -> Value {
    let mut list = Vec::new();
    let mut add = |key: &str, value: String| {
        if !value.is_empty() {
            list.push(json!({"name": messages.get(&format!("report.{key}")), "value": value}));
        }
    };
    add("owner", facts.owner.clone());
    add("category", facts.category.clone().unwrap_or_default());
    add("uploaded", readable(facts.uploaded_at));
    add("analysed", readable(facts.analysed_at));
    add("size", format!("{} ({} B)", bytes(facts.bytes), grouped(facts.bytes)));
    add("sha256", facts.sha256.clone());
    if let (Some(first), Some(last)) = (summary.first_ns, summary.last_ns) {
        add("first", format!("{} UTC", time(first)));
        add("last", format!("{} UTC", time(last)));
        add("duration", duration(last.saturating_sub(first) as f64));
    }
    add("packets", grouped(summary.packets));
    add("wire-bytes", bytes(summary.wire_bytes));
    add("flows", grouped(summary.flows));
    for (name, count) in &summary.recognised {
        let name = said(messages, "report.recognised", |_| Some(name.clone()));
        list.push(json!({"name": name, "value": grouped(*count)}));
    }
    let mut add = |key: &str, value: u64| {
        list.push(json!({"name": messages.get(&format!("report.{key}")), "value": grouped(value)}));
    };
    add("scored", summary.judged());
    add("malicious", summary.malicious);
    add("suspicious", summary.suspicious);
    list.into()
}

fn score(score: Option<f64>) -> String {
    score.map_or_else(|| "–".to_owned(), human::score)
}

fn host(host: &HostRow) -> Value {
    json!({
        "address": host.address.to_string(), "malicious": grouped(host.malicious),
        "suspicious": grouped(host.suspicious), "score": score(host.score), "flows": grouped(host.flows),
        "servers": grouped(host.servers), "bytes": bytes(host.bytes),
        "first": time(host.first_ns), "last": time(host.last_ns),
    })
}

fn alert(alert: &AlertRow) -> Value {
    let flow = &alert.flow;
    let end = |address: std::net::IpAddr, port| std::net::SocketAddr::new(address, port).to_string();
    let packets: Vec<String> = alert.evidence.iter().map(u64::to_string).collect();
    json!({
        "flow_id": flow.flow_id.to_string(), "malicious": flow.verdict == Some("malicious"), "score": score(flow.score),
        "from": end(flow.src_ip, flow.src_port), "to": end(flow.dest_ip, flow.dest_port),
        "transport": flow.transport(), "sni": flow.sni, "category": alert.category,
        "category_key": alert.category.as_deref().and_then(category_message),
        "category_reasons": alert.category_reasons.iter().map(|reason| &reason.words).collect::<Vec<_>>(),
        "first": time(flow.first_ns), "duration": duration(flow.duration_ns() as f64),
        "packets": grouped(flow.packets), "bytes": bytes(flow.bytes), "evidence": packets.join(", "),
        "reasons": alert.reasons.iter().map(|reason| &reason.words).collect::<Vec<_>>(),
        "tls": alert.tls.iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>(),
    })
}

fn pipeline(summary: &ResultSummary) -> Value {
    let pipeline = &summary.pipeline;
    let model = pipeline.model.as_ref().map(|model| {
        json!({
            "name": model.shown(), "classifier": model.classifier, "made_by": model.made_by,
            "weights": model.weights_sha256, "malicious": format!("{:.4}", model.malicious),
            "suspicious": format!("{:.4}", model.suspicious), "captures": grouped(model.captures),
            "benign_flows": grouped(model.benign_flows), "malicious_flows": grouped(model.malicious_flows),
            "recall": model.recall.map(percent), "false_positives": model.false_positives.map(percent),
        })
    });
    json!({
        "version": pipeline.version, "columns": grouped(pipeline.columns), "schema": pipeline.schema_sha256,
        "plugins": pipeline.plugins.iter().map(|(id, of)| json!({"id": id, "of": of})).collect::<Vec<_>>(),
        "model": model,
    })
}
