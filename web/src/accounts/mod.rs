//! People: who they are, what they may do, how they are let in.
//!
//! | module | story |
//! |---|---|
//! | [`people`] | accounts: made, changed, disabled |
//! | [`password`] | which passwords are good enough, and how they are kept |
//! | [`throttle`] | how often a log-in may fail |
//! | [`sessions`] | log-ins that last for a while |
//! | [`tokens`] | access for programs |
//! | [`invitations`] | one-time links to a new account |
//! | [`audit`] | who did what, for ever |
//!
//! All of it works on a database connection and is told the time. What changes something also writes the audit log, in
//! the same transaction: either both happened or neither.

pub mod audit;
pub mod invitations;
pub mod password;
pub mod people;
pub mod sessions;
pub mod throttle;
pub mod tokens;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::database::DbError;

/// What an account may do; each role may do everything that those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads its own entries and results.
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
    /// As many as there may be.
    #[error("reason.too-many")]
    TooMany,
    /// A label is missing or too long.
    #[error("reason.label")]
    Label,
    /// A number of days out of range.
    #[error("reason.days")]
    Days,
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
    let text = text.trim();
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    (!text.is_empty() && text.chars().count() <= MAX_TEXT && !text.contains(steers)).then(|| text.to_owned())
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
}
