//! Holds plugins to the contract with the suite of the test kit, for `veilwatch plugin check`.
//!
//! Plugins in the box are called as they are and through the adapter of the boundary. A library is called in a child
//! process, under the limits under which it is tried, because what it does may end that process.

use super::child::{self, Errand, Limit, Said};
use super::error::LibraryError;
use super::report::brief;
use super::verify::verify;
use super::{library, probe};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;
use veilwatch_core::plugin::Declaration;
use veilwatch_testkit::conformance::{self, Boundary, Options, Outcome};

/// The argument that makes a program the child that checks.
pub(super) const CHECK_ARGUMENT: &str = "plugin-check";

/// What helps a plugin that is only slow.
const MORE_TIME: &str = ", or give it more time with `--patience`";

/// What the child has beside a check's own time before it says how that one ended.
const GRACE: Duration = Duration::from_secs(5);

/// Processor time of the child, as a multiple of what one check may take, and the least: checks run on two threads at
/// times, and there are many.
const CPU_CHECKS: u64 = 80;
const CPU_LEAST: u64 = 600;

/// How one check of a plugin ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// `kind/name`, or the library's path for what is about the whole of it.
    pub plugin: String,
    /// What a plugin has to keep to.
    pub check: String,
    /// Whether this one does.
    pub outcome: CheckOutcome,
    /// What was seen where it does not, or why nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Whether a plugin keeps to what was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckOutcome {
    /// It does.
    Passed,
    /// It does not.
    Failed,
    /// It was not looked at.
    Skipped,
    /// It should have been looked at, and could not.
    Unknown,
}

impl CheckOutcome {
    /// The outcome as a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Unknown => "unknown",
        }
    }
}

impl Checked {
    fn passed(plugin: &str, check: &str) -> Self {
        Self { plugin: plugin.into(), check: check.into(), outcome: CheckOutcome::Passed, why: None }
    }

    fn failed(plugin: &str, check: &str, why: &dyn std::fmt::Display) -> Self {
        let why = Some(brief(&why.to_string()));
        Self { plugin: plugin.into(), check: check.into(), outcome: CheckOutcome::Failed, why }
    }
}

/// How plugins are checked.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Their settings, as TOML text.
    pub settings: String,
    /// Time of one check; one that takes longer has failed.
    pub patience: Duration,
}

/// Checks a plugin that is linked into this program, as it is and through the adapter.
pub fn check_linked(declaration: &Declaration, how: &CheckOptions) -> Vec<Checked> {
    let mut checks = Vec::new();
    run(declaration, how, Boundary::Both, &mut |check| checks.push(check));
    checks
}

/// Checks a library: its file, the trial that each goes through before it is loaded, and the suite for every plugin that
/// it holds. `program` becomes the child that does the last two; see [`probe_main`](super::probe_main).
///
/// # Errors
/// Where it could not be looked at: it is no library, or no child can be started. What it does wrong is no error, but a
/// check that failed.
pub fn check_library(program: &Path, path: &Path, how: &CheckOptions) -> Result<Vec<Checked>, LibraryError> {
    let file = verify(path, None)?;
    let whole = file.path.display().to_string();
    let mut checks = vec![Checked::passed(&whole, "a whole library, safe from others")];
    let trial = "tried in a process of its own";
    match probe::probe(program, &file.path, how.patience, MORE_TIME) {
        Ok(()) => checks.push(Checked::passed(&whole, trial)),
        Err(error @ LibraryError::NoChild { .. }) => return Err(error),
        Err(error) => {
            checks.push(Checked::failed(&whole, trial, &error));
            return Ok(checks);
        }
    }
    let patience = how.patience.as_millis().to_string();
    let (said, end) = child::send(&Errand {
        program,
        argument: CHECK_ARGUMENT,
        path: &file.path,
        more: &[OsStr::new(&how.settings), OsStr::new(&patience)],
        limit: Limit::Line(how.patience + GRACE),
        advice: MORE_TIME,
    });
    checks.extend(said.into_iter().filter_map(|said| if let Said::Checked(check) = said { Some(check) } else { None }));
    match end {
        Ok(()) => Ok(checks),
        Err(error @ LibraryError::NoChild { .. }) => Err(error),
        Err(error) => {
            checks.push(Checked::failed(&whole, "the process that checks it ends well", &error));
            Ok(checks)
        }
    }
}

/// The child's side.
pub(super) fn answer(path: &Path, settings: &str, patience: &str) -> std::io::Result<()> {
    let patience = Duration::from_millis(patience.parse().map_err(std::io::Error::other)?);
    let how = CheckOptions { settings: settings.to_owned(), patience };
    let cpu_seconds = patience.as_secs().saturating_mul(CPU_CHECKS).max(CPU_LEAST);
    child::serve(path, cpu_seconds, |say| {
        say(&Said::Trying("loading it".into()))?;
        let declarations = match library::load(path) {
            Ok(loaded) => loaded.declarations,
            Err(error) => return Ok(Err(error.to_string())),
        };
        for declaration in declarations {
            say(&Said::Trying(format!("checking {}", declaration.manifest.path())))?;
            // What comes out of a library has come through the adapter already.
            let mut said = Ok(());
            run(&declaration, &how, Boundary::Direct, &mut |check| {
                if said.is_ok() {
                    said = say(&Said::Checked(check));
                }
            });
            said?;
        }
        Ok(Ok(()))
    })
}

/// Runs the suite; each check is told as soon as it has ended.
fn run(declaration: &Declaration, how: &CheckOptions, boundary: Boundary, tell: &mut dyn FnMut(Checked)) {
    let options = Options { settings: how.settings.clone(), boundary, patience: how.patience, ..Options::default() };
    let plugin = declaration.manifest.path();
    conformance::check_each(declaration, &options, &mut |check| {
        let (outcome, why) = match &check.outcome {
            Outcome::Passed => (CheckOutcome::Passed, None),
            Outcome::Failed(why) => (CheckOutcome::Failed, Some(brief(why))),
            Outcome::Skipped(why) => (CheckOutcome::Skipped, Some(brief(why))),
            Outcome::Unknown(why) => (CheckOutcome::Unknown, Some(brief(why))),
        };
        tell(Checked { plugin: plugin.clone(), check: check.name.to_owned(), outcome, why });
    });
}
