//! Training and evaluation, end to end, on a small labelled folder made of the captures that ship with the project.
//!
//! The models made here are thrown away: the shipped captures train nothing that is kept.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests count as tests")]

mod common;

use common::{err, example, out, veilwatch};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

/// A training folder: two malware families, three benign captures.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let captures = [
        ("a.pcap", "malicious-beacon-tls12.pcap", "malicious", "old"),
        ("b.pcap", "malicious-beacon-tls13.pcap", "malicious", "new"),
        ("c.pcap", "benign-office.pcapng", "benign", ""),
        ("d.pcap", "benign-odd.pcap", "benign", ""),
        ("broken.pcap", "README.md", "benign", ""),
    ];
    let mut table = "path,kind,family,source\n".to_owned();
    let mut flows = "path,time,client,client_port,server,server_port,label,confidence,family\n".to_owned();
    for (name, from, kind, family) in captures {
        std::fs::copy(example(from), folder.path().join(name)).unwrap();
        let _ = writeln!(table, "{name},{kind},{family},{name}");
        if kind == "malicious" {
            let (_, text) = out(&veilwatch([
                Path::new("detect"),
                &example(from),
                "--all".as_ref(),
                "--format".as_ref(),
                "jsonl".as_ref(),
            ]));
            for line in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
                if line["tls"].is_null() {
                    continue;
                }
                let time: f64 = line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_nanosecond()
                    as f64
                    / 1e9;
                let text = |key: &str| line[key].as_str().map_or(line[key].to_string(), str::to_owned);
                let (from, to) = (text("src_ip"), text("dest_ip"));
                let (a, b) = (text("src_port"), text("dest_port"));
                let _ = writeln!(flows, "{name},{time},{from},{a},{to},{b},malicious,ioc,{family}");
            }
        }
    }
    std::fs::write(folder.path().join("captures.csv"), table).unwrap();
    std::fs::write(folder.path().join("flows.csv"), flows).unwrap();
    folder
}

/// The default pipeline with a small classifier, so that the test is quick.
fn config(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("small.toml");
    let text = veilwatch::config::EXAMPLE.replace("trees = 250 ", "trees = 20 ");
    assert_ne!(text, veilwatch::config::EXAMPLE);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_model_is_trained_judged_used_and_made_again() {
    let data = folder();
    let config = config(data.path());
    let at = |name: &str| data.path().join(name);
    let args = |out: &Path| {
        [
            "train".into(),
            "--data".into(),
            data.path().to_owned(),
            "--out".into(),
            out.to_owned(),
            "--config".into(),
            config.clone(),
        ]
    };
    let done = veilwatch(args(&at("one")));
    let (status, messages) = err(&done);
    assert_eq!(status, Some(0), "{messages}");
    assert!(messages.contains("broken.pcap: no capture, left out"), "{messages}");
    assert_eq!(veilwatch(args(&at("two"))).status.code(), Some(0));
    for file in ["weights.bin", "memory.bin", "card.json"] {
        let [one, two] = ["one", "two"].map(|model| {
            std::fs::read_to_string(at(model).join(file)).map_err(|_| std::fs::read(at(model).join(file)).unwrap())
        });
        // Only the model's name differs.
        assert!(one.map(|card| card.replace("\"one\"", "\"two\"")) == two, "{file} differs between two trainings");
    }
    let card: Value = serde_json::from_slice(&std::fs::read(at("one/card.json")).unwrap()).unwrap();
    assert_eq!(card["training"]["malicious_pairs"], 4);
    assert!(card["report"]["average_precision"]["value"].is_f64());

    let judge = |more: &[&str]| -> Value {
        let args = ["evaluate", "--json", "--data"].iter().map(std::path::PathBuf::from);
        let args = args.chain([data.path().to_owned(), "--config".into(), config.clone()]);
        let judged = veilwatch(args.chain(more.iter().map(std::path::PathBuf::from)));
        serde_json::from_slice(&judged.stdout).unwrap_or_else(|_| panic!("{}", err(&judged).1))
    };
    let report = judge(&[]);
    let figures = &report["protocols"][0]["levels"][0]["against"][0]["figures"];
    assert_eq!(
        figures["average_precision"], card["report"]["average_precision"],
        "training and evaluation must tell the same"
    );
    assert_eq!(report["folds"], 2);
    // So little cannot be audited, and is not to be quoted.
    assert!(report["headline"].is_null() && report["report"].is_null() && report["audit"]["measured"] == false);
    assert!(
        report["withheld"][0].as_str().unwrap().starts_with("label_shuffle: not measured"),
        "{}",
        report["withheld"]
    );
    assert!(report["table"][0]["name"].as_str().unwrap().ends_with(" on small"), "{}", report["table"]);
    // A planted leak goes the whole way, though altered captures and other sets have no such column.
    let planted = judge(&["--plant", "label"]);
    assert!(planted["audit"].is_object() && planted["robustness"] == serde_json::json!([]), "{planted}");

    let used = |model: &Path| {
        veilwatch([
            Path::new("detect"),
            &example("benign-odd.pcap"),
            "--model".as_ref(),
            model,
            "--all".as_ref(),
            "--config".as_ref(),
            &config,
        ])
    };
    let first = used(&at("one"));
    assert!(out(&first).1.contains("\"score\":0."), "{} {}", err(&first).1, out(&first).1);

    // A model whose weights were changed is refused.
    let mut weights = std::fs::read(at("one/weights.bin")).unwrap();
    let middle = weights.len() / 2;
    weights[middle] ^= 1;
    std::fs::write(at("one/weights.bin"), weights).unwrap();
    let (status, message) = err(&used(&at("one")));
    assert_eq!(status, Some(2));
    assert!(message.contains("not those that its card names"), "{message}");
}

#[test]
fn a_folder_without_tables_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let (status, message) = err(&veilwatch(["evaluate".as_ref(), "--data".as_ref(), empty.path()]));
    assert_eq!(status, Some(2));
    assert!(message.contains("captures.csv"), "{message}");
}

/// Runs a command that must end well; what it wrote.
fn done(args: &[&std::ffi::OsStr]) -> (Vec<u8>, String) {
    let done = veilwatch(args);
    let (status, messages) = err(&done);
    assert_eq!(status, Some(0), "{messages}");
    (done.stdout, messages)
}

/// Arguments of any kind.
macro_rules! args {
    ($($arg:expr),* $(,)?) => { &[$(std::ffi::OsStr::new($arg)),*][..] };
}

#[test]
fn a_table_teaches_what_its_captures_do() {
    let data = folder();
    let config = config(data.path());
    let at = |name: &str| data.path().join(name);
    let (from, small) = (data.path(), config.as_path());
    let (table, _) = {
        let written = veilwatch(args!["features", "--data", from, "--config", small]);
        // One capture cannot be read.
        assert_eq!(written.status.code(), Some(3));
        (written.stdout, ())
    };
    std::fs::write(at("rows.csv"), &table).unwrap();
    done(args!["train", "--data", from, "--config", small, "--out", &at("x/m")]);
    done(args!["train", "--table", &at("rows.csv"), "--config", small, "--out", &at("y/m")]);
    for file in ["weights.bin", "memory.bin", "card.json"] {
        let [one, two] = ["x/m", "y/m"].map(|model| std::fs::read(at(model).join(file)).unwrap());
        assert!(one == two, "{file} differs between captures and their table");
    }
    // A table that somebody changed stands for itself.
    let text = String::from_utf8(table).unwrap();
    std::fs::write(at("changed.csv"), text.trim_end().rsplit_once('\n').unwrap().0).unwrap();
    done(args!["train", "--table", &at("changed.csv"), "--config", small, "--out", &at("z/m")]);
    let hash = |model: &str| -> Value {
        let card: Value = serde_json::from_slice(&std::fs::read(at(model).join("card.json")).unwrap()).unwrap();
        card["training"]["data_sha256"].clone()
    };
    assert_ne!(hash("y/m"), hash("z/m"));
    // One of other features is refused, and so is what is no table.
    std::fs::write(at("other.csv"), text.replacen("schema=", "schema=0", 1)).unwrap();
    std::fs::write(at("none.csv"), "a,b\n1,2\n").unwrap();
    // Whatever numbers pairs have, they are the same pairs; and no malicious row is tied to nothing.
    let (first, rest) = text.split_once('\n').unwrap();
    let changed = |change: &dyn Fn(usize, &str) -> String| {
        let (mut reader, mut writer) =
            (csv::Reader::from_reader(rest.as_bytes()), csv::Writer::from_writer(Vec::new()));
        writer.write_record(reader.headers().unwrap()).unwrap();
        for record in reader.records() {
            writer.write_record(record.unwrap().iter().enumerate().map(|(at, cell)| change(at, cell))).unwrap();
        }
        format!("{first}\n{}", String::from_utf8(writer.into_inner().unwrap()).unwrap())
    };
    let renumbered = changed(&|at, cell| match at {
        3 => (usize::MAX - cell.parse::<usize>().unwrap()).to_string(),
        _ => cell.to_owned(),
    });
    std::fs::write(at("renumbered.csv"), renumbered).unwrap();
    done(args!["train", "--table", &at("renumbered.csv"), "--config", small, "--out", &at("r/m")]);
    assert!(
        ["y/m", "r/m"]
            .map(|model| std::fs::read(at(model).join("weights.bin")).unwrap())
            .windows(2)
            .all(|two| two[0] == two[1])
    );
    std::fs::write(at("loose.csv"), changed(&|at, cell| if at == 5 { String::new() } else { cell.to_owned() }))
        .unwrap();
    let refused = |sources: &[&std::ffi::OsStr], word: &str| {
        let no = at("no");
        let rest = args!["--config", small, "--out", &no];
        let (status, messages) = err(&veilwatch([args!["train"], sources, rest].concat()));
        assert_eq!(status, Some(2));
        assert!(messages.contains(word), "{messages}");
    };
    refused(args!["--table", &at("other.csv")], "with other features");
    refused(args!["--table", &at("none.csv")], "this is no table");
    refused(args!["--table", &at("loose.csv")], "tied to nothing");
    // What is there already is not learnt twice, under whatever name.
    refused(args!["--table", &at("rows.csv"), &at("changed.csv")], "is there already");
    refused(args!["--data", from, "--table", &at("rows.csv")], "is there already");
    let (_, messages) =
        done(args!["train", "--data", from, "--benign", &at("c.pcap"), "--config", small, "--out", &at("w/m")]);
    assert!(messages.contains("benign/c.pcap: the same capture as another, left out"), "{messages}");
}

#[test]
fn a_card_is_enough_to_make_its_model_again() {
    let data = folder();
    let config = config(data.path());
    let at = |name: &str| data.path().join(name);
    let (from, small) = (data.path(), config.as_path());
    let grid = "inner_folds = 2\n[classifier.\"classifier/ensemble\"]\nmax_depth = [1, 3]\n";
    std::fs::write(at("grid.toml"), grid).unwrap();
    let (_, messages) = done(args![
        "train",
        "--data",
        from,
        "--config",
        small,
        "--out",
        &at("one"),
        "--seed",
        "7",
        "--pair-weight",
        "2",
        "--positive-share",
        "0.5",
        "--negatives",
        "benign",
        "--heuristic",
        "0.1",
        "--clean",
        "default",
        "--augment",
        "hide=certificates:0.5,loss=0.05:0.5",
        "--search",
        "--grid",
        &at("grid.toml"),
    ]);
    assert!(messages.contains("searching 2 combinations"), "{messages}");
    assert!(messages.contains("altered copies"), "{messages}");
    let (_, messages) =
        done(args!["train", "--from", &at("one/card.json"), "--data", from, "--config", small, "--out", &at("two")]);
    assert!(!messages.contains("other data"), "{messages}");
    for file in ["weights.bin", "memory.bin", "card.json"] {
        let [one, two] = ["one", "two"].map(|model| std::fs::read(at(model).join(file)).unwrap());
        assert!(one == two, "{file} differs from what its card made");
    }
    let card: Value = serde_json::from_slice(&std::fs::read(at("one/card.json")).unwrap()).unwrap();
    assert_eq!(card["training"]["recipe"]["augment"][0], "hide=certificates:0.5");
    assert_eq!(card["training"]["pair_weight"], 2.0);
    // A card may be anybody's.
    let text = std::fs::read_to_string(at("one/card.json")).unwrap();
    std::fs::write(at("odd.json"), text.replace("\"inner_folds\": 2", "\"inner_folds\": 0")).unwrap();
    let (status, messages) =
        err(&veilwatch(args!["train", "--from", &at("odd.json"), "--data", from, "--config", small, "--out", "x"]));
    assert_eq!(status, Some(2));
    assert!(messages.contains("inner_folds must be"), "{messages}");
    // Its recipe does something: without it other weights come out.
    done(args!["train", "--data", from, "--config", small, "--out", &at("plain"), "--seed", "7"]);
    let [one, plain] = ["one", "plain"].map(|model| std::fs::read(at(model).join("weights.bin")).unwrap());
    assert!(one != plain);
    let (status, messages) = err(&veilwatch(args!["train", "--data", from, "--augment", "hide=all:0.5", "--out", "x"]));
    assert_eq!(status, Some(2));
    assert!(messages.contains("hide=certificates"), "{messages}");
}

#[test]
fn two_folders_teach_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, from) in [
        ("bad/old/a.pcap", "malicious-beacon-tls12.pcap"),
        ("bad/b.pcap", "malicious-beacon-tls13.pcap"),
        ("good/c.pcap", "benign-office.pcapng"),
        ("good/d.pcap", "benign-odd.pcap"),
        ("good/again.pcap", "benign-odd.pcap"),
    ] {
        std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        std::fs::copy(example(from), at(name)).unwrap();
    }
    // So many that every fold has some: the same with other snap lengths in their headers.
    for snaplen in 1..8 {
        let mut capture = std::fs::read(example("benign-odd.pcap")).unwrap();
        capture[16] ^= snaplen;
        std::fs::write(at(&format!("good/{snaplen}.pcap")), capture).unwrap();
    }
    let config = config(folder.path());
    let table = "[[rule]]\nid = \"all\"\nwords = \"\"\nports = [\"tcp/4443\"]\n";
    std::fs::write(at("rules.toml"), table).unwrap();
    let (bad, good, small) = (&at("bad"), &at("good"), config.as_path());
    let card = |model: &str| -> Value {
        serde_json::from_slice(&std::fs::read(at(model).join("card.json")).unwrap()).unwrap()
    };
    let sources = args!["train", "--malicious", bad, "--benign", good, "--config", small];
    let (text, messages) = done(&[sources, args!["--out", &at("m"), "--clean", "none"]].concat());
    assert!(String::from_utf8(text).unwrap().contains("old"), "a folder names its family");
    assert!(messages.contains("benign/d.pcap: the same capture as another"), "{messages}");
    let (_, messages) =
        done(&[sources, args!["--out", &at("n"), "--clean", &at("rules.toml"), "--report-cleaning"]].concat());
    assert!(messages.contains("that were malicious, by rule all"), "{messages}");
    assert!(messages.contains("cleaned,") && messages.contains("not cleaned"), "{messages}");
    let count = |model: &str, kind: &str| card(model)["training"][kind].as_u64().unwrap();
    assert_eq!(count("m", "background_flows"), 0);
    assert!(count("n", "background_flows") > 0);
    assert_eq!(
        count("m", "malicious_flows"),
        count("n", "malicious_flows") + count("n", "background_flows"),
        "what was cleaned is the machines' own"
    );
    // A table of them teaches the same, cleaning included.
    let (rows, _) = done(&[args!["features", "--clean", &at("rules.toml")], &sources[1..]].concat());
    std::fs::write(at("rows.csv"), rows).unwrap();
    done(args!["train", "--table", &at("rows.csv"), "--config", small, "--out", &at("again/n")]);
    for file in ["weights.bin", "memory.bin", "card.json"] {
        let [one, two] = ["n", "again/n"].map(|model| std::fs::read(at(model).join(file)).unwrap());
        assert!(one == two, "{file} differs between captures and their table");
    }
    // Beside captures that nothing cleaned it would make a card that is wrong of one of the two.
    let beside = [at("good"), at("rows.csv"), at("no")];
    let (status, messages) = err(&veilwatch(args![
        "train", "--benign", &beside[0], "--table", &beside[1], "--config", small, "--out", &beside[2]
    ]));
    assert_eq!(status, Some(2));
    assert!(messages.contains("not cleaned by the same table"), "{messages}");
    // Without anything to learn from there is a word on how to name it.
    let (status, messages) = err(&veilwatch(args!["train", "--out", &at("x")]));
    assert_eq!(status, Some(2));
    assert!(messages.contains("--benign and --malicious"), "{messages}");
}

#[test]
fn packet_tables_are_judged_and_learnt_from() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut tables = ["good.csv", "bad.csv"].map(|name| (name, String::new()));
    for (which, (name, text)) in tables.iter_mut().enumerate() {
        for host in 0..60 {
            for packet in 0..4 {
                let (words, port) =
                    if which == 0 { ("TLS / TLS Application Data", 443) } else { ("Raw", 8080 + host % 3) };
                let _ = writeln!(
                    text,
                    "2021-04-25 14:17:2{packet},10.0.0.{host},192.0.2.{host},{},Ether / IP / TCP a > b PA / {words},50869,{port},TCP,x",
                    100 + packet * 10 + host
                );
            }
        }
        std::fs::write(at(name), &*text).unwrap();
    }
    let (good, bad) = (&at("good.csv"), &at("bad.csv"));
    let (table, messages) = done(args!["evaluate", "--import", good, bad]);
    let table = String::from_utf8(table).unwrap();
    assert!(messages.contains("240 packets in 60 conversations; 0 rows not understood"), "{messages}");
    for word in ["random forest", "91.01", "34.03", "boosted trees", "two places apart"] {
        assert!(table.contains(word), "{table}");
    }
    let again = done(args!["evaluate", "--import", good, bad]).0;
    assert_eq!(table.as_bytes(), again, "seeded");
    let report: Value = serde_json::from_slice(&done(args!["evaluate", "--import", good, bad, "--json"]).0).unwrap();
    let ours = report["table"].as_array().unwrap().iter().find(|row| row["name"] == "boosted trees").unwrap();
    assert!(ours["figures"]["f1"].as_f64().unwrap() > 0.9, "{ours}");

    let config = config(folder.path());
    done(args!["train", "--import", good, bad, "--config", &config, "--out", &at("m")]);
    let card: Value = serde_json::from_slice(&std::fs::read(at("m/card.json")).unwrap()).unwrap();
    assert!(card["training"]["split"].as_str().unwrap().contains("imported packet tables"), "{card}");
    let (status, messages) =
        err(&veilwatch(args!["detect", &example("first-run.pcap"), "--model", &at("m"), "--config", &config]));
    assert_eq!(status, Some(2));
    assert!(messages.contains("other features"), "{messages}");
}

/// A mark as the portal exports it.
fn marked(capture: &str, line: &Value, label: &str) -> String {
    let time = line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let text = |key: &str| line[key].as_str().map_or(line[key].to_string(), str::to_owned);
    format!(
        "{capture},{}.{:09},{},{},{},{},{label},source,,,because,ada,2026-01-01T00:00:00Z\n",
        time.as_second(),
        time.subsec_nanosecond(),
        text("src_ip"),
        text("src_port"),
        text("dest_ip"),
        text("dest_port")
    )
}

const MARKS: &str = "path,time,client,client_port,server,server_port,label,confidence,family,sni,words,by,at\n";

/// Trained, used, marked, exported, and trained again with the marks: scores go where people said, and nobody's word passes
/// unseen over a label.
#[test]
fn what_people_say_is_learnt_and_conflicts_are_shown() {
    let data = folder();
    let config = config(data.path());
    let at = |name: &str| data.path().join(name);
    let (from, small) = (data.path(), config.as_path());
    let detected = |model: &Path, capture: &Path| -> Vec<Value> {
        let args = args!["detect", capture, "--model", model, "--all", "--format", "jsonl", "--config", small];
        let (_, text) = out(&veilwatch(args));
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["score"].is_f64() && line["event_type"] == "flow").collect()
    };
    done(args!["train", "--data", from, "--config", small, "--out", &at("x/m")]);
    let capture = example("first-run.pcap");
    let before = detected(&at("x/m"), &capture);
    let score = |line: &Value| line["score"].as_f64().unwrap();
    let worst = before.iter().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
    let best = before.iter().min_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
    assert!(score(worst) > 0.5 && score(best) < 0.3, "{worst} {best}");
    // The export names the capture by its hash, and that is what counts, whatever the file is called.
    let marks = at("marks");
    std::fs::create_dir(&marks).unwrap();
    std::fs::copy(&capture, marks.join("seen.pcap")).unwrap();
    let hash = {
        use sha2::Digest;
        sha2::Sha256::digest(std::fs::read(&capture).unwrap()).iter().fold(String::new(), |mut hash, byte| {
            let _ = write!(hash, "{byte:02x}");
            hash
        })
    };
    let table = format!("path,kind,family,source,sha256_original\nseen.pcap,malicious,f,portal,{hash}\n");
    std::fs::write(marks.join("captures.csv"), table).unwrap();
    let same = |of: &Value, line: &&Value| line["dest_ip"] == of["dest_ip"];
    let mut rows = MARKS.to_owned();
    before.iter().filter(|line| same(worst, line)).for_each(|line| rows += &marked("seen.pcap", line, "benign"));
    before.iter().filter(|line| same(best, line)).for_each(|line| rows += &marked("seen.pcap", line, "malicious"));
    std::fs::write(marks.join("flows.csv"), &rows).unwrap();
    let count = rows.lines().count() - 1;
    let (_, said) = done(args![
        "train",
        "--data",
        from,
        "--config",
        small,
        "--out",
        &at("y/m"),
        "--feedback",
        &marks,
        "--mark-weight",
        "3",
    ]);
    assert!(said.contains(&format!("{count} marks: ")) && said.contains(" 0 contradict labels"), "{said}");
    let after = detected(&at("y/m"), &capture);
    let now = |of: &Value| score(after.iter().find(|line| line["flow_id"] == of["flow_id"]).unwrap());
    assert!(now(worst) < score(worst), "{} is not below {}", now(worst), score(worst));
    assert!(now(best) > score(best), "{} is not above {}", now(best), score(best));
    let card: Value = serde_json::from_slice(&std::fs::read(at("y/m/card.json")).unwrap()).unwrap();
    assert_eq!(card["training"]["recipe"]["feedback"]["learnt"], count);
    assert_eq!(card["training"]["recipe"]["feedback"]["weight"], 3.0);
    // Marks score nothing: what is told of the model is told of the same flows.
    let plain: Value = serde_json::from_slice(&std::fs::read(at("x/m/card.json")).unwrap()).unwrap();
    for key in ["malicious_pairs", "benign_pairs", "background_pairs"] {
        assert_eq!(card["report"][key], plain["report"][key]);
    }
    assert!(plain["training"]["recipe"].get("feedback").is_none());
    // The same again from the card; with other marks, or none, it is refused.
    done(args![
        "train",
        "--data",
        from,
        "--config",
        small,
        "--out",
        &at("z/m"),
        "--feedback",
        &marks,
        "--from",
        &at("y/m"),
    ]);
    for file in ["weights.bin", "card.json"] {
        assert!(std::fs::read(at("y/m").join(file)).unwrap() == std::fs::read(at("z/m").join(file)).unwrap(), "{file}");
    }
    let refused = |args: &[&std::ffi::OsStr], says: &[&str]| {
        let (status, message) = err(&veilwatch(args));
        assert_eq!(status, Some(2), "{message}");
        says.iter().for_each(|part| assert!(message.contains(part), "{part} is not in {message}"));
    };
    let (wanted, card) = (at("w/m"), at("y/m"));
    let again = args!["train", "--data", from, "--config", small, "--out", &wanted, "--from", &card].to_vec();
    refused(&again, &["learnt from marks"]);
    // A strong label that says otherwise: by the name of the capture, since this table knows no hash.
    let benign = detected(&at("x/m"), &at("c.pcap"));
    let contrary = at("contrary.csv");
    std::fs::write(&contrary, MARKS.to_owned() + &marked("c.pcap", &benign[0], "malicious")).unwrap();
    let train = args!["train", "--data", from, "--config", small, "--out", &wanted, "--feedback", &contrary].to_vec();
    refused(&train, &["1 contradict labels", "c.pcap", "ada", "2026-01-01", "because", "--on-conflict"]);
    refused(&[&again[..], args!["--feedback", &contrary]].concat(), &["others than those"]);
    assert!(!at("w").exists());
    let (_, said) = done(&[&train[..], args!["--on-conflict", "mark"]].concat());
    assert!(said.contains("1 malicious and 0 benign ones are learnt from"), "{said}");
}

#[test]
fn a_model_remembers_what_it_learnt_from() {
    let data = folder();
    let (config, model) = (config(data.path()), data.path().join("m"));
    let at = |name: &str| data.path().join(name);
    done(args!["train", "--data", data.path(), "--out", &model, "--config", &config]);
    let detect = |capture: &str, config: &Path| -> Vec<Value> {
        let detected = veilwatch(args!["detect", &at(capture), "--all", "--model", &model, "--config", config]);
        out(&detected).1.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let novelty = |line: &Value| line["novelty"].as_f64().unwrap();
    let scored =
        |lines: &[Value]| -> Vec<Value> { lines.iter().filter(|line| line["score"].is_f64()).cloned().collect() };
    // What was learnt from is not new, and alerts are nearest to malware.
    let seen = scored(&[detect("a.pcap", &config), detect("d.pcap", &config)].concat());
    assert!(!seen.is_empty() && seen.iter().all(|line| novelty(line) < 1.0 && line["novel"].is_null()), "{seen:?}");
    let alerts = seen.iter().filter(|line| line["nearest"].is_array());
    for alert in alerts.clone() {
        let near = &alert["nearest"][0];
        assert!(near["label"] == "malicious" && alert["verdict"] != "benign", "{alert}");
        assert!(near["distance"].as_f64().unwrap() < 0.3, "{alert}");
    }
    // Both families are made by the same hand, and some of their flows are alike.
    assert!(alerts.clone().any(|alert| alert["nearest"][0]["family"] == "old"));

    // Where everything counts as new, what would be benign is unknown, and alerts stay alerts.
    let text = std::fs::read_to_string(model.join("card.json")).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let mut card: Value = serde_json::from_str(&text).unwrap();
        change(card.as_object_mut().unwrap());
        std::fs::write(model.join("card.json"), card.to_string()).unwrap();
    };
    // Another capture, which nothing was learnt from; thresholds high enough for odd flows to lie below.
    std::fs::copy(example("first-run.pcap"), at("other.pcap")).unwrap();
    let high = |card: &mut serde_json::Map<String, Value>| {
        card.insert("thresholds".into(), serde_json::json!({ "suspicious": 0.975, "malicious": 0.98 }));
    };
    with(&high);
    let seen = scored(&[detect("a.pcap", &config), detect("d.pcap", &config), detect("other.pcap", &config)].concat());
    let limit = seen.iter().map(novelty).filter(|novelty| *novelty > 0.0).fold(1.0, f64::min);
    with(&|card| {
        high(card);
        card.insert("novelty_limit".into(), (limit / 2.0).into());
    });
    let lines = [detect("a.pcap", &config), detect("d.pcap", &config), detect("other.pcap", &config)].concat();
    let (mut unknown, mut told) = (0, 0);
    for (now, before) in scored(&lines).iter().zip(&seen) {
        let becomes = if novelty(now) > 0.0 && before["verdict"] == "benign" {
            "unknown"
        } else {
            before["verdict"].as_str().unwrap()
        };
        assert_eq!(now["verdict"], becomes, "{now}");
        assert_eq!(now["novel"] == true, novelty(now) > 0.0);
        unknown += u64::from(becomes == "unknown");
    }
    for sum in lines.iter().filter(|line| line["event_type"] == "summary") {
        told += sum["unknown"].as_u64().unwrap_or_default();
    }
    assert!(unknown > 0 && unknown == told, "{unknown} flows, and the last lines say {told}");
    let sure = at("sure.toml");
    let plain = std::fs::read_to_string(&config).unwrap().replace("unknown = true ", "unknown = false ");
    std::fs::write(&sure, plain).unwrap();
    assert!(detect("d.pcap", &sure).iter().all(|line| line["verdict"] != "unknown"));

    // So few flows tell nothing of drift; the command says so, and what would.
    let drift = |more: &[&std::ffi::OsStr]| {
        let (c, d) = (at("c.pcap"), at("d.pcap"));
        let all = args!["model", "drift", &c, &d, "--model", &model, "--config", &config];
        veilwatch([all, more].concat())
    };
    let (status, text) = out(&drift(&[]));
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, told["state"].as_str()), (Some(2), Some("unclear")), "{text}");
    assert!(told["flows"].as_u64().unwrap() > 0 && told["needed"].as_u64().unwrap() >= 100, "{text}");
    let (_, words) = out(&drift(args!["--format", "table"]));
    assert!(words.starts_with("unclear: there are too few flows to tell"), "{words}");

    // A memory that is another one is refused; a card that names none has none, and all else works.
    let memory = std::fs::read(model.join("memory.bin")).unwrap();
    assert!(memory.len() < 1 << 20);
    std::fs::write(model.join("memory.bin"), &memory[1..]).unwrap();
    let refused = |words: &str| {
        let (status, message) = err(&veilwatch(args!["detect", &at("d.pcap"), "--model", &model, "--config", &config]));
        assert!(status == Some(2) && message.contains(words), "{message}");
    };
    refused("memory.bin cannot be used: it is not the one that the card names");
    std::fs::remove_file(model.join("memory.bin")).unwrap();
    refused("memory.bin: ");
    with(&|card| {
        card.remove("memory_sha256");
        card.remove("novelty_limit");
    });
    let old = scored(&detect("d.pcap", &config));
    assert!(!old.is_empty() && old.iter().all(|line| line["novelty"].is_null() && line["score"].is_f64()));
    let (status, message) = err(&drift(&[]));
    assert!(status == Some(2) && message.contains("does not remember"), "{message}");
}
