use super::{guarded, library};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
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
    Library(#[from] library::LibraryError),
    /// The plugin refused its settings or panicked.
    #[error("{path}: {error}")]
    Create {
        /// `kind/name`.
        path: String,
        /// What it said.
        error: PluginError,
    },
}

/// All plugins that can be used.
#[derive(Debug, Default)]
pub struct Registry {
    entries: BTreeMap<(PluginKind, String), (Declaration, Origin)>,
}

impl Registry {
    /// A registry of the plugins in the box.
    pub fn with_builtins() -> Result<Self, RegistryError> {
        let mut registry = Self::default();
        registry.register(crate::builtin::declarations(), &Origin::Builtin)?;
        Ok(registry)
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
        let path = library::locate(path)?;
        let known: Vec<Manifest> = self
            .entries
            .values()
            .filter(|(_, origin)| *origin == Origin::Library(path.clone()))
            .map(|(declaration, _)| declaration.manifest.clone())
            .collect();
        if !known.is_empty() {
            return Ok(known);
        }
        let declarations = library::load(&path)?;
        let manifests = declarations.iter().map(|declaration| declaration.manifest.clone()).collect();
        self.register(declarations, &Origin::Library(path))?;
        Ok(manifests)
    }

    /// Makes an instance of `kind/name`, guarded against its panics.
    pub fn create(&self, path: &str, settings: Settings<'_>) -> Result<Instance, RegistryError> {
        let found = path
            .split_once('/')
            .and_then(|(kind, name)| self.entries.iter().find(|((k, n), _)| k.word() == kind && n == name));
        let Some((_, (declaration, _))) = found else {
            let names: Vec<String> = self.manifests().map(|(manifest, _)| manifest.path()).collect();
            let hint = crate::config::nearest(path, names.iter().map(String::as_str)).map(str::to_owned);
            return Err(RegistryError::Unknown { asked: path.to_owned(), hint });
        };
        guarded::create(declaration, settings).map_err(|error| RegistryError::Create { path: path.to_owned(), error })
    }

    /// What there is, by kind and name.
    pub fn manifests(&self) -> impl Iterator<Item = (&Manifest, &Origin)> {
        self.entries.values().map(|(declaration, origin)| (&declaration.manifest, origin))
    }
}
