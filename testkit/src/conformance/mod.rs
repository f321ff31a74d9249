//! What every plugin keeps to, as a list of checks.
//!
//! In an author's own tests one line does it: [`assert_conforms`]. A program that is given a plugin asks [`check`] and
//! shows the [`Report`].
//!
//! ```
//! use veilwatch_core::plugin::{Declaration, Manifest, PluginError, PluginKind};
//! use veilwatch_testkit::conformance::{Options, check};
//!
//! let refuses = Declaration {
//!     manifest: Manifest {
//!         kind: PluginKind::Feature,
//!         name: "refuses".into(),
//!         version: "1.0.0".into(),
//!         summary: "cannot be made".into(),
//!     },
//!     create: std::sync::Arc::new(|_| Err(PluginError::settings("`name` is missing"))),
//! };
//! let report = check(&refuses, &Options::default());
//! assert!(!report.passed());
//! assert!(report.to_string().contains("failed   made from its settings: `name` is missing"));
//! ```

mod classifier;
mod drawing;
mod every;
mod feature;
mod made;
mod segments;
mod subject;
mod template;
#[cfg(test)]
mod testing;

use crate::fuzz::seeds;
use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
pub(crate) use subject::across;
use subject::{Stop, Subject};
use veilwatch_core::abi::export::guard;
use veilwatch_core::plugin::{Declaration, PluginKind};
use veilwatch_core::record::FieldSpec;

/// On which side of a library boundary a plugin is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Boundary {
    /// As it was made.
    Direct,
    /// Through the adapter that dropped-in plugins come through.
    Adapter,
    /// As it was made, and compared with what comes through the adapter.
    #[default]
    Both,
}

/// How a plugin is checked.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its settings, as TOML text.
    pub settings: String,
    /// Where it is called.
    pub boundary: Boundary,
    /// Fields that others declare and this extractor may read, beside the typed records.
    pub fields: Vec<FieldSpec>,
    /// Conversations that this template has to recognise: what the originator says, and what the responder says.
    pub samples: Vec<[Vec<u8>; 2]>,
    /// This template has to draw a tree of each of them; otherwise that it draws nothing is only told.
    pub draws: bool,
    /// Flows that extractors are called with.
    pub flows: usize,
    /// Time of one check; one that takes longer has failed, and those after it are skipped. The thread that it runs in
    /// cannot be ended and is left behind.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            settings: String::new(),
            boundary: Boundary::default(),
            fields: Vec::new(),
            samples: Vec::new(),
            draws: false,
            flows: 96,
            patience: Duration::from_secs(120),
        }
    }
}

/// How one check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The plugin keeps to it.
    Passed,
    /// It does not; what was seen.
    Failed(String),
    /// It was not looked at; why.
    Skipped(String),
    /// It should have been looked at, and could not; why, and what to do.
    Unknown(String),
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What a plugin has to keep to.
    pub name: &'static str,
    /// Whether this one does.
    pub outcome: Outcome,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Passed => write!(f, "passed   {}", self.name),
            Outcome::Failed(why) => write!(f, "failed   {}: {why}", self.name),
            Outcome::Skipped(why) => write!(f, "skipped  {}: {why}", self.name),
            Outcome::Unknown(why) => write!(f, "unknown  {}: {why}", self.name),
        }
    }
}

/// What became of all checks of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The plugin, as `kind/name`.
    pub plugin: String,
    /// The checks, in order.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether no check failed, and none could not be made.
    pub fn passed(&self) -> bool {
        let unknown = |check: &Check| matches!(check.outcome, Outcome::Unknown(_));
        self.failures().next().is_none() && !self.checks.iter().any(unknown)
    }

    /// The checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| matches!(check.outcome, Outcome::Failed(_)))
    }
}

/// One line a check, after one that names the plugin.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.plugin)?;
        self.checks.iter().try_for_each(|check| write!(f, "\n{check}"))
    }
}

/// A check: its name, and what tells whether a plugin keeps to it.
type Rule = (&'static str, fn(&Subject) -> Result<(), Stop>);

fn rules(kind: PluginKind) -> impl Iterator<Item = Rule> {
    let own: &[Rule] = match kind {
        PluginKind::Protocol => &template::RULES,
        PluginKind::Feature => &feature::RULES,
        PluginKind::Classifier => &classifier::RULES,
    };
    every::RULES.iter().chain(own).copied()
}

/// Looks whether a plugin keeps to the contract.
///
/// A panic of the plugin is a failure of the check in which it came, and so is a call that does not come back in time.
/// What ends the process, such as an abort or a stack that overflows, cannot be caught: whoever does not trust a plugin
/// so far calls this in a process of its own.
pub fn check(declaration: &Declaration, how: &Options) -> Report {
    check_each(declaration, how, &mut |_| {})
}

/// The same, and tells of each check as soon as it has ended.
pub fn check_each(declaration: &Declaration, how: &Options, tell_of: &mut dyn FnMut(&Check)) -> Report {
    how.samples.iter().for_each(seeds::keep_streams);
    let rules: Vec<Rule> = rules(declaration.manifest.kind).collect();
    let (tell, told) = channel();
    let subject = Subject::new(declaration.clone(), how.clone());
    let all = rules.clone();
    let started = std::thread::Builder::new().name("conformance".into()).spawn(move || run(&subject, &all, &tell));
    let mut checks = Vec::with_capacity(rules.len());
    let mut trouble = started.err().map(|error| format!("no thread can be started ({error})"));
    for (name, _) in rules {
        let outcome = match &trouble {
            Some(why) => Outcome::Skipped(why.clone()),
            None => told.recv_timeout(how.patience).unwrap_or_else(|error| {
                trouble = Some("an earlier check did not come back".into());
                Outcome::Failed(match error {
                    RecvTimeoutError::Timeout => format!("it did not come back within {:?}", how.patience),
                    RecvTimeoutError::Disconnected => "it ended the thread in which it was called".into(),
                })
            }),
        };
        let check = Check { name, outcome };
        tell_of(&check);
        checks.push(check);
    }
    Report { plugin: declaration.manifest.path(), checks }
}

/// Runs the rules in order; each outcome is told at once.
fn run(subject: &Subject, rules: &[Rule], tell: &Sender<Outcome>) {
    for (_, rule) in rules {
        let outcome = match guard(|| Ok(rule(subject))) {
            Ok(Ok(())) => Outcome::Passed,
            Ok(Err(Stop::Skipped(why))) => Outcome::Skipped(why),
            Ok(Err(Stop::Unknown(why))) => Outcome::Unknown(why),
            Ok(Err(Stop::Failed(why))) => Outcome::Failed(why),
            Err(panic) => Outcome::Failed(panic.message),
        };
        if tell.send(outcome).is_err() {
            return;
        }
    }
}

/// For tests: checks plugins with [`Options::default`].
///
/// # Panics
/// With the reports of those that fail, or where there are no plugins.
#[allow(clippy::panic, reason = "it is there to end a test")]
pub fn assert_conforms(declarations: Vec<Declaration>) {
    assert!(!declarations.is_empty(), "no plugin was given");
    let reports = declarations.iter().map(|declaration| check(declaration, &Options::default()));
    let failed: Vec<String> = reports.filter(|report| !report.passed()).map(|report| report.to_string()).collect();
    assert!(failed.is_empty(), "\n{}\n", failed.join("\n\n"));
}
