//! Backups of a portal that works: taken while people upload, analyse and delete, and put back.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::portal::{Person, Portal, example, soon};

/// Runs the program with these arguments.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_veilwatch-web")).args(arguments).env_clear().current_dir(folder).output().unwrap()
}

/// The same, if it ends with this status; what it says.
#[track_caller]
pub(crate) fn says(folder: &Path, arguments: &[&str], status: i32) -> String {
    let output = run(folder, arguments);
    let words = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {words}");
    words
}

/// Everything that can be saved of an entry.
fn downloads(portal: &Portal, person: &Person, key: &str) -> Vec<Vec<u8>> {
    ["capture", "flows.jsonl", "flows.csv", "report.html"]
        .map(|name| person.get(portal, &format!("/entries/{key}/{name}")).is(200).body)
        .into()
}

#[test]
fn a_backup_under_load_restores_to_the_same_results() {
    let portal = Portal::start(&[]);
    let ada = portal.administrator();
    let captures = ["first-run.pcap", "benign-odd.pcap", "malicious-beacon-tls13.pcap"].map(example);
    let quiet: Vec<String> = captures.iter().map(|bytes| ada.analyse(&portal, "default", bytes)).collect();
    let mut expected = BTreeMap::new();
    for key in &quiet {
        let entry = ada.done(&portal, key);
        expected.insert(entry["sha256"].to_string(), (entry["analysed"].clone(), ada.lines(&portal, key)));
    }

    // People upload the same and other captures, have them analysed, and delete some, while backups are taken.
    let (enough, deleted) = (AtomicBool::new(false), AtomicUsize::new(0));
    let backups = ["one", "two.tar", "three"];
    std::thread::scope(|scope| {
        let (portal, ada, captures, enough, deleted) = (&portal, &ada, &captures, &enough, &deleted);
        for part in 0..2 {
            scope.spawn(move || {
                let mut round = part;
                while !enough.load(Ordering::Relaxed) {
                    // Not the same as before: its capture goes with its only entry.
                    let mut bytes = captures[round % 3].clone();
                    let more = format!("{part}-{round}");
                    if round % 2 == 0 {
                        bytes.extend_from_slice(more.as_bytes());
                    }
                    let created = ada.upload(portal, "confirm=true", &bytes).is(201).json();
                    let key = created["key"].as_str().unwrap();
                    if round % 3 == 0 {
                        ada.call(portal, "DELETE", &format!("/entries/{key}"), b"").is(204);
                        deleted.fetch_add(1, Ordering::Relaxed);
                    }
                    round += 1;
                }
            });
        }
        for (at, backup) in backups.iter().enumerate() {
            soon("some more was deleted", || deleted.load(Ordering::Relaxed) > 2 * at);
            let words = says(portal.data().parent().unwrap(), &["backup", backup], 0);
            assert!(words.contains(" entries, "), "{words}");
        }
        enough.store(true, Ordering::Relaxed);
    });
    let still: BTreeMap<String, Vec<Vec<u8>>> = {
        let entries = ada.entries(&portal);
        let keys = entries.iter().map(|entry| entry["key"].as_str().unwrap().to_owned());
        keys.map(|key| {
            ada.done(&portal, &key);
            let saved = downloads(&portal, &ada, &key);
            (key, saved)
        })
        .collect()
    };

    for backup in &backups[1..] {
        let mode = std::fs::metadata(portal.path(backup)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if backup.ends_with(".tar") { 0o600 } else { 0o700 });
        let from = portal.path(backup);
        let mut done_before = Vec::new();
        let again = Portal::restored(|folder| {
            says(folder, &["restore", from.to_str().unwrap(), "--data", "data"], 0);
            says(folder, &["check", "--hashes"], 0);
            let database = rusqlite::Connection::open(folder.join("data/portal.sqlite")).unwrap();
            let mut rows = database.prepare("SELECT key FROM entries WHERE state = 'done'").unwrap();
            let rows = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
            done_before = rows.collect::<Result<_, _>>().unwrap();
        });
        assert!(done_before.len() >= quiet.len());
        let mut ada = ada.again();
        // A session that a backup held would let somebody in who has logged out since.
        assert_ne!(ada.get(&again, "/account").status, 200);
        ada.log_in(&again, "ada");
        let entries = ada.entries(&again);
        assert!(entries.len() >= quiet.len());
        let mut same = 0;
        for entry in &entries {
            let key = entry["key"].as_str().unwrap();
            let done = ada.done(&again, key);
            if let Some((analysed, lines)) = expected.get(&done["sha256"].to_string()) {
                assert_eq!((&done["analysed"], &ada.lines(&again, key)), (analysed, lines));
            }
            if let Some(saved) = still.get(key) {
                // Whatever was not done yet is analysed once more: to the same result, at another time.
                let names = if done_before.iter().any(|done| done == key) { saved.len() } else { saved.len() - 1 };
                assert!(downloads(&again, &ada, key)[..names] == saved[..names], "{done}");
                same += 1;
            }
        }
        assert!(same >= quiet.len(), "{same} of {}", entries.len());
        // What was deleted after the backup is there again; every capture is, too.
        says(again.data().parent().unwrap(), &["check", "--hashes"], 0);
    }
}

#[test]
fn a_restore_refuses_a_folder_in_use_and_a_half_restored_folder_is_no_portals() {
    let mut portal = Portal::start(&[]);
    let folder = portal.data().parent().unwrap().to_owned();
    says(&folder, &["backup", "b"], 0);
    assert!(says(&folder, &["restore", "b", "--data", "data"], 2).contains("is in use"));
    assert!(says(&folder, &["backup", "b"], 2).contains("is there already"));
    assert!(says(&folder, &["backup", "data/b"], 2).contains("must lie elsewhere"));
    portal.terminate();
    assert!(says(&folder, &["restore", "b", "--data", "data"], 2).contains("is not empty"));
    std::fs::create_dir_all(folder.join("half/restoring")).unwrap();
    std::fs::write(folder.join("half.toml"), "data = 'half'\naddress = '127.0.0.1:0'").unwrap();
    assert!(says(&folder, &["--config", "half.toml"], 2).contains("was broken off"));
}

#[test]
fn a_start_does_not_take_a_missing_or_older_database_for_the_truth() {
    let mut portal = Portal::start(&[]);
    let ada = portal.administrator();
    ada.done(&portal, &ada.analyse(&portal, "default", &example("first-run.pcap")));
    let folder = portal.data().parent().unwrap().to_owned();
    portal.terminate();
    let config = |name: &str, more: &str| {
        std::fs::write(folder.join(name), format!("data = 'data'\naddress = '127.0.0.1:0'\n{more}")).unwrap();
        ["--config".to_owned(), name.to_owned()]
    };
    let refused = |config: [String; 2]| says(&folder, &[&config[0], &config[1]], 2);
    // A folder that is watched is emptied: the portal's own is none.
    for of_data in ["data", "data/captures", "."] {
        let words = refused(config("watch.toml", &format!("[[watch]]\nfolder = '{of_data}'\naccount = 'ada'")));
        assert!(words.contains("name another folder"), "{of_data}: {words}");
    }
    let database = folder.join("data/portal.sqlite");
    std::fs::rename(&database, folder.join("away")).unwrap();
    assert!(refused(config("plain.toml", "")).contains("but no portal.sqlite"));
    assert!(!database.exists());
    std::fs::rename(folder.join("away"), &database).unwrap();
    // Captures of a day that this database knows nothing of.
    for n in 0..65 {
        std::fs::write(folder.join(format!("data/captures/{n:064x}")), "one").unwrap();
    }
    assert!(refused(config("plain.toml", "")).contains("65 captures and results"));
    assert_eq!(std::fs::read_dir(folder.join("data/captures")).unwrap().count(), 66);
}

#[test]
fn a_check_says_what_is_damaged() {
    let portal = Portal::start(&[]);
    let ada = portal.administrator();
    let keys = ["first-run.pcap", "benign-odd.pcap"].map(|name| ada.analyse(&portal, "default", &example(name)));
    keys.iter().for_each(|key| drop(ada.done(&portal, key)));
    let folder = portal.data().parent().unwrap().to_owned();
    let words = says(&folder, &["check", "--hashes"], 0);
    assert!(words.contains("is whole: 2 entries, 2 captures, database of version"), "{words}");
    let capture = portal.data().join("captures").join(&portal.files("captures")[0]);
    let mut bytes = std::fs::read(&capture).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&capture, bytes).unwrap();
    says(&folder, &["check"], 0);
    assert!(says(&folder, &["check", "--hashes"], 1).contains("has another content"));
    let result = portal.data().join(format!("results/{}.sqlite", keys[0]));
    std::fs::write(&result, "no result").unwrap();
    let words = says(&folder, &["check"], 1);
    assert!(words.contains("damaged: results/") && words.contains("is damaged: "), "{words}");
    assert!(says(&folder, &["backup", "b"], 1).contains("is damaged, and not in the backup"));
}
