//! Models in versions, and which of them is the champion.
//!
//! A registry is a folder of folders: `NAME/VERSION` is a model as `veilwatch train` writes it, `NAME/champion.toml` says
//! which version is the champion and which were before it. Versions are numbered from 1, and never change or go away again.
//!
//! Whoever changes something of a name holds its lock, so that two who promote at once do so one after the other. Readers
//! need none: a version appears under its number when it is whole and on the disk, and `champion.toml` is put in place of
//! the former one in one step. So a crash at any moment leaves the champion that there was, or the new one; what else it
//! leaves behind, the next change removes.

use super::store::{card_bytes, files, if_there, read, sync, write_new};
use super::{Model, ModelError, ModelSettings, Signer, Trust};
use crate::config::nearest;
use crate::hash::sha256_hex;
use crate::plugins::brief;
use nix::fcntl::{Flock, FlockArg, OFlag};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Layout of `champion.toml`.
const FORMAT: u32 = 1;
/// Champions that are remembered of a name, the present one included; the oldest are forgotten past it.
const HISTORY: usize = 100;
/// Bytes of `champion.toml`, at most.
const POINTER_LIMIT: u64 = 64 << 10;
/// Bytes of a model's name.
const NAME_BYTES: usize = 64;
/// How long somebody else's change is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Which version is the champion.
const POINTER: &str = "champion.toml";
/// Held by whoever changes something.
const LOCK: &str = ".lock";
/// What is not whole yet.
const STAGED: &str = ".new";

/// Why a registry does not have a model, or cannot take it.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No folder is configured.
    #[error("there is no registry of models: name its folder with `folder` under [models], or with --registry")]
    None,
    /// A name is none.
    #[error(
        "`{0}` is no name of a model in a registry: it has up to 64 lower-case letters, digits, `-`, `_` and `.`, begins \
         with a letter or digit, and `@` and a number may follow, the version"
    )]
    Name(String),
    /// There is no such model.
    #[error("registry {folder}: it has no model `{name}`{}; `veilwatch model list` shows those that there are", hint.as_ref().map(|hint| format!(", did you mean `{hint}`?")).unwrap_or_default())]
    Unknown {
        /// The registry.
        folder: PathBuf,
        /// What was asked for.
        name: String,
        /// The nearest that there is.
        hint: Option<String>,
    },
    /// There is the model, but not this version.
    #[error("registry {folder}: `{name}` has no version {version}; it has {versions}")]
    NoVersion {
        /// The registry.
        folder: PathBuf,
        /// The model.
        name: String,
        /// What was asked for.
        version: u32,
        /// Those that there are, in words.
        versions: String,
    },
    /// Nothing was promoted yet.
    #[error(
        "registry {folder}: no version of `{name}` is the champion yet; make one with `veilwatch model promote {name}@VERSION`"
    )]
    NoChampion {
        /// The registry.
        folder: PathBuf,
        /// The model.
        name: String,
    },
    /// There was none before.
    #[error("registry {folder}: `{name}` has no former champion to go back to")]
    NothingBefore {
        /// The registry.
        folder: PathBuf,
        /// The model.
        name: String,
    },
    /// The champion is another one than was promoted.
    #[error(
        "registry {folder}: the card of `{name}` has changed since it was promoted; put the former files back, or promote \
         the version again after a look at it (`veilwatch model show`)"
    )]
    Changed {
        /// The registry.
        folder: PathBuf,
        /// The model and version.
        name: VersionName,
    },
    /// The pointer cannot be understood.
    #[error("{path}: {what}; `veilwatch model promote --even-if-worse` writes it anew, and forgets what was before")]
    Pointer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Somebody else is at it.
    #[error("{path}: another `veilwatch model` changes this model; try again when it is done")]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// The folder cannot be read or written.
    #[error(
        "registry {path}: {error}; check that the folder is there, that it is yours to write, and that the disk has room"
    )]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

/// A model of a registry, and perhaps which version: `NAME`, `NAME@VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionName {
    /// The model.
    pub name: String,
    /// The version; the champion where none is given.
    pub version: Option<u32>,
}

impl FromStr for VersionName {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let wrong = || RegistryError::Name(brief(text));
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(number(version).ok_or_else(wrong)?)),
            None => (text, None),
        };
        // So it is never a path, and never one of our own files, which begin with a dot.
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if name.len() > NAME_BYTES || !begins || !name.bytes().all(plain) {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), version })
    }
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A version's number, as its folder is called.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|version: &u32| *version > 0 && version.to_string() == text)
}

/// A version that is the champion, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Champion {
    /// The version.
    pub version: u32,
    /// SHA-256 of its card, in hexadecimal, when it was promoted.
    pub card_sha256: String,
}

/// `champion.toml`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pointer {
    format: u32,
    /// The latest is the champion.
    champions: Vec<Champion>,
}

/// A folder of models in versions.
#[derive(Debug, Clone)]
pub struct ModelRegistry {
    folder: PathBuf,
    trust: Trust,
}

impl ModelRegistry {
    /// The one that a configuration names.
    pub fn open(settings: &ModelSettings) -> Result<Self, RegistryError> {
        if settings.folder.as_os_str().is_empty() {
            return Err(RegistryError::None);
        }
        Ok(Self { folder: settings.folder.clone(), trust: settings.trust() })
    }

    /// Whose word counts in it.
    pub(super) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Where all versions of a model are.
    pub fn folder_of(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn folder_of_version(&self, name: &str, version: u32) -> PathBuf {
        self.folder_of(name).join(version.to_string())
    }

    /// The names of all models, in order; none where there is no folder yet.
    pub fn names(&self) -> Result<Vec<String>, RegistryError> {
        let mut names = entries(&self.folder)?;
        names.retain(|name| name.parse().is_ok_and(|it: VersionName| it.version.is_none()));
        names.retain(|name| self.folder_of(name).is_dir());
        names.sort();
        Ok(names)
    }

    /// The versions of a model, in order.
    pub fn versions(&self, name: &str) -> Result<Vec<u32>, RegistryError> {
        let mut versions: Vec<u32> =
            entries(&self.folder_of(name))?.iter().filter_map(|version| number(version)).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    /// The champions of a model, the present one last; none where nothing was promoted.
    pub fn champions(&self, name: &str) -> Result<Vec<Champion>, ModelError> {
        let path = self.folder_of(name).join(POINTER);
        let wrong = |what: String| RegistryError::Pointer { path: path.clone(), what };
        let bytes = if_there(read(&path, POINTER_LIMIT)).map_err(|error| match error {
            ModelError::File { path, error } => RegistryError::File { path, error }.into(),
            other => other,
        })?;
        let Some(bytes) = bytes else { return Ok(Vec::new()) };
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it is no text".into()))?;
        let pointer: Pointer =
            toml::from_str(text).map_err(|error| wrong(format!("it cannot be read ({})", brief(error.message()))))?;
        if pointer.format != FORMAT {
            return Err(wrong(format!("it is of format {}, and this version knows {FORMAT}", pointer.format)).into());
        }
        Ok(pointer.champions)
    }

    /// The same for whoever writes the pointer anew: one that cannot be understood points at nothing that could be kept.
    pub fn champions_to_keep(&self, name: &str) -> Result<Vec<Champion>, ModelError> {
        match self.champions(name) {
            Err(ModelError::Registry(RegistryError::Pointer { .. })) => Ok(Vec::new()),
            champions => champions,
        }
    }

    /// Which version the champion is; it must be the one that was promoted.
    pub fn champion(&self, name: &str) -> Result<VersionName, ModelError> {
        let (champion, _) = self.found_champion(name)?;
        Ok(VersionName { name: name.to_owned(), version: Some(champion.version) })
    }

    /// The champion and its folder.
    fn found_champion(&self, name: &str) -> Result<(Champion, PathBuf), ModelError> {
        let Some(champion) = self.champions(name)?.pop() else {
            let (folder, name) = (self.folder.clone(), name.to_owned());
            let is_known = self.folder_of(&name).is_dir();
            return Err(if is_known { RegistryError::NoChampion { folder, name } } else { self.unknown(name) }.into());
        };
        let place = self.champions_place(name, &champion)?;
        Ok((champion, place))
    }

    /// The folder of a version, or of the champion: that one must be the one that was promoted.
    pub fn place(&self, asked: &VersionName) -> Result<PathBuf, ModelError> {
        let Some(version) = asked.version else {
            return Ok(self.found_champion(&asked.name)?.1);
        };
        let place = self.folder_of_version(&asked.name, version);
        if place.is_dir() {
            return Ok(place);
        }
        if !self.folder_of(&asked.name).is_dir() {
            return Err(self.unknown(asked.name.clone()).into());
        }
        // A confined process can read what it needs, and list nothing.
        let versions = self.versions(&asked.name).unwrap_or_default();
        let versions = versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let versions = if versions.is_empty() { "none".into() } else { versions };
        let (folder, name) = (self.folder.clone(), asked.name.clone());
        Err(RegistryError::NoVersion { folder, name, version, versions }.into())
    }

    /// The folder of a champion, if it is still what was promoted.
    fn champions_place(&self, name: &str, champion: &Champion) -> Result<PathBuf, ModelError> {
        let asked = VersionName { name: name.to_owned(), version: Some(champion.version) };
        let place = self.place(&asked)?;
        if sha256_hex(&card_bytes(&place)?) == champion.card_sha256 {
            return Ok(place);
        }
        Err(RegistryError::Changed { folder: self.folder.clone(), name: asked }.into())
    }

    fn unknown(&self, name: String) -> RegistryError {
        let known = self.names().unwrap_or_default();
        let hint = nearest(&name, known.iter().map(String::as_str)).map(str::to_owned);
        RegistryError::Unknown { folder: self.folder.clone(), name, hint }
    }

    /// Begins to change something of a model: nobody else can until it is done.
    pub fn edit(&self, name: &str) -> Result<Edit<'_>, RegistryError> {
        let VersionName { name, version: None } = name.parse()? else {
            return Err(RegistryError::Name(name.to_owned()));
        };
        let folder = self.folder_of(&name);
        make(&folder)?;
        let lock = lock(&folder.join(LOCK))?;
        // Nobody but us can be at these: whoever made them did not come to an end.
        for leftover in entries(&folder)?.into_iter().filter(|entry| entry.starts_with(STAGED)) {
            let path = folder.join(leftover);
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.map_err(failed(&path))?;
        }
        Ok(Edit { registry: self, name, folder, _lock: lock })
    }
}

/// A change of one model, for as long as it is held.
#[derive(Debug)]
pub struct Edit<'r> {
    registry: &'r ModelRegistry,
    name: String,
    folder: PathBuf,
    _lock: Flock<File>,
}

/// A model that was copied into a registry and verified there, and is no version of it yet. It goes away again where it is
/// not [taken in](Edit::take_in).
#[derive(Debug)]
pub struct Staged {
    /// The model.
    pub model: Model,
    /// Who vouches for it.
    pub signer: Signer,
    folder: PathBuf,
    kept: bool,
}

impl Staged {
    /// Where the copy lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.kept {
            // What stays is removed by the next change.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

impl Edit<'_> {
    /// Copies a model's files and verifies the copy: from here on nobody can change what was looked at.
    pub fn stage(&self, from: &Path) -> Result<Staged, ModelError> {
        let files = files(from)?;
        let folder = self.folder.join(STAGED);
        std::fs::create_dir(&folder).map_err(failed(&folder))?;
        let mut staged = Unfinished(Some(folder.clone()));
        for (name, bytes) in &files {
            let path = folder.join(name);
            write_new(&path, bytes).map_err(failed(&path))?;
        }
        sync(&folder).map_err(failed(&folder))?;
        let opened = Model::open_signed(&folder.display().to_string(), &self.registry.trust);
        // Whoever asked knows it by where it came from.
        let (model, signer) = opened.map_err(|error| error.of(&folder, from))?;
        staged.0 = None;
        Ok(Staged { model, signer, folder, kept: false })
    }

    /// Makes a staged model a version; one that is there already keeps its number.
    pub fn take_in(&self, mut staged: Staged) -> Result<u32, ModelError> {
        let mine = files(&staged.folder)?;
        let versions = self.registry.versions(&self.name)?;
        for version in &versions {
            let there = self.registry.folder_of_version(&self.name, *version);
            if files(&there).is_ok_and(|files| files == mine) {
                return Ok(*version);
            }
        }
        let used = self.registry.champions_to_keep(&self.name)?;
        let last = versions.into_iter().chain(used.iter().map(|champion| champion.version)).max().unwrap_or(0);
        let version = last.saturating_add(1);
        let place = self.registry.folder_of_version(&self.name, version);
        std::fs::rename(&staged.folder, &place).map_err(failed(&place))?;
        staged.kept = true;
        sync(&self.folder).map_err(failed(&self.folder))?;
        Ok(version)
    }

    /// Makes a version the champion, and the champion a former one.
    pub fn promote(&self, version: u32) -> Result<(), ModelError> {
        let asked = VersionName { name: self.name.clone(), version: Some(version) };
        let card_sha256 = sha256_hex(&card_bytes(&self.registry.place(&asked)?)?);
        let mut champions = self.registry.champions_to_keep(&self.name)?;
        let champion = Champion { version, card_sha256 };
        if champions.last() != Some(&champion) {
            champions.push(champion);
            champions.drain(..champions.len().saturating_sub(HISTORY));
            self.point(champions)?;
        }
        Ok(())
    }

    /// Makes the former champion the champion again; the versions that went and came.
    pub fn roll_back(&self) -> Result<(u32, u32), ModelError> {
        let mut champions = self.registry.champions(&self.name)?;
        let (Some(gone), Some(back)) = (champions.pop(), champions.last()) else {
            let folder = self.registry.folder.clone();
            return Err(RegistryError::NothingBefore { folder, name: self.name.clone() }.into());
        };
        let place = self.registry.champions_place(&self.name, back)?;
        // It must be one that can be used.
        Model::open_signed(&place.display().to_string(), &self.registry.trust)?;
        let versions = (gone.version, back.version);
        self.point(champions)?;
        Ok(versions)
    }

    /// Puts a new pointer in place of the former one, in one step.
    fn point(&self, champions: Vec<Champion>) -> Result<(), ModelError> {
        let path = self.folder.join(POINTER);
        let pointer = Pointer { format: FORMAT, champions };
        let text = toml::to_string(&pointer)
            .map_err(|error| RegistryError::Pointer { path: path.clone(), what: error.to_string() })?;
        let text =
            format!("# Written by `veilwatch model promote` and `rollback`; the last version is the champion.\n{text}");
        let new = self.folder.join(format!("{STAGED}-{POINTER}"));
        write_new(&new, text.as_bytes()).map_err(failed(&new))?;
        std::fs::rename(&new, &path).map_err(failed(&path))?;
        sync(&self.folder).map_err(failed(&self.folder))?;
        Ok(())
    }
}

/// A folder that goes away where it is not taken out.
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// The names of what is in a folder; none where there is no folder.
fn entries(folder: &Path) -> Result<Vec<String>, RegistryError> {
    let found = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(failed(folder))?,
    };
    let mut names = Vec::new();
    for entry in found {
        names.extend(entry.map_err(failed(folder))?.file_name().into_string());
    }
    Ok(names)
}

/// Makes a folder and those above it that are missing; each is listed on the disk where it was made.
fn make(folder: &Path) -> Result<(), RegistryError> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    for above in missing.into_iter().filter_map(Path::parent) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        sync(above).map_err(failed(above))?;
    }
    Ok(())
}

/// Waits for a lock, for a while.
fn lock(path: &Path) -> Result<Flock<File>, RegistryError> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let open = File::options().create(true).truncate(false).write(true).custom_flags(flags).open(path);
    let mut file = open.map_err(failed(path))?;
    let begin = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, nix::errno::Errno::EWOULDBLOCK)) if begin.elapsed() < PATIENCE => file = back,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Err(RegistryError::Busy { path: path.to_owned() }),
            Err((_, error)) => return Err(failed(path)(error.into())),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> RegistryError {
    let path = path.to_owned();
    move |error| RegistryError::File { path: path.clone(), error }
}
