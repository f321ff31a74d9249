//! Folders that are watched: captures that are put there become confirmed entries of an account.
//!
//! A folder is looked at every few seconds: file systems of other computers tell nobody of changes, and sensors put their
//! captures there. A file counts as complete when nothing about it has changed for a while. It is opened once, without
//! following a link and without waiting, and what was opened is what is taken: a plain file with one name, owned by the
//! portal's user or by the owner of the folder. Whoever may write into the folder uploads as its account, so it belongs to
//! the operator. Whose captures these are is noted with the number of that account: the name of an account that was deleted
//! is free again, and whoever takes it gets nothing of a folder that was the former one's.
//!
//! The folder is opened for each round, and all that is done is done in the one that was opened, whatever somebody puts in
//! its place or in that of a folder in it meanwhile.
//!
//! What is taken is deleted, or moved into the folder `taken`. What can never be taken is moved into the folder `refused`,
//! with a file beside it that says why. Where there is no room just now, a file stays and is tried again. A file whose
//! content the account has an entry of is not taken again: so none is taken twice where the portal ended in the middle.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rocket::tokio;
use rusqlite::{Connection, OptionalExtension, params};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat, fstat, mkdirat, openat, renameat, renameat_with, statat,
    unlinkat,
};
use rustix::io::Errno;

use crate::accounts::{Account, Actor, Reason, Refused, Role, people};
use crate::config::{Keep, Watch};
use crate::database::DbError;
use crate::entries::{Choices, State, categories};
use crate::jobs::clean;
use crate::pages::{Language, Templates};
use crate::results::human;
use crate::uploads::{Intake, Key, Outcome, Refusal, Sha256Hex, goes_beyond, shown_name};

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
    kind: FileType,
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    /// When the system saw the last change: nobody can set this one.
    changed: (i64, i64),
}

impl Facts {
    fn of(stat: &Stat) -> Self {
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            device: stat.st_dev,
            inode: stat.st_ino,
            bytes: u64::try_from(stat.st_size).unwrap_or(u64::MAX),
            modified: (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or_default()),
            changed: (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or_default()),
        }
    }
}

/// A file that was there in the last round.
struct Seen {
    facts: Facts,
    /// Since when nothing about it changed.
    since: Instant,
    /// Its hash, once it was read: what waits is not read again at each try.
    sha256: Option<Sha256Hex>,
}

impl Seen {
    /// What was known before, or the beginning where anything of the file changed.
    fn again(before: Option<Self>, facts: Facts) -> Self {
        let same = before.filter(|before| before.facts == facts);
        same.unwrap_or_else(|| Self { facts, since: Instant::now(), sha256: None })
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
    /// Files that were there in the last round.
    seen: HashMap<OsString, Seen>,
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
    Folder::open(watch).map(drop)
}

/// A folder that is watched, opened: what its name leads to meanwhile does not matter.
struct Folder(OwnedFd);

impl Folder {
    /// Opens a folder, and makes those in it that are not there.
    fn open(watch: &Watch) -> Result<Self, String> {
        let no =
            |error: &dyn std::fmt::Display| format!("the folder {} cannot be watched: {error}", watch.folder.display());
        // Where the operator names a link, its target is what they mean.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = match rustix::fs::open(&watch.folder, flags, Mode::empty()) {
            Err(Errno::NOTDIR) => return Err(no(&"it is no folder")),
            opened => Self(opened.map_err(|error| no(&error))?),
        };
        let names = if watch.keep == Keep::Move { &[REFUSED, TAKEN][..] } else { &[REFUSED][..] };
        for name in names {
            match mkdirat(&folder.0, *name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(no(&error)),
            }
            folder.inner(name).map_err(|error| no(&error))?;
        }
        Ok(folder)
    }

    /// Opens one of the folders in it, for what is moved there. A link in its place would lead that to anywhere.
    fn inner(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.0, name, flags, Mode::empty()) {
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {
                Err(io::Error::other(format!("`{name}` in it is no folder")))
            }
            opened => Ok(opened?),
        }
    }

    /// What a file in it is, without following a link.
    fn stat(&self, name: &OsStr) -> io::Result<Facts> {
        Ok(Facts::of(&statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// What is in it, and whether that is all.
    fn list(&self, most: usize) -> io::Result<(Vec<(OsString, Facts)>, bool)> {
        let mut files = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let is_ours = [TAKEN, REFUSED].iter().any(|ours| name == *ours);
            let text = name.to_string_lossy();
            // The folder itself and the one that holds it are among those with a dot.
            if is_ours || text.starts_with('.') || UNFINISHED.iter().any(|end| text.ends_with(end)) {
                continue;
            }
            if files.len() == most {
                return Ok((files, false));
            }
            // It may have gone away just now.
            if let Ok(facts) = self.stat(name) {
                files.push((name.to_owned(), facts));
            }
        }
        Ok((files, true))
    }
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
        let listed = tokio::task::spawn_blocking(move || -> Result<_, String> {
            let folder = Folder::open(&watch)?;
            let listed = folder.list(most);
            let listed =
                listed.map_err(|error| format!("the folder {} cannot be read: {error}", watch.folder.display()))?;
            Ok((Arc::new(folder), listed))
        });
        let (folder, (files, is_all)) = match listed.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(listed) => listed,
            Err(words) => return self.say(words),
        };
        if !is_all {
            self.say(format!("there are more than {most} files in it: the others wait until these are gone"));
        }
        let unchanged = Duration::from_secs(self.intake.config.watching.unchanged_seconds);
        let mut seen = HashMap::new();
        for (name, facts) in files {
            if facts.kind == FileType::Directory {
                self.say(format!("the folder {} in it is not looked into", shown(&name)));
                continue;
            }
            let mut file = Seen::again(self.seen.remove(&name), facts);
            let is_later = self.later.get(&name).is_some_and(|at| Instant::now() < *at);
            // What is no file never becomes one by waiting.
            let is_whole = facts.kind != FileType::RegularFile || file.since.elapsed() >= unchanged;
            if !is_later && is_whole {
                self.meet(&account, &folder, &name, &mut file).await;
            }
            seen.insert(name, file);
        }
        self.later.retain(|name, _| seen.contains_key(name));
        self.seen = seen;
    }

    /// Whose entries they become.
    async fn account(&self) -> Result<Account, String> {
        let (name, folder) = (self.watch.account.clone(), text_of(&self.watch.folder));
        let found = self.intake.db.run(move |connection| -> Result<_, DbError> {
            let Some((account, _)) = people::by_name(connection, &name)? else { return Ok(None) };
            let bond = bind(connection, &folder, &account)?;
            Ok(Some((account, bond)))
        });
        let found = found.await.map_err(|error| error.to_string())?;
        let name = &self.watch.account;
        if let Some((_, Bond::New)) = found {
            let folder = self.watch.folder.display();
            tracing::info!(%folder, account = %name, "a watched folder belongs to this account from now on");
        }
        match found {
            None => Err(format!("nothing is taken: there is no account {name:?}")),
            Some((_, Bond::Other)) => Err(format!(
                "nothing is taken: the account {name:?} is not the one that this folder belonged to, but took its name \
                 later: make one with another name, and set that as `account` in the [[watch]] of this folder"
            )),
            Some((account, _)) if account.disabled => {
                Err(format!("nothing is taken: the account {name:?} is disabled"))
            }
            Some((account, _)) if account.role < Role::Analyst => {
                Err(format!("nothing is taken: the account {name:?} may not upload"))
            }
            Some((account, _)) => Ok(account),
        }
    }

    async fn meet(&mut self, account: &Account, folder: &Arc<Folder>, name: &OsStr, file: &mut Seen) {
        let fate = self.fate(account, folder, name, file).await.unwrap_or_else(|error| Fate::Later(error.to_string()));
        let shown = shown(name);
        let (to, words) = match fate {
            Fate::Taken => ((self.watch.keep == Keep::Move).then_some(TAKEN), String::new()),
            Fate::Never(words) => {
                self.say(format!("{shown} is refused: {words}"));
                (Some(REFUSED), words)
            }
            Fate::Later(words) => {
                self.wait(name);
                return self.say(format!("{shown} waits: {words}"));
            }
        };
        let (folder, owned, facts) = (Arc::clone(folder), name.to_owned(), file.facts);
        let away = tokio::task::spawn_blocking(move || put_away(&folder, &owned, facts, to, &words));
        if let Err(error) = away.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            // What was found out took a look of a worker, which is not done every round.
            self.wait(name);
            self.say(format!("{shown} cannot be put away: {error}"));
        }
    }

    /// Tries a file again later.
    fn wait(&mut self, name: &OsStr) {
        let again = Duration::from_secs(self.intake.config.watching.again_seconds);
        self.later.insert(name.to_owned(), Instant::now() + again);
    }

    async fn fate(
        &mut self,
        account: &Account,
        folder: &Arc<Folder>,
        name: &OsStr,
        seen: &mut Seen,
    ) -> io::Result<Fate> {
        let (folder, owned, data) = (Arc::clone(folder), name.to_owned(), self.intake.config.data.clone());
        let (most, facts, known) = (self.intake.config.limits.upload_bytes, seen.facts, seen.sha256.clone());
        let opened = tokio::task::spawn_blocking(move || open(&folder, &owned, &data, most, facts, known)).await;
        let (file, sha256) = match opened.map_err(io::Error::other)?? {
            Opened::File(file, sha256) => (file, sha256),
            Opened::Changed => return Ok(Fate::Later("it changed just now".to_owned())),
            Opened::Never(words) => return Ok(Fate::Never(words)),
        };
        seen.sha256 = Some(sha256.clone());
        let actor = Actor { name: Some(account.name.clone()), address: ADDRESS.to_owned() };
        let shown = shown(name);
        let limits = &self.intake.config.limits;
        let (id, most, quota, wish) = (account.id, limits.waiting, limits.quota_bytes, self.watch.category.clone());
        let found = self.intake.db.run(move |connection| {
            // It may have been shut out, or deleted, in the middle of a round.
            if !people::is_let_in(connection, id)? {
                return Err(Reason::NotAllowed.into());
            }
            let look = look(connection, id, &sha256, wish.as_deref())?;
            let is_too_much = look.entry.is_none() && goes_beyond(connection, id, facts.bytes, quota)?;
            Ok::<_, Refused>((look, is_too_much))
        });
        let (look, is_too_much) = found.await.map_err(io::Error::other)?;
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
            // As much of it as the quota has left would be read and written at each try.
            None if is_too_much => {
                let refusal = self.intake.with_quota(account.id, Refusal::new(Reason::Quota)).await;
                return Ok(Fate::Later(self.words(&refusal)));
            }
            None => {
                let reader = tokio::fs::File::from_std(file);
                match self.intake.take(account.id, &actor, &shown, Some(facts.bytes), reader).await {
                    Outcome::Kept(key) => key.to_string(),
                    Outcome::Refused(status, refusal) => {
                        let words = self.words(&refusal);
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

    /// A refusal for the log and for the file beside what is refused.
    fn words(&self, refusal: &Refusal) -> String {
        let words = self.templates.message(Language::English, &refusal.key, &refusal.values);
        words.unwrap_or_else(|error| error.to_string())
    }
}

/// A folder as the database names it.
fn text_of(folder: &Path) -> String {
    folder.to_str().map_or_else(|| format!("{folder:?}"), str::to_owned)
}

/// How the account that a name finds stands to a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bond {
    /// It is the one that was noted.
    Same,
    /// It is noted from now on.
    New,
    /// It has the name of the one that was noted, and is another one.
    Other,
}

/// Binds a folder to the account that its name finds first. Another name is the operator's own word, and binds it anew; the
/// same name is not, where somebody else has it by now.
fn bind(connection: &Connection, folder: &str, account: &Account) -> Result<Bond, DbError> {
    let noted: Option<(String, i64)> = connection
        .query_row("SELECT name, account_id FROM watched WHERE folder = ?1", [folder], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    match noted {
        Some((name, id)) if name == account.name => Ok(if id == account.id { Bond::Same } else { Bond::Other }),
        _ => {
            connection.execute(
                "INSERT INTO watched (folder, name, account_id) VALUES (?1, ?2, ?3)
                    ON CONFLICT (folder) DO UPDATE SET name = excluded.name, account_id = excluded.account_id",
                params![folder, account.name, account.id],
            )?;
            Ok(Bond::New)
        }
    }
}

/// Whether the same file would be refused again.
fn is_final(status: u16, key: &str) -> bool {
    // Who is shut out while a file is looked at may be let in again.
    let passes = [Reason::Quota, Reason::TooManyEntries, Reason::TooManyUploads, Reason::UploadCut, Reason::NotAllowed];
    (status == 413 || status == 422) && !passes.iter().any(|reason| reason.to_string() == key)
}

/// A name for people.
fn shown(name: &OsStr) -> String {
    shown_name(&name.to_string_lossy())
}

enum Opened {
    File(File, Sha256Hex),
    Changed,
    Never(String),
}

/// Opens a file, if it is one that may be taken, and hashes it where its hash is not known yet.
fn open(
    folder: &Folder,
    name: &OsStr,
    data: &Path,
    most: u64,
    facts: Facts,
    known: Option<Sha256Hex>,
) -> io::Result<Opened> {
    let never = |words: &str| Ok(Opened::Never(words.to_owned()));
    match facts.kind {
        FileType::Symlink => return never("It is a symbolic link. Put the file itself there."),
        FileType::Fifo | FileType::Socket | FileType::BlockDevice | FileType::CharacterDevice => {
            return never("It is no plain file, but a pipe, a socket or a device.");
        }
        _ => {}
    }
    // Whatever it has become meanwhile: no link is followed, and nothing is waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(openat(&folder.0, name, flags, Mode::empty())?);
    let stat = fstat(&file)?;
    if facts.kind != FileType::RegularFile || Facts::of(&stat) != facts {
        return Ok(Opened::Changed);
    }
    let owners = [fstat(&folder.0)?.st_uid, fs::metadata(data)?.uid()];
    if !owners.contains(&stat.st_uid) {
        return never("It is owned neither by the portal's user nor by the owner of the folder.");
    }
    if stat.st_nlink != 1 {
        return never("It has more than one name (a hard link): it may be somebody else's file.");
    }
    // A file of holes says any length, and costs whoever reads it that long.
    if facts.bytes > most {
        return never(&format!(
            "It is larger than one capture may be, which is {}. Put a part of it there, or raise limits.upload_bytes.",
            human::bytes(most)
        ));
    }
    let sha256 = match known {
        Some(sha256) => sha256,
        None => {
            // It may grow for as long as it is read.
            let sha256 = veilwatch::hash::sha256_of(&mut (&file).take(facts.bytes))?;
            if Facts::of(&fstat(&file)?) != facts {
                return Ok(Opened::Changed);
            }
            file.rewind()?;
            Sha256Hex::of(&sha256)
        }
    };
    Ok(Opened::File(file, sha256))
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
fn put_away(folder: &Folder, name: &OsStr, facts: Facts, to: Option<&str>, words: &str) -> io::Result<()> {
    if folder.stat(name)? != facts {
        return Err(io::Error::other("it changed just now"));
    }
    let Some(to) = to else { return Ok(unlinkat(&folder.0, name, AtFlags::empty())?) };
    // Opened just now, and kept open: what is put in its place from here on gets nothing.
    let to = folder.inner(to)?;
    let mut new = name.to_owned();
    let is_taken = |end: &str| {
        let mut name = name.to_owned();
        name.push(end);
        statat(&to, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    };
    if name.len() > MAX_NAME || is_taken("") || is_taken(".txt") {
        let key = Key::random().map_err(io::Error::other)?;
        new = OsString::from(key.as_str());
    }
    if words.is_empty() {
        return move_new(folder, name, &to, &new);
    }
    let mut beside = new.clone();
    beside.push(".txt");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&to, &beside, flags, Mode::RUSR | Mode::WUSR)?);
    let written = file.write_all(format!("{}: {}\n", shown(name), clean(words)).as_bytes());
    written.and_then(|()| move_new(folder, name, &to, &new)).inspect_err(|_| {
        // Words about a file that is not there would be in the way of the next try.
        let _ = unlinkat(&to, &beside, AtFlags::empty());
    })
}

/// Moves a file to where nothing has its name.
fn move_new(folder: &Folder, name: &OsStr, to: &OwnedFd, new: &OsStr) -> io::Result<()> {
    match renameat_with(&folder.0, name, to, new, RenameFlags::NOREPLACE) {
        // There are file systems that cannot leave what is there alone by themselves.
        Err(Errno::INVAL | Errno::NOSYS) => match statat(to, new, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(renameat(&folder.0, name, to, new)?),
            Err(error) => Err(error.into()),
            Ok(_) => Err(Errno::EXIST.into()),
        },
        moved => Ok(moved?),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;
    use crate::database::Db;

    #[test]
    fn what_is_refused_for_good_is_not_tried_again() {
        for (status, key, expected) in [
            (422, "upload-error.not-a-capture", true),
            (413, "reason.upload-too-large", true),
            (422, "reason.quota", false),
            (422, "reason.not-allowed", false),
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
        symlink("/tmp", folder.path().join(TAKEN)).unwrap();
        assert!(check(&watch(Keep::Move)).unwrap_err().contains("`taken` in it is no folder"));
    }

    /// A folder, the same opened, and a file `a` in it.
    fn opened() -> (TempDir, Folder, Facts) {
        let folder = tempfile::tempdir().unwrap();
        let watch = Watch { folder: folder.path().to_owned(), keep: Keep::Move, ..Watch::default() };
        let opened = Folder::open(&watch).unwrap();
        fs::write(folder.path().join("a"), "one").unwrap();
        let facts = opened.stat("a".as_ref()).unwrap();
        (folder, opened, facts)
    }

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn another_file_of_the_same_name_is_not_put_away() {
        let (folder, opened, facts) = opened();
        let path = folder.path().join("a");
        fs::write(folder.path().join("b"), "another").unwrap();
        fs::rename(folder.path().join("b"), &path).unwrap();
        for to in [None, Some(TAKEN)] {
            assert!(put_away(&opened, "a".as_ref(), facts, to, "").is_err());
            assert!(path.exists());
        }
    }

    #[test]
    fn what_is_put_in_the_place_of_a_folder_gets_nothing() {
        let (folder, opened, facts) = opened();
        let elsewhere = tempfile::tempdir().unwrap();
        for (name, words) in [(REFUSED, "It is none."), (TAKEN, "")] {
            let place = folder.path().join(name);
            let no = || put_away(&opened, "a".as_ref(), facts, Some(name), words).unwrap_err().to_string();
            let expected = format!("`{name}` in it is no folder");
            fs::remove_dir(&place).unwrap();
            assert_eq!(no(), expected, "it is gone");
            symlink(elsewhere.path(), &place).unwrap();
            assert_eq!(no(), expected, "a link to a folder");
            assert!(names(elsewhere.path()).is_empty());
            assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"one");
        }
    }

    #[test]
    fn what_is_done_is_done_in_the_folder_that_was_opened() {
        let (folder, opened, facts) = opened();
        let (moved, elsewhere) = (folder.path().with_extension("moved"), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("a"), "theirs").unwrap();
        fs::rename(folder.path(), &moved).unwrap();
        symlink(elsewhere.path(), folder.path()).unwrap();
        let done = put_away(&opened, "a".as_ref(), facts, Some(REFUSED), "It is none.");
        let (theirs, ours) = (names(elsewhere.path()), names(&moved.join(REFUSED)));
        fs::remove_file(folder.path()).unwrap();
        fs::rename(&moved, folder.path()).unwrap();
        done.unwrap();
        assert_eq!(theirs, ["a"]);
        assert_eq!(ours, ["a", "a.txt"]);
    }

    #[test]
    fn nothing_is_overwritten_by_what_is_moved() {
        let (folder, opened, facts) = opened();
        let taken = folder.path().join(TAKEN);
        fs::write(taken.join("a"), "before").unwrap();
        let to = opened.inner(TAKEN).unwrap();
        let error = move_new(&opened, "a".as_ref(), &to, "a".as_ref()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(taken.join("a")).unwrap(), b"before");
        // By another name it goes there.
        put_away(&opened, "a".as_ref(), facts, Some(TAKEN), "").unwrap();
        assert_eq!(names(&taken).len(), 2);
        assert!(!folder.path().join("a").exists());
    }

    #[test]
    fn what_is_too_large_is_refused_and_what_is_known_is_not_read() {
        let (folder, opened, facts) = opened();
        let open = |most, known| open(&opened, "a".as_ref(), folder.path(), most, facts, known).unwrap();
        let Opened::Never(words) = open(2, None) else { panic!("it is larger than that") };
        assert!(words.contains("which is 2 B") && words.contains("limits.upload_bytes"), "{words}");
        let hash = |known| match open(3, known) {
            Opened::File(mut file, sha256) => {
                assert_eq!(io::read_to_string(&mut file).unwrap(), "one", "from its beginning");
                sha256
            }
            _ => panic!("it may be taken"),
        };
        let read = Sha256Hex::of(&veilwatch::hash::sha256_of(&mut &b"one"[..]).unwrap());
        assert_eq!(hash(None), read);
        let told = Sha256Hex::of(&[7; 32]);
        assert_eq!(hash(Some(told.clone())), told);
    }

    #[test]
    fn a_hash_is_kept_for_as_long_as_nothing_changes() {
        let (_folder, _, facts) = opened();
        let again = |now| {
            let before = Seen { facts, since: Instant::now(), sha256: Some(Sha256Hex::of(&[7; 32])) };
            Seen::again(Some(before), now).sha256.is_some()
        };
        assert!(again(facts));
        // Whoever writes the same length can set the time of it, but not the time of that.
        for other in [Facts { changed: (0, 0), ..facts }, Facts { inode: 0, ..facts }, Facts { bytes: 9, ..facts }] {
            assert!(!again(other), "{other:?}");
        }
    }

    #[test]
    fn a_folder_stays_with_the_account_that_was_found_first() {
        let data = tempfile::tempdir().unwrap();
        let db = Db::open(&data.path().join("portal.sqlite")).unwrap();
        let account = |id, name: &str| Account {
            id,
            name: name.to_owned(),
            display_name: name.to_owned(),
            role: Role::Analyst,
            language: None,
            disabled: false,
            created_at: 1,
        };
        db.run_blocking(|connection| -> Result<(), DbError> {
            let bound = |folder: &str, id, name: &str| bind(connection, folder, &account(id, name));
            assert_eq!(bound("/in", 1, "sensor")?, Bond::New);
            assert_eq!(bound("/in", 1, "sensor")?, Bond::Same);
            // The name was free again.
            assert_eq!(bound("/in", 2, "sensor")?, Bond::Other);
            assert_eq!(bound("/in", 2, "sensor")?, Bond::Other);
            assert_eq!(bound("/other", 2, "sensor")?, Bond::New);
            // The operator names another one.
            assert_eq!(bound("/in", 3, "probe")?, Bond::New);
            assert_eq!(bound("/in", 3, "probe")?, Bond::Same);
            Ok(())
        })
        .unwrap();
    }
}
