//! Whether the figures may be believed.
//!
//! Each check has a rule with numbers, which were set before it was looked at what the shipped set-up makes of them (since
//! then two became stricter: a constant with a little noise is a constant too, and names and certificates are looked up in all other captures),
//! and which stand in the report beside its outcome. A check that fails withholds the headline. One that there is too little
//! data for says so; it neither passes nor fails, but without those of [`KEY`] there is no headline either. Some things are told and not judged: that a classifier can tell benign
//! captures from infected machines' benign flows is true of every honest feature set that was ever tried on such data
//! (they differ in era, operating system and software), and says nothing about what the model does. What is judged instead
//! is each column by itself, and how far one gets with what is no sign of malice.
//!
//! | check | what fails it |
//! |---|---|
//! | `label_shuffle` | labels permuted among captures: mean average precision further than [`SHUFFLE_BAND`](shuffle::SHUFFLE_BAND) above the base rate |
//! | `capture_constant` | a column that agrees within captures and differs between them: it names the capture |
//! | `server_constant` | a column that agrees between captures for one server and differs between servers: it names the address |
//! | `single_label` | one column that by itself has an average precision of [`SINGLE_LABEL`](columns::SINGLE_LABEL): it is the label |
//! | `single_place` | one column that by itself tells infected machines' benign flows from benign captures with an area of [`SINGLE_PLACE`](columns::SINGLE_PLACE): it names the place |
//! | `lookup_*` | what SNI, JA3, JA4 or certificate alone reach, looked up in the training folds (names and certificates: in all other captures), is more than [`LOOKUP_SHARE`](lookups::LOOKUP_SHARE) of the model's average precision, or not surely below it |
//! | `time_only` | the classifier on capture time alone reaches more than [`TIME_SHARE`](place::TIME_SHARE) of the model's average precision |
//! | `never_saw_malware` | the classifier, taught to tell infected machines' benign flows from benign captures, reaches more than [`NEVER_SAW_SHARE`](place::NEVER_SAW_SHARE) of the model's average precision on malicious against benign |
//! | `place_probe`, `source_probe` | nothing: told, not judged |

pub mod columns;
pub mod lookups;
pub mod place;
mod plant;
pub mod shuffle;
#[cfg(test)]
pub(super) mod tests;

pub use plant::Leak;

use super::Steps;
use super::units::Outcome;
use crate::learn::{Dataset, Folds, LearnError};
use crate::plugins::Registry;
use serde::Serialize;

/// Checks that figures stand on: where one of them could not be made, nothing is to be quoted.
pub const KEY: [&str; 3] = ["label_shuffle", "single_label", "capture_constant"];

/// What an audit found.
#[derive(Debug, Clone, Serialize)]
pub struct Audit {
    /// Whether no check failed.
    pub passed: bool,
    /// Whether there was data enough for the checks of [`KEY`].
    pub measured: bool,
    /// The checks.
    pub checks: Vec<Check>,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Its rule holds.
    Passed,
    /// Its rule is broken.
    Failed,
    /// There was too little data for it.
    TooLittle,
    /// It is told and not judged.
    Told,
}

/// One check.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Its name, which stays.
    pub id: &'static str,
    /// What it asks.
    pub question: String,
    /// When it fails, with numbers.
    pub rule: String,
    /// How it ended.
    pub ending: Ending,
    /// What was found, with numbers.
    pub found: String,
    /// Columns to blame, the worst first.
    pub blame: Vec<String>,
    /// The numbers by name.
    pub numbers: Vec<(String, f64)>,
}

impl Check {
    fn new(id: &'static str, question: &str, rule: String) -> Self {
        Self {
            id,
            question: question.to_owned(),
            rule,
            ending: Ending::TooLittle,
            found: String::new(),
            blame: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// Why there is no headline, where it is for this check.
    pub(super) fn withholds(&self) -> Option<String> {
        let blame = if self.blame.is_empty() { String::new() } else { format!(" ({})", self.blame.join(", ")) };
        match self.ending {
            Ending::Failed => Some(format!("{}{blame}: {}", self.id, self.found)),
            Ending::TooLittle if KEY.contains(&self.id) => Some(format!("{}: not measured, {}", self.id, self.found)),
            Ending::Passed | Ending::TooLittle | Ending::Told => None,
        }
    }

    fn passes(mut self, holds: bool, found: String) -> Self {
        self.ending = if holds { Ending::Passed } else { Ending::Failed };
        self.found = found;
        self
    }

    fn too_little(mut self, found: &str) -> Self {
        found.clone_into(&mut self.found);
        self
    }

    fn told(mut self, found: String) -> Self {
        self.ending = Ending::Told;
        self.found = found;
        self
    }

    fn number(mut self, name: &str, value: f64) -> Self {
        self.numbers.push((name.to_owned(), value));
        self
    }
}

/// What an audit looks at.
pub(super) struct Subject<'a> {
    pub(super) registry: &'a Registry,
    pub(super) classifier: (&'a str, &'a str),
    pub(super) data: &'a Dataset,
    /// Names of the data's columns.
    pub(super) columns: &'a [String],
    /// The folds whose procedure is audited.
    pub(super) folds: &'a Folds,
    /// The model's own raw scores on these folds.
    pub(super) model: &'a Outcome<'a>,
    pub(super) seed: u64,
    pub(super) samples: usize,
    /// Permutations of the labels.
    pub(super) shuffles: usize,
}

/// Audits the subject.
pub(super) fn audit(subject: &Subject<'_>, steps: &mut Steps<'_>) -> Result<Audit, LearnError> {
    let mut checks = vec![shuffle::check(subject, steps)?];
    steps.say("columns by themselves", 0, 1);
    checks.extend(columns::checks(subject));
    steps.say("look-ups", 0, 1);
    checks.extend(lookups::checks(subject));
    checks.extend(place::checks(subject, steps)?);
    let measured = |check: &Check| !KEY.contains(&check.id) || check.ending != Ending::TooLittle;
    Ok(Audit {
        passed: checks.iter().all(|check| check.ending != Ending::Failed),
        measured: checks.iter().all(measured),
        checks,
    })
}
