//! What whoever runs a portal sees: figures, the access log, and whether it is well.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use tempfile::TempDir;

use crate::backup::says;
use crate::http::ask;
use crate::portal::{Portal, example, many_times, soon, within};

/// A figure, by its name with labels.
fn figure(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[test]
fn figures_are_on_a_port_of_their_own_and_tell_nothing_of_anybody() {
    let portal = Portal::start(&[("metrics.address", "127.0.0.1:0"), ("worker.at_once", "1")]);
    let ada = portal.administrator();
    let address: SocketAddr = portal.said("Figures are at http://").split('/').next().unwrap().parse().unwrap();
    let figures = || ask(address, "GET", "/metrics", "", b"").is(200).text();
    let value = |name: &str| figure(&figures(), name);

    ask(address, "GET", "/", "", b"").is(404);
    assert_eq!(ask(portal.address, "GET", "/metrics", "", b"").status, 404);
    ada.get(&portal, "/nobody/knows?token=hush").is(404);
    for path in ["/a", "/b", "/c"] {
        ada.get(&portal, path).is(404);
    }
    let stranger = portal.stranger();
    stranger.post(&portal, "/login", "/login", &[("name", "ada"), ("password", "wrong"), ("next", "/")]).is(422);

    let bytes = example("first-run.pcap");
    let key = ada.analyse(&portal, "default", &bytes);
    ada.done(&portal, &key);
    let text = figures();
    let is = |name: &str, expected: f64| assert_eq!(figure(&text, name), Some(expected), "{name} in {text}");
    is("veilwatch_portal_requests_total{method=\"GET\",route=\"-\",status=\"4xx\"}", 5.0);
    is("veilwatch_portal_actions_total{action=\"login-failed\"}", 1.0);
    is("veilwatch_portal_actions_total{action=\"uploaded\"}", 1.0);
    is("veilwatch_portal_upload_bytes_total", bytes.len() as f64);
    is("veilwatch_portal_entries{state=\"done\"}", 1.0);
    is("veilwatch_portal_queue_length", 0.0);
    is("veilwatch_portal_trainings{state=\"failed\"}", 0.0);
    is("veilwatch_portal_webhook_deliveries{state=\"waiting\"}", 0.0);
    is("veilwatch_portal_workers_limit{kind=\"capture\"}", 0.0);
    is("veilwatch_portal_worker_deaths_total{kind=\"analysis\"}", 0.0);
    is("veilwatch_portal_workers{kind=\"reader\"}", 0.0);
    is("veilwatch_portal_workers_limit{kind=\"analysis\"}", 1.0);
    is("veilwatch_portal_sessions", 1.0);
    is("veilwatch_portal_capture_bytes", bytes.len() as f64);
    for name in ["database_bytes", "disk_free_bytes"] {
        assert!(figure(&text, &format!("veilwatch_portal_{name}")) > Some(0.0), "{name}");
    }
    let route = "method=\"POST\",route=\"/api/v1/entries?<options..>\"";
    is(&format!("veilwatch_portal_request_seconds_count{{{route}}}"), 1.0);
    is(&format!("veilwatch_portal_request_seconds_bucket{{{route},le=\"+Inf\"}}"), 1.0);
    is(&format!("veilwatch_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1.0);
    for secret in ["hush", "nobody", "/a\"", &key, "ada", "first-run", "127.0.0.1"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    soon("the analysis is counted", || value("veilwatch_portal_analyses_total{outcome=\"done\"}") == Some(1.0));

    // One runs, one waits; the first is halted, so that it is not done before it is killed.
    let long = many_times("malicious-beacon-tls12.pcap", 160);
    let first = ada.analyse(&portal, "default", &long);
    let mut worker = None;
    soon("an analysis runs", || {
        worker = portal.workers().first().copied();
        worker.is_some()
    });
    let worker = worker.unwrap();
    kill(worker, Signal::SIGSTOP).unwrap();
    let keys = [first, ada.analyse(&portal, "default", &bytes)];
    assert_eq!(value("veilwatch_portal_workers{kind=\"analysis\"}"), Some(1.0));
    assert_eq!(value("veilwatch_portal_queue_length"), Some(1.0));
    soon("the other grows old", || value("veilwatch_portal_queue_oldest_seconds") >= Some(1.0));
    kill(worker, Signal::SIGKILL).unwrap();
    soon("a death is counted", || value("veilwatch_portal_worker_deaths_total{kind=\"analysis\"}") == Some(1.0));
    for key in &keys {
        ada.call(&portal, "DELETE", &format!("/entries/{key}"), b"").is(204);
    }
}

#[test]
fn the_access_log_is_json_rotates_and_says_nothing_of_what_was_asked() {
    let mut portal = Portal::start(&[("log.access", "access.jsonl")]);
    let ada = portal.administrator();
    let key = ada.analyse(&portal, "default", &example("first-run.pcap"));
    ada.done(&portal, &key);
    let answer = ada.get(&portal, "/nowhere?token=hush").is(404);
    let id = answer.headers("x-request-id").next().unwrap().to_owned();
    let path = portal.path("access.jsonl");
    let current = || std::fs::read_to_string(&path).unwrap_or_default();
    soon("the line is written", || current().contains(&id));
    let text = current();
    let all = lines(&text);
    let of = |route: &str| all.iter().find(|line| line["route"] == route).unwrap_or_else(|| panic!("{route}"));
    let lost = of("-");
    assert_eq!((&lost["request"], &lost["status"], &lost["account"]), (&id.as_str().into(), &404.into(), &1.into()));
    let upload = of("/api/v1/entries?<options..>");
    assert_eq!((&upload["method"], &upload["status"]), (&"POST".into(), &201.into()));
    assert_eq!((&upload["role"], &upload["account"]), (&"administrator".into(), &1.into()));
    assert_eq!(upload["bytes_in"].as_u64(), Some(example("first-run.pcap").len() as u64));
    assert!(upload["bytes_out"].as_u64() > Some(100) && upload["seconds"].as_f64() > Some(0.0), "{upload}");
    assert_eq!(upload["address"], "127.0.0.1");
    let page = of("/account?<done>");
    assert_eq!((&page["role"], &page["account"]), (&"administrator".into(), &1.into()));
    // A request's own name is hexadecimal, and may spell anything.
    let known: String =
        all.iter().filter_map(|line| line["request"].as_str()).fold(text.clone(), |text, id| text.replace(id, ""));
    for secret in ["hush", "nowhere", &key, "token=", "ada"] {
        assert!(!known.contains(secret), "{secret} in {text}");
    }
    // The other log has no line for each request then.
    assert!(!portal.log().contains("answered"));

    std::fs::rename(portal.path("access.jsonl"), portal.path("access.1")).unwrap();
    portal.signal(Signal::SIGUSR1);
    soon("it is made anew", || path.exists());
    portal.health();
    soon("it is written on", || current().contains("/healthz"));
    assert!(lines(&current()).iter().all(|line| line["route"] == "/healthz"));
    portal.terminate();
    assert!(
        lines(&current()).len() == 1 && lines(&std::fs::read_to_string(portal.path("access.1")).unwrap()).len() > 5
    );
}

#[test]
fn a_log_that_cannot_be_written_holds_nobody_up_and_addresses_can_be_left_out() {
    let portal = Portal::start(&[("log.access", "/dev/full"), ("metrics.address", "127.0.0.1:0")]);
    let address: SocketAddr = portal.said("Figures are at http://").split('/').next().unwrap().parse().unwrap();
    for _ in 0..20 {
        assert!(portal.health() < Duration::from_secs(10));
    }
    within(Duration::from_secs(60), "lines are counted", || {
        let text = ask(address, "GET", "/metrics", "", b"").is(200).text();
        figure(&text, "veilwatch_portal_access_log_lost_total") >= Some(20.0)
    });
    assert_eq!(portal.log().matches("the access log cannot be written").count(), 1);

    let portal = Portal::start(&[("log.access", "access.jsonl"), ("log.addresses", "false")]);
    portal.health();
    let text = || std::fs::read_to_string(portal.path("access.jsonl")).unwrap();
    soon("the line is written", || !text().is_empty());
    assert!(lines(&text())[0].get("address").is_none());
}

#[test]
fn whoever_asks_hears_whether_it_is_well() {
    let mut portal = Portal::start(&[]);
    let folder = portal.data().parent().unwrap().to_owned();
    std::fs::write(folder.join("here.toml"), format!("address = '{}'", portal.address)).unwrap();
    assert!(says(&folder, &["health", "--config", "here.toml"], 0).contains("is well"));
    portal.terminate();
    assert!(says(&folder, &["--config", "here.toml", "health"], 1).contains("is not well"));
    assert!(says(&folder, &["healthy"], 2).contains("unrecognized"));
}

/// A small disk in memory, which ends with this value.
struct Disk(TempDir);

impl Disk {
    /// Nothing where that is not allowed.
    fn new(bytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=700"), "none"]).arg(folder.path());
        let mounted = mount.stdout(Stdio::null()).stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

#[test]
fn on_a_full_disk_it_says_so_and_keeps_what_was_promised() {
    let Some(disk) = Disk::new(64 << 20) else { return println!("skipped: nothing can be mounted here") };
    let data = disk.path().join("data");
    let mut portal = Portal::start(&[("data", data.to_str().unwrap())]);
    let mut ada = portal.administrator();
    let bytes = example("first-run.pcap");
    let key = ada.analyse(&portal, "default", &bytes);
    ada.done(&portal, &key);

    // Something else takes all that is left, a page at a time at last.
    let ballast = disk.path().join("ballast");
    let full = std::io::copy(&mut std::io::repeat(1), &mut std::fs::File::create(&ballast).unwrap()).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let stranger = portal.stranger();
    let wish = [("name", "ada"), ("password", "otter lamp river tin"), ("next", "/")];
    assert!(stranger.post(&portal, "/login", "/login", &wish).is(507).text().contains("no room"));
    let refused = ada.upload(&portal, "confirm=true", &bytes).is(507);
    assert!(refused.text().contains("disk"), "{}", refused.text());
    ada.call(&portal, "DELETE", &format!("/entries/{key}"), b"").is(507);
    assert!(ask(portal.address, "GET", "/healthz", "", b"").is(503).text().contains("cannot be written"));
    // What is there can be looked at.
    ada.get(&portal, &format!("/entries/{key}")).is(200);
    assert_eq!(ada.entry(&portal, &key)["state"], "done");

    // As if its power had gone just then.
    portal.kill();
    std::fs::remove_file(&ballast).unwrap();
    portal.again();
    portal.health();
    ada.log_in(&portal, "ada");
    assert_eq!(ada.entry(&portal, &key)["state"], "done");
    let another = ada.analyse(&portal, "default", &bytes);
    ada.done(&portal, &another);
    ada.call(&portal, "DELETE", &format!("/entries/{key}"), b"").is(204);
}
