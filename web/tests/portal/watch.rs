//! Folders that are watched: what is taken, what is refused, and what waits.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use veilwatch_web::accounts::Role;
use veilwatch_web::config::{Config, Keep, Watch};
use veilwatch_web::database::Db;

use crate::support::{Site, capture};

/// A folder, and a portal that watches it for `ada` and takes what is there at once.
fn watched(keep: Keep, change: impl FnOnce(&mut Config)) -> (TempDir, Site) {
    let folder = tempfile::tempdir().unwrap();
    let watch = Watch {
        folder: folder.path().to_owned(),
        account: "ada".to_owned(),
        category: Some("Routine check".to_owned()),
        keep,
        ..Watch::default()
    };
    let site = Site::with(|config| {
        config.watch.push(watch);
        config.watching.interval_seconds = 0;
        config.watching.unchanged_seconds = 0;
        config.watching.again_seconds = 0;
        change(config);
    });
    (folder, site)
}

/// Puts a file there as whoever does it well: written beside, then renamed.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    let part = folder.join(".part");
    fs::write(&part, bytes).unwrap();
    fs::rename(part, &path).unwrap();
    path
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_put_there_is_analysed_and_what_cannot_be_is_said() {
    let (folder, site) = watched(Keep::Move, |_| {});
    let folder = folder.path();
    // Nobody of that name is there yet: everything waits.
    let bytes = capture("first-run.pcap");
    let first = put(folder, "a\u{202e}\u{1b}[31m.pcap", &bytes);
    site.add("ada", Role::Administrator);
    let gone = |path: &Path| site.until("the file is taken away", || fs::symlink_metadata(path).is_err().then_some(()));
    gone(&first);
    let key = site.text("SELECT key FROM entries");
    assert_eq!(site.ended(&key), "done");
    assert_eq!(site.text("SELECT name FROM entries"), "a[31m.pcap");
    assert_eq!(site.text("SELECT c.name FROM entries e JOIN categories c ON c.id = e.category_id"), "Routine check");
    assert_eq!(site.number("SELECT count(*) FROM audit WHERE address = 'a watched folder' AND actor = 'ada'"), 2);
    // The same once more is the same entry.
    gone(&put(folder, "again.pcap", &bytes));
    assert_eq!(names(&folder.join("taken")).len(), 2, "by their own names");
    assert_eq!(site.number("SELECT count(*) FROM entries"), 1);

    // What is none, what is no file, and what may be somebody else's.
    let secret = site.folder.path().join("secret.pcap");
    fs::write(&secret, capture("ssh-greeting.pcap")).unwrap();
    let words = put(folder, "words.pcap", b"no capture at all");
    gone(&words);
    let link = folder.join("link.pcap");
    symlink(&secret, &link).unwrap();
    gone(&link);
    let pipe = folder.join("pipe.pcap");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    gone(&pipe);
    let hard = folder.join("hard.pcap");
    fs::hard_link(&secret, &hard).unwrap();
    gone(&hard);
    gone(&put(folder, "words.pcap", b"no capture, once more"));
    // Only the administrator of the computer can give a file away.
    let foreign = folder.join(".foreign");
    fs::write(&foreign, capture("benign-odd.pcap")).unwrap();
    let is_given_away = chown(&foreign, Some(12_345), None).is_ok();
    fs::rename(&foreign, folder.join("foreign.pcap")).unwrap();
    gone(&folder.join("foreign.pcap"));
    let refused = folder.join("refused");
    let said = |name: &str| fs::read_to_string(refused.join(name)).unwrap();
    assert!(said("words.pcap.txt").starts_with("words.pcap: It is no capture."));
    assert!(said("link.pcap.txt").contains("symbolic link"));
    assert!(said("pipe.pcap.txt").contains("pipe"));
    assert!(said("hard.pcap.txt").contains("more than one name"));
    if is_given_away {
        assert!(said("foreign.pcap.txt").contains("owned neither by"));
    }
    assert_eq!(names(&refused).len(), if is_given_away { 12 } else { 10 }, "{:?}", names(&refused));
    assert!(fs::symlink_metadata(refused.join("link.pcap")).unwrap().is_symlink());
    assert_eq!(fs::read(refused.join("words.pcap")).unwrap(), b"no capture at all", "nothing is overwritten");
    assert!(secret.exists());
    assert_eq!(site.number("SELECT count(*) FROM entries"), if is_given_away { 1 } else { 2 });
    assert_eq!(names(folder), ["refused", "taken"]);
}

#[test]
fn what_there_is_no_room_for_waits_and_is_taken_then() {
    let (one, two) = (capture("ssh-greeting.pcap"), capture("first-run.pcap"));
    let quota = one.len() as u64 + 10;
    let (folder, site) = watched(Keep::Delete, |config| {
        config.limits.quota_bytes = quota;
        config.worker.at_once = 0;
    });
    let account = site.add("ada", Role::Administrator);
    let (folder, me) = (folder.path(), site.session_of(&account));
    let kept = me.keep("by hand.pcap", &one);
    let path = put(folder, "two.pcap", &two[..one.len()]);
    let waits = |words: &str| site.until(words, || crate::support::logged().contains(words).then_some(()));
    waits("two.pcap waits: It would be more than your quota");
    assert!(path.exists());
    // Whoever is shut out uploads nothing, and says so by nobody.
    site.execute("UPDATE accounts SET disabled = 1");
    waits("the account \"ada\" is disabled");
    site.execute("UPDATE accounts SET disabled = 0");
    me.post("/", &format!("/entries/{kept}/delete"), &[]).is(303);
    site.until("it is taken", || (!path.exists()).then_some(()));
    assert_eq!(site.text("SELECT state FROM entries"), "queued");
    assert_eq!(names(folder), ["refused"]);

    // As if the portal had ended before the confirmation, and before the file was taken away.
    site.execute("UPDATE entries SET state = 'unconfirmed', pipeline = NULL");
    let path = put(folder, "two.pcap", &two[..one.len()]);
    site.until("it is found again", || (!path.exists()).then_some(()));
    assert_eq!(site.text("SELECT state FROM entries"), "queued");
    assert_eq!(site.number("SELECT count(*) FROM entries"), 1);
}

#[test]
fn what_is_larger_than_a_capture_may_be_is_not_read() {
    let (folder, site) = watched(Keep::Delete, |config| config.limits.upload_bytes = 100_000);
    site.add("ada", Role::Administrator);
    let folder = folder.path();
    // It says that it has a terabyte, and has holes: whoever reads it is busy for an hour.
    let part = folder.join(".part");
    fs::File::create(&part).unwrap().set_len(1 << 40).unwrap();
    fs::rename(part, folder.join("holes.pcap")).unwrap();
    let refused = folder.join("refused");
    site.until("it is refused", || refused.join("holes.pcap").exists().then_some(()));
    let said = fs::read_to_string(refused.join("holes.pcap.txt")).unwrap();
    assert!(said.starts_with("holes.pcap: It is larger than one capture may be, which is 100 kB."), "{said}");
    assert_eq!(site.number("SELECT count(*) FROM entries"), 0);
}

#[test]
fn who_takes_the_name_of_a_deleted_account_gets_nothing_of_its_folder() {
    let (folder, site) = watched(Keep::Delete, |config| {
        config.watch[0].account = "sensor".to_owned();
        config.worker.at_once = 0;
    });
    let administrator = site.add("ada", Role::Administrator);
    let (folder, admin) = (folder.path(), site.session_of(&administrator));
    let first = site.add("sensor", Role::Analyst);
    let noted = |account: i64| {
        let is_noted = format!("SELECT count(*) FROM watched WHERE name = 'sensor' AND account_id = {account}");
        site.until("the account is noted", || (site.number(&is_noted) == 1).then_some(()));
    };
    noted(first.id);
    let said = |words: &str| site.until(words, || crate::support::logged().contains(words).then_some(()));
    said("a watched folder belongs to this account from now on");
    // No round that still knows it is under way once that is said.
    admin.post("/people", &format!("/people/{}/disable", first.id), &[]).is(303);
    said("the account \"sensor\" is disabled");
    let path = put(folder, "secret.pcap", &capture("first-run.pcap"));
    admin.post("/people", &format!("/people/{}/delete", first.id), &[]).is(303);
    let second = site.add("sensor", Role::Analyst);
    said("the account \"sensor\" is not the one that this folder belonged to");
    assert!(path.exists());
    assert_eq!(site.number("SELECT count(*) FROM entries"), 0);
    assert_eq!(site.number("SELECT account_id FROM watched"), first.id);

    // As if the operator had named another account before.
    site.execute("UPDATE watched SET name = 'probe'");
    site.until("it is taken", || (!path.exists()).then_some(()));
    noted(second.id);
    assert_eq!(site.number("SELECT account_id FROM entries"), second.id);
}

#[test]
fn a_pipeline_that_was_written_in_the_portal_will_do() {
    let (folder, site) = watched(Keep::Delete, |config| {
        config.watch[0].pipeline = "mine".to_owned();
        fs::create_dir_all(&config.data).unwrap();
        let db = Db::open(&config.data.join("portal.sqlite")).unwrap();
        let written = "INSERT INTO pipelines (name) VALUES ('mine');
            INSERT INTO pipeline_versions (pipeline_id, version, text, words, saved_by, saved_at)
                VALUES (1, 1, 'model = \"default\"', '', 'ada', 1)";
        db.run_blocking(|connection| connection.execute_batch(written)).unwrap();
    });
    site.add("ada", Role::Analyst);
    let path = put(folder.path(), "one.pcap", &capture("ssh-greeting.pcap"));
    site.until("the file is taken away", || fs::symlink_metadata(&path).is_err().then_some(()));
    assert_eq!(site.text("SELECT pipeline || '@' || pipeline_version FROM entries"), "mine@1");
}
