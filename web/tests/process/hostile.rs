//! Analyses that misbehave: each is set aside with a reason, and nobody else notices.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::portal::{Portal, example};

/// The hostile plugin: cargo builds it beside this test, because the test depends on it.
fn library() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let path = folder.join("libveilwatch_test_hostile.so");
    assert!(path.is_file(), "{} was not built", path.display());
    path
}

/// A misdeed, what it does it to, why the analysis then has no result, what is said of it, and whether it was run twice.
type Misdeed = (&'static str, &'static str, &'static str, &'static str, bool);

const CRASHED: &str = "twice. It was set aside.";
const FORBIDDEN: &str = "tried what no analysis does";
const PLUGIN: &str = "A plugin of the pipeline failed.";
const CPU_TIME: &str = "needed more processor time";

/// `{}` stands for the portal's data folder.
const MISDEEDS: [(Misdeed, &str); 17] = [
    (("abort", "", "crashed", "SIGABRT", true), CRASHED),
    (("babble", "", "crashed", "out of turn", true), CRASHED),
    (("forge", "", "crashed", "out of turn", true), CRASHED),
    (("long", "", "crashed", "out of turn", true), CRASHED),
    (("panic", "", "plugin", "`hostile`: panicked: told to", false), PLUGIN),
    (("hang", "", "cpu-time", "2 s of processor time", false), CPU_TIME),
    (("hang-on", "", "cpu-time", "2 s of processor time", false), CPU_TIME),
    (("memory", "", "memory", "more memory", false), "needed more memory than it may have"),
    (("disk", "", "result-size", "beyond 4194304 bytes", false), "became larger than it may"),
    (("socket", "", "forbidden", "forbidden system call", false), FORBIDDEN),
    (("exec", "", "forbidden", "forbidden system call", false), FORBIDDEN),
    (("fork", "", "forbidden", "forbidden system call", false), FORBIDDEN),
    (("open-file", "{}/secret", "plugin", "Permission denied", false), PLUGIN),
    (("change-file", "{}/portal.sqlite", "plugin", "Permission denied", false), PLUGIN),
    (("make-file", "{}/captures/mine", "plugin", "Permission denied", false), PLUGIN),
    (("remove-file", "{}/secret", "plugin", "Operation not permitted", false), PLUGIN),
    (("kill", "", "plugin", "Operation not permitted", false), PLUGIN),
];

/// Pipelines that differ in what their hostile plugin does.
fn pipelines(folder: &Path, what: &[(&str, &str)]) -> String {
    let data = folder.join("data");
    let mut choices = String::new();
    for (does, file) in what {
        let file = file.replace("{}", data.to_str().unwrap());
        let text = format!(
            "{}\n[[plugin]]\nid = \"hostile\"\npath = {:?}\n[plugin.settings]\ndoes = {does:?}\nfile = {file:?}\n",
            veilwatch::config::EXAMPLE.replace("\nerrors = 100 ", "\nerrors = 1 "),
            library(),
        );
        let path = folder.join(format!("{does}.toml"));
        std::fs::write(&path, text).unwrap();
        choices.push_str(&format!("[[pipeline]]\nname = {does:?}\nfile = {path:?}\n"));
    }
    choices
}

#[test]
fn what_misbehaves_is_set_aside_and_nobody_else_notices() {
    let settings = [
        ("worker.cpu_seconds", "2"),
        ("worker.memory_bytes", "1073741824"),
        ("worker.result_bytes", "4194304"),
        ("worker.threads", "1"),
    ];
    let mut what: Vec<(&str, &str)> = MISDEEDS.iter().map(|((does, file, ..), _)| (*does, *file)).collect();
    what.push(("nothing", ""));
    let start = Portal::prepare(&settings, |folder| pipelines(folder, &what));
    let portal = start.unwrap_or_else(|(status, words)| panic!("{status}: {words}"));
    let ada = portal.administrator();
    let bytes = example("first-run.pcap");
    let secret = std::fs::read(portal.data().join("secret")).unwrap();
    // The plugin itself does no harm: what is found below is its misdeeds'.
    let before = ada.analyse(&portal, "nothing", &bytes);
    let undisturbed = ada.done(&portal, &before)["analysed"].clone();

    let keys: Vec<String> = MISDEEDS.iter().map(|((does, ..), _)| ada.analyse(&portal, does, &bytes)).collect();
    let running = AtomicBool::new(true);
    let mut answers = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for key in &keys {
                ada.ended(&portal, key);
            }
            running.store(false, Ordering::Relaxed);
        });
        while running.load(Ordering::Relaxed) {
            answers.push(portal.health());
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    answers.sort();
    let (median, slowest) = (answers[answers.len() / 2], answers[answers.len() - 1]);
    assert!(median < Duration::from_secs(3) && slowest < Duration::from_secs(30), "{median:?}, {slowest:?}");

    let log = portal.log();
    for (((does, _, why, words, _), page), key) in MISDEEDS.iter().zip(&keys) {
        let entry = ada.ended(&portal, key);
        assert_eq!((&entry["state"], &entry["failure"]["why"]), (&"failed".into(), &(*why).into()), "{does}: {entry}");
        assert!(entry["failure"]["words"].as_str().unwrap().contains(words), "{does}: {entry}");
        let shown = ada.get(&portal, &format!("/entries/{key}")).is(200).text();
        assert!(shown.contains(page), "{does}: {shown}");
        ada.call(&portal, "GET", &format!("/entries/{key}/result"), b"").is(409);
    }
    let twice = MISDEEDS.iter().filter(|((.., is_twice), _)| *is_twice).count();
    for again in ["again=true", "again=false"] {
        assert_eq!(log.lines().filter(|line| line.contains("a worker died") && line.contains(again)).count(), twice);
    }
    assert_eq!(portal.workers(), []);
    assert_eq!((portal.files("work").len(), portal.files("results").len()), (0, 1));
    assert_eq!(portal.files("captures").len(), 1);
    assert!(std::fs::read(portal.data().join("secret")).unwrap() == secret);
    // And on it goes.
    for pipeline in ["default", "nothing"] {
        let key = ada.analyse(&portal, pipeline, &bytes);
        assert_eq!(ada.done(&portal, &key)["analysed"], undisturbed);
    }
}

#[test]
fn what_does_nothing_for_too_long_is_ended() {
    // By itself: whoever shares the processors with the others takes long without any fault.
    let start = Portal::prepare(&[("worker.wall_seconds", "4")], |folder| pipelines(folder, &[("sleep", "")]));
    let portal = start.unwrap_or_else(|(status, words)| panic!("{status}: {words}"));
    let ada = portal.administrator();
    let key = ada.analyse(&portal, "sleep", &example("first-run.pcap"));
    let entry = ada.ended(&portal, &key);
    assert_eq!((&entry["state"], &entry["failure"]["why"]), (&"failed".into(), &"wall-time".into()), "{entry}");
    assert!(entry["failure"]["words"].as_str().unwrap().contains("within 4 s"), "{entry}");
    let page = ada.get(&portal, &format!("/entries/{key}")).is(200).text();
    assert!(page.contains("took longer than it may"), "{page}");
    assert_eq!((portal.workers(), portal.files("work").len()), (vec![], 0));
}
