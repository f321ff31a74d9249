//! Plugins that fail on some records: what it costs those records, when it ends, and that threads have no say in it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/long.rs"]
mod long;

use common::example;
use long::long_capture;
use serde::Deserialize;
use serde_json::Value as Json;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use veilwatch::config::Config;
use veilwatch::engine::{Detection, Pipeline, Progress, RunError, RunOptions, Sink, Summary, run};
use veilwatch::model::Model;
use veilwatch::output::{JsonSink, Selection};
use veilwatch::plugins::{Origin, PluginState, Registry};
use veilwatch::source::Source;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, FlowView, Rows, RowsMut};
use veilwatch_core::plugin::{
    Classifier, FeatureExtractor, PluginError, Probe, Progress as Parsed, ProtocolTemplate, RecordSink, Settings,
    StreamView, TrainingSet,
};
use veilwatch_core::record::{FieldId, FieldKind, FieldSpec, Value};

veilwatch_core::declare_plugins!(
    feature "flaky" "fails on some flows": Extractor,
    protocol "flaky" "fails on some flows": Template,
    classifier "flaky" "fails on some rows": Scorer,
    protocol "shaky" "fails while it looks at some flows": Shaky,
);

/// How something fails.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum How {
    #[default]
    Error,
    Panic,
    Infinite,
    /// Takes its time, and does not fail.
    Slow,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fails {
    how: How,
}

fn fail(how: How) -> Result<f64, PluginError> {
    match how {
        How::Error => Err(PluginError::failed("no luck\nwith this one")),
        How::Panic => panic!("no luck"),
        How::Infinite => Ok(f64::INFINITY),
        How::Slow => {
            // Once is enough, and keeps the test short.
            static ONCE: AtomicBool = AtomicBool::new(true);
            if ONCE.swap(false, Ordering::Relaxed) {
                std::thread::sleep(std::time::Duration::from_millis(6000));
            }
            Ok(1.0)
        }
    }
}

struct Extractor(Fails);

/// Every third flow of a conversation, more or less.
fn unlucky(flow: &FlowView<'_>) -> bool {
    flow.conversation().earlier % 3 == 1
}

impl Extractor {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        Ok(Self(settings.read()?))
    }
}

impl FeatureExtractor for Extractor {
    fn columns(&self) -> Vec<Column> {
        ["before", "after"].map(|name| Column::new(name, "flag", "whether it was here", Evidence::Flow)).to_vec()
    }
    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let mut row = rows.writer(at);
            row.put(1.0);
            row.put(if unlucky(&flow) { fail(self.0.how)? } else { 1.0 });
        }
        Ok(())
    }
}

#[derive(Default)]
struct Template(Option<FieldId>);

impl Template {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none()?;
        Ok(Self::default())
    }
}

impl ProtocolTemplate for Template {
    fn fields(&self) -> Vec<FieldSpec> {
        vec![FieldSpec { name: "flaky.port".into(), kind: FieldKind::U64, words: "a port".into() }]
    }
    fn wire(&mut self, ids: &[FieldId]) -> Result<(), PluginError> {
        self.0 = ids.first().copied();
        Ok(())
    }
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        if stream.originator_port.is_multiple_of(4) { Probe::Certain } else { Probe::No }
    }
    fn parse(&self, stream: &StreamView<'_>, out: &mut RecordSink<'_>) -> Result<Parsed, PluginError> {
        if stream.originator_port.is_multiple_of(16) {
            fail(How::Error)?;
        }
        if let Some(id) = self.0 {
            out.field(id, Value::U64(stream.originator_port.into()));
        }
        Ok(Parsed::Done)
    }
}

struct Shaky(Fails);

impl Shaky {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        Ok(Self(settings.read()?))
    }
}

impl ProtocolTemplate for Shaky {
    fn probe(&self, stream: &StreamView<'_>) -> Probe {
        self.try_probe(stream).unwrap_or(Probe::No)
    }
    fn try_probe(&self, stream: &StreamView<'_>) -> Result<Probe, PluginError> {
        if stream.originator_port.is_multiple_of(5) {
            fail(self.0.how)?;
        }
        Ok(Probe::No)
    }
    fn parse(&self, _: &StreamView<'_>, _: &mut RecordSink<'_>) -> Result<Parsed, PluginError> {
        Ok(Parsed::Done)
    }
}

struct Scorer(Fails);

impl Scorer {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        Ok(Self(settings.read()?))
    }
}

/// Some rows, by what stands in them.
fn hard(row: &[f32]) -> bool {
    row.iter().filter(|value| !value.is_nan()).fold(0, |all, value| all ^ value.to_bits().rotate_left(all % 31)) % 5
        == 0
}

impl Classifier for Scorer {
    fn fit(&mut self, _: &TrainingSet<'_>) -> Result<(), PluginError> {
        Ok(())
    }
    fn save(&self) -> Result<Vec<u8>, PluginError> {
        Ok(Vec::new())
    }
    fn load(&mut self, _: &[u8]) -> Result<(), PluginError> {
        Ok(())
    }
    fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError> {
        for (row, score) in rows.iter().zip(scores) {
            *score = if hard(row) { fail(self.0.how)? } else { 30.0 };
        }
        Ok(())
    }
    fn explain(&self, _: &[f32], contributions: &mut [f64]) -> Result<(), PluginError> {
        contributions.fill(0.0);
        contributions[0] = 1.0;
        Ok(())
    }
}

fn registry() -> Registry {
    let mut registry = Registry::with_builtins().unwrap();
    registry.register(declarations(), &Origin::Builtin).unwrap();
    registry
}

/// The features in the box, with `more` before them, and how often an instance may fail.
fn config(more: &str, errors: u32) -> Config {
    let entries = veilwatch::config::EXAMPLE.find("[[plugin]]").unwrap();
    let (head, tail) = veilwatch::config::EXAMPLE.split_at(entries);
    let tail = tail.split("[[plugin]]\nid = \"ensemble\"").next().unwrap();
    // Explanations take most of the time, and one fails as another does.
    let head =
        head.replace("errors = 100 ", &format!("errors = {errors} ")).replace("explained = 1000", "explained = 20");
    Config::parse(&format!("{head}{more}\n{tail}"), "test").unwrap()
}

/// Record number, row, and what became of it.
#[derive(Default)]
struct Rowed {
    records: u64,
    rows: Vec<(u64, Vec<u32>)>,
}

impl Sink for Rowed {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        self.records += 1;
        if let Some(scored) = detection.scored {
            self.rows.push((self.records, scored.row.iter().map(|value| value.to_bits()).collect()));
        }
        Ok(())
    }
}

fn go(pipeline: &Pipeline, capture: &Path, workers: usize, sink: &mut dyn Sink) -> Result<Summary, RunError> {
    let source = Source::open(capture, &pipeline.config().input).unwrap();
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    run(pipeline, source, RunOptions { workers, packets: None, stop: &stop, progress: &progress }, sink)
}

fn flaky(how: &str, required: bool) -> String {
    format!(
        "[[plugin]]\nid = \"flaky\"\nuse = \"feature/flaky\"\nrequired = {required}\n[plugin.settings]\nhow = {how:?}\n"
    )
}

#[test]
fn only_the_records_that_an_extractor_fails_on_miss_its_columns() {
    let nan = |bits: &u32| f32::from_bits(*bits).is_nan();
    let mut plain = Rowed::default();
    go(&Pipeline::untrained(config("", 1), &mut registry()).unwrap(), &example("first-run.pcap"), 1, &mut plain)
        .unwrap();
    let mut lost = Vec::new();
    for how in ["error", "panic", "infinite"] {
        let pipeline = Pipeline::untrained(config(&flaky(how, true), 1000), &mut registry()).unwrap();
        let mut rows = Rowed::default();
        let summary = go(&pipeline, &example("first-run.pcap"), 1, &mut rows).unwrap();
        // All other columns are what they are without it.
        assert_eq!(rows.rows.len(), plain.rows.len());
        assert!(rows.rows.iter().zip(&plain.rows).all(|((_, row), (_, plain))| row[2..] == plain[..]), "{how}");
        let bad: Vec<u64> = rows.rows.iter().filter(|(_, row)| nan(&row[1])).map(|(record, _)| *record).collect();
        assert!(rows.rows.iter().all(|(_, row)| nan(&row[0]) == nan(&row[1])), "{how}: half a row is kept");
        assert!(bad.len() > 5 && bad.len() < plain.rows.len() / 2, "{how}: {bad:?}");
        let errors = &summary.plugin_errors[0];
        assert_eq!((errors.id.as_str(), errors.records, errors.first), ("flaky", bad.len() as u64, bad[0]), "{how}");
        assert!(summary.disabled.is_empty() && !summary.is_partial());
        let warning = summary.warnings().remove(0);
        assert!(warning.starts_with(&format!("plugin `flaky` failed on {} flows", bad.len())), "{warning}");
        lost.push(bad);
    }
    assert!(lost.iter().all(|bad| *bad == lost[0]), "which records fail does not depend on how they do");

    // Past the budget it is disabled at that very record, or the run ends.
    let bad = &lost[0];
    let pipeline = Pipeline::untrained(config(&flaky("panic", false), 4), &mut registry()).unwrap();
    for _ in 0..2 {
        // Each run has a budget of its own.
        let mut rows = Rowed::default();
        let summary = go(&pipeline, &example("first-run.pcap"), 1, &mut rows).unwrap();
        for (record, row) in &rows.rows {
            assert_eq!(nan(&row[0]), bad.contains(record) || *record >= bad[3], "record {record}");
        }
        let report = &summary.disabled[0];
        assert_eq!((report.id.as_str(), report.state(), report.record), ("flaky", PluginState::Disabled, Some(bad[3])));
        assert!(report.reason.as_deref().unwrap().contains("no luck"), "{report:?}");
        assert!(summary.is_partial());
        assert!(summary.warnings().iter().any(|line| line.contains(&format!("disabled at record {}", bad[3]))));
    }
    let pipeline = Pipeline::untrained(config(&flaky("error", true), 4), &mut registry()).unwrap();
    let error = go(&pipeline, &example("first-run.pcap"), 1, &mut Rowed::default()).unwrap_err().to_string();
    let says = format!("plugin `flaky`: no luck with this one (record {}, failure 4 of 4 that `errors`", bad[3]);
    assert!(error.starts_with(&says) && error.contains("`required = false`") && error.lines().count() == 1, "{error}");
}

#[test]
fn a_template_that_fails_while_it_looks_costs_the_flow_nothing() {
    let capture = example("first-run.pcap");
    let shaky = |how: &str, required: bool| {
        format!(
            "[[plugin]]\nid = \"shaky\"\nuse = \"protocol/shaky\"\nrequired = {required}\n[plugin.settings]\nhow = {how:?}\n"
        )
    };
    let open = |more: &str, errors| Pipeline::untrained(config(more, errors), &mut registry()).unwrap();
    let (alone, _) = lines(&open("", 4), &capture, 1);
    for how in ["error", "panic"] {
        let (text, summary) = lines(&open(&shaky(how, false), 4), &capture, 1);
        let without_last = |text: &str| text.lines().rev().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(without_last(&text), without_last(&alone), "{how}: all is as if it were not there");
        let errors = &summary.plugin_errors[0];
        assert_eq!((errors.id.as_str(), errors.records), ("shaky", 4), "{how}");
        assert!(errors.reason.contains("no luck"), "{how}: {}", errors.reason);
        assert!(summary.disabled[0].record.unwrap() > errors.first, "{how}");
        for workers in [2, 8] {
            assert_eq!(lines(&open(&shaky(how, false), 4), &capture, workers).0, text, "{how}: {workers} workers");
        }
        let error = go(&open(&shaky(how, true), 4), &capture, 1, &mut Rowed::default()).unwrap_err().to_string();
        assert!(error.contains("plugin `shaky`") && error.contains("failure 4 of 4"), "{error}");
    }
}

#[test]
fn a_call_that_comes_back_too_late_ends_the_run() {
    let mut config = config(&flaky("slow", false), 1000);
    config.plugins.batch_milliseconds = 4000;
    let pipeline = Pipeline::untrained(config, &mut registry()).unwrap();
    let error = go(&pipeline, &example("first-run.pcap"), 2, &mut Rowed::default()).unwrap_err();
    assert!(matches!(&error, RunError::Overdue(overdue) if overdue.id == "flaky"), "{error}");
    // The next run is another one.
    go(&pipeline, &example("first-run.pcap"), 1, &mut Rowed::default()).unwrap();
}

/// A pipeline in which each kind fails now and then.
fn all_flaky(how: &str, required: bool, errors: u32) -> Pipeline {
    let more = format!(
        "[[plugin]]\nid = \"odd\"\nuse = \"protocol/flaky\"\nrequired = {required}\n{}[[plugin]]\nid = \"scorer\"\n\
         use = \"classifier/flaky\"\nrequired = {required}\n[plugin.settings]\nhow = {how:?}\n",
        flaky(how, required)
    );
    let mut pipeline = Pipeline::untrained(config(&more, errors), &mut registry()).unwrap();
    let mut model = Model::builtin().unwrap();
    let card = &mut model.card;
    card.classifier = "classifier/flaky".into();
    card.schema_sha256 = pipeline.schema().hash().into();
    let column = card.columns[0].clone();
    card.columns.resize(pipeline.schema().width(), column);
    pipeline.use_model(&model).unwrap();
    pipeline
}

fn lines(pipeline: &Pipeline, capture: &Path, workers: usize) -> (String, Summary) {
    let mut sink = JsonSink::new(Vec::new(), Selection { all: true, min_score: None }, None, 512);
    let summary = go(pipeline, capture, workers, &mut sink).unwrap();
    (String::from_utf8(sink.summary(&summary).unwrap()).unwrap(), summary)
}

#[test]
fn where_a_plugin_is_disabled_does_not_depend_on_threads() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("long.pcap");
    std::fs::write(&capture, long_capture(6000, false)).unwrap();
    for (how, errors) in [("error", 1_000_000), ("panic", 70), ("infinite", 1)] {
        let (want, summary) = lines(&all_flaky(how, false, errors), &capture, 1);
        for workers in [2, 8] {
            assert!(
                lines(&all_flaky(how, false, errors), &capture, workers).0 == want,
                "{how}: {workers} workers differ"
            );
        }
        let all: Vec<Json> = want.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (last, flows) = all.split_last().unwrap();
        let number = |line: &Json, id: &str| line["plugin_errors"][id].as_u64().unwrap();
        let record_of = |id: &str| {
            let report = last["disabled"].as_array().and_then(|all| all.iter().find(|report| report["id"] == id));
            report.map_or(u64::MAX, |report| report["record"].as_u64().unwrap())
        };
        let numbered = || flows.iter().zip(1..);
        if errors == 1_000_000 {
            assert!(last["disabled"].is_null() && number(last, "flaky") > 100 && number(last, "scorer") > 100);
            assert_eq!(number(last, "odd"), summary.flow_counters.template_errors);
            assert!(number(last, "odd") > 100);
        } else {
            assert_eq!(last["disabled"].as_array().unwrap().len(), 3, "{how}");
            for id in ["odd", "flaky", "scorer"] {
                assert_eq!(number(last, id), u64::from(errors), "{how}: {id}");
                assert!(record_of(id) < flows.len() as u64 / 2, "{how}: {id}");
            }
            assert_eq!(last["partial"], true);
        }
        // The template: recognised flows, those with its field, and none from there on.
        let odd: Vec<u64> = numbered().filter(|(flow, _)| flow["app_proto"] == "odd").map(|(_, at)| at).collect();
        assert!(odd.iter().all(|at| *at < record_of("odd")), "{how}");
        assert_eq!(last["recognised"]["odd"].as_u64().unwrap(), odd.len() as u64);
        let fields = numbered().filter(|(flow, _)| !flow["fields"]["flaky.port"].is_null());
        assert!(fields.clone().all(|(flow, _)| flow["app_proto"] == "odd"));
        assert!(errors == 1 || fields.count() > 100, "{how}");
        // The classifier: no score is a verdict of its own, before and after.
        let verdicts = |wanted: &str| {
            numbered().filter(|(flow, _)| flow["verdict"] == wanted).map(|(_, at)| at).collect::<Vec<u64>>()
        };
        let (unknown, malicious) = (verdicts("unknown"), verdicts("malicious"));
        let counted = ["scored", "unscored"].map(|name| last[name].as_u64().unwrap_or(0) as usize);
        assert_eq!([malicious.len(), unknown.len()], counted);
        assert!(errors == 1_000_000 || last["partial"] == true, "{how}");
        assert!(malicious.iter().all(|at| *at < record_of("scorer")), "{how}");
        assert!(errors == 1 || (!malicious.is_empty() && !unknown.is_empty()), "{how}");
        assert!(flows.iter().all(|flow| flow["verdict"] != "unknown" || flow["score"].is_null()));
    }
    // A required one ends the run at the same record, whoever counts.
    let ends = |workers| {
        let pipeline = all_flaky("error", true, 70);
        go(&pipeline, &capture, workers, &mut Rowed::default()).unwrap_err().to_string()
    };
    let one = ends(1);
    assert!(one.contains("failure 70 of 70"), "{one}");
    assert!([2, 8].iter().all(|workers| ends(*workers) == one));
}

/// A plugin that fails on early records has failed on nothing that counts.
#[test]
fn early_records_neither_count_nor_disable() {
    let template = "[[plugin]]\nid = \"odd\"\nuse = \"protocol/flaky\"\nrequired = false\n";
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("long.pcap");
    std::fs::write(&capture, long_capture(3000, false)).unwrap();
    for errors in [4, 100_000] {
        let both = config(&format!("{}{template}", flaky("error", false)), errors);
        let mut early = both.clone();
        early.flows.early_packets = 2;
        let [(rows, told), (rows_with, told_with)] = [both, early].map(|config| {
            let mut rows = Rowed::default();
            let summary = go(&Pipeline::untrained(config, &mut registry()).unwrap(), &capture, 2, &mut rows).unwrap();
            assert!(!summary.plugin_errors.is_empty() && summary.disabled.is_empty() == (errors > 4));
            (rows.rows, (summary.plugin_errors, summary.disabled.iter().map(|part| part.record).collect::<Vec<_>>()))
        });
        assert_eq!((told, rows == rows_with), (told_with, true));
    }
}
