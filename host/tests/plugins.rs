//! Plugins in the box and dropped in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::{err, example, veilwatch};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use veilwatch::config::Config;
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use veilwatch::plugins::{Origin, Registry};
use veilwatch::source::Source;

/// An example as a library: cargo builds it beside this test, because the test depends on it.
fn library(name: &str) -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let path = folder.join(format!("libveilwatch_example_{name}.so"));
    assert!(path.is_file(), "{} was not built", path.display());
    path
}

fn config(last: &str) -> Config {
    let text = format!(
        "[detection]\nscored = \"recognised\"\n[[plugin]]\nid = \"mqtt\"\npath = {:?}\n[[plugin]]\nid = \"flow\"\n\
         use = \"feature/flow-statistics\"\n[[plugin]]\nid = \"alive\"\n{last}\n",
        library("mqtt")
    );
    Config::parse(&text, "test").unwrap()
}

/// Every row of a capture, to the bit.
#[derive(Default)]
struct Rows(Vec<(u64, Vec<u32>)>);

impl Sink for Rows {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        if let Some(scored) = detection.scored {
            self.0.push((detection.flow.id, scored.row.iter().map(|value| value.to_bits()).collect()));
        }
        Ok(())
    }
}

fn rows(config: Config, registry: &mut Registry) -> (Vec<String>, Rows) {
    let pipeline = Pipeline::untrained(config, registry).unwrap();
    let source = Source::open(&example("mqtt-sensors.pcap"), &pipeline.config().input).unwrap();
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
    let mut rows = Rows::default();
    run(&pipeline, source, options, &mut rows).unwrap();
    (pipeline.schema().columns().iter().map(|column| column.name.to_string()).collect(), rows)
}

#[test]
fn dropped_in_and_linked_in_give_the_same_bytes() {
    let mut linked = Registry::with_builtins().unwrap();
    linked.register(veilwatch_example_mqtt_keep_alive::declarations(), &Origin::Builtin).unwrap();
    let inside = rows(config("use = \"feature/mqtt-keep-alive\""), &mut linked);
    let path = format!("path = {:?}", library("mqtt_keep_alive"));
    let outside = rows(config(&path), &mut Registry::with_builtins().unwrap());
    assert_eq!(inside.0.last().unwrap(), "alive.used");
    assert_eq!(inside.0, outside.0);
    assert!(inside.1.0.len() > 20, "{}", inside.1.0.len());
    assert_eq!(inside.1.0, outside.1.0);
    // The column holds something: how much of its keep-alive a client uses, and one of ours has none.
    let used: Vec<f32> = outside.1.0.iter().map(|(_, row)| f32::from_bits(*row.last().unwrap())).collect();
    assert!(used.iter().any(|used| used.is_nan()));
    let known: Vec<f32> = used.into_iter().filter(|used| !used.is_nan()).collect();
    assert!(
        known.iter().all(|used| (0.0..2.0).contains(used)) && known.iter().any(|used| used != &known[0]),
        "{known:?}"
    );
}

#[test]
fn one_library_serves_several_instances() {
    let path = library("mqtt_keep_alive");
    let text = format!(
        "[[plugin]]\nid = \"tls\"\nuse = \"protocol/tls\"\n[[plugin]]\nid = \"a\"\npath = {path:?}\n[[plugin]]\nid = \"b\"\npath = {path:?}\n"
    );
    let (columns, _) = rows(Config::parse(&text, "test").unwrap(), &mut Registry::with_builtins().unwrap());
    assert_eq!(columns, ["a.keep_alive", "a.used", "b.keep_alive", "b.used"]);
}

#[test]
fn what_is_no_plugin_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.so");
    std::fs::write(&text, "not a library").unwrap();
    let empty = folder.path().join("empty.so");
    std::fs::write(&empty, "").unwrap();
    let cases: Vec<(String, &str)> = vec![
        (format!("path = {text:?}"), "not a shared library"),
        (format!("path = {empty:?}"), "not a shared library"),
        (format!("path = {:?}", folder.path()), "not a regular file"),
        (format!("path = {:?}", folder.path().join("gone.so")), "cannot be read"),
        ("use = \"feature/slpt\"".into(), "did you mean `feature/splt`?"),
        ("use = \"feature/splt\"\n[plugin.settings]\npackets = 99".into(), "a flow records 32 at most"),
        ("use = \"feature/splt\"\n[plugin.settings]\npacket = 9".into(), "unknown field `packet`"),
    ];
    for (entry, says) in cases {
        let file = folder.path().join("pipeline.toml");
        std::fs::write(&file, format!("[[plugin]]\nid = \"mine\"\n{entry}\n")).unwrap();
        let output = veilwatch([Path::new("features"), &example("first-run.pcap"), Path::new("--config"), &file]);
        let (status, message) = err(&output);
        assert_eq!(status, Some(2), "{message}");
        assert!(message.contains(says) && message.contains("`mine`"), "{entry}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn a_model_refuses_other_features() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.toml");
    let text = veilwatch::config::EXAMPLE.replace("[[plugin]]\nid = \"name\"\nuse = \"feature/server-name\"\n", "");
    std::fs::write(&file, text).unwrap();
    let output = veilwatch([Path::new("detect"), &example("first-run.pcap"), Path::new("--config"), &file]);
    let (status, message) = err(&output);
    assert_eq!(status, Some(2));
    assert!(message.contains("was trained on other features"), "{message}");
}
