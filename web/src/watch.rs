//! Folders that are watched: captures that are put there become confirmed entries of an account.
//!
//! A folder is looked at every few seconds: file systems of other computers tell nobody of changes, and sensors put their
//! captures there. A file counts as complete when nothing about it has changed for a while. It is opened once, without
//! following a link and without waiting, and what was opened is what is taken: a plain file with one name, owned by the
//! portal's user or by the owner of the folder. Whoever may write into the folder uploads as its account, so it belongs to
//! the operator.
//!
//! What is taken is deleted, or moved into the folder `taken`. What can never be taken is moved into the folder `refused`,
//! with a file beside it that says why. Where there is no room just now, a file stays and is tried again. A file whose
//! content the account has an entry of is not taken again: so none is taken twice where the portal ended in the middle.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rocket::tokio;
use rusqlite::{Connection, OptionalExtension, params};

use crate::accounts::{Account, Actor, Reason, Refused, Role, people};
use crate::config::{Keep, Watch};
use crate::database::DbError;
use crate::entries::{Choices, State, categories};
use crate::jobs::clean;
use crate::pages::{Language, Templates};
use crate::uploads::{Intake, Key, Outcome, Sha256Hex, shown_name};

/// Where what was taken is moved to.
const TAKEN: &str = "taken";
/// Where what can never be taken is moved to.
const REFUSED: &str = "refused";
/// How the audit log names where it comes from.
const ADDRESS: &str = "a watched folder";
/// Endings of files that somebody still writes.
const UNFINISHED: [&str; 3] = [".part", ".partial", ".tmp"];
/// The longest name that another one can be put behind.
const MAX_NAME: usize = 200;
/// Never less between two rounds, whatever is set.
const LEAST_INTERVAL: Duration = Duration::from_millis(50);

/// What is known of a file without opening it; another one where anything of it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Facts {
    fn of(metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { device: metadata.dev(), inode: metadata.ino(), bytes: metadata.len(), modified }
    }
}

/// What became of a file.
enum Fate {
    /// There is an entry of it.
    Taken,
    /// There never will be, and why.
    Never(String),
    /// Not just now, and why.
    Later(String),
}

/// One folder that is watched.
struct Watcher {
    intake: Intake,
    templates: Arc<Templates>,
    watch: Watch,
    /// Files that were there in the last round, what was known of each, and since when.
    seen: HashMap<OsString, (Facts, Instant)>,
    /// When files are tried again that there was no room for.
    later: HashMap<OsString, Instant>,
    /// What was said already: each thing is said once until it changes.
    said: HashSet<String>,
}

/// Watches a folder for as long as the portal runs.
pub async fn watch(intake: Intake, templates: Arc<Templates>, watch: Watch) {
    let interval = Duration::from_secs(intake.config.watching.interval_seconds).max(LEAST_INTERVAL);
    let (seen, later, said) = (HashMap::new(), HashMap::new(), HashSet::new());
    let mut watcher = Watcher { intake, templates, watch, seen, later, said };
    loop {
        watcher.round().await;
        tokio::time::sleep(interval).await;
    }
}

/// Whether a folder can be watched, asked at the start.
///
/// # Errors
/// Where it is none, or no folder can be made in it.
pub fn check(watch: &Watch) -> Result<(), String> {
    let no =
        |error: &dyn std::fmt::Display| format!("the folder {} cannot be watched: {error}", watch.folder.display());
    if !fs::metadata(&watch.folder).map_err(|error| no(&error))?.is_dir() {
        return Err(no(&"it is no folder"));
    }
    let names = if watch.keep == Keep::Move { &[REFUSED, TAKEN][..] } else { &[REFUSED][..] };
    for name in names {
        let path = watch.folder.join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(no(&error)),
            _ => {}
        }
        // A link would lead what is moved there to anywhere.
        if !fs::symlink_metadata(&path).is_ok_and(|there| there.is_dir()) {
            return Err(no(&format!("`{name}` in it is no folder")));
        }
    }
    Ok(())
}

impl Watcher {
    /// Says something once.
    fn say(&mut self, words: String) {
        if self.said.len() > 10_000 {
            self.said.clear();
        }
        if self.said.insert(words.clone()) {
            tracing::warn!(folder = %self.watch.folder.display(), "{words}");
        }
    }

    async fn round(&mut self) {
        let account = match self.account().await {
            Ok(account) => account,
            Err(words) => return self.say(words),
        };
        let (watch, most) = (self.watch.clone(), self.intake.config.watching.files);
        let listed = tokio::task::spawn_blocking(move || check(&watch).and_then(|()| list(&watch.folder, most))).await;
        let (files, is_all) = match listed.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(listed) => listed,
            Err(words) => return self.say(words),
        };
        if !is_all {
            self.say(format!("there are more than {most} files in it: the others wait until these are gone"));
        }
        let unchanged = Duration::from_secs(self.intake.config.watching.unchanged_seconds);
        let mut seen = HashMap::new();
        for (name, metadata) in files {
            if metadata.is_dir() {
                self.say(format!("the folder {} in it is not looked into", shown(&name)));
                continue;
            }
            let facts = Facts::of(&metadata);
            let since =
                self.seen.get(&name).filter(|(before, _)| *before == facts).map_or_else(Instant::now, |seen| seen.1);
            seen.insert(name.clone(), (facts, since));
            let is_later = self.later.get(&name).is_some_and(|at| Instant::now() < *at);
            // What is no file never becomes one by waiting.
            if is_later || (metadata.is_file() && since.elapsed() < unchanged) {
                continue;
            }
            self.meet(&account, &name, facts).await;
        }
        self.later.retain(|name, _| seen.contains_key(name));
        self.seen = seen;
    }

    /// Whose entries they become.
    async fn account(&self) -> Result<Account, String> {
        let name = self.watch.account.clone();
        let found = self.intake.db.run(move |connection| people::by_name(connection, &name)).await;
        let name = &self.watch.account;
        match found.map_err(|error| error.to_string())? {
            None => Err(format!("nothing is taken: there is no account {name:?}")),
            Some((account, _)) if account.disabled => {
                Err(format!("nothing is taken: the account {name:?} is disabled"))
            }
            Some((account, _)) if account.role < Role::Analyst => {
                Err(format!("nothing is taken: the account {name:?} may not upload"))
            }
            Some((account, _)) => Ok(account),
        }
    }

    async fn meet(&mut self, account: &Account, name: &OsStr, facts: Facts) {
        let folder = self.watch.folder.clone();
        let fate = self.fate(account, name, facts).await.unwrap_or_else(|error| Fate::Later(error.to_string()));
        let shown = shown(name);
        let put_away = |to: Option<PathBuf>, words: String| {
            let (folder, name) = (folder.clone(), name.to_owned());
            tokio::task::spawn_blocking(move || put_away(&folder, &name, facts, to.as_deref(), &words))
        };
        let away = match fate {
            Fate::Taken => {
                let to = (self.watch.keep == Keep::Move).then(|| folder.join(TAKEN));
                put_away(to, String::new())
            }
            Fate::Never(words) => {
                self.say(format!("{shown} is refused: {words}"));
                put_away(Some(folder.join(REFUSED)), words)
            }
            Fate::Later(words) => {
                self.wait(name);
                return self.say(format!("{shown} waits: {words}"));
            }
        };
        if let Err(error) = away.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            // It was read to its end to find that out, which is not done every round.
            self.wait(name);
            self.say(format!("{shown} cannot be put away: {error}"));
        }
    }

    /// Tries a file again later.
    fn wait(&mut self, name: &OsStr) {
        let again = Duration::from_secs(self.intake.config.watching.again_seconds);
        self.later.insert(name.to_owned(), Instant::now() + again);
    }

    async fn fate(&mut self, account: &Account, name: &OsStr, facts: Facts) -> io::Result<Fate> {
        let (path, data) = (self.watch.folder.join(name), self.intake.config.data.clone());
        let folder = self.watch.folder.clone();
        let opened = tokio::task::spawn_blocking(move || open(&folder, &path, &data, facts)).await;
        let (file, sha256) = match opened.map_err(io::Error::other)?? {
            Opened::File(file, sha256) => (file, sha256),
            Opened::Changed => return Ok(Fate::Later("it changed just now".to_owned())),
            Opened::Never(words) => return Ok(Fate::Never(words.to_owned())),
        };
        let actor = Actor { name: Some(account.name.clone()), address: ADDRESS.to_owned() };
        let shown = shown(name);
        let (id, most, wish) = (account.id, self.intake.config.limits.waiting, self.watch.category.clone());
        let found = self.intake.db.run(move |connection| look(connection, id, &sha256, wish.as_deref())).await;
        let look = found.map_err(io::Error::other)?;
        if look.category.is_none()
            && let Some(category) = &self.watch.category
        {
            self.say(format!("there is no category {category:?} to choose: entries get none"));
        }
        let key = match look.entry {
            // It was confirmed before, whatever became of it then.
            Some((_, state, _)) if state != State::Unconfirmed => return Ok(Fate::Taken),
            // The portal ended before it was confirmed; or its owner uploaded the same by hand, under another name, and
            // thinks about it.
            Some((key, _, named)) => {
                if named != shown {
                    return Ok(Fate::Taken);
                }
                key
            }
            None if look.waiting >= most => {
                return Ok(Fate::Later("as many entries of the account wait as may wait".to_owned()));
            }
            None => {
                let reader = tokio::fs::File::from_std(file);
                match self.intake.take(account.id, &actor, &shown, Some(facts.bytes), reader).await {
                    Outcome::Kept(key) => key.to_string(),
                    Outcome::Refused(status, refusal) => {
                        let words = self.templates.message(Language::English, &refusal.key, &refusal.values);
                        let words = words.unwrap_or_else(|error| error.to_string());
                        return Ok(if is_final(status.code, &refusal.key) {
                            Fate::Never(words)
                        } else {
                            Fate::Later(words)
                        });
                    }
                }
            }
        };
        let choices = Choices { pipeline: self.watch.pipeline.clone(), category: look.category, ..Choices::default() };
        match self.intake.confirm(account.id, &key, choices, actor).await {
            Ok(()) => {
                tracing::info!(entry = key, "a capture of a watched folder is taken");
                Ok(Fate::Taken)
            }
            // The next try finds the entry, and confirms it.
            Err(error) => Ok(Fate::Later(format!("its entry cannot be confirmed yet: {error}"))),
        }
    }
}

/// Whether the same file would be refused again.
fn is_final(status: u16, key: &str) -> bool {
    let passes = [Reason::Quota, Reason::TooManyEntries, Reason::TooManyUploads, Reason::UploadCut];
    (status == 413 || status == 422) && !passes.iter().any(|reason| reason.to_string() == key)
}

/// A name for people.
fn shown(name: &OsStr) -> String {
    shown_name(&name.to_string_lossy())
}

/// What is in a folder, and whether that is all.
fn list(folder: &Path, most: usize) -> Result<(Vec<(OsString, Metadata)>, bool), String> {
    let no = |error: io::Error| format!("the folder {} cannot be read: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(no)? {
        let name = entry.map_err(no)?.file_name();
        let is_ours = [TAKEN, REFUSED].iter().any(|ours| name == *ours);
        let text = name.to_string_lossy();
        if is_ours || text.starts_with('.') || UNFINISHED.iter().any(|end| text.ends_with(end)) {
            continue;
        }
        if files.len() == most {
            return Ok((files, false));
        }
        // It may have gone away just now.
        if let Ok(metadata) = fs::symlink_metadata(folder.join(&name)) {
            files.push((name, metadata));
        }
    }
    Ok((files, true))
}

enum Opened {
    File(File, Sha256Hex),
    Changed,
    Never(&'static str),
}

/// Opens a file, if it is one that may be taken, and hashes it.
fn open(folder: &Path, path: &Path, data: &Path, facts: Facts) -> io::Result<Opened> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_symlink() {
        return Ok(Opened::Never("It is a symbolic link. Put the file itself there."));
    }
    if kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
        return Ok(Opened::Never("It is no plain file, but a pipe, a socket or a device."));
    }
    // Whatever it has become meanwhile: no link is followed, and nothing is waited for.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || Facts::of(&metadata) != facts {
        return Ok(Opened::Changed);
    }
    let owners = [fs::metadata(folder)?.uid(), fs::metadata(data)?.uid()];
    if !owners.contains(&metadata.uid()) {
        return Ok(Opened::Never("It is owned neither by the portal's user nor by the owner of the folder."));
    }
    if metadata.nlink() != 1 {
        return Ok(Opened::Never("It has more than one name (a hard link): it may be somebody else's file."));
    }
    let sha256 = veilwatch::hash::sha256_of(&mut file)?;
    if Facts::of(&file.metadata()?) != facts {
        return Ok(Opened::Changed);
    }
    file.rewind()?;
    Ok(Opened::File(file, Sha256Hex::of(&sha256)))
}

/// What the database knows that matters for a file.
struct Look {
    /// The newest entry of its content that still has its capture: its key, its state, its name.
    entry: Option<(String, State, String)>,
    /// Entries of the account that wait.
    waiting: u32,
    category: Option<i64>,
}

fn look(connection: &Connection, account: i64, sha256: &Sha256Hex, category: Option<&str>) -> Result<Look, Refused> {
    let entry = connection
        .query_row(
            "SELECT key, state, name FROM entries
                WHERE account_id = ?1 AND sha256 = ?2 AND capture_gone_at IS NULL ORDER BY id DESC LIMIT 1",
            params![account, sha256.as_str()],
            |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?)),
        )
        .optional()?;
    let entry = match entry {
        Some((key, state, name)) => {
            let state = state.parse().map_err(|_| DbError::Foreign(format!("the state {state:?}")))?;
            Some((key, state, name))
        }
        None => None,
    };
    let waiting = connection.query_row(
        "SELECT count(*) FROM entries WHERE account_id = ?1 AND state = 'queued'",
        [account],
        |row| row.get(0),
    )?;
    let all = categories::list(connection)?;
    let category = all.iter().find(|one| !one.retired && Some(one.name.as_str()) == category).map(|one| one.id);
    Ok(Look { entry, waiting, category })
}

/// Deletes a file, or moves it into a folder, with words beside it where there are any. It is the one that was opened, or
/// nothing is done.
fn put_away(folder: &Path, name: &OsStr, facts: Facts, to: Option<&Path>, words: &str) -> io::Result<()> {
    let path = folder.join(name);
    if Facts::of(&fs::symlink_metadata(&path)?) != facts {
        return Err(io::Error::other("it changed just now"));
    }
    let Some(to) = to else { return fs::remove_file(path) };
    let mut new = name.to_owned();
    let is_taken = |end: &str| {
        let mut name = name.to_owned();
        name.push(end);
        fs::symlink_metadata(to.join(name)).is_ok()
    };
    if name.len() > MAX_NAME || is_taken("") || is_taken(".txt") {
        let key = Key::random().map_err(io::Error::other)?;
        new = OsString::from(key.as_str());
    }
    let mut beside = new.clone();
    beside.push(".txt");
    let beside = (!words.is_empty()).then(|| to.join(beside));
    let write = |beside: &Path| -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
        file.write_all(format!("{}: {}\n", shown(name), clean(words)).as_bytes())
    };
    let written = beside.as_deref().map_or(Ok(()), write);
    written.and_then(|()| fs::rename(path, to.join(new))).inspect_err(|_| {
        // Words about a file that is not there would be in the way of the next try.
        if let Some(beside) = &beside {
            let _ = fs::remove_file(beside);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_for_good_is_not_tried_again() {
        for (status, key, expected) in [
            (422, "upload-error.not-a-capture", true),
            (413, "reason.upload-too-large", true),
            (422, "reason.quota", false),
            (507, "reason.disk-full", false),
            (500, "upload-error.ours", false),
            (429, "reason.too-many-uploads", false),
        ] {
            assert_eq!(is_final(status, key), expected, "{key}");
        }
    }

    #[test]
    fn a_folder_whose_folders_are_links_is_not_watched() {
        let folder = tempfile::tempdir().unwrap();
        let watch = |keep| Watch { folder: folder.path().to_owned(), keep, ..Watch::default() };
        check(&watch(Keep::Delete)).unwrap();
        std::os::unix::fs::symlink("/tmp", folder.path().join(TAKEN)).unwrap();
        assert!(check(&watch(Keep::Move)).unwrap_err().contains("`taken` in it is no folder"));
    }

    #[test]
    fn another_file_of_the_same_name_is_not_put_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "one").unwrap();
        let facts = Facts::of(&fs::symlink_metadata(&path).unwrap());
        fs::write(folder.path().join("b"), "another").unwrap();
        fs::rename(folder.path().join("b"), &path).unwrap();
        assert!(put_away(folder.path(), "a".as_ref(), facts, None, "").is_err());
        assert!(path.exists());
    }
}
