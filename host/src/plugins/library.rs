//! The dynamic loader: the only place beside `core::abi` that knows `libloading` and `unsafe`.
//!
//! A library is trusted code; what is checked before `dlopen` keeps accidents out, not attackers who can write to the
//! plugin folder. The full verification (hash, ELF bounds, a probe in a child process) is work of its own.

#![allow(unsafe_code)] // loading a library runs its code; there is no safe way

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use veilwatch_core::abi::abi_stable::library::{AbiHeaderRef, LibraryError as AbiError};
use veilwatch_core::abi::{PluginModuleRef, ROOT_SYMBOL, import};
use veilwatch_core::plugin::{Declaration, PluginError};

/// Why a library is no plugin.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The file cannot be read.
    #[error("plugin {path}: cannot be read ({error}); check the path and its permissions")]
    Unreadable {
        /// The library.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is not a regular file, or others may write to it.
    #[error("plugin {path}: {why}")]
    Unsafe {
        /// The library.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// It is not a shared library of this machine.
    #[error("plugin {path}: not a shared library for this machine; build it with `crate-type = [\"cdylib\"]`")]
    NotLibrary {
        /// The library.
        path: PathBuf,
    },
    /// The system's loader refused it.
    #[error("plugin {path}: the system cannot load it ({why})")]
    Refused {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        why: String,
    },
    /// It exports no plugins.
    #[error("plugin {path}: a library, but no Veilwatch plugin; add `veilwatch_core::export_plugins!(declarations);`")]
    NotPlugin {
        /// The library.
        path: PathBuf,
    },
    /// It was built against another version of the contract.
    #[error("plugin {path}: built against another version of veilwatch-core ({why}); build it again with this one")]
    OtherVersion {
        /// The library.
        path: PathBuf,
        /// Which versions.
        why: String,
    },
    /// It does not say what it holds.
    #[error("plugin {path}: {error}")]
    Broken {
        /// The library.
        path: PathBuf,
        /// What it said.
        error: PluginError,
    },
}

/// The absolute path of a library, checked for what can be checked without running it.
pub(crate) fn locate(path: &Path) -> Result<PathBuf, LibraryError> {
    let unreadable = |error| LibraryError::Unreadable { path: path.to_owned(), error };
    let absolute = path.canonicalize().map_err(unreadable)?;
    // Before opening it: a named pipe would wait for a writer for ever.
    let facts = std::fs::metadata(&absolute).map_err(unreadable)?;
    if !facts.is_file() {
        return Err(LibraryError::Unsafe { path: absolute, why: "not a regular file; name the library itself".into() });
    }
    if facts.mode() & 0o002 != 0 {
        let why =
            format!("everybody may write to it; run `chmod o-w {}` and make sure of what it is", absolute.display());
        return Err(LibraryError::Unsafe { path: absolute, why });
    }
    let mut file = File::open(&absolute).map_err(unreadable)?;
    let mut head = [0; 4];
    match file.read_exact(&mut head) {
        Ok(()) if head == *b"\x7fELF" => Ok(absolute),
        _ => Err(LibraryError::NotLibrary { path: absolute }),
    }
}

/// Loads a library that [`locate`] found; it stays loaded until the process ends.
pub(crate) fn load(path: &Path) -> Result<Vec<Declaration>, LibraryError> {
    // RTLD_NOW reports missing symbols here instead of ending the process in the middle of a call.
    // SAFETY: the library's constructors run; it is trusted code, as the documentation says.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| LibraryError::Refused { path: path.to_owned(), why: error.to_string() })?;
    // SAFETY: the symbol is ours; what it points to is checked by `upgrade` before anything else is read.
    let header: AbiHeaderRef = unsafe {
        let symbol =
            library.get::<AbiHeaderRef>(ROOT_SYMBOL).map_err(|_| LibraryError::NotPlugin { path: path.to_owned() })?;
        *symbol
    };
    // Objects of the library live as long as the process: it must never be unloaded.
    std::mem::forget(library);
    let root = header
        .upgrade()
        .and_then(|header| header.init_root_module::<PluginModuleRef>())
        .map_err(|error| LibraryError::OtherVersion { path: path.to_owned(), why: short(&error) })?;
    let manifests = root.manifests()()
        .into_result()
        .map_err(|error| LibraryError::Broken { path: path.to_owned(), error: error.into() })?;
    let unknown = || PluginError::failed("declares a kind of plugin that this version does not know; update Veilwatch");
    manifests
        .iter()
        .enumerate()
        .map(|(at, manifest)| {
            let manifest =
                manifest.read().ok_or_else(|| LibraryError::Broken { path: path.to_owned(), error: unknown() })?;
            let create = root.create();
            Ok(Declaration {
                manifest,
                create: Arc::new(move |settings| Ok(import::unwrap(create(at, settings.text().into()).into_result()?))),
            })
        })
        .collect()
}

/// `abi_stable` reports a changed layout in up to 160 KB; a person needs one line.
fn short(error: &AbiError) -> String {
    match error {
        AbiError::IncompatibleVersionNumber { expected_version, actual_version, .. } => {
            format!("this one is {expected_version}, the plugin's is {actual_version}")
        }
        AbiError::AbiInstability(_) => "the layout of the contract's types differs".into(),
        AbiError::InvalidAbiHeader(_) => "another version of the plugin transport".into(),
        AbiError::RootModule { .. } => "its root module could not be made".into(),
        _ => error.to_string().lines().next().unwrap_or_default().chars().take(200).collect(),
    }
}
