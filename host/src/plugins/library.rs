//! The dynamic loader: the only place beside `core::abi` that knows `libloading` and `unsafe`.
//!
//! A library is trusted code. What is checked before it is loaded (see `verify` and `probe`) keeps accidents out, not
//! attackers who can write to the plugin folder.

#![allow(unsafe_code)] // loading a library runs its code; there is no safe way

use super::error::LibraryError;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;
use veilwatch_core::abi::abi_stable::StableAbi;
use veilwatch_core::abi::abi_stable::abi_stability::abi_checking::{
    AbiInstability, AbiInstabilityError, CheckingGlobals, check_layout_compatibility_with_globals,
};
use veilwatch_core::abi::abi_stable::library::{AbiHeaderRef, LibHeader, LibraryError as AbiError};
use veilwatch_core::abi::abi_stable::type_layout::TLFieldOrFunction;
use veilwatch_core::abi::types::RawManifest;
use veilwatch_core::abi::{CONTRACT, PluginModuleRef, ROOT_SYMBOL, import};
use veilwatch_core::plugin::{Declaration, Manifest, PluginError};

/// The two numbers of a contract's version that count: `1.2` of `1.2.3`.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// Whether this program knows the contract that a library was built against; if not, in words.
fn known_contract(theirs: &str) -> Result<(), String> {
    let (Some((our_major, our_minor)), Some((major, minor))) = (numbers(CONTRACT), numbers(theirs)) else {
        return Err("gives no version of the contract that can be read; build it again with this veilwatch-core".into());
    };
    let versions = format!("needs contract {major}.{minor}, this program has {our_major}.{our_minor}");
    match major.cmp(&our_major).then(minor.cmp(&our_minor)) {
        Ordering::Greater => Err(format!("{versions}; update Veilwatch")),
        Ordering::Less if major < our_major => Err(format!("{versions}; build it again with this veilwatch-core")),
        _ => Ok(()),
    }
}

/// A library that was loaded.
pub(crate) struct Loaded {
    /// Its plugins.
    pub(crate) declarations: Vec<Declaration>,
    /// The contract that it was built against.
    pub(crate) contract: String,
}

/// Loads a library that was verified; it stays loaded until the process ends.
pub(crate) fn load(path: &Path) -> Result<Loaded, LibraryError> {
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
    let header = header.upgrade().map_err(|error| different(path, &error))?;
    let contract = header.version_strings().version.to_string();
    known_contract(&contract).map_err(|why| LibraryError::OtherVersion { path: path.to_owned(), why })?;
    same_layout(header).map_err(|why| LibraryError::OtherLayout { path: path.to_owned(), why })?;
    // SAFETY: `same_layout` has just compared the types of both sides.
    let root = unsafe { header.init_root_module_with_unchecked_layout::<PluginModuleRef>() }
        .map_err(|error| different(path, &error))?;
    let manifests = root.manifests()()
        .into_result()
        .map_err(|error| LibraryError::Broken { path: path.to_owned(), error: error.into() })?;
    let unknown = || PluginError::failed("declares a kind of plugin that this version does not know; update Veilwatch");
    let declarations = manifests
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
        .collect::<Result<_, _>>()?;
    Ok(Loaded { declarations, contract })
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

/// What else the transport may object to, on one line.
fn different(path: &Path, error: &AbiError) -> LibraryError {
    let why = match error {
        AbiError::InvalidAbiHeader(_) => "was built for another version of the plugin transport".into(),
        AbiError::RootModule { .. } => "cannot make its root module".into(),
        _ => {
            let first: String = error.to_string().lines().next().unwrap_or_default().chars().take(200).collect();
            format!("cannot be used ({first})")
        }
    };
    LibraryError::OtherVersion { path: path.to_owned(), why: format!("{why}; build it again with this veilwatch-core") }
}

/// Compares the types of a library's contract with ours: all but the version of the crate that they stand in, since the
/// contract has one of its own. An error names the type that differs.
fn same_layout(header: &LibHeader) -> Result<(), String> {
    let theirs = header.layout().ok_or("it says nothing of its types")?;
    // The other way round than the transport does it: it is for a library that grows, and here the program does. What both
    // have must be the same; what only ours has, at the end, is asked for by no library of an earlier contract, and where
    // we call it there its default answers.
    // Nor does the transport's memory count: it holds each library against all before it, of whatever contract, and
    // they never speak to each other.
    let fresh = CheckingGlobals::new();
    let compared = check_layout_compatibility_with_globals(theirs, PluginModuleRef::LAYOUT, &fresh);
    let Err(errors) = compared else { return Ok(()) };
    let counts = |error: &AbiInstability| !matches!(error, AbiInstability::PackageVersion(_));
    let changed: Vec<&AbiInstabilityError> =
        errors.errors.iter().filter(|error| error.errs.iter().any(counts)).collect();
    // The one that lies deepest is the cause, the others follow from it.
    match changed.iter().rev().max_by_key(|error| error.stack_trace.len()) {
        None => Ok(()),
        Some(deepest) => Err(place(deepest)),
    }
}

/// Where a difference lies: the innermost type of the contract on the way there, and the member or function.
fn place(error: &AbiInstabilityError) -> String {
    let ours = RawManifest::LAYOUT.package();
    let (mut kind, mut near) = ("PluginModule".to_owned(), "");
    for step in &error.stack_trace {
        let name = match &step.found {
            TLFieldOrFunction::Field(field) => {
                let inner = field.layout();
                if inner.package() == ours && inner.name().chars().all(|c| c.is_ascii_alphanumeric()) {
                    inner.name().clone_into(&mut kind);
                }
                field.name()
            }
            TLFieldOrFunction::Function(function) => function.name.as_str(),
        };
        // What the transport makes for itself is numbered, or begins with an underscore.
        if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            near = name;
        }
    }
    let brief = |text: &str| text.chars().take(80).collect::<String>();
    if near.is_empty() {
        format!("type `{}`", brief(&kind))
    } else {
        format!("type `{}` at `{}`", brief(&kind), brief(near))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contract_is_known_by_its_first_two_numbers() {
        let (major, minor) = numbers(CONTRACT).unwrap();
        for (theirs, says) in [
            (format!("{major}.{minor}.0"), ""),
            (format!("{major}.{minor}.99"), ""),
            (format!("{major}.0.0"), ""),
            (format!("{major}.{}.0", minor + 1), "update Veilwatch"),
            (format!("{}.0.0", major + 1), "update Veilwatch"),
            (format!("{}.99.0", major - 1), "build it again"),
            ("new".into(), "no version"),
            (String::new(), "no version"),
        ] {
            match known_contract(&theirs) {
                Ok(()) => assert_eq!(says, "", "{theirs}"),
                Err(why) => assert!(!says.is_empty() && why.contains(says), "{theirs}: {why}"),
            }
        }
        assert_eq!(
            known_contract(&format!("{major}.9.0")).unwrap_err(),
            format!("needs contract {major}.9, this program has {major}.{minor}; update Veilwatch")
        );
    }
}
