//! Backups of a small data folder: what is deleted meanwhile, what is damaged, and backups that lie.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::manifest::{MANIFEST, Manifest};
use super::*;
use crate::database;
use crate::uploads::testing::{NOW, Place};

/// A name that takes both fields of an archive's header.
fn long_name() -> String {
    format!("models/{}/{}/weights.bin", "a".repeat(40), "b".repeat(64))
}

struct Yard {
    place: Place,
    outside: tempfile::TempDir,
}

impl Yard {
    /// Three entries: one done, one with the same capture, one of another capture.
    fn new() -> Self {
        let mut place = Place::new();
        let ada = place.account("ada");
        let [done, _, _] = [&b"one"[..], b"one", b"two"].map(|bytes| place.keep(ada, bytes));
        place.done(&done);
        place.set(&done, "result_bytes = 8, index_bytes = 5");
        fs::write(place.folders.index(&done), "index").unwrap();
        let secret = place.folder.path().join("secret");
        fs::write(&secret, "s").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(place.folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir_all(place.folder.path().join("models/mine")).unwrap();
        fs::write(place.folder.path().join("models/mine/weights.bin"), "w").unwrap();
        let deep = place.folder.path().join(long_name());
        fs::create_dir_all(deep.parent().unwrap()).unwrap();
        fs::write(deep, "deep").unwrap();
        fs::write(place.folder.path().join("incoming/half"), "h").unwrap();
        fs::write(place.folder.path().join("lock"), "").unwrap();
        Self { place, outside: tempfile::tempdir().unwrap() }
    }

    fn data(&self) -> &Path {
        self.place.folder.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    fn take(&self, name: &str) -> Taken {
        take(self.data(), &self.path(name), NOW, &Progress::default()).unwrap()
    }

    fn restore(&self, name: &str, to: &str) -> Result<Restored, BackupError> {
        restore(&self.path(name), &self.path(to), &Progress::default())
    }

    /// How a restore of this is refused; nothing is left of it.
    #[track_caller]
    fn refused(&self, name: &str) -> String {
        let error = self.restore(name, "refused").unwrap_err();
        assert!(!self.path("refused").exists(), "{error}");
        error.to_string()
    }
}

/// All files below a folder with their content and rights.
fn all(folder: &Path) -> Vec<(String, Vec<u8>, u32)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let (entry, path) = entry.map(|entry| (entry.file_type().unwrap(), entry.path())).unwrap();
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            if entry.is_dir() {
                assert_eq!(mode, 0o700, "{}", path.display());
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read(&path).unwrap(), mode));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_backup_has_what_belongs_to_it_and_comes_back_as_a_folder_and_as_a_file() {
    let yard = Yard::new();
    let taken = [yard.take("a"), yard.take("b.tar")];
    assert_eq!(taken[0], taken[1]);
    assert_eq!((taken[0].entries, taken[0].files, taken[0].has_secret), (3, 8, true));
    assert!(taken[0].findings.is_empty(), "{:?}", taken[0].findings);
    assert_eq!(fs::metadata(yard.path("b.tar")).unwrap().permissions().mode() & 0o777, 0o600);
    let mut restored = [yard.restore("a", "x").unwrap(), yard.restore("b.tar", "y").unwrap()];
    // The result is no real one, and the check says so; nothing else is wrong.
    for restored in &mut restored {
        let findings = std::mem::take(&mut restored.findings);
        assert!(findings.count == 1 && findings.words[0].starts_with("results/"), "{findings:?}");
    }
    assert_eq!(restored[0], restored[1]);
    assert_eq!((restored[0].entries, restored[0].taken_at, restored[0].has_secret), (3, NOW, true));
    let (x, y) = (all(&yard.path("x")), all(&yard.path("y")));
    let names: Vec<&str> = x.iter().map(|(name, ..)| name.as_str()).filter(|name| !name.contains('/')).collect();
    assert_eq!(names, ["lock", "portal.sqlite", "secret"]);
    assert_eq!(x.len(), 9);
    assert!(x.iter().all(|(.., mode)| *mode == 0o600));
    // Two copies of a database differ in its own counters alone.
    let without = |files: Vec<(String, Vec<u8>, u32)>| {
        files.into_iter().filter(|(name, ..)| name != database::FILE).collect::<Vec<_>>()
    };
    assert_eq!(without(x), without(y));
    assert_eq!(fs::read(yard.path("x/models/mine/weights.bin")).unwrap(), b"w");
    assert_eq!(fs::read(yard.path("y").join(long_name())).unwrap(), b"deep");
    // Nothing half is left behind.
    assert_eq!(fs::read_dir(yard.outside.path()).unwrap().count(), 4);
}

#[test]
fn what_was_deleted_meanwhile_is_not_in_it() {
    let mut yard = Yard::new();
    let ada: i64 = yard.place.number("SELECT min(id) FROM accounts");
    let late = yard.place.keep(ada, b"three");
    yard.place.done(&late);
    yard.place.set(&late, "result_bytes = 8");
    // Its rows are gone a moment later than the copy of the database: the copy is made of another database then.
    let before = tempfile::tempdir().unwrap();
    let kept = yard.take("kept");
    assert_eq!(kept.entries, 4);
    fs::copy(yard.path("kept/portal.sqlite"), before.path().join("portal.sqlite")).unwrap();
    let now = yard.data().join("portal.sqlite");
    let source = crate::database::read_only(&before.path().join("portal.sqlite")).unwrap();
    let deleted =
        crate::entries::delete(&mut yard.place.connection, ada, late.as_str(), &crate::uploads::testing::actor(), NOW)
            .unwrap();
    crate::uploads::remove(&mut yard.place.connection, &yard.place.folders, &deleted).unwrap();
    let take = |yard: &Yard, name: &str| {
        let now = crate::database::read_only(&now).unwrap();
        take::take_between(yard.data(), &yard.path(name), NOW, &Progress::default(), &source, now).unwrap()
    };
    let taken = take(&yard, "a");
    assert_eq!((taken.entries, taken.deleted, taken.findings.count), (3, 1, 0));
    let restored = yard.restore("a", "x").unwrap();
    assert_eq!(restored.entries, 3);
    let checked = check(&yard.path("x"), true, &Progress::default()).unwrap();
    assert_eq!((checked.captures, checked.entries), (2, 3));
    // A timer took a capture meanwhile, and its entries go on without.
    let sha256: String =
        yard.place.connection.query_row("SELECT min(sha256) FROM captures", [], |row| row.get(0)).unwrap();
    let gone = "UPDATE entries SET capture_gone_at = 5, index_bytes = NULL WHERE sha256 = ?1";
    yard.place.connection.execute(gone, [&sha256]).unwrap();
    fs::remove_file(yard.place.folders.capture(&sha256.parse().unwrap())).unwrap();
    let taken = take(&yard, "b");
    assert_eq!((taken.entries, taken.deleted, taken.findings.count), (3, 1, 0));
    yard.restore("b", "y").unwrap();
    let checked = check(&yard.path("y"), true, &Progress::default()).unwrap();
    assert_eq!((checked.captures, checked.entries), (1, 3));
}

#[test]
fn what_was_damaged_before_is_said_and_costs_nothing_else() {
    let yard = Yard::new();
    let captures = yard.place.files("captures");
    fs::write(&captures[0], "bad").unwrap();
    fs::remove_file(&captures[1]).unwrap();
    for name in ["a", "b.tar"] {
        let taken = yard.take(name);
        assert_eq!((taken.entries, taken.findings.count), (3, 2), "{:?}", taken.findings);
        let restored = yard.restore(name, &format!("{name}-restored")).unwrap();
        assert_eq!((restored.entries, restored.findings.count), (3, 3), "{:?}", restored.findings);
    }
}

#[test]
fn a_backup_is_written_over_nothing_and_restored_into_nothing() {
    let yard = Yard::new();
    let again = |data: &Path, to: &Path| take(data, to, NOW, &Progress::default());
    yard.take("a");
    assert!(matches!(again(yard.data(), &yard.path("a")), Err(BackupError::Exists(_))));
    assert!(matches!(again(yard.data(), &yard.data().join("a")), Err(BackupError::Inside(_))));
    assert!(matches!(again(&yard.path("nowhere"), &yard.path("b")), Err(BackupError::NoData(_))));
    let into = |data: &Path| restore(&yard.path("a"), data, &Progress::default());
    fs::create_dir(yard.path("full")).unwrap();
    fs::write(yard.path("full/x"), "x").unwrap();
    assert!(matches!(into(&yard.path("full")), Err(BackupError::NotEmpty(_))));
    let lock = fs::File::open(yard.data().join("lock")).unwrap();
    lock.try_lock().unwrap();
    assert!(matches!(into(yard.data()), Err(BackupError::InUse(_))));
    fs::create_dir(yard.path("empty")).unwrap();
    into(&yard.path("empty")).unwrap();
    assert_eq!(fs::metadata(yard.path("empty")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_backup_that_lies_is_refused() {
    let yard = Yard::new();
    yard.take("a");
    let text = fs::read_to_string(yard.path("a").join(MANIFEST)).unwrap();
    let manifest = Manifest::read(text.as_bytes()).unwrap();
    let outside = yard.path("outside");
    fs::write(&outside, "x").unwrap();
    for (from, to, words) in [
        ("models/mine/weights.bin", "models/../../outside", "no name of a file"),
        ("models/mine/weights.bin", "/etc/passwd", "no name of a file"),
        ("models/mine/weights.bin", "models/mine/other.bin", "other.bin"),
        ("\"bytes\": 1,", "\"bytes\": 2,", "is damaged"),
        ("\"bytes\": 1,", "\"bytes\": 9223372036854775807,", "are needed"),
        (&manifest.files[0].sha256, &"0".repeat(64), "another content"),
        (&format!("\"database\": {}", manifest.database), "\"database\": 1", "of version"),
        (&format!("\"database\": {}", manifest.database), "\"database\": 77", "versions up to"),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(yard.path("a").join(MANIFEST), text.replace(from, to)).unwrap();
        let said = yard.refused("a");
        assert!(said.contains(words), "{to}: {said}");
    }
    fs::write(yard.path("a").join(MANIFEST), &text).unwrap();
    let weights = yard.path("a/models/mine/weights.bin");
    fs::remove_file(&weights).unwrap();
    symlink(&outside, &weights).unwrap();
    assert!(yard.refused("a").contains("weights.bin"), "links are not followed");
    fs::remove_file(&weights).unwrap();
    fs::write(&weights, "w").unwrap();
    // A database that is none, with the right hash.
    let database = yard.path("a/portal.sqlite");
    let mut bytes = fs::read(&database).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x5a);
    fs::write(&database, &bytes).unwrap();
    let hash = veilwatch::hash::hex(&sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(&bytes)));
    let own = manifest.files.iter().find(|file| file.path.as_str() == "portal.sqlite").unwrap();
    fs::write(yard.path("a").join(MANIFEST), text.replace(&own.sha256, &hash)).unwrap();
    assert!(yard.refused("a").contains("database"));
    fs::remove_file(yard.path("a").join(MANIFEST)).unwrap();
    assert!(yard.refused("a").contains(MANIFEST));
    assert_eq!(fs::read(&outside).unwrap(), b"x");
}

#[test]
fn an_archive_that_lies_is_refused() {
    let yard = Yard::new();
    yard.take("a.tar");
    let whole = fs::read(yard.path("a.tar")).unwrap();
    let archive = |name: &str, kind: tar::EntryType, link: &str| {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(1);
        // As nobody writes it: the library's own way refuses such names.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        archive.append(&header, &b"x"[..]).unwrap();
        fs::write(yard.path("b.tar"), archive.into_inner().unwrap()).unwrap();
        yard.refused("b.tar")
    };
    for name in ["../x", "/tmp/x", "a/../../x", "models/.x", "lock"] {
        assert!(archive(name, tar::EntryType::Regular, "").contains("no name of a file"), "{name}");
    }
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo, tar::EntryType::GNULongName] {
        assert!(archive("secret", kind, "/etc/passwd").contains("no regular file"), "{kind:?}");
    }
    assert!(archive("secret", tar::EntryType::Regular, "").contains("no manifest"));
    for part in [whole.len() / 2, 100, 0] {
        fs::write(yard.path("c.tar"), &whole[..part]).unwrap();
        let words = yard.refused("c.tar");
        assert!(part == 0 || words.contains("cut off"), "{words}");
    }
    // One bit of one file.
    let mut flipped = whole.clone();
    let at = whole.windows(5).position(|bytes| bytes == b"index" && bytes.len() == 5).unwrap();
    let at = whole[at + 512..].windows(5).position(|bytes| bytes == b"index").map_or(at, |more| at + 512 + more);
    flipped[at] ^= 1;
    fs::write(yard.path("c.tar"), flipped).unwrap();
    yard.refused("c.tar");
}

#[test]
fn a_check_finds_what_is_missing_and_what_is_another() {
    let yard = Yard::new();
    let look = |hashes| check(yard.data(), hashes, &Progress::default()).unwrap();
    // The result is no real one.
    assert_eq!((look(true).damage.count, look(true).notes.count), (1, 0), "{:?}", look(true));
    let captures = yard.place.files("captures");
    fs::write(&captures[0], "odd").unwrap();
    assert_eq!((look(false).damage.count, look(true).damage.count), (1, 2));
    fs::write(&captures[1], "longer").unwrap();
    assert_eq!(look(false).damage.count, 2);
    fs::remove_file(&captures[1]).unwrap();
    fs::write(yard.data().join("captures").join("0".repeat(64)), "").unwrap();
    fs::remove_file(&yard.place.files("indexes")[0]).unwrap();
    let found = look(false);
    assert_eq!((found.damage.count, found.notes.count), (2, 2), "{found:?}");
    fs::set_permissions(yard.data().join("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(look(false).damage.count, 3);
    yard.place.connection.execute_batch("PRAGMA foreign_keys = off; DELETE FROM captures").unwrap();
    assert!(look(false).damage.words.iter().any(|words| words.contains("names one of captures")));
}
