//! `veilwatch plugin new`: what it writes builds, keeps to the contract, and is as tidy as the rest; what it refuses leaves
//! nothing behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/generated.rs"]
mod generated;

use common::{err, root, veilwatch};
use generated::{command, said};
use std::path::Path;

const KINDS: [&str; 3] = ["protocol", "feature", "classifier"];

fn new(folder: &Path, kind: &str, name: &str, more: &[&str]) -> (Option<i32>, String) {
    let args = ["plugin", "new", kind, name, "--folder", folder.to_str().unwrap()];
    err(&veilwatch(args.iter().chain(more)))
}

#[test]
fn what_is_written_builds_passes_and_is_tidy() {
    // Under the target folder, and so within the project's own workspace: a crate must not be taken for a member of it.
    let (place, tools) = (tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(), tempfile::tempdir().unwrap());
    let built = place.path().join("built");
    std::fs::create_dir(&built).unwrap();
    for kind in KINDS {
        let name = format!("a-new-{kind}");
        assert_eq!(new(place.path(), kind, &name, &[]), (Some(0), String::new()));
        let krate = place.path().join(&name);
        // What all of them need is built once.
        std::os::unix::fs::symlink(&built, krate.join("target")).unwrap();
        let source = std::fs::read_to_string(krate.join("src/lib.rs")).unwrap();
        assert!(source.lines().count() <= 60, "{name} has {} lines", source.lines().count());
        assert!(!source.contains("unsafe") && !source.contains("abi_stable"), "{name}");
        let run = |program: &str, args: &[&str]| {
            let output = command(program, &krate, tools.path()).args(args).output().unwrap();
            assert!(output.status.success(), "{name}: {program} {args:?}\n{}", said(&output));
            said(&output)
        };
        run("cargo", &["fmt", "--check"]);
        assert!(run("cargo", &["test"]).contains("test keeps_to_the_contract ... ok"), "{name}");
        run("cargo", &["clippy", "--all-targets", "--", "-D", "warnings"]);
        run("cargo", &["build", "--release"]);
        let library = format!("target/release/liba_new_{kind}.so");
        let checked = run("veilwatch", &["plugin", "check", &library]);
        assert!(checked.lines().count() > 10 && !checked.contains("\"failed\""), "{checked}");
        // Its pipeline loads it. Only a template leaves the columns, and so the model, as they were.
        let capture = root().join("examples/captures/ssh-greeting.pcap");
        let capture = capture.to_str().unwrap();
        run("veilwatch", &["features", "--config", "pipeline.toml", capture]);
        if kind == "protocol" {
            let found = run("veilwatch", &["detect", "--config", "pipeline.toml", "--all", "--format=jsonl", capture]);
            assert!(found.contains("\"a_new_protocol.line\":\"SSH-2.0-OpenSSH_9.6\""), "{found}");
        }
        let readme = std::fs::read_to_string(krate.join("README.md")).unwrap();
        assert!(readme.contains(&library) && !readme.contains("{{"), "{readme}");
    }
}

#[test]
fn mistakes_leave_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let long = "a".repeat(41);
    for (name, says) in [
        ("Upper", "lower-case letters"),
        ("1st", "begins with a letter"),
        ("a", "2 to 40"),
        (long.as_str(), "2 to 40"),
        ("two--hyphens", "single hyphens"),
        ("end-", "single hyphens"),
        ("../up", "lower-case letters"),
        ("snake_case", "lower-case letters"),
        ("match", "have taken this name"),
        ("core", "have taken this name"),
        ("serde", "have taken this name"),
        ("splt", "`feature/splt` is in the box already"),
    ] {
        let (status, message) = new(place.path(), "feature", name, &[]);
        assert_eq!(status, Some(2), "{name}: {message}");
        assert!(message.contains(says) && message.lines().count() == 1, "{name}: {message}");
    }
    let (status, message) = new(&place.path().join("gone"), "feature", "mine", &[]);
    assert!(status == Some(2) && message.contains("there is no such folder"), "{message}");
    let (status, message) = new(place.path(), "feature", "mine", &["--core", place.path().to_str().unwrap()]);
    assert!(status == Some(2) && message.contains("correct `--core`"), "{message}");
    let (status, message) = new(place.path(), "dissector", "mine", &[]);
    assert!(status == Some(2) && message.contains("protocol, feature, classifier"), "{message}");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    // What is there already stays as it is.
    std::fs::write(place.path().join("mine"), "notes").unwrap();
    let (status, message) = new(place.path(), "feature", "mine", &[]);
    assert!(status == Some(2) && message.contains("is there already"), "{message}");
    assert_eq!(std::fs::read_to_string(place.path().join("mine")).unwrap(), "notes");
}

#[test]
fn the_core_may_lie_elsewhere() {
    let place = tempfile::tempdir().unwrap();
    for (name, core) in [("one", root()), ("two", root().join("core"))] {
        let (status, message) = new(place.path(), "classifier", name, &["--core", core.to_str().unwrap()]);
        assert_eq!(status, Some(0), "{message}");
        let manifest: toml::Table =
            std::fs::read_to_string(place.path().join(name).join("Cargo.toml")).unwrap().parse().unwrap();
        assert_eq!(manifest["dependencies"]["veilwatch-core"]["path"].as_str(), root().join("core").to_str());
        assert!(manifest["workspace"].as_table().unwrap().is_empty());
    }
}
