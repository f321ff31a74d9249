//! People: who they are, what they may do, how they are let in.
//!
//! | module | story |
//! |---|---|
//! | [`people`] | accounts: made, changed, disabled |
//! | [`password`] | which passwords are good enough, and how they are kept |
//! | [`throttle`] | how often a log-in may fail |
//! | [`sessions`] | log-ins that last for a while |
//! | [`second_factor`] | codes after the password |
//! | [`pending`] | log-ins that are half done |
//! | [`identities`] | accounts of a provider |
//! | [`tokens`] | access for programs |
//! | [`teams`] | who belongs together, and quotas |
//! | [`invitations`] | one-time links to a new account |
//! | [`audit`] | who did what, for ever |
//!
//! All of it works on a database connection and is told the time. What changes something also writes the audit log, in
//! the same transaction: either both happened or neither.

pub mod audit;
pub mod identities;
pub mod invitations;
pub mod password;
pub mod pending;
pub mod people;
pub mod second_factor;
pub mod sessions;
pub mod teams;
pub mod throttle;
pub mod tokens;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::database::DbError;
use crate::uploads::FileError;

/// What an account may do; each role may do everything that those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads its own entries and what its teams share.
    Viewer,
    /// Uploads captures, marks alerts.
    Analyst,
    /// Invites people, changes roles, reads the audit log.
    Administrator,
}

impl Role {
    /// All roles, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Analyst, Self::Administrator];

    /// Its name in the database, in forms and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Analyst => "analyst",
            Self::Administrator => "administrator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(Reason::Form)
    }
}

/// One person's account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its number.
    pub id: i64,
    /// What is typed to log in.
    pub name: String,
    /// What is shown: any text.
    pub display_name: String,
    /// What it may do.
    pub role: Role,
    /// The language it chose.
    pub language: Option<String>,
    /// Whether it is shut out.
    pub disabled: bool,
    /// When it was made.
    pub created_at: i64,
}

/// Who asks for a change, as the audit log names them.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The account's name; none before the log-in.
    pub name: Option<String>,
    /// The address they come from.
    pub address: String,
}

/// Why something was not done; each has a message in every language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Reason {
    /// A form lacks a field, or holds a value that it never offered.
    #[error("reason.form")]
    Form,
    /// Not a name to log in with.
    #[error("reason.name-form")]
    NameForm,
    /// Somebody has that name.
    #[error("reason.name-taken")]
    NameTaken,
    /// Not a name to show.
    #[error("reason.display-name")]
    DisplayName,
    /// The two passwords differ.
    #[error("reason.passwords-differ")]
    PasswordsDiffer,
    /// The current password is wrong.
    #[error("reason.wrong-password")]
    WrongPassword,
    /// Name or password is wrong, and which of them is not said.
    #[error("reason.login")]
    Login,
    /// A code of the second factor is wrong or was used before.
    #[error("reason.code")]
    Code,
    /// There is a second factor already.
    #[error("reason.factor-there")]
    FactorThere,
    /// The form for the second factor is too old.
    #[error("reason.factor-old")]
    FactorOld,
    /// One's own second factor is not taken away but switched off.
    #[error("reason.factor-own")]
    FactorOwn,
    /// An account without a password has to sign in again first.
    #[error("reason.sign-in-again")]
    SignInAgain,
    /// One of the two accounts is linked to another one already.
    #[error("reason.identity-taken")]
    IdentityTaken,
    /// An account of the provider's has no password to change.
    #[error("reason.no-password-here")]
    NoPasswordHere,
    /// Without a password nobody could log in any more.
    #[error("reason.no-password")]
    NoPassword,
    /// The first administrator's token is wrong.
    #[error("reason.setup-token")]
    SetupToken,
    /// There is an administrator already.
    #[error("reason.setup-done")]
    SetupDone,
    /// Nobody could let anybody in any more.
    #[error("reason.last-administrator")]
    LastAdministrator,
    /// It is not there, or not this account's.
    #[error("reason.not-there")]
    NotThere,
    /// It is there, and this account may look at it but not do this.
    #[error("reason.not-allowed")]
    NotAllowed,
    /// Not a name of a team.
    #[error("reason.team-name")]
    TeamName,
    /// There is a team of that name.
    #[error("reason.team-taken")]
    TeamTaken,
    /// Not one of the owner's teams.
    #[error("reason.team")]
    Team,
    /// What is shared with a team fills its quota.
    #[error("reason.team-quota")]
    TeamQuota,
    /// A number of days of a timer out of range.
    #[error("reason.timer-days")]
    TimerDays,
    /// A quota out of range.
    #[error("reason.quota-number")]
    QuotaNumber,
    /// Keeping an entry without a reason that says something.
    #[error("reason.keep")]
    Keep,
    /// The entry's capture was deleted.
    #[error("reason.capture-gone")]
    CaptureGone,
    /// Whoever would delete their own account.
    #[error("reason.yourself")]
    Yourself,
    /// As many as there may be.
    #[error("reason.too-many")]
    TooMany,
    /// A label is missing or too long.
    #[error("reason.label")]
    Label,
    /// A number of days out of range.
    #[error("reason.days")]
    Days,
    /// The account's captures and uploads fill its quota.
    #[error("reason.quota")]
    Quota,
    /// The disk of the portal is full.
    #[error("reason.disk-full")]
    DiskFull,
    /// An upload is larger than one capture may be.
    #[error("reason.upload-too-large")]
    UploadTooLarge,
    /// An upload has not one byte.
    #[error("reason.upload-empty")]
    UploadEmpty,
    /// An upload stood still.
    #[error("reason.upload-slow")]
    UploadSlow,
    /// An upload took too long.
    #[error("reason.upload-too-long")]
    UploadTooLong,
    /// An upload was cut off.
    #[error("reason.upload-cut")]
    UploadCut,
    /// As many uploads under way as there may be.
    #[error("reason.too-many-uploads")]
    TooManyUploads,
    /// As many uploads that can be gone on with as there may be.
    #[error("reason.too-many-unfinished")]
    TooManyUnfinished,
    /// As many entries as there may be.
    #[error("reason.too-many-entries")]
    TooManyEntries,
    /// What is kept uses up the quota: nothing more is analysed.
    #[error("reason.quota-full")]
    QuotaFull,
    /// As many entries wait as may wait.
    #[error("reason.waiting")]
    Waiting,
    /// Not possible in the state that the entry is in.
    #[error("reason.state")]
    State,
    /// No pipeline of that name can be chosen.
    #[error("reason.pipeline")]
    Pipeline,
    /// A number of packets out of range.
    #[error("reason.packet-limit")]
    PacketLimit,
    /// Not a note.
    #[error("reason.note")]
    Note,
    /// No category of that number can be chosen.
    #[error("reason.category")]
    Category,
    /// Not a name of a category.
    #[error("reason.category-name")]
    CategoryName,
    /// There is a category of that name.
    #[error("reason.category-taken")]
    CategoryTaken,
    /// As many categories as there may be.
    #[error("reason.too-many-categories")]
    TooManyCategories,
    /// Not a name of a pipeline.
    #[error("reason.pipeline-name")]
    PipelineName,
    /// There is a pipeline of that name.
    #[error("reason.pipeline-taken")]
    PipelineTaken,
    /// Not a line that says what changed.
    #[error("reason.pipeline-words")]
    PipelineWords,
    /// Somebody else saved a version meanwhile.
    #[error("reason.pipeline-stale")]
    PipelineStale,
    /// Somebody else changed the note or the category meanwhile.
    #[error("reason.note-stale")]
    NoteStale,
    /// The text is that of the newest version.
    #[error("reason.pipeline-same")]
    PipelineSame,
    /// As many pipelines, or versions of one, as there may be.
    #[error("reason.too-many-pipelines")]
    TooManyPipelines,
    /// A field of a table's entry is too long or steers.
    #[error("reason.table-entry")]
    TableEntry,
    /// There is an added entry with that key.
    #[error("reason.table-taken")]
    TableTaken,
    /// As many added entries as there may be.
    #[error("reason.too-many-table-entries")]
    TooManyTableEntries,
    /// A mark without a reason that says something.
    #[error("reason.mark")]
    Mark,
    /// As many marks as there may be.
    #[error("reason.too-many-marks")]
    TooManyMarks,
    /// A purpose of what is called benign.
    #[error("reason.mark-purpose")]
    MarkPurpose,
    /// A mark that covers more flows than one may.
    #[error("reason.mark-too-wide")]
    MarkTooWide,
    /// A mark that covers no flow.
    #[error("reason.mark-nothing")]
    MarkNothing,
    /// Somebody else changed it since it was read.
    #[error("reason.stale")]
    Stale,
    /// Closed without words, or with too many.
    #[error("reason.closing-words")]
    ClosingWords,
    /// Nobody whom it could be given to.
    #[error("reason.assignee")]
    Assignee,
    /// Not a comment.
    #[error("reason.comment")]
    Comment,
    /// As many comments as there may be.
    #[error("reason.too-many-comments")]
    TooManyComments,
    /// Nothing was chosen.
    #[error("reason.nothing-chosen")]
    NothingChosen,
    /// More than one export may hold.
    #[error("reason.export-too-large")]
    ExportTooLarge,
    /// There is no such labelled data to learn from.
    #[error("reason.training-data")]
    TrainingData,
    /// As many trainings wait as may wait.
    #[error("reason.training-waiting")]
    TrainingWaiting,
    /// As many trainings of one account wait as may wait.
    #[error("reason.training-waiting-of-one")]
    TrainingWaitingOfOne,
    /// There is no registry that a model could go into.
    #[error("reason.no-registry")]
    NoRegistry,
    /// More captures with marks than one training learns from.
    #[error("reason.training-captures")]
    TrainingCaptures,
    /// The password is not good enough.
    #[error(transparent)]
    Password(#[from] password::PasswordFault),
}

/// Why something was not done, or why it could not be tried.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Refused {
    /// The person can do something about it.
    #[error("refused: {0}")]
    Because(#[from] Reason),
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A file failed.
    #[error(transparent)]
    File(#[from] FileError),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::Db(error.into())
    }
}

/// The most characters of a name, a label or a program's name that is kept.
pub const MAX_TEXT: usize = 80;

/// A name to log in with: lower case ASCII letters, digits, `.`, `_`, `-`, `@`, 2 to 64 of them.
///
/// # Errors
/// Where the text is no such name.
pub fn login_name(text: &str) -> Result<String, Reason> {
    let name = text.trim().to_ascii_lowercase();
    let fits = (2..=64).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-@".contains(c));
    if fits { Ok(name) } else { Err(Reason::NameForm) }
}

/// A name to show: any text of up to 80 characters that does not steer the terminal or the direction of writing.
///
/// # Errors
/// Where the text is empty, too long or steers.
pub fn display_name(text: &str) -> Result<String, Reason> {
    shown_text(text).ok_or(Reason::DisplayName)
}

/// A text for people, trimmed; none where it is empty, too long or holds characters that steer.
fn shown_text(text: &str) -> Option<String> {
    shown_text_of(text, MAX_TEXT).filter(|text| !text.is_empty())
}

/// A text for people of so many characters at most, trimmed; none where it is too long or holds characters that steer.
pub(crate) fn shown_text_of(text: &str, most: usize) -> Option<String> {
    let text = text.trim();
    (text.chars().count() <= most && !text.contains(steers)).then(|| text.to_owned())
}

/// Whether a character steers the terminal, the line or the direction of writing instead of being shown.
pub(crate) fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_form() {
        assert_eq!(login_name(" Ada.L "), Ok("ada.l".to_owned()));
        for bad in ["", "a", "two words", "a\nb", "<b>", "艾达", &"x".repeat(65)] {
            assert_eq!(login_name(bad), Err(Reason::NameForm), "{bad}");
        }
        assert_eq!(display_name("艾达 <b>"), Ok("艾达 <b>".to_owned()));
        for bad in ["", "  ", "a\u{202e}b", "a\u{1b}[31m", &"x".repeat(81)] {
            assert_eq!(display_name(bad), Err(Reason::DisplayName), "{bad}");
        }
    }

    #[test]
    fn roles_are_ordered() {
        assert!(Role::Viewer < Role::Analyst && Role::Analyst < Role::Administrator);
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }

    #[test]
    fn every_reason_and_every_action_has_words() {
        let english: toml::Table = toml::from_str(include_str!("../../messages/en.toml")).unwrap();
        let known = |table: &str, key: &str| english[table].as_table().unwrap().contains_key(key);
        // The reasons stand in this file, so none can be forgotten.
        let reasons: Vec<&str> = include_str!("mod.rs")
            .split("#[error(\"reason.")
            .skip(1)
            .filter_map(|rest| rest.split_once("\")]").map(|(key, _)| key))
            .collect();
        assert!(reasons.len() > 30);
        for key in reasons.into_iter().filter(|key| !key.contains(char::is_whitespace)) {
            assert!(known("reason", key), "reason.{key}");
        }
        for action in audit::Action::ALL {
            assert!(known("action", action.name()), "action.{}", action.name());
        }
    }
}
