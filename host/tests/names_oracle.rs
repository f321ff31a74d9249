//! DNS, SSH and what is recognised by content, over real captures: what we read is what it was when it was last held
//! against tshark.
//!
//! `oracle/names.py` does that; its list of differences stands in `oracle/names-differences.md`. What we say of each capture
//! stands as a count and a hash in `oracle/names.tsv`, and this test fails when it is another: then run the script again.

// All of this file is a test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod common;

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use veilwatch::output::FlowLines;
use veilwatch::plugins::Registry;
use veilwatch::source::Source;

/// What only has to be there.
const THERE: [&str; 12] =
    ["ntp", "dhcp", "snmp", "sip", "smb", "rdp", "stun", "bittorrent", "wireguard", "openvpn", "dns", "ssh"];

/// Two endpoints, in order, and what carries their flows.
type Pair = (String, (String, u64), (String, u64));

/// What flows of a pair of endpoints say together.
#[derive(Default)]
struct Facts {
    there: BTreeSet<String>,
    numbers: BTreeMap<&'static str, u64>,
    texts: BTreeMap<&'static str, String>,
    asked: bool,
    addresses: BTreeSet<String>,
    banners: BTreeMap<&'static str, String>,
}

impl Facts {
    fn take(&mut self, line: &Value) {
        let fields = &line["fields"];
        let dns = &line["dns"];
        for (name, key) in [("dns.queries", "queries"), ("dns.responses", "responses")] {
            *self.numbers.entry(name).or_default() += dns[key].as_u64().unwrap_or(0);
        }
        if let Some(name) = dns["rrname"].as_str() {
            if dns["queries"] != 0 && !self.asked {
                self.asked = true;
                self.texts.remove("dns.rrname");
                self.texts.remove("dns.rrtype");
            }
            self.first("dns.rrname", name);
            self.first("dns.rrtype", dns["rrtype"].as_str().unwrap());
        }
        if let Some(code) = dns["rcode"].as_str() {
            self.first("dns.rcode", code);
        }
        for answer in dns["answers"].as_array().into_iter().flatten() {
            self.addresses.insert(answer["rdata"].as_str().unwrap().to_owned());
        }
        for (side, hassh) in [("client", "ssh.client.hassh"), ("server", "ssh.server.hassh")] {
            let text = |name: &str| fields[format!("ssh.{side}.{name}")].as_str().filter(|text| !text.is_empty());
            if let Some(version) = text("proto_version") {
                let software = text("software_version").map(|text| format!("-{text}")).unwrap_or_default();
                let comments = text("comments").map(|text| format!(" {text}")).unwrap_or_default();
                self.banners.entry(side).or_insert(format!("SSH-{version}{software}{comments}"));
            }
            if let Some(hash) = text("hassh.hash") {
                self.first(hassh, hash);
            }
        }
    }

    fn first(&mut self, name: &'static str, text: &str) {
        self.texts.entry(name).or_insert_with(|| text.to_owned());
    }

    /// Name and value of each fact.
    fn lines(mut self) -> Vec<String> {
        let join = |texts: BTreeSet<String>, by: &str| texts.into_iter().collect::<Vec<_>>().join(by);
        if !self.addresses.is_empty() {
            self.texts.insert("dns.addresses", join(self.addresses, " "));
        }
        if !self.banners.is_empty() {
            let mut banners: Vec<String> = self.banners.into_values().collect();
            banners.sort();
            self.texts.insert("ssh.banners", banners.join(" / "));
        }
        let numbers = self.numbers.into_iter().filter(|(_, number)| *number > 0).map(|(name, n)| format!("{name}={n}"));
        let texts = self.texts.into_iter().map(|(name, text)| format!("{name}={text}"));
        self.there.into_iter().map(|name| format!("{name}=there")).chain(numbers).chain(texts).collect()
    }
}

struct Lines<'a> {
    lines: &'a FlowLines,
    pairs: BTreeMap<Pair, Facts>,
}

impl Sink for Lines<'_> {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        let mut line = Vec::new();
        self.lines.flow(detection, &mut line)?;
        let line: Value = serde_json::from_slice(&line)?;
        let named = line["app_proto"].as_str().filter(|name| THERE.contains(name));
        // What was handed over has another's name.
        let has = |field: &str, name: &'static str| line["fields"].get(field).map(|_| name);
        let behind = [has("rdp.requested_protocols", "rdp"), has("stun.type", "stun"), has("stun.answer", "stun")];
        if named.is_none() && behind.iter().all(Option::is_none) {
            return Ok(());
        }
        let end = |ip: &str, port: &str| (line[ip].as_str().unwrap().to_owned(), line[port].as_u64().unwrap());
        let mut ends = [end("src_ip", "src_port"), end("dest_ip", "dest_port")];
        ends.sort();
        let [one, other] = ends;
        let facts = self.pairs.entry((line["proto"].as_str().unwrap().to_owned(), one, other)).or_default();
        facts.there.extend(named.into_iter().chain(behind.into_iter().flatten()).map(str::to_owned));
        facts.take(&line);
        Ok(())
    }
}

/// What we say of a capture: how many facts, and a hash over them.
fn look(pipeline: &Pipeline, capture: &Path) -> (usize, String) {
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let lines = FlowLines::new(None, pipeline.config().output.text_bytes);
    let mut sink = Lines { lines: &lines, pairs: BTreeMap::new() };
    let Ok(source) = Source::open(capture, &pipeline.config().input) else { return (0, String::new()) };
    let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
    run(pipeline, source, options, &mut sink).unwrap();
    let mut all = Vec::new();
    for ((proto, one, other), facts) in sink.pairs {
        let pair = format!("{proto} {}:{} {}:{}", one.0, one.1, other.0, other.1);
        all.extend(facts.lines().into_iter().map(|fact| format!("{pair} {fact}\n")));
    }
    all.sort();
    let digest = Sha256::digest(all.concat().as_bytes());
    (all.len(), digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

#[test]
fn names_are_what_they_were_when_tshark_was_asked() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = here.join("../../shared/data");
    if !folder.is_dir() {
        println!("skipped: ../shared/data is not there");
        return;
    }
    let pipeline = Pipeline::untrained(common::protocols(), &mut Registry::with_builtins().unwrap()).unwrap();
    let oracle = std::fs::read_to_string(here.join("tests/oracle/names.tsv")).unwrap();
    let rows: Vec<[&str; 3]> =
        oracle.lines().map(|line| line.split('\t').collect::<Vec<_>>().try_into().unwrap()).collect();
    let (next, others, facts) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some([capture, count, hash]) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (now, digest) = look(&pipeline, &folder.join(capture));
                    facts.fetch_add(now, Ordering::Relaxed);
                    if (now.to_string().as_str(), digest.as_str()) != (*count, *hash) {
                        others.lock().unwrap().push(format!("{capture}: {count} facts, now {now}"));
                    }
                }
            });
        }
    });
    let facts = facts.into_inner();
    println!("{} captures, {facts} facts", rows.len());
    assert!(rows.len() > 500 && facts > 50_000, "{facts} facts in {} captures", rows.len());
    assert_eq!(others.into_inner().unwrap(), Vec::<String>::new(), "run `oracle/names.py` again");
}
