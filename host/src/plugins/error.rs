use super::report::brief;
use std::path::PathBuf;
use veilwatch_core::plugin::PluginError;

/// Why a library brings no plugins: what, why, and what to do, on one line.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The file cannot be read.
    #[error("plugin {path}: cannot be read ({error}); check the path and its permissions")]
    Unreadable {
        /// The library or folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is not a regular file, or others could have changed it.
    #[error("plugin {path}: {why}")]
    Unsafe {
        /// The library.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// It is not the file that the configuration means.
    #[error(
        "plugin {path}: its SHA-256 is {found}, but the configuration says {wanted}; get the file again, or look at what \
         changed and correct `sha256`"
    )]
    OtherHash {
        /// The library.
        path: PathBuf,
        /// What the configuration says.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// It is not a shared library of this machine.
    #[error("plugin {path}: not a shared library for this machine ({why}); build it with `crate-type = [\"cdylib\"]`")]
    NotLibrary {
        /// The library.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// Its headers name more bytes than the file has; the system's loader would end the process over it.
    #[error("plugin {path}: a damaged library ({why}); copy it or build it again")]
    Damaged {
        /// The library.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// The system's loader refused it.
    #[error(
        "plugin {path}: the system cannot load it ({}); build it for this system, with all that it links to",
        brief(why)
    )]
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
    #[error("plugin {path}: {why}")]
    OtherVersion {
        /// The library.
        path: PathBuf,
        /// Which versions, and what to do.
        why: String,
    },
    /// It names the same version, but its types look different in memory.
    #[error(
        "plugin {path}: its version of the contract is known, but not what it makes of it ({why} is another one here); \
         build it again with an unchanged veilwatch-core"
    )]
    OtherLayout {
        /// The library.
        path: PathBuf,
        /// Which type differs.
        why: String,
    },
    /// It does not say what it holds.
    #[error("plugin {path}: {}; update Veilwatch, or ask the plugin's author", brief(&error.message))]
    Broken {
        /// The library.
        path: PathBuf,
        /// What it said.
        error: PluginError,
    },
    /// It misbehaved when it was tried.
    #[error("plugin {path}: {why}")]
    Probe {
        /// The library.
        path: PathBuf,
        /// How, and what to do.
        why: String,
    },
    /// No child can be started to try it.
    #[error("plugin {path}: cannot be tried, since {program} cannot be started ({error})")]
    NoChild {
        /// The library.
        path: PathBuf,
        /// What was to become the child.
        program: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A child process tried it and tells what is wrong.
    #[error("{0}")]
    Told(String),
    /// It was never tried, and this program may not try it.
    #[error(
        "plugin {path}: was never tried, and this program tries no plugins itself; run `veilwatch config check` on the \
         pipeline first"
    )]
    NotTried {
        /// The library.
        path: PathBuf,
    },
}
