//! Collecting live, in rounds: each is recorded as a capture of its own, and then read like any other.
//!
//! Who records is not said here: a [`Recorder`] writes one round into a file. That a round is a capture keeps what belongs
//! together in one fold, gives its rows a hash to be found again by, and has live traffic and stored captures go one way.

use super::sources::Collected;
use super::{Added, Collection, LearnError, LoadOptions, Loading, Truth};
use crate::engine::Pipeline;
use jiff::Timestamp;
use std::fs::{self, DirBuilder};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Records a round, counted from 1, into a new file, as pcapng. `Break` says that somebody asked for the end: what was recorded
/// by then is read, and no further round begins. A round in which nothing came need not have a file.
pub type Recorder<'a> = dyn FnMut(u32, &Path) -> Result<ControlFlow<()>, Box<dyn std::error::Error + Send + Sync>> + 'a;

/// Rounds of live traffic.
#[derive(Debug, Clone, Copy)]
pub struct Rounds<'a> {
    /// How many.
    pub count: u32,
    /// The interface. It is the source of all rounds, and the family of those that are not benign, where nothing else is
    /// said: what one machine did in one place is no two families.
    pub interface: &'a str,
    /// What every flow is.
    pub truth: Truth,
    /// The malware family, where it is known.
    pub family: Option<&'a str>,
    /// Another word for where it was captured.
    pub source: Option<&'a str>,
    /// Folder that the captures stay in; without one they are gone once their rows are in the table.
    pub keep: Option<&'a Path>,
}

impl Rounds<'_> {
    /// The file of a round: interface, time of its begin, number.
    fn file(&self, round: u32, begin: Timestamp) -> String {
        let interface = self.interface.replace(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c), "_");
        format!("{interface} {} round {round}.pcapng", begin.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

/// Records rounds and adds each to a table as soon as it is there, so that an error or a crash loses one round at most. `told`
/// hears what every round brought. The whole table is written after each, and nothing is recorded meanwhile: of a large table
/// rounds should be long.
pub fn collect_rounds(
    collection: &mut Collection,
    rounds: &Rounds<'_>,
    pipeline: &Pipeline,
    options: &LoadOptions<'_>,
    record: &mut Recorder<'_>,
    told: &mut dyn FnMut(u32, &Added),
) -> Result<(), LearnError> {
    let folder = Folder::of(rounds.keep, collection)?;
    let named = |given: Option<&str>| Some(given.unwrap_or(rounds.interface).to_owned());
    for round in 1..=rounds.count {
        let file = folder.path().join(rounds.file(round, Timestamp::now()));
        let wrong = |what: String| LearnError::File { path: file.clone(), what };
        if file.exists() {
            return Err(wrong("it is there already".to_owned()));
        }
        let failed = |error| LearnError::Round { interface: rounds.interface.to_owned(), round, error };
        let goes_on = record(round, &file).map_err(failed)?;
        if file.exists() {
            let what = Collected {
                paths: vec![file.clone()],
                truth: rounds.truth,
                family: named(rounds.family),
                source: named(rounds.source),
            };
            let added = collection.add(&what, pipeline, options, &Loading::default())?;
            told(round, &added);
            if rounds.keep.is_none() {
                fs::remove_file(&file).map_err(|error| wrong(error.to_string()))?;
            }
        }
        if goes_on.is_break() {
            break;
        }
    }
    Ok(())
}

/// Where rounds are recorded.
enum Folder<'a> {
    Kept(&'a Path),
    /// It goes away with what is in it.
    Passing(PathBuf),
}

impl<'a> Folder<'a> {
    /// Nobody else can look into a folder that it makes: this is live traffic.
    fn of(keep: Option<&'a Path>, collection: &Collection) -> Result<Self, LearnError> {
        let failed =
            |path: &Path, error: io::Error| LearnError::File { path: path.to_owned(), what: error.to_string() };
        if let Some(keep) = keep {
            DirBuilder::new().recursive(true).mode(0o700).create(keep).map_err(|error| failed(keep, error))?;
            return Ok(Self::Kept(keep));
        }
        let passing = collection.beside("rounds");
        // What a crash left.
        match fs::remove_dir_all(&passing) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&passing, error)),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&passing).map_err(|error| failed(&passing, error))?;
        Ok(Self::Passing(passing))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Passing(path) => path,
        }
    }
}

impl Drop for Folder<'_> {
    fn drop(&mut self) {
        if let Self::Passing(path) = self {
            let _ = fs::remove_dir_all(path);
        }
    }
}
