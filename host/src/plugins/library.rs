//! The dynamic loader: the only place beside `core::abi` that knows `libloading` and `unsafe`.
//!
//! A library is trusted code. What is checked before it is loaded (see `verify` and `probe`) keeps accidents out, not
//! attackers who can write to the plugin folder.

#![allow(unsafe_code)] // loading a library runs its code; there is no safe way

use super::error::LibraryError;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::path::Path;
use std::sync::Arc;
use veilwatch_core::abi::abi_stable::library::{AbiHeaderRef, LibraryError as AbiError, RootModule};
use veilwatch_core::abi::{PluginModuleRef, ROOT_SYMBOL, import};
use veilwatch_core::plugin::{Declaration, Manifest, PluginError};

/// What a library must have been built against: the symbol of the contract and the version of its types.
pub fn contract() -> String {
    let symbol = String::from_utf8_lossy(ROOT_SYMBOL);
    format!("{}/{}", symbol.trim_end_matches('\0'), PluginModuleRef::VERSION_STRINGS.version)
}

/// Loads a library that was verified; it stays loaded until the process ends.
pub(crate) fn load(path: &Path) -> Result<Vec<Declaration>, LibraryError> {
    // RTLD_NOW reports missing symbols here instead of ending the process in the middle of a call.
    // SAFETY: the library's constructors run; it is trusted code, as the documentation says.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| {
        // What the system says of it stands behind the error.
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        LibraryError::Refused { path: path.to_owned(), why }
    })?;
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
        .map_err(|error| different(path, &error))?;
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
            plain(&manifest).map_err(|error| LibraryError::Broken { path: path.to_owned(), error })?;
            let create = root.create();
            Ok(Declaration {
                manifest,
                create: Arc::new(move |settings| Ok(import::unwrap(create(at, settings.text().into()).into_result()?))),
            })
        })
        .collect()
}

/// Whether names are such as a configuration and a message can hold.
fn plain(manifest: &Manifest) -> Result<(), PluginError> {
    let name = manifest.name.as_str();
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !letters || name.is_empty() || name.len() > 64 || manifest.version.len() > 64 || manifest.summary.len() > 1024 {
        return Err(PluginError::failed(format!(
            "a {} plugin is named `{}`; a name has up to 64 lower-case letters, digits and hyphens, a version as many, a \
             summary 1024",
            manifest.kind,
            name.chars().take(64).collect::<String>()
        )));
    }
    Ok(())
}

/// `abi_stable` reports a changed layout in up to 160 KB; a person needs one line.
fn different(path: &Path, error: &AbiError) -> LibraryError {
    let path = path.to_owned();
    let why = match error {
        AbiError::AbiInstability(_) => {
            return LibraryError::OtherLayout { path, why: changed_types(&error.to_string()) };
        }
        AbiError::IncompatibleVersionNumber { expected_version, actual_version, .. } => {
            format!("this one is {expected_version}, the plugin's is {actual_version}")
        }
        AbiError::InvalidAbiHeader(_) => "another version of the plugin transport".into(),
        AbiError::RootModule { .. } => "its root module could not be made".into(),
        _ => error.to_string().lines().next().unwrap_or_default().chars().take(200).collect(),
    };
    LibraryError::OtherVersion { path, why }
}

/// How many differences a report lists, and the first one that says what they are about.
fn changed_types(report: &str) -> String {
    let count = report.matches("error(s)").count().max(1);
    let first = report.lines().map(str::trim).find(|line| {
        ["too many", "too few", "mismatched", "incompatible", "different", "unexpected"]
            .iter()
            .any(|word| line.to_ascii_lowercase().contains(word))
    });
    let first = first.map(|line| {
        let line = line.to_ascii_lowercase();
        line.trim_start_matches("error:").trim().trim_end_matches(':').chars().take(120).collect::<String>()
    });
    match first {
        Some(first) => format!("differences in {count} places, the first: {first}"),
        None => format!("differences in {count} places"),
    }
}
