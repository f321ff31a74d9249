//! `veilwatch collect`: a table of labelled rows grows, loses nothing, and teaches a model.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::{err, example, out, root, veilwatch};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use veilwatch::config::Config;
use veilwatch::engine::Pipeline;
use veilwatch::learn::{
    Added, Background, Collected, Collection, LoadOptions, Loading, Rounds, Truth, collect_rounds, read_table,
};
use veilwatch::plugins::Registry;

/// Arguments of any kind.
macro_rules! args {
    ($($arg:expr),* $(,)?) => { &[$(OsStr::new(&$arg)),*][..] };
}

/// Runs `collect` into a table; its status and what it said.
fn collect(label: &str, from: &[PathBuf], into: &Path, more: &[&OsStr]) -> (Option<i32>, String) {
    let from: Vec<&OsStr> = from.iter().map(|path| path.as_os_str()).collect();
    let args = [args!["collect", "--label", label, "--into", into, "--from"], &from[..], more].concat();
    err(&veilwatch(args))
}

/// The same, which must end well.
fn collected(label: &str, from: &[PathBuf], into: &Path, more: &[&OsStr]) -> String {
    let (status, said) = collect(label, from, into, more);
    assert_eq!(status, Some(0), "{said}");
    said
}

fn captures(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| example(name)).collect()
}

const BENIGN: [&str; 2] = ["benign-office.pcapng", "benign-odd.pcap"];
const MALICIOUS: [&str; 2] = ["malicious-beacon-tls12.pcap", "malicious-beacon-tls13.pcap"];

/// The names of all files in a folder.
fn files(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// The cells of a column, row by row.
fn column(table: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(table).unwrap();
    let mut reader = csv::Reader::from_reader(text.split_once('\n').unwrap().1.as_bytes());
    let at = reader.headers().unwrap().iter().position(|column| column == name).unwrap();
    reader.records().map(|record| record.unwrap()[at].to_owned()).collect()
}

fn untrained() -> Pipeline {
    Pipeline::untrained(Config::builtin().unwrap(), &mut Registry::with_builtins().unwrap()).unwrap()
}

#[test]
fn a_table_that_grew_is_one_that_was_made_at_once_and_teaches() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    collected("benign", &captures(&BENIGN), &at("once.csv"), &[]);
    let said = collected("malicious", &captures(&MALICIOUS), &at("once.csv"), &[]);
    assert!(said.contains("added 56 malicious rows of 2 captures"), "{said}");
    assert!(said.contains("4 captures; 56 malicious, 70 benign and 0 background flows (0 unlabelled)"), "{said}");
    for (label, names) in [("benign", BENIGN), ("malicious", MALICIOUS)] {
        for name in names {
            collected(label, &captures(&[name]), &at("grown.csv"), &[]);
        }
    }
    let [once, grown] = ["once.csv", "grown.csv"].map(|name| std::fs::read_to_string(at(name)).unwrap());
    assert!(once == grown, "the order of events shows");
    assert_eq!(files(folder.path()), BTreeSet::from(["once.csv", "grown.csv"].map(str::to_owned)));
    // These are the rows that `train` would learn from, were the captures named; of the data the table says what it holds.
    let [a, b] = BENIGN.map(example);
    let [c, d] = MALICIOUS.map(example);
    let (_, features) = out(&veilwatch(args!["features", "--benign", a, b, "--malicious", c, d]));
    let (first, rows) = once.split_once('\n').unwrap();
    assert!(rows == features.split_once('\n').unwrap().1);
    let word = |name: &str| first.split(' ').find_map(|word| word.strip_prefix(name)).unwrap().to_owned();
    assert_eq!(word("data="), word("rows="));
    assert_eq!(word("rows="), veilwatch::hash::sha256_hex(rows.as_bytes()));
    // Each row says which file it is of, and malicious ones what they are tied to.
    let hash = |name: &str| veilwatch::hash::sha256_hex(&std::fs::read(example(name)).unwrap());
    let hashes: BTreeSet<String> = column(&at("once.csv"), "sha256").into_iter().collect();
    assert_eq!(hashes, BENIGN.iter().chain(&MALICIOUS).map(|name| hash(name)).collect());
    for (label, ties) in column(&at("once.csv"), "label").iter().zip(column(&at("once.csv"), "ties")) {
        assert_eq!(label == "malicious", ties.contains("\"family malicious-beacon-tls1"), "{ties}");
    }

    // With this seed both benign captures are not in one fold.
    let trained = veilwatch(args!["train", "--table", at("grown.csv"), "--out", at("model"), "--seed", "2"]);
    let (status, said) = err(&trained);
    assert_eq!(status, Some(0), "{said}");
    let card: serde_json::Value = serde_json::from_slice(&std::fs::read(at("model/card.json")).unwrap()).unwrap();
    assert_eq!(card["training"]["data_sha256"], word("data="));
    assert_eq!(card["training"]["recipe"]["background_sha256"], word("background="));
    let (status, found) = out(&veilwatch(args!["detect", example("first-run.pcap"), "--model", at("model")]));
    assert_eq!(status, Some(1), "{found}");
    assert!(found.contains("\"verdict\":\"malicious\""), "{found}");
}

#[test]
fn a_capture_is_added_once_under_whatever_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let [office, odd] = BENIGN.map(example);
    let table = at("rows.csv");
    let packed = at("packed.pcap.gz");
    let mut gzip = flate2::write::GzEncoder::new(std::fs::File::create(&packed).unwrap(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &std::fs::read(&odd).unwrap()).unwrap();
    gzip.finish().unwrap();
    std::fs::copy(&odd, at("copy.pcap")).unwrap();
    // In one call.
    let said = collected("benign", &[odd.clone(), at("copy.pcap"), packed.clone()], &table, &[]);
    for name in ["benign/copy.pcap: the same", "benign/packed.pcap.gz: the same"] {
        assert!(said.contains(name), "{said}");
    }
    let before = std::fs::read(&table).unwrap();
    // And in another.
    for name in [&odd, &at("copy.pcap"), &packed] {
        let said = collected("benign", std::slice::from_ref(name), &table, &[]);
        assert!(said.contains("is in the table already") && said.contains("added no rows"), "{said}");
        assert!(std::fs::read(&table).unwrap() == before);
    }
    // Others beside it are added all the same.
    let said = collected("benign", &[packed.clone(), office.clone()], &table, &[]);
    assert!(
        said.contains("packed.pcap.gz: it is in the table already, as benign/benign-odd.pcap; passed over"),
        "{said}"
    );
    assert!(said.contains("of 1 captures") && said.contains(": 2 captures;"), "{said}");
    // It has one label, and who says another one learns of it.
    let before = std::fs::read(&table).unwrap();
    for label in ["malicious", "background", "unlabelled"] {
        let (status, said) = collect(label, &[packed.clone(), example(MALICIOUS[0])], &table, &[]);
        assert_eq!(status, Some(2));
        assert!(said.contains(&format!("and benign there, not {label}")), "{said}");
        assert!(std::fs::read(&table).unwrap() == before);
    }
    // Another capture under the same name is another capture.
    std::fs::create_dir(at("other")).unwrap();
    std::fs::copy(example("first-run.pcap"), at("other/benign-odd.pcap")).unwrap();
    let said = collected("benign", &[at("other/benign-odd.pcap")], &table, &[]);
    assert!(said.contains("added 39 benign rows of 1 captures") && said.contains(": 3 captures;"), "{said}");
}

#[test]
fn what_is_said_of_captures_is_in_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let [beacon, newer] = MALICIOUS.map(example);
    std::fs::create_dir_all(at("bad/dridex")).unwrap();
    std::fs::copy(&newer, at("bad/dridex/x.pcap")).unwrap();
    collected("malicious", &[at("bad")], &at("a.csv"), &[]);
    collected("malicious", &[beacon], &at("a.csv"), args!["--family", "zeus", "--source", "lab", "--packets", "200"]);
    let said = |name| column(&at("a.csv"), name).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(said("family"), BTreeSet::from(["dridex", "zeus"].map(str::to_owned)));
    assert_eq!(said("source"), BTreeSet::from(["dridex", "lab"].map(str::to_owned)));
    assert!(said("ties").iter().any(|ties| ties.contains("\"family zeus\"")));
    let last = column(&at("a.csv"), "packet").last().unwrap().parse::<u64>().unwrap();
    assert!(last <= 200, "{last}");
    // A family is malware's.
    let office = captures(&["benign-office.pcapng"]);
    let (status, said) = collect("benign", &office, &at("b.csv"), args!["--family", "zeus"]);
    assert!(status == Some(2) && said.contains("benign captures have none"), "{said}");
    let (status, said) = collect("good", &office, &at("b.csv"), &[]);
    assert!(status == Some(2) && said.contains("`good` is no label"), "{said}");
    assert!(!at("b.csv").exists());
    // Only flows of TLS have rows; where there are none, that is said.
    let said = collected("unlabelled", &captures(&["ssh-greeting.pcap", "benign-odd.pcap"]), &at("c.csv"), &[]);
    assert!(
        said.contains("unlabelled/ssh-greeting.pcap: no flow of it has a row") && said.contains("\"tls\""),
        "{said}"
    );
    assert!(said.contains("0 malicious, 0 benign and 0 background"), "{said}");
    // What is no capture is said too; where there is nothing else, there is no table.
    let readme = example("README.md");
    let (status, said) = collect("benign", std::slice::from_ref(&readme), &at("d.csv"), &[]);
    assert!(status == Some(2) && said.contains("README.md: no capture") && !at("d.csv").exists(), "{said}");
    let (status, said) = collect("benign", &[readme, example("benign-odd.pcap")], &at("d.csv"), &[]);
    assert!(status == Some(3) && said.contains("README.md: no capture") && at("d.csv").exists(), "{said}");
    if common::filters() {
        let said = collected("benign", &office, &at("e.csv"), args!["--filter", "tcp port 1"]);
        assert!(said.contains("no flow of it has a row"), "{said}");
    }
}

#[test]
fn what_is_no_table_of_this_pipeline_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let odd = captures(&["benign-odd.pcap"]);
    collected("benign", &odd, &at("good.csv"), &[]);
    let good = std::fs::read_to_string(at("good.csv")).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let table = at("table.csv");
    let refused = |text: &str, more: &[&OsStr], words: &str| {
        std::fs::write(&table, text).unwrap();
        let (status, said) = collect("benign", &captures(&["benign-office.pcapng"]), &table, more);
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(words) && said.contains("table.csv"), "{words} is not in {said}");
        assert_eq!(std::fs::read_to_string(&table).unwrap(), text);
        assert_eq!(files(folder.path()), BTreeSet::from(["good.csv", "table.csv"].map(str::to_owned)));
    };
    for foreign in ["", "a,b\n1,2\n", "#\n", &good[1..]] {
        refused(foreign, &[], "this is no table of");
    }
    refused(&good.replacen("features-2", "features-1", 1), &[], "another version of this program wrote it");
    // Cut within the first line, the header, a row, and after one.
    refused(&good[..60], &[], "other features");
    refused(&good[..lines[0].len() + 9], &[], "columns are not those");
    refused(&good[..good.len() - 300], &[], "");
    refused(&(lines[..lines.len() - 1].join("\n") + "\n"), &[], "changed or cut since it was written");
    refused(&good.replacen("benign/", "benign-", 1), &[], "changed or cut since it was written");
    refused(&good, args!["--config", "blind"], "other features");
    refused(&good, args!["--clean", "none"], "one table, one `--clean`");
    // Wherever it is cut.
    let pipeline = untrained();
    for end in (0..good.len()).step_by(good.len() / 97).chain([good.len() - 1]) {
        std::fs::write(&table, &good[..end]).unwrap();
        assert!(Collection::open(&table, &pipeline).is_err(), "{end}");
        assert_eq!(std::fs::metadata(&table).unwrap().len(), end as u64);
    }
    // The same table of background traffic by another name.
    let mine = root().join("config/training/background.toml");
    collected("benign", &captures(&["benign-office.pcapng"]), &at("good.csv"), args!["--clean", mine]);
    std::fs::remove_file(&table).unwrap();
    std::fs::create_dir(&table).unwrap();
    let (status, said) = collect("benign", &odd, &table, &[]);
    assert!(status == Some(2) && said.contains("no regular file"), "{said}");
    // A table that nothing cleaned goes on without.
    collected("benign", &odd, &at("raw.csv"), args!["--clean", "none"]);
    collected("malicious", &captures(&MALICIOUS), &at("raw.csv"), &[]);
    assert!(std::fs::read_to_string(at("raw.csv")).unwrap().contains(" background= "));
}

#[test]
fn a_full_disk_or_a_crash_leaves_the_old_table() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let table = at("rows.csv");
    collected("benign", &captures(&["benign-odd.pcap"]), &table, &[]);
    let before = std::fs::read(&table).unwrap();
    let only = BTreeSet::from(["rows.csv".to_owned()]);
    let office = example("benign-office.pcapng");
    // No file may grow beyond 40 KB: with the signal ignored, writing fails as on a full disk; else the process dies over it.
    assert!(before.len() > 60_000, "{}", before.len());
    let limited = |first: &str| {
        let script = format!(
            "{first} ulimit -c 0; ulimit -f 40; exec \"$0\" collect --label benign --into \"$1\" --from \"$2\""
        );
        let mut command = Command::new("bash");
        let program = env!("CARGO_BIN_EXE_veilwatch");
        command.args(args!["-c", script, program, table, office]).current_dir(root()).output().unwrap()
    };
    let full = limited("trap '' XFSZ;");
    let (status, said) = err(&full);
    assert!(status == Some(2) && said.contains("nothing was added"), "{said}");
    assert!(std::fs::read(&table).unwrap() == before);
    assert_eq!(files(folder.path()), only);
    let killed = limited("");
    assert_eq!(killed.status.code(), None, "{}", err(&killed).1);
    assert!(std::fs::read(&table).unwrap() == before);
    assert!(files(folder.path()).len() > 1, "it was killed before it wrote");
    // What it left is in nobody's way.
    std::fs::set_permissions(&table, PermissionsExt::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("rows.csv", at("link.csv")).unwrap();
    collected("benign", std::slice::from_ref(&office), &at("link.csv"), &[]);
    assert!(std::fs::read(&table).unwrap() > before);
    assert_eq!(std::fs::metadata(&table).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(at("link.csv").is_symlink());
    std::fs::remove_file(at("link.csv")).unwrap();
    assert_eq!(files(folder.path()), only);
    // Where no file can be made, nothing is read for nothing.
    let before = std::fs::read(&table).unwrap();
    let refused = |table: &Path, words: &str| {
        let (status, said) = collect("malicious", &captures(&MALICIOUS), table, &[]);
        assert!(status == Some(2) && said.contains(words), "{said}");
    };
    std::fs::create_dir(at(".rows.csv.new")).unwrap();
    refused(&table, "nothing was added");
    std::fs::remove_dir(at(".rows.csv.new")).unwrap();
    refused(&at("nowhere/rows.csv"), "nothing can be written beside it");
    refused(Path::new("/proc/rows.csv"), "nothing can be written beside it");
    if nix::unistd::geteuid().is_root() {
        eprintln!("skipped: a read-only folder is none to root");
    } else {
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o500)).unwrap();
        refused(&table, "nothing can be written beside it");
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
    }
    // Nor while somebody else adds to it.
    let pipeline = untrained();
    let mut held = Collection::open(&table, &pipeline).unwrap();
    refused(&table, "somebody else is adding");
    assert!(std::fs::read(&table).unwrap() == before);
    // What could not be written is written the next time.
    let what = Collected { paths: captures(&MALICIOUS), truth: Truth::Malicious, family: None, source: None };
    let background = Background::builtin().unwrap();
    let options = LoadOptions { workers: 1, background: Some(&background), ..LoadOptions::default() };
    let mut add = || held.add(&what, &pipeline, &options, &Loading::default());
    std::fs::create_dir(at(".rows.csv.new")).unwrap();
    assert!(add().is_err() && std::fs::read(&table).unwrap() == before);
    std::fs::remove_dir(at(".rows.csv.new")).unwrap();
    assert_eq!(add().unwrap().known.len(), 2);
    assert_eq!(read_table(&table, &pipeline).unwrap().count(Truth::Malicious), 56);
    drop(held);
    assert_eq!(files(folder.path()), only);
}

#[test]
fn rounds_are_captures_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pipeline = untrained();
    let options = LoadOptions { workers: 1, ..LoadOptions::default() };
    let rounds =
        Rounds { count: 5, interface: "eth0.7", truth: Truth::Malicious, family: None, source: None, keep: None };
    // The second round brings nothing, and after the fourth somebody asks for the end.
    let from = ["malicious-beacon-tls12.pcap", "", "malicious-beacon-tls13.pcap", "first-run.pcap", "benign-odd.pcap"];
    let mut recorded = Vec::new();
    let mut record = |round: u32, into: &Path| {
        recorded.push(into.to_owned());
        let from = from[round as usize - 1];
        if !from.is_empty() {
            std::fs::copy(example(from), into)?;
        }
        Ok(if round == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    let mut told: Vec<(u32, Added)> = Vec::new();
    let mut collection = Collection::open(&at("live.csv"), &pipeline).unwrap();
    let mut tell = |round, added: &Added| {
        // Each is in the table before the next begins.
        let rows = column(&at("live.csv"), "label").len();
        told.push((round, added.clone()));
        assert_eq!(rows, told.iter().flat_map(|(_, added)| added.rows.values()).sum::<usize>());
    };
    collect_rounds(&mut collection, &rounds, &pipeline, &options, &mut record, &mut tell).unwrap();
    assert!(told.iter().map(|(round, added)| (*round, added.captures)).eq([(1, 1), (3, 1), (4, 1)]), "{told:?}");
    drop(collection);
    let names: Vec<String> =
        recorded.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names.len(), 4);
    let (begin, end) = names[3].split_once(" round ").unwrap();
    assert_eq!(end, "4.pcapng");
    begin.strip_prefix("eth0_7 ").unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(files(folder.path()), BTreeSet::from(["live.csv".to_owned()]), "live traffic is gone");
    let data = read_table(&at("live.csv"), &pipeline).unwrap();
    let paths: Vec<&str> = data.captures.iter().map(|capture| capture.path.as_str()).collect();
    assert_eq!(paths, [0, 2, 3].map(|round| format!("malicious/{}", names[round])));
    assert!(data.captures.iter().all(|capture| capture.family == "eth0.7" && capture.source == "eth0.7"));
    // By the rows they are what the files are.
    collected("malicious", &captures(&[from[0], from[2], from[3]]), &at("files.csv"), args!["--clean", "none"]);
    for name in ["time_ns", "label", "flow", "pair", "sha256"] {
        assert!(column(&at("live.csv"), name) == column(&at("files.csv"), name), "{name}");
    }
    let data = read_table(&at("files.csv"), &pipeline).unwrap().values;
    let live = read_table(&at("live.csv"), &pipeline).unwrap().values;
    assert!(data.iter().map(|value| value.to_bits()).eq(live.iter().map(|value| value.to_bits())));
}

#[test]
fn what_rounds_brought_before_an_error_stays() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pipeline = untrained();
    let options = LoadOptions { workers: 1, ..LoadOptions::default() };
    let rounds = Rounds {
        count: 3,
        interface: "lo",
        truth: Truth::Benign,
        family: Some("nobody's"),
        source: Some("my desk"),
        keep: Some(&at("kept")),
    };
    let mut record = |round: u32, into: &Path| {
        if round == 2 {
            return Err("the cable is gone".into());
        }
        std::fs::copy(example("benign-odd.pcap"), into)?;
        Ok(ControlFlow::Continue(()))
    };
    let mut collection = Collection::open(&at("live.csv"), &pipeline).unwrap();
    let failed = collect_rounds(&mut collection, &rounds, &pipeline, &options, &mut record, &mut |_, _| ());
    let message = failed.unwrap_err().to_string();
    assert!(message == "lo, round 2: the cable is gone", "{message}");
    drop(collection);
    let data = read_table(&at("live.csv"), &pipeline).unwrap();
    assert_eq!((data.captures.len(), data.count(Truth::Benign)), (1, data.rows.len()));
    assert_eq!((data.captures[0].family.as_str(), data.captures[0].source.as_str()), ("", "my desk"));
    // The capture is kept, and is known when somebody names it.
    assert_eq!(files(&at("kept")).len(), 1);
    assert_eq!(std::fs::metadata(at("kept")).unwrap().permissions().mode() & 0o777, 0o700);
    let said = collected("benign", &[at("kept")], &at("live.csv"), &[]);
    assert!(said.contains("is in the table already; passed over"), "{said}");
    assert_eq!(files(folder.path()), BTreeSet::from(["kept", "live.csv"].map(str::to_owned)));
}

/// The commands of `models/README.md`, run as they stand.
#[test]
fn the_document_is_true() {
    let document = std::fs::read_to_string(root().join("models/README.md")).unwrap();
    let section = document.split_once("\n## A table that grows\n").unwrap().1;
    let commands = section.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = BENIGN;
    let [three, four] = MALICIOUS;
    for (from, to) in [
        // Under these names they are in two folds.
        (one, "good/office/a.pcapng"),
        (two, "good/devices/b.pcap"),
        (three, "bad/dridex/a.pcap"),
        (four, "bad/trickbot/b.pcap"),
        ("first-run.pcap", "capture.pcap"),
    ] {
        let to = folder.path().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(example(from), to).unwrap();
    }
    let mut statuses = Vec::new();
    for command in commands.lines() {
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(words[0], "veilwatch");
        let program = env!("CARGO_BIN_EXE_veilwatch");
        let output = Command::new(program).args(&words[1..]).current_dir(folder.path()).output().unwrap();
        statuses.push(output.status.code().unwrap_or_else(|| panic!("{command}")));
        assert!(output.status.code() != Some(2), "{command}: {}", err(&output).1);
    }
    // The last one finds what is malicious.
    assert_eq!(statuses, [0, 0, 0, 1]);
}
