//! What becomes of libraries that are dropped in: each is checked, tried, remembered, loaded and started, or refused in
//! one line that says what, why, and what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;
#[path = "common/libraries.rs"]
mod libraries;

use common::example;
use libraries::compile;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use veilwatch::config::Config;
use veilwatch::engine::Pipeline;
use veilwatch::plugins::{PluginReport, PluginState, Probing, Registry};

/// A good library that cargo built beside this test.
fn built(name: &str) -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let path = folder.join(format!("lib{name}.so"));
    assert!(path.is_file(), "{} was not built", path.display());
    path
}

fn good() -> PathBuf {
    built("veilwatch_example_mqtt_keep_alive")
}

fn misbehaves() -> PathBuf {
    compile("misbehaves", "veilwatch_core", &[])
}

struct Bench(tempfile::TempDir);

struct Outcome {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn pipeline(&self, text: &str) -> PathBuf {
        self.file("pipeline.toml", text.as_bytes())
    }

    /// Runs the command, which remembers in this folder; `told` is what the fixture does.
    fn run(&self, args: &[&str], told: &str) -> Outcome {
        let output = Command::new(env!("CARGO_BIN_EXE_veilwatch"))
            .args(args)
            .env("VEILWATCH_CACHE", self.path("cache"))
            .env("VEILWATCH_TEST_MISDEED", told)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Outcome { status: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    fn check(&self, text: &str, told: &str) -> Outcome {
        let pipeline = self.pipeline(text);
        self.run(&["config", "check", pipeline.to_str().unwrap()], told)
    }

    fn detect(&self, text: &str) -> Outcome {
        self.detect_told(text, "")
    }

    fn detect_told(&self, text: &str, told: &str) -> Outcome {
        let (pipeline, capture) = (self.pipeline(text), example("first-run.pcap"));
        let args = ["detect", capture.to_str().unwrap(), "--format=jsonl", "--config", pipeline.to_str().unwrap()];
        self.run(&args, told)
    }
}

#[test]
fn all_of_a_library_is_taken_or_none() {
    let library = compile("misbehaves", "veilwatch_core", &["--cfg=misdeed=\"taken-name\""]);
    let mut registry = Registry::with_builtins().unwrap();
    let before: Vec<String> = registry.manifests().map(|(manifest, _)| manifest.path()).collect();
    let error = registry.load(&library).unwrap_err().to_string();
    assert!(error.contains("feature/splt: a plugin of that name is already there"), "{error}");
    let after: Vec<String> = registry.manifests().map(|(manifest, _)| manifest.path()).collect();
    assert_eq!(before, after);
    // Without the one in the box, both are taken; and a library that is there already is not loaded twice.
    let mut empty = Registry::default();
    for _ in 0..2 {
        let names: Vec<String> = empty.load(&library).unwrap().iter().map(|manifest| manifest.name.clone()).collect();
        assert_eq!(names, ["of-its-own", "splt"]);
    }
}

/// An entry of a library.
fn entry(path: &Path, more: &str) -> String {
    format!("[[plugin]]\nid = \"mine\"\npath = {path:?}\n{more}\n")
}

/// The default pipeline and more.
fn default_and(more: &str) -> String {
    format!("{}\n{more}", veilwatch::config::EXAMPLE)
}

fn summary(outcome: &Outcome) -> Value {
    serde_json::from_str(outcome.out.lines().last().unwrap_or_else(|| panic!("{}", outcome.err))).unwrap()
}

/// A library of the system: one that every program of Rust has loaded.
fn of_the_system() -> PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let path = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libgcc_s"));
    path.unwrap().into()
}

#[test]
fn a_file_that_is_no_plugin_is_refused_before_any_of_it_runs() {
    let bench = Bench::new();
    let whole = std::fs::read(good()).unwrap();
    let mut other_machine = whole.clone();
    other_machine[18] = 8;
    let writable = |name: &str, mode| {
        let path = bench.file(name, &whole);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let open_folder = bench.path("open");
    std::fs::create_dir(&open_folder).unwrap();
    std::fs::write(open_folder.join("in.so"), &whole).unwrap();
    std::fs::set_permissions(&open_folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let hash = "0".repeat(64);
    for (path, more, says, does) in [
        (bench.file("notes.so", b"shopping list"), "", "it looks like text", "crate-type"),
        (bench.file("empty.so", b""), "", "the file is empty", "crate-type"),
        (bench.file("arm.so", &other_machine), "", "another processor", "crate-type"),
        (bench.file("half.so", &whole[..whole.len() / 2]), "", "past the end of the file", "copy it or build it again"),
        (bench.file("last.so", &whole[..whole.len() - 1]), "", "past the end of the file", "copy it or build it again"),
        (bench.file("head.so", &whole[..40]), "", "less than an ELF header", "copy it or build it again"),
        (bench.path("gone.so"), "", "cannot be read", "check the path"),
        (bench.0.path().to_owned(), "", "not a regular file", "name the library itself"),
        (writable("all.so", 0o666), "", "everybody may write to it", "chmod go-w"),
        (open_folder.join("in.so"), "", "everybody may write to its folder", "chmod go-w"),
        (good(), &format!("sha256 = {hash:?}"), "its SHA-256 is", "correct `sha256`"),
    ] {
        let outcome = bench.check(&entry(&path, more), "");
        let message = &outcome.err;
        assert_eq!(outcome.status, Some(2), "{message}");
        assert!(message.contains(says) && message.contains(does) && message.contains("`mine`"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    // With the right hash, in either case, and in a sticky folder that everybody may write to.
    std::fs::set_permissions(&open_folder, std::fs::Permissions::from_mode(0o1777)).unwrap();
    let hash = veilwatch::hash::sha256_hex(&whole);
    for hash in [hash.to_uppercase(), hash] {
        let outcome = bench.check(&entry(&open_folder.join("in.so"), &format!("sha256 = {hash:?}")), "");
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        assert!(outcome.out.contains("`mine` is feature/mqtt-keep-alive"), "{}", outcome.out);
    }
}

#[test]
fn a_library_that_cannot_be_loaded_is_refused_in_words() {
    let bench = Bench::new();
    let system = bench.file("system.so", &std::fs::read(of_the_system()).unwrap());
    let version = format!("--cfg=version_{}", veilwatch_core::abi::CONTRACT.replace('.', "_"));
    for (path, says, does) in [
        (system, "a library, but no Veilwatch plugin", "export_plugins!"),
        (
            compile("missing_symbol", "", &[]),
            "undefined symbol: veilwatch_test_that_nobody_has",
            "build it for this system",
        ),
        (
            compile("other_root", "abi_stable", &["--cfg=version_9_0_0"]),
            "needs contract 9.0, this program has 1.3",
            "update Veilwatch",
        ),
        (
            compile("other_root", "abi_stable", &["--cfg=version_1_9_0"]),
            "needs contract 1.9, this program has 1.3",
            "update Veilwatch",
        ),
        (
            compile("other_root", "abi_stable", &["--cfg=version_0_1_0"]),
            "needs contract 0.1, this program has 1.3",
            "build it again with this veilwatch-core",
        ),
        (
            compile("other_root", "abi_stable", &[version.as_str()]),
            "(type `RawManifest` at `kind` is another one here)",
            "build it again with an unchanged veilwatch-core",
        ),
        (
            compile("misbehaves", "veilwatch_core", &["--cfg=misdeed=\"taken-name\""]),
            "feature/splt: a plugin of that name is already there, in the box",
            "rename one",
        ),
    ] {
        let outcome = bench.check(&entry(&path, ""), "");
        let message = &outcome.err;
        assert_eq!(outcome.status, Some(2), "{message}");
        assert!(message.contains(says) && message.contains(does) && message.contains("`mine`"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.len() < 1000, "{message}");
    }
}

#[test]
fn a_library_that_misbehaves_when_it_is_tried_is_refused_in_words() {
    let bench = Bench::new();
    let aborts = compile("misbehaves", "veilwatch_core", &["-Cpanic=abort"]);
    let (path, odd) = (misbehaves(), compile("odd_kinds", "veilwatch_core", &[]));
    for (path, told, says, does) in [
        (
            &path,
            "panic-in-create",
            "feature/misbehaves: panicked: told to in two lines when it was created",
            "return an error",
        ),
        (&path, "panic-in-columns", "panicked: told to in its first call", "return an error"),
        (&path, "panic-in-call", "panicked: told to in its first call", "return an error"),
        (&path, "wide", "panicked: index out of bounds", "return an error"),
        (&path, "changing-columns", "its columns change from call to call", "depends on the settings alone"),
        (&path, "odd-names", "one of its columns is named `One, two`", "lower-case letters"),
        (&path, "infinite", "wrote an infinite value into column `one`", "write a finite one, or NaN"),
        (&path, "random", "gave other values the second time, first in column `one`", "depends on its input alone"),
        (
            &path,
            "exit",
            "it ended the process that tried it (creating feature/misbehaves; exit status 7)",
            "return an error instead",
        ),
        (
            &path,
            "crash",
            "it ended the process that tried it (creating feature/misbehaves; it crashed, signal 11)",
            "correct it",
        ),
        (
            &path,
            "socket",
            "(creating feature/misbehaves; it opened a socket, wrote to a file or started a program, signal 31)",
            "take that out of it",
        ),
        (&path, "write", "it opened a socket, wrote to a file or started a program", "take that out of it"),
        (&path, "program", "it opened a socket, wrote to a file or started a program", "take that out of it"),
        (&odd, "panic-in-probe", "protocol/odd: panicked: told to in its first call", "return an error"),
        (&odd, "error-in-probe", "protocol/odd: failed on plain text", "write what was understood"),
        (&odd, "panic-in-parse", "protocol/odd: panicked: told to in its first call", "return an error"),
        (&odd, "panic-in-dissect", "protocol/odd: panicked: told to when it drew a tree", "draw what was understood"),
        (&odd, "foreign-field", "wrote values under fields that are not its own", "write to the ids that `wire` gives"),
        (&odd, "panic-in-fit", "classifier/odd: panicked: told to in its first call", "return an error"),
        (&odd, "panic-in-save", "classifier/odd: panicked: told to in its first call", "return an error"),
        (&odd, "error-in-save", "classifier/odd: cannot save what it learnt (told to)", "correct it"),
        (&odd, "panic-in-load", "classifier/odd: panicked: told to in its first call", "return an error"),
        (&odd, "error-in-load", "classifier/odd: cannot take up what it saved itself (told to)", "correct it"),
        (&odd, "panic-in-predict", "classifier/odd: panicked: told to in its first call", "return an error"),
        (&odd, "error-in-predict", "classifier/odd: cannot score what it learnt from (told to)", "correct it"),
        (&odd, "panic-in-explain", "classifier/odd: panicked: told to in its first call", "return an error"),
        (&odd, "random-lesson", "classifier/odd: learnt something else from the same rows", "the seed alone"),
        (&odd, "random-score", "classifier/odd: gave the same rows other scores", "depends on its input alone"),
        (&odd, "infinite-score", "classifier/odd: gave an infinite score", "give a finite one"),
        (
            &aborts,
            "panic-in-create",
            "(creating feature/misbehaves; it aborted, signal 6), which said:",
            "panic = \"abort\"",
        ),
        (
            &aborts,
            "panic-in-call",
            "(calling feature/misbehaves for the first time; it aborted, signal 6)",
            "panic = \"abort\"",
        ),
    ] {
        let outcome = bench.check(&entry(path, ""), told);
        let message = &outcome.err;
        assert_eq!(outcome.status, Some(2), "{told}: {message}");
        assert!(message.contains(says) && message.contains(does) && message.contains("`mine`"), "{told}: {message}");
        assert_eq!(message.lines().count(), 1, "{told}: {message}");
    }
    // Nothing of it is remembered; and where it behaves, it is good.
    assert!(!bench.path("cache").exists());
    assert_eq!(bench.check(&entry(&path, ""), "").status, Some(0));
    assert!(bench.path("cache").exists());
    let odd = entry(&odd, "use = \"protocol/odd\"");
    let outcome = bench.check(&odd, "");
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    // Too few rows to learn from are no mistake of its own.
    std::fs::remove_dir_all(bench.path("cache")).unwrap();
    assert_eq!(bench.check(&odd, "error-in-fit").status, Some(0));
    assert!(!std::env::temp_dir().join("veilwatch-test-misdeed").exists());
}

/// Files are not there for a library that is tried, where the kernel can hide them.
#[test]
fn a_library_that_is_tried_reads_nothing_of_others() {
    let bench = Bench::new();
    let path = bench.file("mine.so", &std::fs::read(misbehaves()).unwrap());
    let outcome = bench.check(&entry(&path, ""), "read");
    assert_eq!(outcome.status, Some(0), "outside of the trial it may: {}", outcome.err);
    // What it could not read when it was tried was an error of `create`, which is its good right.
    assert!(bench.path("cache/verified").exists());
}

/// Whatever a library does, it costs the run nothing but that library.
#[test]
fn the_other_plugins_run_on() {
    let bench = Bench::new();
    let flows = |outcome: &Outcome| {
        let lines: Vec<String> = outcome.out.lines().map(str::to_owned).collect();
        lines[..lines.len().saturating_sub(1)].to_vec()
    };
    let alone = bench.detect(&default_and(""));
    assert_eq!((alone.status, flows(&alone).is_empty()), (Some(1), false), "{}", alone.err);
    let whole = std::fs::read(good()).unwrap();
    let optional = |path: &Path| entry(path, "required = false");
    let files: Vec<PathBuf> = vec![
        bench.file("notes.so", b"shopping list"),
        bench.file("empty.so", b""),
        bench.file("half.so", &whole[..whole.len() / 2]),
        bench.file("system.so", &std::fs::read(of_the_system()).unwrap()),
        compile("missing_symbol", "", &[]),
        compile("other_root", "abi_stable", &["--cfg=version_1_9_0"]),
        compile("misbehaves", "veilwatch_core", &["--cfg=misdeed=\"taken-name\""]),
    ];
    let (aborts, misdeeds) = (compile("misbehaves", "veilwatch_core", &["-Cpanic=abort"]), misbehaves());
    let told = ["panic-in-create", "panic-in-call", "wide", "infinite", "random", "exit", "crash", "socket", "write"];
    let cases = files.iter().map(|path| (path, "")).chain(told.map(|told| (&misdeeds, told)));
    for (path, told) in
        cases.chain([(&aborts, "panic-in-call"), (&misdeeds, "hang-in-create"), (&misdeeds, "hang-in-call")])
    {
        let text = default_and(&optional(path)).replace("probe_milliseconds = 5000 ", "probe_milliseconds = 1500 ");
        let outcome = bench.detect_told(&text, told);
        assert_eq!(outcome.status, Some(1), "{told} {}: {}", path.display(), outcome.err);
        assert_eq!(flows(&outcome), flows(&alone), "{told} {}", path.display());
        assert_eq!(summary(&outcome)["disabled"][0]["id"], "mine", "{told} {}", path.display());
        assert_eq!(outcome.err.lines().count(), 1 + alone.err.lines().count(), "{told}: {}", outcome.err);
    }
}

/// A template that was good when it was tried, and is not in a run.
#[test]
fn what_a_template_does_wrong_in_a_run_is_told_and_costs_its_own_words() {
    let bench = Bench::new();
    let odd = entry(&compile("odd_kinds", "veilwatch_core", &[]), "use = \"protocol/odd\"\nrequired = false");
    let text = default_and(&odd).replace("errors = 100 ", "errors = 100000 ");
    let lines = |outcome: &Outcome| outcome.out.lines().map(str::to_owned).collect::<Vec<_>>();
    let alone = lines(&bench.detect(&default_and("")));
    let good = bench.detect(&text);
    assert_eq!(good.status, Some(1), "{}", good.err);
    assert!(summary(&good)["plugin_errors"].get("mine").is_none(), "{}", good.err);
    for (told, says) in [
        ("panic-in-probe", "panicked: told to"),
        ("error-in-probe", "told to"),
        ("foreign-field", "wrote 1 values under fields that are not its own"),
    ] {
        let outcome = bench.detect_told(&text, told);
        assert_eq!(outcome.status, Some(1), "{told}: {}", outcome.err);
        assert!(summary(&outcome)["plugin_errors"]["mine"].as_u64() > Some(0), "{told}: {}", outcome.out);
        // For people it is named once, with the first thing it said.
        let (capture, pipeline) = (example("first-run.pcap"), bench.path("pipeline.toml"));
        let args = ["detect", capture.to_str().unwrap(), "--format=csv", "--config", pipeline.to_str().unwrap()];
        let said = bench.run(&args, told).err;
        assert_eq!(said.matches("plugin `mine` failed on").count(), 1, "{told}: {said}");
        assert!(said.contains(says), "{told}: {said}");
        // Who fails while it looks recognises nothing, and the others read on as if it were not there.
        let flows = lines(&outcome);
        let wanted = if told == "foreign-field" { lines(&good) } else { alone.clone() };
        assert_eq!(flows[..flows.len() - 1], wanted[..wanted.len() - 1], "{told}");
    }
}

/// Libraries that others could have changed. Only root can give a file away.
#[test]
fn what_belongs_to_others_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can give files to others");
        return;
    }
    let bench = Bench::new();
    let whole = std::fs::read(good()).unwrap();
    let put = |folder: &str, owners: [(u32, u32); 2], modes: [u32; 2]| {
        let folder = bench.path(folder);
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("in.so");
        std::fs::write(&file, &whole).unwrap();
        for ((path, (user, group)), mode) in [&folder, &file].into_iter().zip(owners).zip(modes) {
            std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        file
    };
    for (folder, owners, modes, says, does) in [
        ("file", [(0, 0), (4321, 0)], [0o755, 0o644], "it belongs to user 4321", "chown 0"),
        ("folder", [(4321, 0), (0, 0)], [0o755, 0o644], "its folder belongs to user 4321", "chown 0"),
        ("group", [(0, 0), (0, 4321)], [0o755, 0o664], "a group may write to it", "chmod go-w"),
        ("world", [(0, 0), (0, 0)], [0o755, 0o646], "everybody may write to it", "chmod go-w"),
        ("group-folder", [(0, 4321), (0, 0)], [0o775, 0o644], "a group may write to its folder", "chmod go-w"),
        ("world-folder", [(0, 0), (0, 0)], [0o757, 0o644], "everybody may write to its folder", "chmod go-w"),
    ] {
        let outcome = bench.check(&entry(&put(folder, owners, modes), ""), "");
        let message = &outcome.err;
        assert_eq!(outcome.status, Some(2), "{folder}: {message}");
        assert!(
            message.contains(says) && message.contains(does) && message.lines().count() == 1,
            "{folder}: {message}"
        );
    }
    // Its owner's own group may, and so may a group that cannot write.
    for (folder, owners, modes) in
        [("own", [(0, 0), (0, 0)], [0o775, 0o664]), ("read", [(0, 4321), (0, 4321)], [0o755, 0o644])]
    {
        assert_eq!(bench.check(&entry(&put(folder, owners, modes), ""), "").status, Some(0), "{folder}");
    }
}

#[test]
fn an_endless_loop_is_ended_and_named() {
    let bench = Bench::new();
    let begin = Instant::now();
    // While it is tried.
    let text = format!("[plugins]\nprobe_milliseconds = 3000\n{}", entry(&misbehaves(), ""));
    let outcome = bench.check(&text, "hang-in-create");
    let says =
        "it did not come back within 3000 ms when it was tried (creating feature/misbehaves); look for an endless loop";
    assert!(outcome.status == Some(2) && outcome.err.contains(says), "{}", outcome.err);
    let outcome = bench.check(&text, "hang-in-call");
    let says = "within 3000 ms when it was tried (calling feature/misbehaves for the first time)";
    assert!(outcome.status == Some(2) && outcome.err.contains(says), "{}", outcome.err);
    // Because of its settings, when the pipeline is made; and in the middle of a run.
    for does in ["hang-in-create", "hang"] {
        let hostile = entry(&built("veilwatch_test_hostile"), &format!("[plugin.settings]\ndoes = {does:?}"));
        let text = default_and(&hostile).replace("batch_milliseconds = 10000 ", "batch_milliseconds = 4000 ");
        let outcome = bench.detect(&text);
        let says = "error: plugin `mine`: a call took longer than 4000 ms; look for an endless loop";
        assert!(outcome.status == Some(2) && outcome.err.contains(says), "{does}: {}", outcome.err);
        assert_eq!(outcome.err.lines().count(), 1, "{}", outcome.err);
    }
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[test]
fn what_was_tried_once_is_remembered() {
    let bench = Bench::new();
    let path = bench.file("mine.so", &std::fs::read(misbehaves()).unwrap());
    let text = entry(&path, "");
    // It panics wherever it is tried, and nowhere else.
    let tried = || bench.check(&text, "panic-when-tried").status == Some(2);
    assert!(tried());
    assert_eq!(bench.check(&text, "").status, Some(0));
    assert!(!tried());
    // A damaged memory costs time and nothing else.
    std::fs::write(bench.path("cache/verified"), "\0junk").unwrap();
    assert!(tried());
    assert_eq!(bench.check(&text, "").status, Some(0));
    assert!(!tried());
    // What another contract knew counts for nothing.
    let memory = std::fs::read_to_string(bench.path("cache/verified")).unwrap();
    let contract = veilwatch_core::abi::CONTRACT;
    assert!(memory.contains(contract), "{memory}");
    std::fs::write(bench.path("cache/verified"), memory.replace(contract, "1.0.0")).unwrap();
    assert!(tried());
    assert_eq!(bench.check(&text, "").status, Some(0));
    // Another file is another library.
    let mut changed = std::fs::read(&path).unwrap();
    changed.push(0);
    std::fs::write(&path, changed).unwrap();
    assert!(tried());
}

#[test]
fn programs_choose_how_libraries_are_tried() {
    let bench = Bench::new();
    let config = || Config::parse(&entry(&good(), ""), "test").unwrap();
    let open = |probing| {
        let mut registry = Registry::with_builtins().unwrap().probing(probing).remembering(&bench.path("cache"));
        Pipeline::untrained(config(), &mut registry)
    };
    let refused = open(Probing::Remembered).unwrap_err().to_string();
    assert!(refused.contains("was never tried") && refused.contains("veilwatch config check"), "{refused}");
    let missing = open(Probing::Child("/no/such/program".into())).unwrap_err().to_string();
    assert!(missing.contains("/no/such/program cannot be started"), "{missing}");
    // A program that does not know the argument tells nothing.
    let silent = open(Probing::Child("/bin/true".into())).unwrap_err().to_string();
    assert!(silent.contains("exit status 0"), "{silent}");
    assert!(open(Probing::None).is_ok() && !bench.path("cache").exists());
    open(Probing::Child(env!("CARGO_BIN_EXE_veilwatch").into())).unwrap();
    open(Probing::Remembered).unwrap();
}

fn told(reports: &[PluginReport]) -> Vec<String> {
    let words = |states: &[PluginState]| states.iter().map(|state| state.word()).collect::<Vec<_>>().join(" ");
    let tell = |report: &PluginReport| format!("{} {}: {}", report.id, report.plugin, words(&report.states));
    reports.iter().map(tell).collect()
}

#[test]
fn every_plugin_has_a_report() {
    let bench = Bench::new();
    let text = format!(
        "[[plugin]]\nid = \"tls\"\nuse = \"protocol/tls\"\n[[plugin]]\nid = \"gone\"\nuse = \"feature/gone\"\nrequired = false\n{}",
        entry(&good(), "")
    );
    let pipeline = Pipeline::untrained(Config::parse(&text, "test").unwrap(), &mut Registry::with_builtins().unwrap());
    let pipeline = pipeline.unwrap();
    assert_eq!(
        told(pipeline.reports()),
        [
            "tls protocol/tls: declared verified loaded started",
            "gone feature/gone: declared disabled",
            "mine feature/mqtt-keep-alive: declared verified loaded started",
        ]
    );
    let mine = &pipeline.reports()[2];
    assert_eq!((mine.columns, mine.reason.as_deref()), (2, None));
    assert!(mine.origin.to_string().ends_with("libveilwatch_example_mqtt_keep_alive.so"));
    assert_eq!(
        pipeline.reports()[1].reason.as_deref().unwrap().matches("there is no plugin `feature/gone`").count(),
        1
    );
    drop(bench);
}

#[test]
fn a_folder_brings_plugins_and_what_fails_there_is_passed_over() {
    let bench = Bench::new();
    let folder = bench.path("dropped");
    std::fs::create_dir(&folder).unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    put("a-share.so", &std::fs::read(good()).unwrap());
    put("b-notes.so", b"shopping list");
    // The same names once more: none of it is taken.
    put("c-again.so", &std::fs::read(good()).unwrap());
    put("d-unused.so", &std::fs::read(built("veilwatch_example_nearest_mean")).unwrap());
    put("readme.txt", b"no library");
    // The pipeline reads the folder as it lies beside it, and uses the plugin twice.
    let entries = "[[plugin]]\nid = \"one\"\nuse = \"feature/mqtt-keep-alive\"\n[[plugin]]\nid = \"two\"\nuse = \"feature/mqtt-keep-alive\"\n";
    let path = bench.pipeline(&format!("[plugins]\nfolders = [\"dropped\"]\n{entries}"));
    let pipeline = Pipeline::untrained(Config::load(&path).unwrap(), &mut Registry::with_builtins().unwrap()).unwrap();
    assert_eq!(
        told(pipeline.reports()),
        [
            "one feature/mqtt-keep-alive: declared verified loaded started",
            "two feature/mqtt-keep-alive: declared verified loaded started",
            "b-notes.so : declared disabled",
            "c-again.so : declared verified disabled",
            "d-unused.so classifier/nearest-mean: declared verified loaded",
        ]
    );
    let columns: Vec<&str> = pipeline.schema().columns().iter().map(|column| column.name.as_ref()).collect();
    assert_eq!(columns, ["one.keep_alive", "one.used", "two.keep_alive", "two.used"]);
    // The command tells of what was passed over, and goes on.
    let outcome = bench.detect(&default_and("").replace("folders = []", "folders = [\"dropped\"]"));
    assert_eq!(outcome.status, Some(1), "{}", outcome.err);
    let summary = summary(&outcome);
    let disabled = summary["disabled"].as_array().unwrap();
    assert_eq!(
        disabled.iter().map(|part| part["id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["b-notes.so", "c-again.so"]
    );
    assert!(disabled[0]["reason"].as_str().unwrap().contains("it looks like text") && disabled[0]["record"].is_null());
    assert_eq!(summary["partial"], false);
    assert_eq!(outcome.err.lines().count(), 2, "{}", outcome.err);
    // A folder that is not there is a mistake in the configuration.
    let outcome = bench.check("[plugins]\nfolders = [\"gone\"]\n", "");
    assert!(outcome.status == Some(2) && outcome.err.contains("correct `folders`"), "{}", outcome.err);
}

#[test]
fn what_is_not_required_may_be_missing() {
    let bench = Bench::new();
    let gone = entry(Path::new("gone.so"), "");
    let outcome = bench.detect(&default_and(&gone));
    assert!(outcome.status == Some(2) && outcome.err.contains("cannot be read"), "{}", outcome.err);
    let outcome = bench.detect(&default_and(&gone.replace("[[plugin]]", "[[plugin]]\nrequired = false")));
    let summary = summary(&outcome);
    assert_eq!((outcome.status, &summary["disabled"][0]["id"]), (Some(1), &"mine".into()), "{}", outcome.err);
    assert!(outcome.err.contains("plugin `mine` is not used: plugin "), "{}", outcome.err);
    // Without the classifier nothing is scored, and the result is partial.
    let text = veilwatch::config::EXAMPLE
        .replace("use = \"classifier/ensemble\"", "use = \"classifier/ensembel\"\nrequired = false");
    let outcome = bench.detect(&text);
    let summary = self::summary(&outcome);
    assert_eq!((outcome.status, summary["malicious"].as_u64()), (Some(3), Some(0)), "{}", outcome.err);
    assert!(summary["partial"] == true && outcome.err.contains("did you mean `classifier/ensemble`?"));
    // A model whose features are not all there says which plugin is missing.
    let text =
        veilwatch::config::EXAMPLE.replace("use = \"feature/splt\"", "use = \"feature/spilt\"\nrequired = false");
    let outcome = bench.detect(&text);
    assert!(
        outcome.status == Some(2) && outcome.err.contains("plugin `splt` is missing in this pipeline"),
        "{}",
        outcome.err
    );
    assert!(!outcome.err.contains("\n\n") && outcome.err.lines().count() == 1, "{}", outcome.err);
}
