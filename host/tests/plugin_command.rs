//! `veilwatch plugin list`, `info`, `check` and `bench`: what they say, and how they end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/libraries.rs"]
mod libraries;

use libraries::compile;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A good library that cargo built beside this test.
fn good() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libveilwatch_example_mqtt_keep_alive.so")
}

struct Outcome {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Outcome {
    fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }
}

/// Runs `veilwatch plugin`; `told` is what the fixture does.
fn plugin(told: &str, args: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_veilwatch"))
        .arg("plugin")
        .args(args)
        .current_dir(common::root())
        .env("VEILWATCH_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"))
        .env("VEILWATCH_TEST_MISDEED", told)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome { status: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn lists_what_is_in_the_box() {
    let outcome = plugin("", &["list"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    let lines = outcome.lines();
    let names: Vec<&str> = lines.iter().map(|line| line["plugin"].as_str().unwrap()).collect();
    for declaration in veilwatch::builtin::declarations() {
        assert_eq!(names.iter().filter(|name| **name == declaration.manifest.path()).count(), 1, "{names:?}");
    }
    let splt = lines.iter().find(|line| line["plugin"] == "feature/splt").unwrap();
    assert_eq!((splt["id"].as_str(), splt["origin"].as_str()), (Some("splt"), Some("in the box")));
    assert!(splt["columns"].as_u64() > Some(10) && splt["state"] == "started", "{splt}");
    let table = plugin("", &["list", "--format", "table"]);
    assert!(table.out.contains("feature/splt") && table.out.contains(" columns"), "{}", table.out);
}

#[test]
fn lists_what_a_pipeline_has_and_has_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipeline.toml");
    let pipeline = format!(
        "[[plugin]]\nid = \"mqtt\"\npath = {:?}\n[[plugin]]\nid = \"gone\"\npath = \"gone.so\"\n[[plugin]]\nid = \"bad\"\n\
         use = \"feature/splt\"\n[plugin.settings]\npackets = 99\n",
        good().with_file_name("libveilwatch_example_mqtt.so")
    );
    std::fs::write(&path, pipeline).unwrap();
    let lines = plugin("", &["list", "--config", text(&path)]).lines();
    let told: Vec<_> =
        lines.iter().map(|line| [&line["id"], &line["state"], &line["fields"]].map(|v| v.clone())).collect();
    assert_eq!(
        told,
        [
            ["mqtt".into(), "started".into(), 6.into()],
            ["gone".into(), "disabled".into(), 0.into()],
            ["bad".into(), "disabled".into(), 0.into()]
        ] as [[Value; 3]; 3]
    );
    assert!(lines[1]["reason"].as_str().unwrap().contains("cannot be read"), "{}", lines[1]);
    assert!(lines[2]["reason"].as_str().unwrap().contains("records 32 at most"), "{}", lines[2]);
    let missing = plugin("", &["list", "--config", "/no/such/file"]);
    assert!(missing.status == Some(2) && missing.err.contains("cannot be read"), "{}", missing.err);
}

/// What `info` ends with can be pasted: a pipeline of it alone is good.
#[test]
fn tells_how_to_use_a_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let mqtt = good().with_file_name("libveilwatch_example_mqtt.so");
    for (what, adds, unit) in
        [("feature/splt", "size_1", "bytes"), (text(&good()), "used", "ratio"), (text(&mqtt), "mqtt.clientid", "bytes")]
    {
        let outcome = plugin("", &["info", what]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        let [info] = outcome.lines().try_into().unwrap();
        let parts = [&info["columns"], &info["fields"]].map(|parts| parts.as_array().unwrap().clone()).concat();
        let part = parts.iter().find(|part| part["name"] == adds).unwrap_or_else(|| panic!("{info}"));
        assert!(part["unit"] == unit && !part["words"].as_str().unwrap().is_empty(), "{part}");
        assert_eq!(info["contract"], veilwatch_core::abi::CONTRACT, "{info}");
        let hash = Path::new(what).exists().then(|| veilwatch::hash::sha256_hex(&std::fs::read(what).unwrap()));
        assert_eq!(info["sha256"].as_str(), hash.as_deref());
        let path = folder.path().join("pipeline.toml");
        std::fs::write(&path, info["entry"].as_str().unwrap()).unwrap();
        let output = common::veilwatch([Path::new("config"), Path::new("check"), &path]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let table = plugin("", &["info", "--format", "table", what]);
        assert!(table.out.contains(adds) && table.out.contains("[[plugin]]"), "{}", table.out);
    }
    // Settings are named, with their defaults where they are known.
    let named = |what: &str| plugin("", &["info", what]).lines()[0]["entry"].as_str().unwrap().to_owned();
    assert!(named("feature/splt").contains("\npackets = 25"), "{}", named("feature/splt"));
    assert!(!named(text(&mqtt)).contains("settings"), "{}", named(text(&mqtt)));
}

#[test]
fn what_is_no_plugin_is_no_plugin_for_any_command() {
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes.so");
    std::fs::write(&notes, "a shopping list").unwrap();
    let gone = folder.path().join("gone.so");
    for command in ["info", "check", "bench"] {
        for (what, says) in [
            (text(&notes), "it looks like text"),
            (text(&gone), "cannot be read"),
            (text(folder.path()), "not a regular file"),
            ("feature/slpt", "did you mean `feature/splt`?"),
        ] {
            let outcome = plugin("", &[command, what]);
            assert_eq!(outcome.status, Some(2), "{command} {what}: {}", outcome.err);
            assert!(outcome.err.contains(says) && outcome.out.is_empty(), "{command} {what}: {}", outcome.err);
            assert_eq!(outcome.err.lines().count(), 1, "{}", outcome.err);
        }
    }
    let outcome = plugin("", &["check", "feature/splt", "--settings", "= no"]);
    assert!(outcome.status == Some(2) && outcome.err.contains("`--settings` is no TOML"), "{}", outcome.err);
}

#[test]
fn good_plugins_pass_in_the_box_and_out_of_it() {
    for what in ["feature/splt", text(&good())] {
        let outcome = plugin("", &["check", what]);
        assert_eq!(outcome.status, Some(0), "{}{}", outcome.out, outcome.err);
        let lines = outcome.lines();
        assert!(lines.len() > 10, "{}", outcome.out);
        let crossed = lines.iter().find(|line| line["check"] == "same through the boundary").unwrap();
        let linked = what == "feature/splt";
        assert_eq!(crossed["outcome"], if linked { "passed" } else { "skipped" });
        assert_eq!(lines.iter().any(|line| line["check"] == "tried in a process of its own"), !linked);
        assert!(lines.iter().all(|line| line["outcome"] != "failed"), "{}", outcome.out);
    }
    let table = plugin("", &["check", "feature/splt", "--settings", "packets = 4", "--format", "table"]);
    assert!(table.status == Some(0) && table.out.contains(" passed, 0 failed, "), "{}", table.out);
    // Settings that it refuses are a failure, in words.
    let refused = plugin("", &["check", "feature/splt", "--settings", "packets = 99"]);
    assert!(refused.status == Some(1) && refused.out.contains("32 at most"), "{}", refused.out);
}

#[test]
fn every_plugin_of_a_library_is_checked() {
    let library = compile("misbehaves", "veilwatch_core", &["--cfg=misdeed=\"taken-name\""]);
    for command in ["check", "info"] {
        let outcome = plugin("", &[command, text(&library)]);
        assert_eq!(outcome.status, Some(0), "{}{}", outcome.out, outcome.err);
        for name in ["feature/of-its-own", "feature/splt"] {
            assert!(outcome.lines().iter().any(|line| line["plugin"] == name), "{name}: {}", outcome.out);
        }
    }
}

#[test]
fn death_hang_and_babble_are_failures_with_a_place() {
    let library = compile("misbehaves", "veilwatch_core", &[]);
    // Which of its checks finds it first is the test kit's own business, where none is named.
    for (told, check, says) in [
        ("crash", "tried in a process of its own", "creating feature/misbehaves; it crashed, signal 11"),
        (
            "hang-in-create",
            "tried in a process of its own",
            "within 3000 ms when it was tried (creating feature/misbehaves)",
        ),
        ("babble", "tried in a process of its own", "it wrote where only the process that tried it writes"),
        (
            "abort-when-checked",
            "the process that checks it ends well",
            "(checking feature/misbehaves; it aborted, signal 6)",
        ),
        ("hang-when-checked", "", "did not come back within 3s"),
        ("infinite-when-checked", "no infinities", ""),
    ] {
        let outcome = plugin(told, &["check", text(&library), "--patience", "3"]);
        assert_eq!(outcome.status, Some(1), "{told}: {}{}", outcome.out, outcome.err);
        let lines = outcome.lines();
        let failed: Vec<&Value> = lines.iter().filter(|line| line["outcome"] == "failed").collect();
        let found = failed
            .iter()
            .any(|line| (check.is_empty() || line["check"] == check) && line["why"].as_str().unwrap().contains(says));
        assert!(found, "{told}: {}", outcome.out);
        // The file itself was looked at before.
        assert_eq!(lines[0]["outcome"], "passed", "{told}: {}", outcome.out);
    }
}

/// What nobody could look at is no pass.
#[test]
fn checks_that_cannot_be_made_are_no_pass() {
    let library = compile("misbehaves", "veilwatch_core", &[]);
    let outcome = plugin("refuse-fields", &["check", text(&library)]);
    assert_eq!(outcome.status, Some(2), "{}{}", outcome.out, outcome.err);
    assert!(outcome.err.contains("checks could not be made"), "{}", outcome.err);
    let unknown: Vec<Value> = outcome.lines().into_iter().filter(|line| line["outcome"] == "unknown").collect();
    assert!(unknown.len() > 5, "{}", outcome.out);
    for line in unknown {
        let why = line["why"].as_str().unwrap();
        assert!(
            why.contains("`other.field` is missing") && why.contains("write NaN where a field is missing"),
            "{why}"
        );
    }
}

#[test]
fn figures_say_what_they_are() {
    let capture = common::example("first-run.pcap");
    for (args, boundaries) in [
        (vec!["feature/flow-statistics"], vec!["direct", "adapter"]),
        (vec![text(&good()), "--capture", text(&capture)], vec!["library"]),
        (vec!["protocol/tls", "--capture", text(&capture)], vec!["direct", "direct", "adapter", "adapter"]),
    ] {
        let outcome = plugin("", &[&["bench"], args.as_slice()].concat());
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        let lines = outcome.lines();
        let told: Vec<&str> = lines.iter().map(|line| line["boundary"].as_str().unwrap()).collect();
        assert_eq!(told, boundaries);
        for line in &lines {
            let [fastest, median, slowest] =
                ["fastest", "nanoseconds", "slowest"].map(|name| line[name].as_f64().unwrap());
            assert!(0.0 < fastest && fastest <= median && median <= slowest, "{line}");
            assert!(line["rounds"].as_u64() >= Some(1) && line["flows"].as_u64() > Some(10), "{line}");
        }
    }
    let none = plugin("", &["bench", "feature/splt", "--capture", text(&common::example("ssh-greeting.pcap"))]);
    assert!(none.status == Some(2) && none.err.contains("no flow that is scored"), "{}", none.err);
    let library = compile("misbehaves", "veilwatch_core", &[]);
    let stuck = plugin("hang-when-checked", &["bench", text(&library), "--patience", "2"]);
    assert!(stuck.status == Some(2) && stuck.err.contains("not measured within 2 s"), "{}", stuck.err);
}
