//! Analyses in a child process, and what becomes of hostile ones. This test is its own worker: its `main` looks for the
//! argument that makes it one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/trials.rs"]
#[macro_use]
mod trials;

use common::example;
use libtest_mimic::Arguments;
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use veilwatch::config::Config;
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, Summary, run};
use veilwatch::learn::OnConflict;
use veilwatch::model::{Model, ModelRegistry, ModelSettings};
use veilwatch::output::{JsonSink, Selection};
use veilwatch::plugins::{Part, Registry};
use veilwatch::source::Source;
use veilwatch::worker::{
    CutFlow, Event, Failed, FailedWhy, LINE_BYTES, Learnt, Order, PLUGINS, PipelineDescription, PluginDescription,
    ResultSink, Supervised, Task, TrainReport, TrainTask, Unpacking, WorkerEnd, WorkerLimits, cut, supervise, unpack,
};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("worker") {
        let name = PathBuf::from(std::env::args().next().unwrap());
        let name = name.file_name().unwrap().to_str().unwrap();
        return name.strip_prefix("liar-").map_or_else(|| veilwatch::worker::main(open), lie);
    }
    let tests = trials! {
        inspects
        inspects_only_so_many_packets
        says_what_is_no_capture
        analyses_like_the_engine_itself
        analyses_with_a_library
        analyses_with_a_folder_of_libraries
        analyses_with_a_filter
        analyses_with_a_model_of_its_own
        analyses_with_the_champion_of_a_registry
        a_pipeline_that_cannot_be_used_is_said_so
        a_library_out_of_reach_is_said_so
        describes_every_plugin
        describes_what_cannot_be_used_as_far_as_it_goes
        tables_of_ones_own_are_read
        trains_and_compares_with_the_champion
        marks_that_contradict_labels_train_nothing
        a_training_reads_and_writes_nothing_else
        a_training_meets_its_limits
        what_a_training_leaves_is_not_believed
        a_challenger_that_cannot_be_used_costs_nothing
        cuts_a_flow_out
        a_cut_that_does_not_fit_says_so
        stops_in_the_middle_with_what_there_is
        ends_at_once_when_killed
        ends_with_its_parent
        many_at_once
        a_bomb_ends_in_a_partial_result
        plugins_may_print_and_start_threads
        a_panic_names_the_plugin
        an_abort_is_a_crash
        an_endless_loop_meets_the_processor_limit
        an_endless_sleep_meets_the_wall
        a_stop_that_is_not_heard_becomes_a_kill
        memory_without_end_is_told_as_such
        a_file_without_end_is_told_as_such
        files_that_a_parent_left_open_are_closed
        no_other_file_can_be_touched
        nobody_gets_a_signal
        the_network_other_programs_and_processes_are_out_of_reach
        babble_is_cut_off
        what_is_no_order_is_refused
        what_is_no_worker_is_no_trouble
        what_makes_no_sense_is_not_believed
        last_words_are_cleaned_and_cut
    };
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

/// A result as JSON Lines.
struct Lines(JsonSink<BufWriter<File>>);

impl Sink for Lines {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        self.0.flow(detection)
    }
}

impl ResultSink for Lines {
    fn finish(self: Box<Self>, summary: &Summary) -> std::io::Result<()> {
        self.0.summary(summary)?.flush()
    }
}

fn open<'p>(path: &Path, pipeline: &'p Pipeline) -> std::io::Result<Box<dyn ResultSink + 'p>> {
    let file = File::options().write(true).open(path)?;
    let all = Selection { all: true, min_score: None };
    Ok(Box::new(Lines(JsonSink::new(BufWriter::new(file), all, None, pipeline.config().output.text_bytes))))
}

/// A folder with an empty result and a file that is none of a worker's business.
struct Bench {
    folder: tempfile::TempDir,
}

const SECRET: &str = "another one's result";

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("result"), "").unwrap();
        std::fs::write(folder.path().join("other"), SECRET).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn result(&self) -> PathBuf {
        self.path("result")
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn order(&self, capture: &Path, task: Task) -> Order {
        let (unpacking, limits) = (Unpacking::default(), WorkerLimits::default());
        let capture = capture.to_owned();
        Order { capture, task, pipeline: None, tables: None, model: None, shadow: None, unpacking, limits }
    }

    fn inspect(&self, capture: &Path, packets: u64) -> Order {
        self.order(capture, Task::Inspect { packets })
    }

    fn analyse(&self, capture: &Path) -> Order {
        self.order(capture, Task::Analyse { packets: None, workers: 2, result: self.result() })
    }

    /// An analysis with the hostile plugin at the end of the pipeline, which may not fail once.
    fn hostile(&self, does: &str, file: &str) -> Order {
        let config = veilwatch::config::EXAMPLE.replace("\nerrors = 100 ", "\nerrors = 1 ");
        let pipeline = format!(
            "{}\n[[plugin]]\nid = \"hostile\"\npath = {:?}\n[plugin.settings]\ndoes = {does:?}\nfile = {file:?}\n",
            config,
            library(),
        );
        let pipeline = self.file("pipeline.toml", pipeline.as_bytes());
        Order { pipeline: Some(pipeline), ..self.analyse(&example("first-run.pcap")) }
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.result()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The hostile plugin: cargo builds it beside this test, because the test depends on it.
fn library() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let path = folder.join("libveilwatch_test_hostile.so");
    assert!(path.is_file(), "{} was not built", path.display());
    path
}

const WALL: Duration = Duration::from_secs(60);

fn with(order: &Order, wall: Duration, on_event: &mut dyn FnMut(&Event)) -> Result<Event, WorkerEnd> {
    let program = std::env::current_exe().unwrap();
    let never = AtomicBool::new(false);
    supervise(Supervised { program: &program, order, wall, stop: &never, kill: &never }, on_event)
}

fn go(order: &Order) -> Result<Event, WorkerEnd> {
    with(order, WALL, &mut |_| {})
}

fn failure(order: &Order) -> Failed {
    match go(order) {
        Err(WorkerEnd::Failed(failed)) => failed,
        other => panic!("{other:?}"),
    }
}

fn in_process(capture: &Path, sink: &mut dyn Sink) -> Summary {
    let pipeline = Pipeline::new(Config::builtin().unwrap(), &mut Registry::with_builtins().unwrap()).unwrap();
    let source = Source::open(capture, &pipeline.config().input).unwrap();
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    run(&pipeline, source, RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress }, sink).unwrap()
}

/// A flow as its packets make it.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    ends: [(IpAddr, u16); 2],
    protocol: u8,
    first_packet: u64,
    first_ns: u64,
    last_ns: u64,
    packets: [u64; 2],
    bytes: [u64; 2],
}

#[derive(Default)]
struct Flows(Vec<Seen>);

impl Sink for Flows {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        let flow = detection.flow;
        let [there, back] = &flow.stats;
        self.0.push(Seen {
            ends: [flow.originator, flow.responder].map(|end| (end.ip(), end.port)),
            protocol: flow.protocol,
            first_packet: flow.first_packet,
            first_ns: flow.first_ns,
            last_ns: flow.last_ns,
            packets: [there.packets, back.packets],
            bytes: [there.bytes, back.bytes],
        });
        Ok(())
    }
}

fn inspects() {
    let bench = Bench::new();
    let capture = example("benign-office.pcapng");
    let Event::Inspected(found) = go(&bench.inspect(&capture, u64::MAX)).unwrap() else { panic!() };
    let mut flows = Flows::default();
    let summary = in_process(&capture, &mut flows);
    assert_eq!(found.packets, summary.packets);
    assert!(found.complete);
    assert_eq!(found.bytes, capture.metadata().unwrap().len());
    assert_eq!((found.first_ns, found.last_ns), (summary.first_ns, Some(summary.last_ns)));
    assert_eq!(found.decoded, summary.packets - summary.skipped.iter().sum::<u64>());
    assert_eq!((found.format.as_str(), found.compression, found.damage), ("pcapng", None, None));
    assert_eq!(found.links, [(1, summary.packets)]);
}

fn inspects_only_so_many_packets() {
    let bench = Bench::new();
    let capture = example("first-run.pcap");
    let total = in_process(&capture, &mut Flows::default()).packets;
    for (limit, complete) in [(1, false), (total - 1, false), (total, true), (total + 1, true)] {
        let Event::Inspected(found) = go(&bench.inspect(&capture, limit)).unwrap() else { panic!() };
        assert_eq!((found.packets, found.complete), (limit.min(total), complete));
    }
}

fn says_what_is_no_capture() {
    let bench = Bench::new();
    let whole = std::fs::read(example("first-run.pcap")).unwrap();
    let cases: [(&[u8], FailedWhy, &str); 7] = [
        (b"", FailedWhy::Empty, "this file is empty;"),
        (&whole[..24], FailedWhy::Empty, "this file is a capture (pcap) that holds no packet;"),
        (b"\x89PNG\r\n\x1a\n", FailedWhy::NotACapture, "this file is no capture: it looks like a PNG image;"),
        (&whole[..10], FailedWhy::Unreadable, "this file is cut off: 10 bytes of pcap's 24-byte header"),
        (
            &whole[..40],
            FailedWhy::Unreadable,
            "this file is a capture (pcap) without one whole packet: the capture is cut off",
        ),
        (
            &gzip(&vec![0; 80 << 20]),
            FailedWhy::NotACapture,
            "this file is no capture: it looks like nothing but zeros;",
        ),
        (&gzip(&gzip(&gzip(&whole))), FailedWhy::Unreadable, "this file is compressed more than twice over;"),
    ];
    for (bytes, why, words) in cases {
        let capture = bench.file("0123abcd", bytes);
        for order in [bench.inspect(&capture, 1000), bench.analyse(&capture)] {
            let failed = failure(&order);
            assert_eq!(failed.why, why, "{}", failed.words);
            assert!(failed.words.starts_with(words), "{}", failed.words);
            assert!(!failed.words.contains("0123abcd"), "{}", failed.words);
        }
    }
    let failed = failure(&bench.inspect(&bench.path("gone"), 1));
    assert_eq!(failed.words, "cannot open this file: there is no such file; check the path");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn analyses_like_the_engine_itself() {
    for name in ["first-run.pcap", "malicious-beacon-tls13.pcap", "benign-odd.pcap"] {
        let bench = Bench::new();
        let capture = example(name);
        let (mut alerts, mut progress) = (Vec::new(), Vec::new());
        let event = with(&bench.analyse(&capture), WALL, &mut |event| match event {
            Event::Alert(alert) => alerts.push(alert.clone()),
            Event::Progress(now) => progress.push(now.clone()),
            other => panic!("{other:?}"),
        });
        let Event::Analysed(found) = event.unwrap() else { panic!() };
        let mut flows = Flows::default();
        let summary = in_process(&capture, &mut flows);
        assert_eq!(
            (found.packets, found.flows, found.scored, found.malicious, found.suspicious),
            (summary.packets, summary.flows, summary.scored, summary.malicious, summary.suspicious)
        );
        assert_eq!((found.partial, found.blind), (false, false));
        assert_eq!(alerts.len() as u64, (summary.malicious + summary.suspicious).min(100));
        let last = progress.last().unwrap();
        assert_eq!((last.packets, last.flows), (summary.packets, summary.flows));
        let size = capture.metadata().unwrap().len();
        assert_eq!((last.bytes, last.total_bytes), (size, Some(size)));
        let lines = bench.lines();
        assert_eq!(lines.len() as u64, summary.flows + 1);
        for alert in alerts {
            let line = lines.iter().find(|line| line["flow_id"] == alert.flow_id).unwrap();
            assert_eq!(line["verdict"], alert.verdict.as_str());
            assert_eq!(line["dest_ip"], alert.dest_ip.as_str());
            assert_eq!(line["tls"]["sni"].as_str(), alert.sni.as_deref());
        }
    }
}

fn analyses_with_a_library() {
    let bench = Bench::new();
    let Event::Analysed(found) = go(&bench.hostile("nothing", "")).unwrap() else { panic!() };
    assert_eq!(found.flows, in_process(&example("first-run.pcap"), &mut Flows::default()).flows);
}

fn analyses_with_a_folder_of_libraries() {
    let bench = Bench::new();
    let folder = bench.path("plugins");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(library(), folder.join("hostile.so")).unwrap();
    std::fs::write(folder.join("notes.so"), "no library").unwrap();
    let text = veilwatch::config::EXAMPLE.replace("folders = []", "folders = [\"plugins\"]");
    let text = format!("{text}\n[[plugin]]\nid = \"hostile\"\nuse = \"feature/hostile\"\n");
    let pipeline = bench.file("pipeline.toml", text.as_bytes());
    let order = Order { pipeline: Some(pipeline), ..bench.analyse(&example("first-run.pcap")) };
    assert!(matches!(go(&order), Ok(Event::Analysed(_))));
    let summary = bench.lines().pop().unwrap();
    assert_eq!(summary["disabled"][0]["id"], "notes.so", "{summary}");
    assert_eq!(summary["disabled"].as_array().unwrap().len(), 1);
}

/// libpcap and the names of ports are out of reach once the worker is confined.
fn analyses_with_a_filter() {
    if !common::filters() {
        return;
    }
    let bench = Bench::new();
    let text = veilwatch::config::EXAMPLE.replace("\nfilter = \"\" ", "\nfilter = \"udp port domain\" ");
    let pipeline = bench.file("pipeline.toml", text.as_bytes());
    let order = Order { pipeline: Some(pipeline), ..bench.analyse(&example("first-run.pcap")) };
    let Event::Analysed(found) = go(&order).unwrap() else { panic!() };
    let summary = bench.lines().pop().unwrap();
    let (packets, filtered) = (summary["packets"].as_u64().unwrap(), summary["filtered"].as_u64().unwrap());
    assert!(found.flows > 0 && filtered < packets, "{summary}");
    assert_eq!((found.scored, found.partial), (0, false), "{summary}");
    let wrong = text.replace("udp port domain", "udp prt domain");
    let pipeline = bench.file("wrong.toml", wrong.as_bytes());
    let failed = failure(&Order { pipeline: Some(pipeline), ..bench.analyse(&example("first-run.pcap")) });
    assert_eq!(failed.why, FailedWhy::Pipeline);
    assert!(failed.words.contains("`udp prt domain`"), "{}", failed.words);
}

fn analyses_with_a_model_of_its_own() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("mine")).unwrap();
    for file in std::fs::read_dir(common::root().join("models/default")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), bench.path("mine").join(file.file_name())).unwrap();
    }
    let text = veilwatch::config::EXAMPLE.replace("model = \"default\"", "model = \"mine\"");
    let pipeline = bench.file("pipeline.toml", text.as_bytes());
    let order = Order { pipeline: Some(pipeline), ..bench.analyse(&example("first-run.pcap")) };
    let Event::Analysed(found) = go(&order).unwrap() else { panic!() };
    assert!(found.malicious > 0);
    std::fs::remove_file(bench.path("mine/weights.bin")).unwrap();
    assert_eq!(failure(&order).why, FailedWhy::Pipeline);
}

/// The sandbox lets it read the registry, and a challenger is nobody's business there.
fn analyses_with_the_champion_of_a_registry() {
    let bench = Bench::new();
    let settings = ModelSettings { folder: bench.path("registry"), ..ModelSettings::default() };
    let registry = ModelRegistry::open(&settings).unwrap();
    let edit = registry.edit("office").unwrap();
    let staged = edit.stage(&common::root().join("models/default")).unwrap();
    edit.promote(edit.take_in(staged).unwrap()).unwrap();
    let text = veilwatch::config::EXAMPLE
        .replace("model = \"default\"", "model = \"registry:office\"")
        .replacen("folder = \"\"", "folder = \"registry\"", 1)
        .replace("[shadow]\nmodel = \"\"", "[shadow]\nmodel = \"gone\"");
    let pipeline = bench.file("pipeline.toml", text.as_bytes());
    let order = Order { pipeline: Some(pipeline), ..bench.analyse(&example("first-run.pcap")) };
    let Event::Analysed(found) = go(&order).unwrap() else { panic!() };
    assert!(found.malicious > 0);
    std::fs::remove_file(bench.path("registry/office/champion.toml")).unwrap();
    let failed = failure(&order);
    assert!(failed.words.contains("no version of `office` is the champion yet"), "{}", failed.words);
}

fn a_pipeline_that_cannot_be_used_is_said_so() {
    let bench = Bench::new();
    for (text, says) in [
        ("model = 5\n", "pipeline.toml:1: "),
        ("model = \"gone\"\n", "gone"),
        ("[[plugin]]\nid = \"mine\"\npath = \"gone.so\"\n", "cannot be read"),
        ("[[plugin]]\nid = \"mine\"\nuse = \"feature/slpt\"\n", "did you mean `feature/splt`?"),
    ] {
        let pipeline = bench.file("pipeline.toml", text.as_bytes());
        let failed = failure(&Order { pipeline: Some(pipeline), ..bench.analyse(&example("first-run.pcap")) });
        assert_eq!(failed.why, FailedWhy::Pipeline, "{}", failed.words);
        assert!(failed.words.contains(says), "{}", failed.words);
    }
}

/// Relative paths are the pipeline's folder's, and so is the model.
fn a_library_out_of_reach_is_said_so() {
    let bench = Bench::new();
    let folder = bench.path("sub");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(library(), folder.join("mine.so")).unwrap();
    let text = format!("{}\n[[plugin]]\nid = \"hostile\"\npath = \"sub/mine.so\"\n", veilwatch::config::EXAMPLE);
    let pipeline = bench.file("pipeline.toml", text.as_bytes());
    let order = Order { pipeline: Some(pipeline), ..bench.analyse(&example("first-run.pcap")) };
    assert!(matches!(go(&order), Ok(Event::Analysed(_))));
    std::fs::remove_file(folder.join("mine.so")).unwrap();
    assert_eq!(failure(&order).why, FailedWhy::Pipeline);
}

/// What is told of a pipeline, and of it as a whole.
fn described(order: &Order) -> (Vec<PluginDescription>, PipelineDescription) {
    let mut plugins = Vec::new();
    let end = with(order, WALL, &mut |event| {
        if let Event::Plugin(plugin) = event {
            plugins.push((**plugin).clone());
        }
    });
    match end {
        Ok(Event::Described(pipeline)) => (plugins, pipeline),
        other => panic!("{other:?}"),
    }
}

fn describes_every_plugin() {
    let bench = Bench::new();
    let order = bench.order(Path::new("/dev/null"), Task::Describe);
    let (plugins, pipeline) = described(&order);
    let config = Config::builtin().unwrap();
    let ids: Vec<&str> = plugins.iter().map(|plugin| plugin.id.as_str()).collect();
    assert_eq!(ids, config.plugin.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>());
    let whole = Pipeline::new(config, &mut Registry::with_builtins().unwrap()).unwrap();
    assert_eq!((pipeline.refused, pipeline.model.as_deref()), (None, Some(whole.card().unwrap().name.as_str())));
    assert_eq!((pipeline.columns, pipeline.landlock.is_some()), (whole.schema().width() as u64, true));
    assert_eq!(plugins.iter().map(|plugin| plugin.column_count).sum::<u64>(), pipeline.columns);
    let tls = &plugins[0];
    assert_eq!((tls.plugin.as_str(), tls.state.as_str(), &tls.library), ("protocol/tls", "started", &None));
    assert!(tls.fields.iter().any(|field| field.name == "sni" || !field.words.is_empty()), "{tls:?}");
    let value = |name: &str| tls.settings.iter().find(|setting| setting.name == name).unwrap().value.clone();
    assert_eq!(value("sni_bytes").as_deref(), Some("255"));

    // A library, beside what is in the box.
    let library = bench.hostile("nothing", "");
    let (plugins, pipeline) = described(&Order { task: Task::Describe, ..library });
    let own = plugins.last().unwrap();
    assert_eq!((own.id.as_str(), own.library.as_deref()), ("hostile", Some("libveilwatch_test_hostile.so")));
    assert_eq!((own.state.as_str(), pipeline.refused), ("started", None));
}

fn describes_what_cannot_be_used_as_far_as_it_goes() {
    let bench = Bench::new();
    let text = format!("{}\n[[plugin]]\nid = \"own\"\npath = \"gone.so\"\n", veilwatch::config::EXAMPLE);
    let pipeline = Some(bench.file("pipeline.toml", text.as_bytes()));
    let (plugins, whole) = described(&Order { pipeline, ..bench.order(Path::new("/dev/null"), Task::Describe) });
    let own = plugins.last().unwrap();
    assert_eq!((own.id.as_str(), own.state.as_str(), own.required), ("own", "disabled", true));
    assert!(own.reason.as_ref().is_some_and(|reason| reason.contains("gone.so")), "{own:?}");
    assert!(whole.refused.is_some_and(|words| words.contains("plugin `own`")));
    assert!(plugins[..plugins.len() - 1].iter().all(|plugin| plugin.state == "started"), "{plugins:#?}");
    // What kills the process is told by how it died.
    let hangs = Order { task: Task::Describe, ..bench.hostile("abort", "") };
    assert!(go(&hangs).is_ok(), "it does no harm before it gets a flow");
}

fn tables_of_ones_own_are_read() {
    let bench = Bench::new();
    for folder in ["mine", "added"] {
        std::fs::create_dir(bench.path(folder)).unwrap();
    }
    let write = |path: &str, text: &str| std::fs::write(bench.path(path), text).unwrap();
    write("mine/own.toml", "[tcp]\n443 = \"by-pipeline\"\n8443 = \"by-pipeline\"\n");
    write("added/added.toml", "[tcp]\n443 = \"added\"\n");
    let text =
        veilwatch::config::EXAMPLE.replace("folders = []              # such as [\"tables\"]", "folders = [\"mine\"]");
    assert_ne!(text, veilwatch::config::EXAMPLE);
    let pipeline = Some(bench.file("pipeline.toml", text.as_bytes()));
    let order = Order { pipeline, tables: Some(bench.path("added")), ..bench.analyse(&example("first-run.pcap")) };
    assert!(matches!(go(&order), Ok(Event::Analysed(_))));
    write("added/added.toml", "[tcp]\n443 = 5\n");
    let failed = failure(&order);
    assert_eq!(failed.why, FailedWhy::Pipeline);
    assert!(failed.words.contains("added.toml:2"), "it was read: {}", failed.words);
}

fn wanted(flow: &Seen) -> CutFlow {
    let [(src_ip, src_port), (dest_ip, dest_port)] = flow.ends;
    let (first_packet, last_ns) = (flow.first_packet, flow.last_ns);
    CutFlow { src_ip, src_port, dest_ip, dest_port, protocol: flow.protocol, first_packet, last_ns }
}

fn cuts_a_flow_out() {
    for name in ["first-run.pcap", "benign-office.pcapng", "benign-odd.pcap"] {
        let mut all = Flows::default();
        in_process(&example(name), &mut all);
        let bench = Bench::new();
        let largest = all.0.iter().max_by_key(|flow| flow.packets[0]).unwrap();
        let order = Task::Cut { flow: wanted(largest), result: bench.result(), bytes: 1 << 30 };
        let Event::Cut { packets, complete } = go(&bench.order(&example(name), order)).unwrap() else { panic!() };
        assert!(complete);
        assert_eq!(packets, largest.packets.iter().sum::<u64>());
        let mut again = Flows::default();
        in_process(&bench.result(), &mut again);
        assert_eq!(again.0, [Seen { first_packet: 1, ..largest.clone() }]);
        // The others too, without a process for each.
        for flow in &all.0 {
            let mut bytes = Vec::new();
            let source = Source::open(&example(name), &Config::default().input).unwrap();
            let never = AtomicBool::new(false);
            cut(source, &wanted(flow), &mut bytes, 1 << 30, &never, &Progress::default()).unwrap();
            let mut again = Flows::default();
            in_process(&bench.file("cut", &bytes), &mut again);
            assert_eq!(again.0, [Seen { first_packet: 1, ..flow.clone() }]);
        }
    }
}

fn a_cut_that_does_not_fit_says_so() {
    let mut all = Flows::default();
    in_process(&example("first-run.pcap"), &mut all);
    let bench = Bench::new();
    let largest = all.0.iter().max_by_key(|flow| flow.packets[0]).unwrap();
    let of = |flow, bytes| {
        let order = bench.order(&example("first-run.pcap"), Task::Cut { flow, result: bench.result(), bytes });
        let Event::Cut { packets, complete } = go(&order).unwrap() else { panic!() };
        (packets, complete, bench.result().metadata().unwrap().len())
    };
    let (packets, complete, length) = of(wanted(largest), 500);
    assert!(packets > 0 && packets < largest.packets.iter().sum() && !complete);
    assert!(length <= 500, "{length}");
    // No packet of a flow that is not there: a capture all the same.
    let nobody = CutFlow { src_port: 1, dest_port: 1, ..wanted(largest) };
    assert_eq!(of(nobody, 500), (0, true, 24));
}

/// A capture with one packet over and over, for as long as somebody reads it.
fn endless(bench: &Bench) -> (PathBuf, JoinHandle<()>) {
    let path = bench.path("endless");
    nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let bytes = std::fs::read(example("first-run.pcap")).unwrap();
    let record = 16 + u32::from_le_bytes(bytes[32..36].try_into().unwrap()) as usize;
    let packets = bytes[24..24 + record].repeat(10_000);
    let pipe = path.clone();
    let writer = std::thread::spawn(move || {
        let mut pipe = File::options().write(true).open(pipe).unwrap();
        pipe.write_all(&bytes[..24]).unwrap();
        while pipe.write_all(&packets).is_ok() {}
    });
    (path, writer)
}

fn stops_in_the_middle_with_what_there_is() {
    let bench = Bench::new();
    // A capture with an end is at its end before a slow machine hears of the stop.
    let (capture, writer) = endless(&bench);
    let order = bench.analyse(&capture);
    let (stop, never) = (AtomicBool::new(false), AtomicBool::new(false));
    let program = std::env::current_exe().unwrap();
    let what = Supervised { program: &program, order: &order, wall: WALL, stop: &stop, kill: &never };
    let event = supervise(what, &mut |event| {
        if matches!(event, Event::Progress(now) if now.packets > 0) {
            stop.store(true, Ordering::Relaxed);
        }
    });
    let Event::Analysed(found) = event.unwrap() else { panic!() };
    writer.join().unwrap();
    assert!(found.partial);
    assert!(found.packets > 0);
    let lines = bench.lines();
    assert_eq!(lines.last().unwrap()["packets"], found.packets);
    assert_eq!(lines.last().unwrap()["partial"], true);
}

fn ends_at_once_when_killed() {
    let bench = Bench::new();
    let order = bench.hostile("sleep", "");
    let (kill, never) = (AtomicBool::new(false), AtomicBool::new(false));
    let program = std::env::current_exe().unwrap();
    let what = Supervised { program: &program, order: &order, wall: WALL, stop: &never, kill: &kill };
    let begin = Instant::now();
    let outcome = supervise(what, &mut |_| kill.store(true, Ordering::Relaxed));
    assert!(matches!(outcome, Err(WorkerEnd::Killed)), "{outcome:?}");
    assert!(begin.elapsed() < Duration::from_secs(30));
}

fn ends_with_its_parent() {
    let bench = Bench::new();
    let order = bench.hostile("sleep", "");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{}", serde_json::to_string(&order).unwrap()).unwrap();
    // It is at work.
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0; 10]).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none());
    drop(input);
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_secs(5) {
            child.kill().unwrap();
            panic!("it outlives its parent");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn many_at_once() {
    std::thread::scope(|scope| {
        for at in 0..8 {
            scope.spawn(move || {
                let bench = Bench::new();
                let name = if at % 2 == 0 { "first-run.pcap" } else { "benign-odd.pcap" };
                let Event::Analysed(found) = go(&bench.analyse(&example(name))).unwrap() else { panic!() };
                assert_eq!(bench.lines().len() as u64, found.flows + 1);
            });
        }
    });
}

fn a_bomb_ends_in_a_partial_result() {
    let bench = Bench::new();
    let mut bytes = std::fs::read(example("first-run.pcap")).unwrap();
    let whole = bytes.len();
    bytes.resize(whole + (80 << 20), 0);
    let capture = bench.file("bomb", &gzip(&bytes));
    let text = veilwatch::config::EXAMPLE.replace("expansion_ratio = 1000", "expansion_ratio = 2");
    let pipeline = bench.file("pipeline.toml", text.as_bytes());
    let order = Order { pipeline: Some(pipeline), ..bench.analyse(&capture) };
    let Event::Analysed(found) = go(&order).unwrap() else { panic!() };
    assert!(found.partial);
    let lines = bench.lines();
    let damage = &lines.last().unwrap()["damage"]["what"];
    assert!(damage.as_str().unwrap().contains("(limit expansion_ratio)"), "{damage}");
}

fn plugins_may_print_and_start_threads() {
    for does in ["print", "thread"] {
        let outcome = go(&Bench::new().hostile(does, ""));
        assert!(matches!(outcome, Ok(Event::Analysed(_))), "{does}: {outcome:?}");
    }
}

fn a_panic_names_the_plugin() {
    let failed = failure(&Bench::new().hostile("panic", ""));
    assert_eq!(failed.why, FailedWhy::Plugin);
    assert!(failed.words.contains("`hostile`") && failed.words.contains("told to"), "{}", failed.words);
}

fn an_abort_is_a_crash() {
    let end = go(&Bench::new().hostile("abort", "")).unwrap_err();
    assert!(matches!(end, WorkerEnd::Crashed { signal: Some(libc::SIGABRT), .. }), "{end:?}");
    assert!(end.is_crash());
    assert_eq!(end.to_string().lines().count(), 1);
}

fn an_endless_loop_meets_the_processor_limit() {
    let bench = Bench::new();
    let begin = Instant::now();
    // The second one does not hear the first signal.
    for (does, cpu_seconds) in [("hang", 2), ("hang-on", 1)] {
        let order = bench.hostile(does, "");
        let order = Order { limits: WorkerLimits { cpu_seconds, ..order.limits }, ..order };
        let end = go(&order).unwrap_err();
        assert!(matches!(end, WorkerEnd::CpuTime { seconds } if seconds == cpu_seconds), "{does}: {end:?}");
    }
    assert!(begin.elapsed() < Duration::from_secs(90), "{:?}", begin.elapsed());
}

fn an_endless_sleep_meets_the_wall() {
    let bench = Bench::new();
    let begin = Instant::now();
    let end = with(&bench.hostile("sleep", ""), Duration::from_secs(3), &mut |_| {}).unwrap_err();
    assert!(matches!(end, WorkerEnd::WallTime { seconds: 3 }), "{end:?}");
    assert!(begin.elapsed() < Duration::from_secs(30));
}

fn a_stop_that_is_not_heard_becomes_a_kill() {
    let bench = Bench::new();
    let order = bench.hostile("sleep", "");
    let (stop, never) = (AtomicBool::new(false), AtomicBool::new(false));
    let program = std::env::current_exe().unwrap();
    // The wall comes before the time that a stop has, and leaves time to come to the plugin.
    let wall = Duration::from_secs(8);
    let what = Supervised { program: &program, order: &order, wall, stop: &stop, kill: &never };
    let mut words = 0;
    let end = supervise(what, &mut |_| {
        words += 1;
        stop.store(words >= 20, Ordering::Relaxed);
    });
    assert!(matches!(end, Err(WorkerEnd::Killed)), "{end:?}");
}

fn memory_without_end_is_told_as_such() {
    let bench = Bench::new();
    let order = bench.hostile("memory", "");
    let order = Order { limits: WorkerLimits { memory_bytes: 1 << 30, ..order.limits }, ..order };
    let end = go(&order).unwrap_err();
    assert!(matches!(end, WorkerEnd::Memory), "{end:?}");
}

fn a_file_without_end_is_told_as_such() {
    const MOST: u64 = 4 << 20;
    let bench = Bench::new();
    let order = bench.hostile("disk", "");
    let order = Order { limits: WorkerLimits { file_bytes: MOST, ..order.limits }, ..order };
    let end = go(&order).unwrap_err();
    assert!(matches!(end, WorkerEnd::FileSize { bytes: MOST }), "{end:?}");
    assert_eq!(bench.result().metadata().unwrap().len(), MOST);
}

fn files_that_a_parent_left_open_are_closed() {
    let bench = Bench::new();
    let leak = File::create(bench.path("leak")).unwrap();
    // Unlike the standard library's, this one is passed on to children.
    let leak = nix::unistd::dup(leak).unwrap();
    let order = bench.hostile("disk", "");
    let order = Order { limits: WorkerLimits { file_bytes: 1 << 20, ..order.limits }, ..order };
    assert!(matches!(go(&order), Err(WorkerEnd::FileSize { .. })));
    assert_eq!(File::from(leak).metadata().unwrap().len(), 0);
}

fn no_other_file_can_be_touched() {
    let bench = Bench::new();
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let (other, fresh) = (text(bench.path("other")), text(bench.path("fresh")));
    let capture = text(example("first-run.pcap"));
    for (does, file, refused) in [
        ("open-file", "/etc/passwd", "Permission denied"),
        ("open-file", "/proc/self/environ", "Permission denied"),
        ("open-file", other.as_str(), "Permission denied"),
        ("change-file", other.as_str(), "Permission denied"),
        ("change-file", capture.as_str(), "Permission denied"),
        ("make-file", fresh.as_str(), "Permission denied"),
        ("remove-file", other.as_str(), "Operation not permitted"),
        // The one that the order names can be read: the test would see if all were refused.
        ("open-file", capture.as_str(), "it was possible"),
    ] {
        let failed = failure(&bench.hostile(does, file));
        assert_eq!(failed.why, FailedWhy::Plugin, "{does} {file}");
        assert!(failed.words.contains(refused), "{does} {file}: {}", failed.words);
    }
    assert_eq!(std::fs::read_to_string(&other).unwrap(), SECRET);
    assert!(!bench.path("fresh").exists());
}

/// A pipeline with the quickest classifier, which learns from the examples.
fn quick(bench: &Bench) -> PathBuf {
    let (before, _) = veilwatch::config::EXAMPLE.split_once("[[plugin]]\nid = \"ensemble\"").unwrap();
    let text = format!("{before}[[plugin]]\nid = \"quick\"\nuse = \"classifier/gaussian-bayes\"\n");
    bench.file("quick.toml", text.replacen("model = \"default\"", "model = \"champion\"", 1).as_bytes())
}

fn training(bench: &Bench, change: impl FnOnce(&mut TrainTask)) -> Order {
    let mut task = TrainTask {
        sources: vec!["labels".into()],
        marks: None,
        captures: Vec::new(),
        on_conflict: OnConflict::Refuse,
        weight: 1.0,
        name: "mine".into(),
        seed: 1,
        workers: 2,
        result: bench.result(),
    };
    change(&mut task);
    let examples = example("first-run.pcap").parent().unwrap().parent().unwrap().canonicalize().unwrap();
    Order { pipeline: Some(quick(bench)), ..bench.order(&examples, Task::Train(task)) }
}

/// Marks of the first flow of the examples' labels.
fn marks(bench: &Bench, label: &str) -> PathBuf {
    let folder = bench.path("marks");
    std::fs::create_dir(&folder).unwrap();
    let labels = std::fs::read_to_string(example("../labels/flows.csv")).unwrap();
    let cells: Vec<&str> = labels.lines().nth(1).unwrap().split(',').collect();
    let flows = format!(
        "path,time,client,client_port,server,server_port,label,words,by,at\n{},{label},looked,olga,2026-01-01T00:00:00Z\n",
        cells[..6].join(",")
    );
    std::fs::write(folder.join("flows.csv"), flows).unwrap();
    folder
}

fn trains_and_compares_with_the_champion() {
    let bench = Bench::new();
    let mut stages = Vec::new();
    let mut hear = |event: &Event| {
        if let Event::Learning(progress) = event {
            stages.push(progress.stage);
        }
    };
    // The first one has nobody to compare with.
    let order = training(&bench, |_| {});
    assert_eq!(with(&order, WALL, &mut hear).unwrap(), Event::Learnt(Learnt { trained: true }));
    assert!(!stages.is_empty());
    let champion = bench.path("champion");
    std::fs::create_dir(&champion).unwrap();
    let (report, has_model) = unpack(&bench.result(), &champion).unwrap();
    assert!(has_model && report.alone.is_some(), "{report:?}");
    let model = Model::open(champion.to_str().unwrap()).unwrap();
    assert!(model.evaluation.is_some_and(|digest| digest.is_of(&model.card)), "{:?}", report.not_judged);
    // The second one learns from a capture that nobody labelled, and is held against the first.
    std::fs::write(bench.result(), "").unwrap();
    let capture = example("first-run.pcap");
    let order = training(&bench, |task| task.captures = vec![capture]);
    go(&order).unwrap();
    let next = bench.path("next");
    std::fs::create_dir(&next).unwrap();
    let (report, _) = unpack(&bench.result(), &next).unwrap();
    assert!(report.alone.is_none() && report.folds > 1 && report.flows[3] > 0, "{report:?}");
    assert!(report.figures.iter().any(|row| row.one.is_some() && row.other.is_some()), "{report:?}");
    // A folder that has something is not written into.
    assert!(unpack(&bench.result(), &next).is_err());
}

fn marks_that_contradict_labels_train_nothing() {
    let bench = Bench::new();
    let folder = marks(&bench, "benign");
    let order = training(&bench, |task| task.marks = Some(folder));
    assert_eq!(go(&order).unwrap(), Event::Learnt(Learnt { trained: false }));
    let into = bench.path("into");
    std::fs::create_dir(&into).unwrap();
    let (report, has_model) = unpack(&bench.result(), &into).unwrap();
    assert!(!has_model && report.conflict_count == 1 && report.conflicts[0].words == "looked", "{report:?}");
    assert_eq!(std::fs::read_dir(&into).unwrap().count(), 0);
    std::fs::write(bench.result(), "").unwrap();
    std::fs::remove_dir_all(bench.path("marks")).unwrap();
    let folder = marks(&bench, "benign");
    let order = training(&bench, |task| (task.marks, task.on_conflict) = (Some(folder), OnConflict::Label));
    assert_eq!(go(&order).unwrap(), Event::Learnt(Learnt { trained: true }));
}

fn a_training_reads_and_writes_nothing_else() {
    let bench = Bench::new();
    // A name leads nowhere but into the folder, and a link in it to nothing that was not allowed.
    for source in ["../host", "/etc", "labels/../../host"] {
        let order = training(&bench, |task| task.sources = vec![source.into()]);
        assert_eq!(failure(&order).why, FailedWhy::Order, "{source}");
    }
    let data = bench.path("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(bench.path("outside.csv"), "# veilwatch-features-2 x\n").unwrap();
    std::os::unix::fs::symlink(bench.path("outside.csv"), data.join("rows.csv")).unwrap();
    let order = Order { capture: data, ..training(&bench, |task| task.sources = vec!["rows.csv".into()]) };
    let failed = failure(&order);
    assert!(failed.why == FailedWhy::Labels && failed.words.contains("ermission denied"), "{failed:?}");
    // The plugin that attacks is loaded in a training's confinement, too; it does so when it makes a row.
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let (other, fresh) = (text(bench.path("other")), text(bench.path("fresh")));
    for (does, file) in [("open-file", "/etc/passwd"), ("change-file", &other), ("make-file", &fresh)] {
        let pipeline = bench.hostile(does, file).pipeline;
        let order = Order { pipeline, ..training(&bench, |_| {}) };
        let failed = failure(&order);
        assert!(!failed.words.contains("it was possible"), "{does} {file}: {}", failed.words);
    }
    assert_eq!(std::fs::read_to_string(&other).unwrap(), SECRET);
    assert!(!bench.path("fresh").exists());
    let order = Order { pipeline: bench.hostile("socket", "").pipeline, ..training(&bench, |_| {}) };
    assert!(matches!(go(&order).unwrap_err(), WorkerEnd::Forbidden), "a socket is its end");
}

fn a_training_meets_its_limits() {
    let bench = Bench::new();
    let order = training(&bench, |_| {});
    let limits = WorkerLimits { file_bytes: 1000, ..order.limits };
    let end = go(&Order { limits, ..order.clone() }).unwrap_err();
    assert!(matches!(end, WorkerEnd::FileSize { bytes: 1000 }), "{end:?}");
    std::fs::write(bench.result(), "").unwrap();
    let end = with(&order, Duration::ZERO, &mut |_| {}).unwrap_err();
    assert!(matches!(end, WorkerEnd::WallTime { .. }), "{end:?}");
    let kill = AtomicBool::new(true);
    let program = std::env::current_exe().unwrap();
    let what = Supervised { program: &program, order: &order, wall: WALL, stop: &AtomicBool::new(false), kill: &kill };
    assert!(matches!(supervise(what, &mut |_| {}).unwrap_err(), WorkerEnd::Killed));
}

fn what_a_training_leaves_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let report = serde_json::to_value(TrainReport::default()).unwrap();
    let left = |head: serde_json::Value, rest: &[u8]| {
        let path = folder.path().join("left");
        std::fs::write(&path, [head.to_string().as_bytes(), b"\n", rest].concat()).unwrap();
        let into = tempfile::tempdir_in(folder.path()).unwrap();
        unpack(&path, into.path()).map(|_| std::fs::read_dir(into.path()).unwrap().count())
    };
    let head = |report: &serde_json::Value, files: serde_json::Value| serde_json::json!({"format": 1, "report": report, "files": files});
    assert_eq!(left(head(&report, serde_json::json!([["card.json", 2]])), b"{}").unwrap(), 1);
    for files in [
        serde_json::json!([["../card.json", 2]]),
        serde_json::json!([["card.sig", 2]]),
        serde_json::json!([["card.json", 3]]),
        serde_json::json!([["card.json", 1]]),
        serde_json::json!([["card.json", 1], ["card.json", 1]]),
        serde_json::json!([["card.json", u64::MAX], ["weights.bin", 3]]),
    ] {
        assert!(left(head(&report, files.clone()), b"{}").is_err(), "{files}");
    }
    for (key, value) in [
        ("alone", serde_json::json!("x".repeat(301))),
        ("alone", serde_json::json!("a\nb")),
        ("said", serde_json::json!(vec!["x"; 51])),
        ("more", serde_json::json!(1)),
        (
            "changed",
            serde_json::json!([{"sha256": "../x", "packet": 1, "malicious": true, "by": "", "before":
            {"verdict": "benign", "score": 0.1}, "after": {"verdict": "benign", "score": 0.1}, "held_out": null}]),
        ),
    ] {
        let mut report = report.clone();
        report[key] = value;
        assert!(left(head(&report, serde_json::json!([])), b"").is_err(), "{key}");
    }
    assert!(left(serde_json::json!({"format": 2, "report": report, "files": []}), b"").is_err());
}

fn a_challenger_that_cannot_be_used_costs_nothing() {
    let bench = Bench::new();
    let order = bench.analyse(&example("first-run.pcap"));
    let plain = go(&order).unwrap();
    std::fs::write(bench.result(), "").unwrap();
    let shadow = Some(bench.path("nowhere").display().to_string());
    assert_eq!(go(&Order { shadow, ..order.clone() }).unwrap(), plain);
    assert!(!std::fs::read_to_string(bench.result()).unwrap().contains("\"shadow\""));
    std::fs::write(bench.result(), "").unwrap();
    assert_eq!(go(&Order { shadow: Some("default".into()), ..order }).unwrap(), plain);
    assert!(std::fs::read_to_string(bench.result()).unwrap().contains("\"shadow\""));
}

fn nobody_gets_a_signal() {
    for does in ["kill", "kill-by-file"] {
        let failed = failure(&Bench::new().hostile(does, ""));
        assert!(failed.words.contains("Operation not permitted"), "{does}: {}", failed.words);
    }
}

fn the_network_other_programs_and_processes_are_out_of_reach() {
    for does in ["socket", "exec", "fork"] {
        let end = go(&Bench::new().hostile(does, "")).unwrap_err();
        assert!(matches!(end, WorkerEnd::Forbidden), "{does}: {end:?}");
        assert!(end.is_crash());
    }
}

fn babble_is_cut_off() {
    for does in ["babble", "forge", "long"] {
        let begin = Instant::now();
        let end = go(&Bench::new().hostile(does, "")).unwrap_err();
        assert!(matches!(end, WorkerEnd::Babble { .. }), "{does}: {end:?}");
        assert!(begin.elapsed() < Duration::from_secs(30), "{does}");
    }
}

fn what_is_no_order_is_refused() {
    let bench = Bench::new();
    let relative = serde_json::to_string(&bench.inspect(Path::new("a.pcap"), 1)).unwrap();
    for (line, says) in [
        ("hello\n".to_owned(), "this is no order for a worker: expected value"),
        (format!("{}\n", "x".repeat(LINE_BYTES)), "no line of at most"),
        ("no line".into(), "no line of at most"),
        (format!("{relative}\n"), "a.pcap is no absolute path"),
    ] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        // A worker that has read enough need not read on.
        let _ = input.write_all(line.as_bytes());
        drop(input);
        let output = child.wait_with_output().unwrap();
        let event: Event = serde_json::from_slice(&output.stdout).unwrap();
        let Event::Failed(failed) = event else { panic!("{event:?}") };
        assert_eq!(failed.why, FailedWhy::Order);
        assert!(failed.words.contains(says), "{}", failed.words);
    }
}

fn what_is_no_worker_is_no_trouble() {
    let bench = Bench::new();
    let order = bench.inspect(&example("first-run.pcap"), 1);
    let never = AtomicBool::new(false);
    let with = |program: &str| {
        let what = Supervised { program: Path::new(program), order: &order, wall: WALL, stop: &never, kill: &never };
        supervise(what, &mut |_| {}).unwrap_err()
    };
    // `false worker`, `echo worker`, and none at all.
    assert!(matches!(with("/bin/false"), WorkerEnd::Crashed { signal: None, code: Some(1), .. }));
    assert!(matches!(with("/bin/echo"), WorkerEnd::Babble { .. }));
    assert!(matches!(with("/nowhere/at/all"), WorkerEnd::Start(_)));
}

const INSPECTED: &str = r#"{"inspected":{"format":"pcap","compression":null,"packets":1,"complete":true,"bytes":1,"first_ns":1,"last_ns":1,"links":[[1,1]],"decoded":1,"damage":null}}"#;
const CUT: &str = r#"{"cut":{"packets":1,"complete":true}}"#;
const ALERT: &str = r#"{"alert":{"flow_id":1,"verdict":"malicious","score":0.5,"src_ip":"::","dest_ip":"::","dest_port":1,"sni":null}}"#;
const PROGRESS: &str =
    r#"{"progress":{"stage":"reading","bytes":1,"total_bytes":null,"packets":1,"flows":1,"alerts":1}}"#;

const DESCRIBED: &str = r#"{"described":{"refused":null,"model":"m","columns":1,"plugins":0,"landlock":6}}"#;

/// A plugin as an honest worker tells it.
fn plugin_line(change: impl FnOnce(&mut PluginDescription)) -> String {
    let mut plugin = PluginDescription { id: "tls".into(), state: "started".into(), ..PluginDescription::default() };
    change(&mut plugin);
    serde_json::to_string(&Event::Plugin(Box::new(plugin))).unwrap()
}

/// A worker that somebody has taken over.
fn lie(how: &str) -> ExitCode {
    let say = |line: &str| std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
    match how {
        "truth" => say(INSPECTED),
        "twice" => [INSPECTED, INSPECTED].map(say).into_iter().collect(),
        "after" => [INSPECTED, PROGRESS].map(say).into_iter().collect(),
        "other" => say(CUT),
        "described" => {
            say(&plugin_line(|_| {}));
            say(&DESCRIBED.replace("\"plugins\":0", "\"plugins\":1"));
        }
        "miscounts" => {
            say(&plugin_line(|_| {}));
            say(DESCRIBED);
        }
        "plugin" => say(&plugin_line(|_| {})),
        "plugins" => (0..=PLUGINS).for_each(|_| say(&plugin_line(|_| {}))),
        "steers" => say(&plugin_line(|plugin| plugin.summary = "\u{202e}x".into())),
        "state" => say(&plugin_line(|plugin| plugin.state = "<b>".into())),
        "long" => say(&plugin_line(|plugin| plugin.version = "9".repeat(10_000))),
        "unsaid" => say(&plugin_line(|plugin| plugin.state = "disabled".into())),
        "columns" => say(&plugin_line(|plugin| {
            plugin.columns.push(Part { name: "a".into(), unit: String::new(), words: String::new() });
        })),
        "refused" => say(&DESCRIBED.replace("\"refused\":null", "\"refused\":\"a\\nb\"")),
        "alert" => say(ALERT),
        "alerts" => (0..=100).for_each(|_| say(ALERT)),
        "verdict" => say(&ALERT.replace("malicious", "<b>")),
        "score" => say(&ALERT.replace("0.5", "1.5")),
        "flood" => (0..1 << 20).for_each(|_| say(PROGRESS)),
        "lingers" => {
            say(INSPECTED);
            std::thread::sleep(WALL);
        }
        "half" => std::io::stdout().write_all(&INSPECTED.as_bytes()[..20]).unwrap(),
        "words" => {
            let words = format!("{}\x1b[31m\u{202e}first\nlast", "x".repeat(100_000));
            std::io::stderr().write_all(words.as_bytes()).unwrap();
        }
        _ => {}
    }
    if how == "status" {
        say(INSPECTED);
    }
    ExitCode::from(if matches!(how, "status" | "words") { 3 } else { 0 })
}

/// What becomes of a liar, within two seconds where it does not end by itself.
fn ask_a_liar(how: &str, order: &Order) -> Result<Event, WorkerEnd> {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(format!("liar-{how}"));
    std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &program).unwrap();
    let never = AtomicBool::new(false);
    let wall = if how == "lingers" { Duration::from_secs(2) } else { WALL };
    supervise(Supervised { program: &program, order, wall, stop: &never, kill: &never }, &mut |_| {})
}

fn what_makes_no_sense_is_not_believed() {
    let bench = Bench::new();
    let (inspect, analyse) = (bench.inspect(Path::new("/x"), 1), bench.analyse(Path::new("/x")));
    let describe = bench.order(Path::new("/x"), Task::Describe);
    assert!(matches!(ask_a_liar("truth", &inspect), Ok(Event::Inspected(_))));
    assert!(matches!(ask_a_liar("described", &describe), Ok(Event::Described(_))));
    for (how, order) in [
        ("twice", &inspect),
        ("after", &inspect),
        ("other", &inspect),
        ("truth", &analyse),
        ("alert", &inspect),
        ("alerts", &analyse),
        ("verdict", &analyse),
        ("score", &analyse),
        ("flood", &inspect),
        ("plugin", &inspect),
        ("described", &inspect),
        ("truth", &describe),
        ("miscounts", &describe),
        ("plugins", &describe),
        ("steers", &describe),
        ("state", &describe),
        ("long", &describe),
        ("unsaid", &describe),
        ("columns", &describe),
        ("refused", &describe),
    ] {
        let end = ask_a_liar(how, order);
        assert!(matches!(end, Err(WorkerEnd::Babble { .. })), "{how}: {end:?}");
    }
    for (how, status) in [("status", 3), ("silence", 0), ("half", 0)] {
        let end = ask_a_liar(how, &inspect);
        let died = matches!(&end, Err(WorkerEnd::Crashed { signal: None, code, .. }) if *code == Some(status));
        assert!(died, "{how}: {end:?}");
    }
    let end = ask_a_liar("lingers", &inspect);
    assert!(matches!(end, Err(WorkerEnd::Babble { .. })), "{end:?}");
}

fn last_words_are_cleaned_and_cut() {
    let bench = Bench::new();
    let end = ask_a_liar("words", &bench.inspect(Path::new("/x"), 1)).unwrap_err();
    let WorkerEnd::Crashed { words, code: Some(3), .. } = end else { panic!("{end:?}") };
    assert!(words.ends_with("x\\u{1b}[31m\\u{202e}first\\nlast"), "{words}");
    assert!(words.len() < 8 << 10, "{}", words.len());
}
