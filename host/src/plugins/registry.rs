use super::error::LibraryError;
use super::meter::{Meter, OnOverdue};
use super::remember::Remembered;
use super::report::{PluginReport, PluginState};
use super::verify::{Verified, verify};
use super::{guarded, library, probe};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use veilwatch_core::abi::CONTRACT;
use veilwatch_core::plugin::{Declaration, Instance, Manifest, PluginError, PluginKind, Settings};

/// Where a plugin came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Linked into this program.
    Builtin,
    /// Loaded from a library.
    Library(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("in the box"),
            Self::Library(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why a plugin cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Two plugins of one kind have the same name.
    #[error("{path}: a plugin of that name is already there, {first}; rename one, or load only one")]
    Duplicate {
        /// `kind/name`.
        path: String,
        /// Where the first one came from.
        first: Origin,
    },
    /// There is none of that name.
    #[error("there is no plugin `{asked}`{}", hint.as_ref().map(|h| format!("; did you mean `{h}`?")).unwrap_or_default())]
    Unknown {
        /// What was asked for.
        asked: String,
        /// The nearest name there is.
        hint: Option<String>,
    },
    /// The library cannot be loaded.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The folder cannot be read.
    #[error("plugin folder {path}: cannot be read ({error}); correct `folders` under [plugins]")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The plugin refused its settings or panicked.
    #[error("{path}: {error}")]
    Create {
        /// `kind/name`.
        path: String,
        /// What it said.
        error: PluginError,
    },
}

/// Whether and how a library is tried before it is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Probing {
    /// It is loaded as it is, once its file was verified: for programs that are a throw-away child themselves, and for
    /// those that have nothing to start as a child.
    #[default]
    None,
    /// It is loaded only where another program of this user has tried it already.
    Remembered,
    /// It is tried in a child of this program, which calls [`probe_main`](super::probe_main) first of all; what was tried
    /// once is remembered.
    Child(PathBuf),
}

/// All plugins that can be used.
#[derive(Debug, Default)]
pub struct Registry {
    entries: BTreeMap<(PluginKind, String), (Declaration, Origin)>,
    /// The contract that each library was built against.
    contracts: BTreeMap<PathBuf, String>,
    probing: Probing,
    remembered: Remembered,
    on_overdue: Option<OnOverdue>,
}

/// How long a library may take when it is tried, where nobody says otherwise.
const PROBE_TIME: Duration = Duration::from_millis(5000);

impl Registry {
    /// A registry of the plugins in the box.
    pub fn with_builtins() -> Result<Self, RegistryError> {
        let mut registry = Self::default();
        registry.register(crate::builtin::declarations(), &Origin::Builtin)?;
        Ok(registry)
    }

    /// Sets how libraries are tried before they are loaded, and remembers in the user's cache folder which were.
    #[must_use]
    pub fn probing(self, probing: Probing) -> Self {
        Self { probing, remembered: Remembered::of_this_user(), ..self }
    }

    /// Remembers in this folder which libraries were tried, instead of the user's cache folder.
    #[must_use]
    pub fn remembering(self, folder: &Path) -> Self {
        Self { remembered: Remembered::at(folder), ..self }
    }

    /// Sets what happens when a call of a plugin does not come back: pipelines made with this registry watch for it.
    #[must_use]
    pub fn on_overdue(self, end: OnOverdue) -> Self {
        Self { on_overdue: Some(end), ..self }
    }

    pub(crate) fn overdue_handler(&self) -> Option<&OnOverdue> {
        self.on_overdue.as_ref()
    }

    /// Adds plugins: all of them or, where one name is taken, none.
    pub fn register(&mut self, declarations: Vec<Declaration>, origin: &Origin) -> Result<(), RegistryError> {
        let key = |declaration: &Declaration| (declaration.manifest.kind, declaration.manifest.name.clone());
        for (at, declaration) in declarations.iter().enumerate() {
            let twice = declarations[..at].iter().any(|earlier| key(earlier) == key(declaration));
            let taken = self.entries.get(&key(declaration)).map(|(_, origin)| origin.clone());
            if let Some(first) = taken.or(twice.then(|| origin.clone())) {
                return Err(RegistryError::Duplicate { path: declaration.manifest.path(), first });
            }
        }
        for declaration in declarations {
            self.entries.insert(key(&declaration), (declaration, origin.clone()));
        }
        Ok(())
    }

    /// Loads a library and adds its plugins; returns their manifests. A library that was loaded before is not loaded
    /// again.
    pub fn load(&mut self, path: &Path) -> Result<Vec<Manifest>, RegistryError> {
        self.bring(path, None, PROBE_TIME, &mut |_| ())
    }

    /// Loads a library as [`load`](Self::load) does, with what the configuration says of it; `reach` hears of each step.
    pub(crate) fn bring(
        &mut self,
        path: &Path,
        sha256: Option<&str>,
        probe_time: Duration,
        reach: &mut dyn FnMut(PluginState),
    ) -> Result<Vec<Manifest>, RegistryError> {
        let verified = verify(path, sha256)?;
        let known: Vec<Manifest> = self
            .entries
            .values()
            .filter(|(_, origin)| *origin == Origin::Library(verified.path.clone()))
            .map(|(declaration, _)| declaration.manifest.clone())
            .collect();
        if !known.is_empty() {
            reach(PluginState::Verified);
            reach(PluginState::Loaded);
            return Ok(known);
        }
        self.attempt(&verified, probe_time)?;
        reach(PluginState::Verified);
        let library::Loaded { declarations, contract } = library::load(&verified.path)?;
        let manifests = declarations.iter().map(|declaration| declaration.manifest.clone()).collect();
        self.register(declarations, &Origin::Library(verified.path.clone()))?;
        self.contracts.insert(verified.path, contract);
        reach(PluginState::Loaded);
        Ok(manifests)
    }

    /// Has a library tried, unless it was before.
    fn attempt(&self, verified: &Verified, time: Duration) -> Result<(), LibraryError> {
        match &self.probing {
            Probing::None => Ok(()),
            _ if self.remembered.knows(&verified.sha256) => Ok(()),
            Probing::Remembered => Err(LibraryError::NotTried { path: verified.path.clone() }),
            Probing::Child(program) => {
                probe::probe(program, &verified.path, time, ", or raise `probe_milliseconds` under [plugins]")?;
                self.remembered.note(&verified.sha256);
                Ok(())
            }
        }
    }

    /// Loads every library of a folder (`*.so`, by name) and adds its plugins. A library that cannot be used is reported
    /// and passed over.
    pub(crate) fn load_folder(
        &mut self,
        path: &Path,
        probe_time: Duration,
    ) -> Result<Vec<PluginReport>, RegistryError> {
        let unreadable = |error| RegistryError::Folder { path: path.to_owned(), error };
        let mut libraries = BTreeSet::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let library = entry.map_err(unreadable)?.path();
            if library.extension().is_some_and(|ending| ending == "so") {
                libraries.insert(library);
            }
        }
        let mut reports = Vec::new();
        for library in libraries {
            let name = library.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            let mut report = PluginReport::declared(name, "", Origin::Library(library.clone()));
            match self.bring(&library, None, probe_time, &mut |state| report.reach(state)) {
                Ok(manifests) => reports.extend(manifests.into_iter().map(|manifest| PluginReport {
                    plugin: manifest.path(),
                    contract: self.find(&manifest.path()).map(|(_, origin)| self.contract(origin)).unwrap_or_default(),
                    version: manifest.version,
                    ..report.clone()
                })),
                Err(error) => {
                    report.disable(&error);
                    reports.push(report);
                }
            }
        }
        Ok(reports)
    }

    /// Makes an instance of `kind/name`, guarded against its panics.
    pub fn create(&self, path: &str, settings: Settings<'_>) -> Result<Instance, RegistryError> {
        self.create_metered(path, settings, &Meter::new(path, Duration::ZERO))
    }

    /// Makes an instance whose calls are timed.
    pub(crate) fn create_metered(
        &self,
        path: &str,
        settings: Settings<'_>,
        meter: &Arc<Meter>,
    ) -> Result<Instance, RegistryError> {
        let (declaration, _) = self.find(path).ok_or_else(|| self.unknown(path))?;
        let failed = |error| RegistryError::Create { path: path.to_owned(), error };
        let instance = guarded::create(declaration, settings, meter).map_err(failed)?;
        let (said, made) = (declaration.manifest.kind, instance.kind());
        if said != made {
            return Err(failed(PluginError::failed(format!("is declared as a {said} plugin, but made a {made} one"))));
        }
        Ok(instance)
    }

    /// What is known by `kind/name`, and where it comes from.
    pub fn find(&self, path: &str) -> Option<&(Declaration, Origin)> {
        let (kind, name) = path.split_once('/')?;
        self.entries.iter().find(|((k, n), _)| k.word() == kind && n == name).map(|(_, entry)| entry)
    }

    /// The error for a name that there is none of, with the nearest that there is.
    pub fn unknown(&self, path: &str) -> RegistryError {
        let names: Vec<String> = self.manifests().map(|(manifest, _)| manifest.path()).collect();
        let hint = crate::config::nearest(path, names.iter().map(String::as_str)).map(str::to_owned);
        RegistryError::Unknown { asked: path.to_owned(), hint }
    }

    /// The contract that what comes from there was built against.
    pub fn contract(&self, origin: &Origin) -> String {
        match origin {
            Origin::Builtin => CONTRACT.to_owned(),
            Origin::Library(path) => self.contracts.get(path).cloned().unwrap_or_default(),
        }
    }

    /// What there is, by kind and name.
    pub fn manifests(&self) -> impl Iterator<Item = (&Manifest, &Origin)> {
        self.entries.values().map(|(declaration, origin)| (&declaration.manifest, origin))
    }
}
