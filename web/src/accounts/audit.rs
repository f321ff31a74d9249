//! Who did what, for ever.
//!
//! Lines are added and never changed: triggers in the database refuse it. Text of visitors is kept only where it names
//! something that exists; what somebody mistypes as their name may be their password.

use rusqlite::{Connection, params};
use serde::Serialize;

use super::Actor;
use crate::database::DbError;

/// What happened. Its name is kept in the log, so it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The first administrator was made.
    Setup,
    /// Somebody logged in.
    Login,
    /// A log-in failed.
    LoginFailed,
    /// Somebody logged out.
    Logout,
    /// A password was changed.
    Password,
    /// A session was ended by its owner.
    SessionRevoked,
    /// An API token was made.
    TokenCreated,
    /// An API token was ended.
    TokenRevoked,
    /// An invitation was made.
    Invited,
    /// An invitation was taken back.
    InvitationWithdrawn,
    /// An invitation became an account.
    Joined,
    /// A role was changed.
    Role,
    /// An account was shut out.
    Disabled,
    /// An account was let in again.
    Enabled,
    /// The audit log was exported.
    AuditExported,
    /// A capture was uploaded.
    Uploaded,
    /// An analysis was confirmed.
    Confirmed,
    /// A capture was given a second analysis.
    Again,
    /// An analysis was stopped.
    Stopped,
    /// An entry was deleted.
    Deleted,
    /// An entry got another note or category.
    Described,
    /// A flow was marked malicious or benign.
    Marked,
    /// The list of categories was changed.
    CategoryChanged,
    /// A report was taken.
    ReportTaken,
    /// Flows, packets or marks were exported.
    Exported,
    /// A live session was begun: on which interface, and with which filter.
    LiveStarted,
    /// A live session was told to end.
    LiveStopped,
    /// What a live session captured became an entry.
    LiveSaved,
    /// What a live session captured was thrown away.
    LiveDiscarded,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 29] = [
        Self::Setup,
        Self::Login,
        Self::LoginFailed,
        Self::Logout,
        Self::Password,
        Self::SessionRevoked,
        Self::TokenCreated,
        Self::TokenRevoked,
        Self::Invited,
        Self::InvitationWithdrawn,
        Self::Joined,
        Self::Role,
        Self::Disabled,
        Self::Enabled,
        Self::AuditExported,
        Self::Uploaded,
        Self::Confirmed,
        Self::Again,
        Self::Stopped,
        Self::Deleted,
        Self::Described,
        Self::Marked,
        Self::CategoryChanged,
        Self::ReportTaken,
        Self::Exported,
        Self::LiveStarted,
        Self::LiveStopped,
        Self::LiveSaved,
        Self::LiveDiscarded,
    ];

    /// Its name in the log and in the messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Login => "login",
            Self::LoginFailed => "login-failed",
            Self::Logout => "logout",
            Self::Password => "password",
            Self::SessionRevoked => "session-revoked",
            Self::TokenCreated => "token-created",
            Self::TokenRevoked => "token-revoked",
            Self::Invited => "invited",
            Self::InvitationWithdrawn => "invitation-withdrawn",
            Self::Joined => "joined",
            Self::Role => "role",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::AuditExported => "audit-exported",
            Self::Uploaded => "uploaded",
            Self::Confirmed => "confirmed",
            Self::Again => "again",
            Self::Stopped => "stopped",
            Self::Deleted => "deleted",
            Self::Described => "described",
            Self::Marked => "marked",
            Self::CategoryChanged => "category-changed",
            Self::ReportTaken => "report-taken",
            Self::Exported => "exported",
            Self::LiveStarted => "live-started",
            Self::LiveStopped => "live-stopped",
            Self::LiveSaved => "live-saved",
            Self::LiveDiscarded => "live-discarded",
        }
    }
}

/// One line of the log.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its number.
    pub id: i64,
    /// When, in seconds since 1970.
    pub at: i64,
    /// Who; none before a log-in.
    pub actor: Option<String>,
    /// What.
    pub action: String,
    /// To whom or what.
    pub subject: Option<String>,
    /// From where.
    pub address: Option<String>,
}

/// Adds a line. Call it in the transaction of the change that it tells of.
///
/// # Errors
/// Where the database fails.
pub fn record(
    connection: &Connection,
    actor: &Actor,
    action: Action,
    subject: Option<&str>,
    now: i64,
) -> Result<(), DbError> {
    connection
        .prepare_cached("INSERT INTO audit (at, actor, action, subject, address) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![now, actor.name, action.name(), subject, actor.address])?;
    Ok(())
}

/// The newest lines before one, newest first.
///
/// # Errors
/// Where the database fails.
pub fn newest(connection: &Connection, before: i64, most: u32) -> Result<Vec<Line>, DbError> {
    lines(
        connection,
        "SELECT id, at, actor, action, subject, address FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
        before,
        most,
    )
}

/// The lines after one, oldest first: for an export in pieces.
///
/// # Errors
/// Where the database fails.
pub fn after(connection: &Connection, after: i64, most: u32) -> Result<Vec<Line>, DbError> {
    lines(
        connection,
        "SELECT id, at, actor, action, subject, address FROM audit WHERE id > ?1 ORDER BY id LIMIT ?2",
        after,
        most,
    )
}

fn lines(connection: &Connection, sql: &str, edge: i64, most: u32) -> Result<Vec<Line>, DbError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![edge, most], |row| {
        Ok(Line {
            id: row.get(0)?,
            at: row.get(1)?,
            actor: row.get(2)?,
            action: row.get(3)?,
            subject: row.get(4)?,
            address: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
