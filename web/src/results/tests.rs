//! Results of real captures, and results that somebody forged.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rusqlite::Connection;
use veilwatch::config::Config;
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, Summary, run};
use veilwatch::output::{CsvSink, JsonSink, Selection};
use veilwatch::plugins::Registry;
use veilwatch::source::Source;

use super::read::PAGE_ROWS;
use super::*;

pub(super) const CAPTURES: [&str; 5] = [
    "first-run.pcap",
    "benign-office.pcapng",
    "benign-odd.pcap",
    "malicious-beacon-tls12.pcap",
    "malicious-beacon-tls13.pcap",
];
const PATIENCE: u32 = 20_000;

pub(super) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/captures").join(name)
}

pub(super) fn pipeline() -> Pipeline {
    Pipeline::new(Config::builtin().unwrap(), &mut Registry::with_builtins().unwrap()).unwrap()
}

pub(super) fn analyse(pipeline: &Pipeline, capture: &Path, sink: &mut dyn Sink) -> Summary {
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let source = Source::open(capture, &pipeline.config().input).unwrap();
    run(pipeline, source, RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress }, sink).unwrap()
}

/// A result of a capture, and the file it is in.
pub(super) fn result(folder: &Path, pipeline: &Pipeline, capture: &Path) -> PathBuf {
    let path = folder.join("result");
    std::fs::write(&path, b"").unwrap();
    let mut writer = ResultWriter::open(&path, pipeline).unwrap();
    let summary = analyse(pipeline, capture, writer.as_mut());
    writer.finish(&summary).unwrap();
    path
}

pub(super) fn open(path: &Path) -> ResultFile {
    ResultFile::open(path, PATIENCE).unwrap()
}

fn jsonl(file: &ResultFile, only_alerts: bool) -> String {
    let (mut out, mut after) = (String::new(), -1);
    loop {
        let lines = file.lines(after, 7, only_alerts).unwrap();
        let Some((last, _)) = lines.last() else { break };
        after = *last;
        for (_, line) in &lines {
            out.push_str(line);
            out.push('\n');
        }
    }
    out + &file.summary().unwrap().line + "\n"
}

fn csv(file: &ResultFile, only_alerts: bool) -> Vec<u8> {
    let (mut out, mut after) = (ResultFile::csv_header(), -1);
    loop {
        let lines = file.csv(after, 7, only_alerts).unwrap();
        let Some((last, _)) = lines.last() else { break };
        after = *last;
        lines.iter().for_each(|(_, line)| out.extend_from_slice(line));
    }
    out
}

#[test]
fn downloads_are_what_the_command_writes() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = pipeline();
    for name in CAPTURES {
        let capture = example(name);
        let file = open(&result(folder.path(), &pipeline, &capture));
        let bytes = pipeline.config().output.text_bytes;
        for all in [true, false] {
            let selection = Selection { all, min_score: None };
            let mut sink = JsonSink::new(Vec::new(), selection, None, bytes);
            let summary = analyse(&pipeline, &capture, &mut sink);
            let want = String::from_utf8(sink.summary(&summary).unwrap()).unwrap();
            assert!(want.lines().count() > 1 || !all, "{name}");
            assert!(jsonl(&file, !all) == want, "{name}: JSON Lines differ");
            let mut want = Vec::new();
            let mut sink = CsvSink::new(&mut want, selection, None, bytes, true).unwrap();
            analyse(&pipeline, &capture, &mut sink);
            sink.finish().unwrap();
            assert!(csv(&file, !all) == want, "{name}: CSV differs");
        }
    }
}

/// What the engine says of each flow, for comparison.
#[derive(Default)]
struct Seen(Vec<(u64, u64, u64, u64, Option<Vec<f32>>)>);

impl Sink for Seen {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        let flow = detection.flow;
        let row = detection.scored.map(|scored| scored.row.to_vec());
        self.0.push((flow.id, flow.first_ns, flow.last_ns, flow.first_packet, row));
        Ok(())
    }
}

#[test]
fn what_goes_in_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = pipeline();
    let capture = example("first-run.pcap");
    let file = open(&result(folder.path(), &pipeline, &capture));
    let mut seen = Seen::default();
    let summary = analyse(&pipeline, &capture, &mut seen);

    let read = file.summary().unwrap();
    assert_eq!((read.flows, read.scored, read.malicious), (summary.flows, summary.scored, summary.malicious));
    assert_eq!((read.packets, read.wire_bytes), (summary.packets, summary.wire_bytes));
    assert_eq!((read.first_ns, read.last_ns), (summary.first_ns, Some(summary.last_ns)));
    assert_eq!((read.listed, read.not_listed, read.hosts_not_listed), (summary.flows, 0, 0));
    assert_eq!(read.warnings, summary.warnings());
    assert_eq!((read.found.malicious.computers, read.found.malicious.servers), (1, 2));
    let model = read.pipeline.model.unwrap();
    assert_eq!(model.name, pipeline.card().unwrap().name);
    assert!(model.suspicious <= model.malicious && model.recall > 0.0);

    for (id, first_ns, last_ns, first_packet, row) in &seen.0 {
        let detail = file.flow(*id).unwrap().unwrap();
        assert_eq!((detail.flow.first_ns, detail.flow.last_ns), (*first_ns, *last_ns));
        assert_eq!(detail.flow.first_packet, *first_packet);
        assert_eq!(detail.line["flow_id"], *id);
        let values: Vec<u32> = detail.features.iter().map(|feature| feature.value.to_bits()).collect();
        let want: Vec<u32> = row.iter().flatten().map(|value| value.to_bits()).collect();
        assert_eq!(values, want);
        for (feature, column) in detail.features.iter().zip(pipeline.schema().columns()) {
            assert_eq!((&*feature.name, &*feature.unit), (&*column.name, &*column.unit));
        }
    }
    assert_eq!(file.flow(1).unwrap(), None);

    let hosts = file.hosts(10, 0).unwrap();
    assert_eq!(hosts[0].address.to_string(), "192.168.56.106");
    assert_eq!((hosts[0].malicious, hosts[0].servers >= 2), (summary.malicious, true));
    assert_eq!(hosts.iter().map(|host| host.flows).sum::<u64>(), summary.flows);
    assert_eq!(hosts.len() as u64, file.host_count().unwrap());
    assert_eq!(file.hosts(10, 1).unwrap(), hosts[1..]);

    let alerts = file.alerts(100, 0).unwrap();
    assert_eq!(alerts.len() as u64, summary.malicious + summary.suspicious);
    assert!(alerts.is_sorted_by(|a, b| a.flow.score >= b.flow.score));
    assert!(alerts.iter().all(|alert| !alert.reasons.is_empty() && !alert.evidence.is_empty()));
    assert!(alerts[0].tls.iter().any(|(name, value)| name == "ja4" && value.starts_with("t1")));
}
