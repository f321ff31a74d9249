//! `veilwatch plugin`: what plugins there are, whether they keep to the contract, how fast they are, and a start for new
//! ones.

mod bench;
mod check;
mod info;
mod list;
mod new;
pub(super) mod show;

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use veilwatch::plugins::{Origin, Registry};
use veilwatch_core::plugin::{Declaration, PluginKind};

/// Subcommands of `veilwatch plugin`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// List the plugins in the box, or those of a configuration and what became of each.
    List(list::Args),
    /// Tell what a plugin says of itself: its columns or fields, where it comes from, how a pipeline names it.
    Info(info::Args),
    /// Hold a plugin, or all plugins of a library, to the contract.
    ///
    /// The exit status is 0 where all checks passed, 1 where one failed, 2 where the plugin could not be checked.
    Check(check::Args),
    /// Measure how long a plugin takes for a flow, directly and through the boundary of libraries.
    Bench(bench::Args),
    /// Write a plugin to begin with: a crate that builds, with tests and a pipeline that uses it.
    New(new::Args),
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match args {
        Args::List(args) => list::run(args),
        Args::Info(args) => info::run(args),
        Args::Check(args) => check::run(args),
        Args::Bench(args) => bench::run(args),
        Args::New(args) => new::run(args),
    }
}

/// What a person names: a library, or a plugin by `kind/name`.
enum Named {
    Library(PathBuf),
    Plugin(String),
}

/// Takes `feature/splt` for a plugin, unless there is a file of that name.
fn named(what: &Path) -> Named {
    let kinds = (0..).map_while(PluginKind::from_number);
    let mut words = kinds.map(PluginKind::word);
    match what.to_str().map(|text| (text, text.split_once('/'))) {
        Some((text, Some((kind, name)))) if words.any(|word| word == kind) && !name.contains('/') && !what.exists() => {
            Named::Plugin(text.to_owned())
        }
        _ => Named::Library(what.to_owned()),
    }
}

/// The plugins that are meant, loaded where they are in a library.
fn declarations(what: &Path, registry: &mut Registry) -> Result<Vec<(Declaration, Origin)>> {
    let paths = match named(what) {
        Named::Plugin(path) => vec![path],
        Named::Library(path) => {
            // A library may bring what is in the box as well: then it is meant.
            let mut alone = super::without_plugins();
            let paths = alone.load(&path)?.iter().map(veilwatch_core::plugin::Manifest::path).collect();
            *registry = alone;
            paths
        }
    };
    let mut found = Vec::new();
    for path in paths {
        match registry.find(&path) {
            Some(entry) => found.push(entry.clone()),
            None => bail!("{}; for one in a library, give the library's path", registry.unknown(&path)),
        }
    }
    if found.is_empty() {
        bail!("plugin {}: the library holds no plugins; add a line of `declare_plugins!`", what.display());
    }
    Ok(found)
}
