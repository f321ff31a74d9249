//! A received file becomes a kept capture with an entry, and goes with its last entry.
//!
//! The file is in its place, and on the disk, before the row that names it is there; when it goes, the row goes first.
//! So a crash can leave a file too many, which the sweep takes away, and never a row whose file is not there. Both ways
//! hold the database's write lock, so no capture is taken away while somebody else brings the same one.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use veilwatch::worker::Inspection;

use super::folders::{FileError, Folders, Key, Sha256Hex, is_kept, remove_file};
use super::name::shown_name;
use super::receive::Received;
use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Reason, Refused, people, steers};
use crate::config::Limits;
use crate::database::{self, DbError};
use crate::entries::Deleted;

/// The most characters of a format's or a compression's name.
const MAX_FORMAT: usize = 64;
/// The most characters of what is said of damage.
const MAX_DAMAGE: usize = 500;
/// The most link types that are kept of a capture.
const MAX_LINKS: usize = 64;

/// What is known of an upload, beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct NewUpload<'a> {
    /// What its file was called: any text.
    pub name: &'a str,
    /// What a worker recognised in it.
    pub inspection: &'a Inspection,
}

/// Whether an account may upload anything at all, and how many bytes it keeps so far.
///
/// # Errors
/// Where it has as many entries as it may, its quota is used up, or the database fails.
pub fn room(connection: &Connection, account: i64, limits: &Limits) -> Result<u64, Refused> {
    one_more_entry(connection, account, limits.entries)?;
    let kept = kept_bytes(connection, account)?;
    if kept >= quota_of(connection, account, limits.quota_bytes)? { Err(Reason::Quota.into()) } else { Ok(kept) }
}

/// Bytes that an account may keep: its own quota, where administrators set one, or the one that holds everywhere.
///
/// # Errors
/// Where the database fails.
pub fn quota_of(connection: &Connection, account: i64, everywhere: u64) -> Result<u64, DbError> {
    let own: Option<i64> = connection
        .prepare_cached("SELECT quota_bytes FROM accounts WHERE id = ?1")?
        .query_row([account], |row| row.get(0))
        .optional()?
        .flatten();
    Ok(own.and_then(|own| u64::try_from(own).ok()).unwrap_or(everywhere))
}

/// Whether an account would keep more than it may with so many bytes more; `everywhere` is the quota of whoever has none of
/// their own.
///
/// # Errors
/// Where the database fails.
pub fn goes_beyond(connection: &Connection, account: i64, more: u64, everywhere: u64) -> Result<bool, DbError> {
    Ok(kept_bytes(connection, account)?.saturating_add(more) > quota_of(connection, account, everywhere)?)
}

/// The sum of the sizes of an account's captures, each content counted once, of its results and indexes, and of what
/// is to come of uploads that can be gone on with.
///
/// # Errors
/// Where the database fails.
pub fn kept_bytes(connection: &Connection, account: i64) -> Result<u64, DbError> {
    let to_come: i64 = connection
        .prepare_cached(
            "SELECT coalesce((SELECT sum(length) FROM uploads WHERE account_id = ?1 AND state = 'open'), 0)",
        )?
        .query_row([account], |row| row.get(0))?;
    Ok(there_bytes(connection, account)?.saturating_add(u64::try_from(to_come).unwrap_or(0)))
}

/// The same of what is there by now: no analysis fails because an upload is begun.
///
/// # Errors
/// Where the database fails.
pub(crate) fn there_bytes(connection: &Connection, account: i64) -> Result<u64, DbError> {
    let sum: i64 = connection
        .prepare_cached(
            "SELECT coalesce((SELECT sum(bytes) FROM captures
                    WHERE sha256 IN (SELECT sha256 FROM entries WHERE account_id = ?1 AND capture_gone_at IS NULL)), 0)
                + coalesce((SELECT sum(coalesce(result_bytes, 0) + coalesce(index_bytes, 0)) FROM entries
                    WHERE account_id = ?1), 0)",
        )?
        .query_row([account], |row| row.get(0))?;
    Ok(u64::try_from(sum).unwrap_or(0))
}

/// Whether an account may have one entry more.
pub(crate) fn one_more_entry(connection: &Connection, account: i64, most: u32) -> Result<(), Refused> {
    let there: u32 = connection
        .prepare_cached("SELECT count(*) FROM entries WHERE account_id = ?1")?
        .query_row([account], |row| row.get(0))?;
    if there >= most { Err(Reason::TooManyEntries.into()) } else { Ok(()) }
}

/// Keeps an upload: from now on it is there after a power cut. A content that is kept already, by whomever, is kept
/// once; that others have it shows in nothing. In the same transaction is done what `first` does for the entry with this
/// key before anything is counted, and what `then` does once it is there.
///
/// # Errors
/// Where the account's quota or its number of entries is used up, the file cannot be moved, or the database fails, and
/// what these two say. The upload is deleted then.
#[allow(clippy::too_many_arguments, reason = "each is of another kind, and all have one caller")]
pub(super) fn keep(
    connection: &mut Connection,
    folders: &Folders,
    received: Received,
    new: &NewUpload<'_>,
    limits: &Limits,
    actor: &Actor,
    now: i64,
    first: impl FnOnce(&Connection, &Key) -> Result<(), Refused>,
    then: impl FnOnce(&Connection, &Key) -> Result<(), Refused>,
) -> Result<Key, Refused> {
    place_and_write(connection, folders, &received, new, limits, actor, now, first, then).inspect_err(|_| {
        // The file may be in its place already.
        if let Err(error) = remove_unnamed(connection, folders, received.sha256()) {
            tracing::warn!(%error, "a capture without an entry stays behind until the next start");
        }
    })
}

#[allow(clippy::too_many_arguments, reason = "what `keep` takes")]
fn place_and_write(
    connection: &mut Connection,
    folders: &Folders,
    received: &Received,
    new: &NewUpload<'_>,
    limits: &Limits,
    actor: &Actor,
    now: i64,
    first: impl FnOnce(&Connection, &Key) -> Result<(), Refused>,
    then: impl FnOnce(&Connection, &Key) -> Result<(), Refused>,
) -> Result<Key, Refused> {
    let (account, sha256) = (received.account(), received.sha256());
    let inspection = serde_json::to_string(&bounded(new.inspection))
        .map_err(|error| DbError::Foreign(format!("an inspection that is no JSON ({error})")))?;
    let bytes = i64::try_from(received.bytes()).unwrap_or(i64::MAX);
    let key = Key::random().map_err(DbError::from)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // It may have been shut out, or deleted, while the bytes came.
    if !people::is_let_in(&transaction, account)? {
        return Err(Reason::NotAllowed.into());
    }
    first(&transaction, &key)?;
    one_more_entry(&transaction, account, limits.entries)?;
    let is_known = transaction
        .prepare_cached("SELECT 1 FROM entries WHERE account_id = ?1 AND sha256 = ?2 AND capture_gone_at IS NULL")?
        .exists(params![account, sha256.as_str()])?;
    let more = if is_known { 0 } else { received.bytes() };
    if goes_beyond(&transaction, account, more, limits.quota_bytes)? {
        return Err(Reason::Quota.into());
    }
    let place = folders.capture(sha256);
    // A file of the right name and length that has a row is the same capture. One without is put in place again.
    let is_there = is_kept(&transaction, sha256)?
        && std::fs::metadata(&place).is_ok_and(|there| there.is_file() && there.len() == received.bytes());
    match (is_there, received.stays()) {
        (true, _) => {}
        (false, true) => folders.place_beside(received.path(), &place)?,
        (false, false) => folders.place(received.path(), &place)?,
    }
    transaction.execute(
        "INSERT OR IGNORE INTO captures (sha256, bytes, stored_at) VALUES (?1, ?2, ?3)",
        params![sha256.as_str(), bytes, now],
    )?;
    transaction.execute(
        "INSERT INTO entries (key, account_id, sha256, name, created_at, inspection, state)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'unconfirmed')",
        params![key.as_str(), account, sha256.as_str(), shown_name(new.name), now, inspection],
    )?;
    audit::record(&transaction, actor, Action::Uploaded, Some(key.as_str()), now)?;
    then(&transaction, &key)?;
    transaction.commit()?;
    Ok(key)
}

/// Removes the files of an entry that was deleted: its result, its index, and its capture where no other entry needs it.
/// Says whether the capture went. The folders forget their names on the disk, and the database's log holds nothing of them
/// any more. End its worker first. What a crash leaves here, the sweep at the start takes away.
///
/// # Errors
/// Where a file cannot be removed, or the database fails.
pub fn remove(connection: &mut Connection, folders: &Folders, deleted: &Deleted) -> Result<bool, Refused> {
    folders.remove_result(&deleted.key)?;
    remove_capture(connection, folders, deleted)
}

/// The same for an entry that stays and does without its capture from now on: its result stays.
///
/// # Errors
/// Where a file cannot be removed, or the database fails.
pub fn remove_capture(connection: &mut Connection, folders: &Folders, deleted: &Deleted) -> Result<bool, Refused> {
    folders.remove_index(&deleted.key)?;
    let is_gone = remove_unnamed(connection, folders, &deleted.sha256)?;
    folders.forget()?;
    database::empty_log(connection)?;
    Ok(is_gone)
}

/// Keeps the index of an entry's capture that a reader made; says whether there was room for it and the entry is still there.
///
/// # Errors
/// Where the file cannot be moved, or the database fails.
pub fn keep_index(
    connection: &mut Connection,
    folders: &Folders,
    entry: i64,
    made: &Path,
    quota_bytes: u64,
) -> Result<bool, Refused> {
    let bytes = std::fs::metadata(made).map_err(FileError::at("looked at", made))?.len();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: Option<(String, i64)> = transaction
        .query_row("SELECT key, account_id FROM entries WHERE id = ?1 AND capture_gone_at IS NULL", [entry], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((key, account)) = found else { return Ok(false) };
    transaction
        .execute("UPDATE entries SET index_bytes = ?2 WHERE id = ?1", params![entry, i64::try_from(bytes).ok()])?;
    if goes_beyond(&transaction, account, 0, quota_bytes)? {
        return Ok(false);
    }
    let key: Key = key.parse().map_err(|_| DbError::Foreign(format!("the key {key:?}")))?;
    folders.place(made, &folders.index(&key))?;
    transaction.commit()?;
    Ok(true)
}

/// Lets the index of an entry's capture go: it is made again where somebody needs it.
///
/// # Errors
/// Where the file cannot be removed, or the database fails.
pub fn drop_index(connection: &mut Connection, folders: &Folders, key: &Key) -> Result<(), Refused> {
    folders.remove_index(key)?;
    connection.execute("UPDATE entries SET index_bytes = NULL WHERE key = ?1", [key.as_str()])?;
    Ok(())
}

/// Removes a capture's file where no entry needs it; says whether it did. Somebody may have brought it again since its row went, so this
/// holds the write lock.
fn remove_unnamed(connection: &mut Connection, folders: &Folders, sha256: &Sha256Hex) -> Result<bool, Refused> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let is_unnamed = !is_kept(&transaction, sha256)?;
    if is_unnamed {
        remove_file(&folders.capture(sha256))?;
    }
    transaction.commit()?;
    Ok(is_unnamed)
}

/// What is kept of an inspection: a worker that read a hostile capture may say anything.
fn bounded(inspection: &Inspection) -> Inspection {
    let text = |text: &str, most: usize| text.chars().filter(|c| !steers(*c)).take(most).collect::<String>();
    Inspection {
        format: text(&inspection.format, MAX_FORMAT),
        compression: inspection.compression.as_deref().map(|name| text(name, MAX_FORMAT)),
        links: inspection.links.iter().copied().take(MAX_LINKS).collect(),
        damage: inspection.damage.as_deref().map(|words| text(words, MAX_DAMAGE)),
        ..*inspection
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::entries::{delete, find};
    use crate::uploads::testing::{NOW, Place, actor, inspection, keep_alone};

    #[test]
    fn an_upload_becomes_a_capture_and_an_entry() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let received = place.received(ada, b"a capture");
        let sha256 = received.sha256().clone();
        let new = NewUpload { name: "../../etc/pass\u{202e}wd", inspection: &inspection() };
        let kept = keep_alone(&mut place.connection, &place.folders, received, &new, &place.limits).unwrap();
        let entry = find(&place.connection, ada, kept.as_str()).unwrap().unwrap();
        assert_eq!((entry.name.as_str(), entry.bytes, entry.sha256.clone()), ("passwd", 9, sha256.clone()));
        assert_eq!((entry.inspection, entry.created_at), (inspection(), NOW));
        assert_eq!(place.files("captures"), [place.folders.capture(&sha256)]);
        assert_eq!(fs::read(place.folders.capture(&sha256)).unwrap(), b"a capture");
        assert!(place.files("incoming").is_empty() && place.under_way.count(ada) == 0);
        assert_eq!(place.actions().last().map(String::as_str), Some("uploaded"));
    }

    #[test]
    fn the_same_content_is_kept_once_and_tells_nobody_of_others() {
        let mut place = Place::new();
        let (ada, bob) = (place.account("ada"), place.account("bob"));
        let first = place.keep(ada, b"same");
        let others = place.keep(bob, b"same");
        let again = place.keep(ada, b"same");
        let before = |account, key: &Key| {
            let entry = find(&place.connection, account, key.as_str()).unwrap().unwrap();
            crate::entries::earlier(&place.connection, &entry).unwrap()
        };
        assert_eq!((before(ada, &first), before(bob, &others), before(ada, &again)), (None, None, Some(first.clone())));
        assert_eq!(place.files("captures").len(), 1);
        assert_eq!(
            (place.number("SELECT count(*) FROM entries"), place.number("SELECT count(*) FROM captures")),
            (3, 1)
        );
        assert_eq!((kept_bytes(&place.connection, ada).unwrap(), kept_bytes(&place.connection, bob).unwrap()), (4, 4));
    }

    #[test]
    fn a_quota_counts_each_content_once() {
        let mut place = Place::new();
        place.limits.quota_bytes = 10;
        let (ada, bob) = (place.account("ada"), place.account("bob"));
        place.keep(ada, b"sixsix");
        // Uploads that were let in before the first was kept.
        let late = |place: &Place, bytes: &'static [u8]| {
            let upload = place.under_way.begin(ada, 0, &place.limits).unwrap();
            let limits = (&place.limits).into();
            rocket::execute(crate::uploads::receive(&place.folders, bytes, limits, upload)).unwrap()
        };
        let more = late(&place, b"five5");
        assert!(matches!(place.try_keep(more), Err(Refused::Because(Reason::Quota))));
        let same = late(&place, b"sixsix");
        place.try_keep(same).unwrap();
        assert_eq!((place.files("incoming").len(), place.files("captures").len()), (0, 1));
        assert_eq!(place.number("SELECT count(*) FROM entries"), 2);
        place.keep(ada, b"four");
        assert!(matches!(room(&place.connection, ada, &place.limits), Err(Refused::Because(Reason::Quota))));
        assert_eq!(room(&place.connection, bob, &place.limits).unwrap(), 0);
        place.keep(bob, b"five5");
    }

    #[test]
    fn entries_are_counted() {
        let mut place = Place::new();
        place.limits.entries = 2;
        let ada = place.account("ada");
        place.keep(ada, b"1");
        let third = place.received(ada, b"1");
        place.keep(ada, b"1");
        assert!(matches!(place.try_keep(third), Err(Refused::Because(Reason::TooManyEntries))));
        assert!(matches!(room(&place.connection, ada, &place.limits), Err(Refused::Because(Reason::TooManyEntries))));
        assert_eq!((place.number("SELECT count(*) FROM entries"), place.files("captures").len()), (2, 1));
    }

    #[test]
    fn no_row_is_there_before_its_file() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let received = place.received(ada, b"x");
        fs::remove_dir(place.folder.path().join("captures")).unwrap();
        assert!(matches!(place.try_keep(received), Err(Refused::File(_))));
        assert_eq!(place.number("SELECT count(*) FROM entries") + place.number("SELECT count(*) FROM captures"), 0);
        assert!(place.files("incoming").is_empty());
    }

    #[test]
    fn a_database_that_fails_leaves_no_file() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let received = place.received(ada, b"x");
        place
            .connection
            .execute_batch("CREATE TRIGGER no BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'no'); END")
            .unwrap();
        assert!(matches!(place.try_keep(received), Err(Refused::Db(_))));
        assert!(place.files("captures").is_empty() && place.files("incoming").is_empty());
        // Somebody else's capture of the same content stays.
        place.connection.execute_batch("DROP TRIGGER no").unwrap();
        place.keep(ada, b"x");
        place.limits.entries = 1;
        let received = place.received(ada, b"x");
        assert!(place.try_keep(received).is_err());
        assert_eq!(place.files("captures").len(), 1);
    }

    #[test]
    fn a_crash_between_file_and_row_is_mended() {
        let mut place = Place::new();
        let ada = place.account("ada");
        // The file was placed, and the portal was killed.
        let received = place.received(ada, b"x");
        let capture = place.folders.capture(received.sha256());
        place.folders.place(received.path(), &capture).unwrap();
        drop(received);
        assert!(capture.exists());
        assert_eq!(place.folders.sweep(&mut place.connection, NOW).unwrap().captures, 1);
        assert!(!capture.exists());
        // A row whose file was lost gets it back when somebody brings it again.
        place.keep(ada, b"x");
        fs::remove_file(&capture).unwrap();
        place.keep(ada, b"x");
        assert_eq!(fs::read(&capture).unwrap(), b"x");
        // The rows were deleted, and the portal was killed.
        let other = place.keep(ada, b"y");
        delete(&mut place.connection, ada, other.as_str(), &actor(), NOW).unwrap();
        assert_eq!(place.files("captures").len(), 2);
        assert_eq!(place.folders.sweep(&mut place.connection, NOW).unwrap().captures, 1);
        assert_eq!(place.files("captures"), [capture]);
    }

    #[test]
    fn a_capture_goes_with_its_last_entry() {
        let mut place = Place::new();
        let (ada, bob) = (place.account("ada"), place.account("bob"));
        let keys = [place.keep(ada, b"x"), place.keep(bob, b"x")];
        place.done(&keys[0]);
        fs::write(place.folder.path().join(format!("results/{}.sqlite-wal", keys[0])), "x").unwrap();
        let gone = delete(&mut place.connection, ada, keys[0].as_str(), &actor(), NOW).unwrap();
        remove(&mut place.connection, &place.folders, &gone).unwrap();
        assert_eq!((place.files("captures").len(), place.files("results").len()), (1, 0));
        let gone = delete(&mut place.connection, bob, keys[1].as_str(), &actor(), NOW).unwrap();
        assert_eq!(place.number("SELECT count(*) FROM captures"), 0);
        remove(&mut place.connection, &place.folders, &gone).unwrap();
        remove(&mut place.connection, &place.folders, &gone).unwrap();
        assert!(place.files("captures").is_empty());
    }

    #[test]
    fn a_capture_that_comes_again_before_its_file_went_stays() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let key = place.keep(ada, b"x");
        let gone = delete(&mut place.connection, ada, key.as_str(), &actor(), NOW).unwrap();
        place.keep(ada, b"x");
        remove(&mut place.connection, &place.folders, &gone).unwrap();
        assert_eq!(place.files("captures").len(), 1);
    }

    #[test]
    fn many_who_bring_and_delete_the_same_capture_never_lose_it() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let uploads: Vec<_> = (0..8).map(|_| place.received(ada, b"same")).collect();
        std::thread::scope(|scope| {
            for (at, received) in uploads.into_iter().enumerate() {
                let (mut connection, folders, limits) =
                    (place.another_connection(), place.folders.clone(), place.limits.clone());
                scope.spawn(move || {
                    let new = NewUpload { name: "x", inspection: &inspection() };
                    let kept = keep_alone(&mut connection, &folders, received, &new, &limits).unwrap();
                    if at % 2 == 0 {
                        let gone = delete(&mut connection, ada, kept.as_str(), &actor(), NOW).unwrap();
                        remove(&mut connection, &folders, &gone).unwrap();
                    }
                });
            }
        });
        assert_eq!(
            (place.number("SELECT count(*) FROM entries"), place.number("SELECT count(*) FROM captures")),
            (4, 1)
        );
        assert_eq!(fs::read(&place.files("captures")[0]).unwrap(), b"same");
        assert!(place.files("incoming").is_empty());
    }

    #[test]
    fn what_a_worker_says_is_cut() {
        let said = Inspection {
            format: "f".repeat(10_000),
            compression: Some("\u{1b}[2Jgzip".to_owned()),
            links: vec![(1, 1); 10_000],
            damage: Some("d\n".repeat(10_000)),
            ..inspection()
        };
        let kept = bounded(&said);
        assert_eq!((kept.format.len(), kept.links.len()), (MAX_FORMAT, MAX_LINKS));
        assert_eq!(kept.compression.as_deref(), Some("[2Jgzip"));
        assert_eq!(kept.damage, Some("d".repeat(MAX_DAMAGE)));
        assert_eq!(bounded(&inspection()), inspection());
    }

    #[test]
    fn an_index_is_kept_within_the_quota_and_for_as_long_as_its_entry() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let key = place.keep(ada, b"ten bytes.");
        let id = find(&place.connection, ada, key.as_str()).unwrap().unwrap().id;
        let made = || {
            let (_, path) = place.folders.new_work_file().unwrap();
            fs::write(&path, b"an index").unwrap();
            path
        };
        let (one, two, three) = (made(), made(), made());
        let keep = |place: &mut Place, made: &Path, entry, quota| {
            keep_index(&mut place.connection, &place.folders, entry, made, quota).unwrap()
        };
        assert!(!keep(&mut place, &one, id, 17), "it does not fit");
        assert_eq!((place.files("indexes").len(), kept_bytes(&place.connection, ada).unwrap()), (0, 10));
        assert!(keep(&mut place, &one, id, 18));
        assert_eq!(kept_bytes(&place.connection, ada).unwrap(), 18);
        // One more takes its place.
        assert!(keep(&mut place, &two, id, 18));
        assert_eq!(
            (place.files("indexes"), fs::read(place.folders.index(&key)).unwrap()),
            (vec![place.folders.index(&key)], b"an index".to_vec())
        );
        drop_index(&mut place.connection, &place.folders, &key).unwrap();
        assert_eq!((place.files("indexes").len(), kept_bytes(&place.connection, ada).unwrap()), (0, 10));

        assert!(keep(&mut place, &three, id, 18));
        let deleted = delete(&mut place.connection, ada, key.as_str(), &actor(), NOW).unwrap();
        remove(&mut place.connection, &place.folders, &deleted).unwrap();
        assert!(place.files("indexes").is_empty());
        // Its reader may end later.
        let (_, late) = place.folders.new_work_file().unwrap();
        assert!(!keep(&mut place, &late, id, 1000));
        assert!(place.files("indexes").is_empty());
    }

    #[test]
    fn a_sweep_brings_indexes_and_what_is_counted_together() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let keys = [b"1", b"2", b"3"].map(|bytes| place.keep(ada, bytes));
        // One that is whole, one that is not counted, one that is not there; and those of no entry.
        for (key, is_there, is_counted) in [(&keys[0], true, true), (&keys[1], true, false), (&keys[2], false, true)] {
            if is_there {
                fs::write(place.folders.index(key), b"an index").unwrap();
            }
            if is_counted {
                place.set(key, "index_bytes = 8");
            }
        }
        fs::write(place.folders.index(&Key::random().unwrap()), b"another").unwrap();
        let foreign = place.folder.path().join("indexes/note.txt");
        fs::write(&foreign, b"mine").unwrap();
        let swept = place.folders.sweep(&mut place.connection, NOW).unwrap();
        assert_eq!((swept.indexes, swept.foreign), (2, vec![foreign.clone()]));
        let mut left = place.files("indexes");
        left.sort();
        assert_eq!(left, [place.folders.index(&keys[0]), foreign]);
        assert_eq!(kept_bytes(&place.connection, ada).unwrap(), 3 + 8);
    }
}
