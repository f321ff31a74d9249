//! A table that grows: labelled captures are added to it, each once.
//!
//! What is there is never lost: the rows of new captures are put behind the others, and the whole is written beside the
//! table and takes its place in one step. A table that grew in ten steps is, byte for byte, one that was made in one: the
//! data that its first line names are its rows, not the order of events.

use super::sources::{Collected, Origin};
use super::{Dataset, LearnError, LoadOptions, Loading, Truth, dataset, table};
use crate::engine::Pipeline;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How often a lock is taken anew that its former holder has just removed.
const LOCK_TRIES: usize = 100;

/// A table of labelled rows, which nobody else adds to as long as this is there.
#[derive(Debug)]
pub struct Collection {
    /// The table as it was named.
    named: PathBuf,
    /// Where it is, behind links.
    place: PathBuf,
    data: Dataset,
    is_new: bool,
    /// Whether there are rows that could not be written yet; the next time they are.
    is_behind: bool,
    /// What the file was when it was read or written last.
    stamp: Option<Stamp>,
    _lock: Lock,
}

/// Device, number, bytes and time of a file's last change: another one is another file, or other contents.
type Stamp = (u64, u64, u64, i64, i64);

/// What was added to a table, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Added {
    /// Captures that rows were added of.
    pub captures: usize,
    /// Rows that were added, by their labels.
    pub rows: BTreeMap<Truth, usize>,
    /// Captures that were read and have no flow with a row.
    pub without_rows: Vec<String>,
    /// Captures that were passed over, since they are in the table: their names, and those that they have there.
    pub known: Vec<(String, String)>,
    /// Captures that are others of the same call under a new name.
    pub duplicates: Vec<String>,
    /// Files that are no captures, and folders that cannot be read.
    pub unreadable: Vec<String>,
    /// What is to be said of captures that were read in part.
    pub doubts: Vec<String>,
}

impl Collection {
    /// Opens a table of this pipeline, or begins one where there is none yet: it is there once something was added.
    pub fn open(named: &Path, pipeline: &Pipeline) -> Result<Self, LearnError> {
        let wrong = |what: String| LearnError::File { path: named.to_owned(), what };
        let place = match fs::canonicalize(named) {
            Err(error) if error.kind() == ErrorKind::NotFound => named.to_owned(),
            other => other.map_err(|error| wrong(error.to_string()))?,
        };
        let lock = Lock::take(beside(&place, "lock").ok_or_else(|| wrong("this is no name of a file".to_owned()))?);
        let lock = lock
            .map_err(|error| wrong(format!("nothing can be written beside it: {error}")))?
            .ok_or_else(|| wrong("somebody else is adding to it".to_owned()))?;
        let is_new = !place.exists();
        let data = if is_new {
            Dataset::of(pipeline.schema())
        } else {
            if !place.is_file() {
                return Err(wrong("this is no regular file".to_owned()));
            }
            let (data, as_written) = table::read(&place, pipeline).map_err(|error| match error {
                LearnError::File { what, .. } => wrong(what),
                other => other,
            })?;
            if !as_written {
                return Err(wrong("it was changed or cut since it was written; nothing is added to it".to_owned()));
            }
            data
        };
        let stamp = stamp(&place);
        Ok(Self { named: named.to_owned(), place, data, is_new, is_behind: false, stamp, _lock: lock })
    }

    /// SHA-256 of the table of background traffic that its rows were cleaned by, empty where they were not; nothing where
    /// there are no rows yet.
    pub fn cleaned_by(&self) -> Option<&str> {
        (!self.is_new).then_some(self.data.recipe.background_sha256.as_str())
    }

    /// Where the table is.
    pub fn path(&self) -> &Path {
        &self.named
    }

    /// How many rows it has with this label.
    pub fn count(&self, truth: Truth) -> usize {
        self.data.count(truth)
    }

    /// Captures that it has rows of.
    pub fn captures(&self) -> usize {
        self.with_rows().len()
    }

    fn with_rows(&self) -> BTreeSet<usize> {
        self.data.rows.iter().map(|row| row.capture).collect()
    }

    /// Reads captures that are not in the table yet and adds their rows, all or none. They are cleaned by `options`; all rows
    /// of a table must be by the same.
    pub fn add(
        &mut self,
        what: &Collected,
        pipeline: &Pipeline,
        options: &LoadOptions<'_>,
        loading: &Loading,
    ) -> Result<Added, LearnError> {
        let wrong = |what: String| LearnError::File { path: self.named.clone(), what };
        let by = options.background.map_or("", |table| table.sha256());
        if self.cleaned_by().is_some_and(|theirs| theirs != by) {
            return Err(wrong(
                "its rows were not cleaned by the same table of background traffic, or not at all; one table, one `--clean`"
                    .to_owned(),
            ));
        }
        let origin = [Origin::Collected(what.clone())];
        let mut known = self.known();
        let data = loop {
            let hashes: BTreeSet<String> = known.keys().cloned().collect();
            let options = LoadOptions { known: Some(&hashes), ..*options };
            let data = dataset::load_from(&origin, pipeline, &options, loading)?;
            let again = self.again(&data);
            if again.is_empty() {
                break data;
            }
            // Rare: a capture in another file, say a compressed one. The others are read once more without it.
            known.extend(again);
        };
        let mut added = told(&data);
        for (path, hash) in &data.known {
            match known.get(hash).copied().flatten() {
                Some(capture) => added.known.push((path.clone(), self.known_as(path, capture, what.truth)?)),
                None => added.duplicates.push(path.clone()),
            }
        }
        if self.data.rows.len() + data.rows.len() > table::ROWS {
            return Err(wrong(format!("it would have more than {} rows; begin another one", table::ROWS)));
        }
        // What nothing could be read of is no reason to begin a table.
        let nothing = data.captures.iter().all(|capture| data.unreadable.contains(&capture.path));
        if data.rows.is_empty() && (!self.is_new || nothing) && !self.is_behind {
            return Ok(added);
        }
        by.clone_into(&mut self.data.recipe.background_sha256);
        self.data.append(data);
        self.is_behind = true;
        self.write(pipeline).map_err(|error| LearnError::File {
            path: self.named.clone(),
            what: format!("nothing was added: {error}"),
        })?;
        (self.is_new, self.is_behind) = (false, false);
        Ok(added)
    }

    /// Captures of the table, by the hashes of their files.
    fn known(&self) -> BTreeMap<String, Option<usize>> {
        let hash = |capture: usize| self.data.captures.get(capture).map(|capture| capture.sha256.clone());
        let hashed = self.with_rows().into_iter().filter_map(|capture| Some((hash(capture)?, Some(capture))));
        hashed.filter(|(hash, _)| !hash.is_empty()).collect()
    }

    /// Captures of which all flows are there already, in the table or in one before them, in whatever file and under whatever
    /// name; and which capture of the table has them.
    fn again(&self, data: &Dataset) -> BTreeMap<String, Option<usize>> {
        let flow = |data: &Dataset, at: usize| {
            let row = data.rows.get(at)?;
            Some((row.packet, row.keys.first_ns, *data.tuples.get(at)?))
        };
        let place = |at: usize| self.data.rows.get(at).map(|row| row.capture);
        let mut seen: HashMap<_, _> =
            (0..self.data.rows.len()).filter_map(|at| Some((flow(&self.data, at)?, place(at)))).collect();
        let mut again = BTreeMap::new();
        // The rows of a capture stand together.
        let mut begin = 0;
        for rows in data.rows.chunk_by(|a, b| a.capture == b.capture) {
            let flows: Vec<_> = (begin..begin + rows.len()).filter_map(|at| flow(data, at)).collect();
            begin += rows.len();
            let hash =
                rows.first().and_then(|row| data.captures.get(row.capture)).map(|capture| capture.sha256.clone());
            match (hash, flows.iter().all(|flow| seen.contains_key(flow))) {
                (Some(hash), true) => {
                    again.insert(hash, flows.first().and_then(|flow| seen.get(flow).copied().flatten()));
                }
                _ => seen.extend(flows.into_iter().map(|flow| (flow, None))),
            }
        }
        again
    }

    /// What a capture is called in the table; an error where it has another label there.
    fn known_as(&self, path: &str, capture: usize, truth: Truth) -> Result<String, LearnError> {
        let rows = self.data.rows.iter().enumerate().filter(|(_, row)| row.capture == capture);
        // What cleaning made of a label says nothing of who said what.
        let said = |at: usize, truth: Truth| self.data.cleaned.get(&at).map_or(truth, |cleaned| cleaned.was);
        let labels: BTreeSet<Truth> = rows.map(|(at, row)| said(at, row.truth)).collect();
        let there = self.data.captures.get(capture).map(|capture| capture.path.clone()).unwrap_or_default();
        if labels.contains(&truth) {
            return Ok(there);
        }
        let labels: Vec<&str> = labels.into_iter().map(Truth::name).collect();
        let what = format!(
            "it is in {} already, as {there}, and {} there, not {}; nothing was added",
            self.named.display(),
            labels.join(" and "),
            truth.name()
        );
        Err(LearnError::File { path: path.into(), what })
    }

    /// Puts the whole in the table's place.
    fn write(&mut self, pipeline: &Pipeline) -> io::Result<()> {
        if stamp(&self.place) != self.stamp {
            return Err(io::Error::other("somebody else has changed it meanwhile, and nothing is written over it"));
        }
        let new = beside(&self.place, "new").ok_or(ErrorKind::InvalidFilename)?;
        // What a crash left; whoever writes here holds the lock.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = self.write_new(&new, pipeline).and_then(|()| fs::rename(&new, &self.place));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written?;
        self.stamp = stamp(&self.place);
        File::open(folder_of(&self.place))?.sync_all()
    }

    fn write_new(&self, new: &Path, pipeline: &Pipeline) -> io::Result<()> {
        let file = File::create_new(new)?;
        if let Ok(old) = fs::metadata(&self.place) {
            file.set_permissions(old.permissions())?;
            // Whose table it is does not change by whoever adds to it, as root may.
            let ours = file.metadata()?;
            if (ours.uid(), ours.gid()) != (old.uid(), old.gid()) {
                std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
        }
        let mut out = BufWriter::new(&file);
        table::write_by_rows(&self.data, pipeline, &mut out)?;
        out.flush()?;
        file.sync_all()
    }

    /// A hidden name beside the table.
    pub(super) fn beside(&self, ending: &str) -> PathBuf {
        beside(&self.place, ending).unwrap_or_default()
    }
}

/// What is to be told of captures that were read.
fn told(data: &Dataset) -> Added {
    let mut added = Added {
        duplicates: data.duplicates.clone(),
        unreadable: data.unreadable.clone(),
        doubts: data.doubts.clone(),
        ..Added::default()
    };
    let mut with_rows = vec![false; data.captures.len()];
    for row in &data.rows {
        *added.rows.entry(row.truth).or_default() += 1;
        if let Some(capture) = with_rows.get_mut(row.capture) {
            *capture = true;
        }
    }
    added.captures = with_rows.iter().filter(|has| **has).count();
    let without = data.captures.iter().zip(with_rows).filter(|(_, has)| !has).map(|(capture, _)| &capture.path);
    added.without_rows = without.filter(|path| !data.unreadable.contains(path)).cloned().collect();
    added
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `.NAME.ENDING` beside a file; nothing where the path has no name.
fn beside(path: &Path, ending: &str) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name()?);
    name.push(".");
    name.push(ending);
    Some(folder_of(path).join(name))
}

/// Who adds to a table holds its lock; the file is there as long as somebody does.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    _file: Flock<File>,
}

impl Lock {
    /// Takes a lock; nothing where somebody else has it.
    fn take(path: PathBuf) -> io::Result<Option<Self>> {
        for _ in 0..LOCK_TRIES {
            let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
            let mut open = OpenOptions::new();
            open.custom_flags(flags);
            // One that another user left behind can be locked by whoever can read it.
            let file = open.create(true).truncate(false).write(true).open(&path).or_else(|error| {
                let mut open = OpenOptions::new();
                open.read(true).custom_flags(flags).open(&path).map_err(|_| error)
            })?;
            let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, error)) => return Err(error.into()),
            };
            // Its last holder may have removed it meanwhile: what we hold must be what others find.
            let here = file.metadata()?;
            let is_here = |there: fs::Metadata| (there.dev(), there.ino()) == (here.dev(), here.ino());
            if fs::symlink_metadata(&path).is_ok_and(is_here) {
                return Ok(Some(Self { path, _file: file }));
            }
        }
        Ok(None)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What stays is taken by the next one.
        let _ = fs::remove_file(&self.path);
    }
}
