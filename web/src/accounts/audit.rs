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
    /// A second factor was set up.
    FactorSet,
    /// A second factor was switched off by its owner.
    FactorOff,
    /// An administrator took somebody's second factor away.
    FactorTaken,
    /// The password was right and the code after it was not.
    CodeFailed,
    /// Recovery codes were made anew.
    RecoveryMade,
    /// A recovery code was used.
    RecoveryUsed,
    /// An account was linked to one of the provider.
    Linked,
    /// That link was taken away.
    Unlinked,
    /// Signing in by the provider failed.
    ProviderFailed,
    /// Somebody of the provider got an account.
    CreatedByProvider,
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
    /// A mark was withdrawn.
    MarkWithdrawn,
    /// State or assignee of an entry or a conversation was changed.
    Triaged,
    /// Something was said of an entry or a conversation, or said otherwise, or no more.
    Commented,
    /// The list of categories was changed.
    CategoryChanged,
    /// A message for a test was sent to a webhook.
    WebhookTested,
    /// A report was taken.
    ReportTaken,
    /// Flows, packets or marks were exported.
    Exported,
    /// The list of teams, or what holds for one, was changed.
    TeamChanged,
    /// Somebody was put into a team, or taken out.
    MemberChanged,
    /// The quota of an account was changed.
    QuotaChanged,
    /// An entry was shared with a team.
    Shared,
    /// An entry was taken out of its team.
    TakenBack,
    /// An entry was kept from the timers.
    Kept,
    /// An entry was given back to the timers.
    LetGo,
    /// A timer deleted an entry.
    EntryExpired,
    /// A timer deleted the capture of an entry.
    CaptureExpired,
    /// An administrator vouched for the clock that timers go by.
    ClockAccepted,
    /// An account was deleted.
    AccountDeleted,
    /// The entries of an account that was deleted are gone.
    AccountEmptied,
    /// A version of a pipeline was saved.
    PipelineSaved,
    /// A pipeline is offered no longer.
    PipelineRetired,
    /// A pipeline is offered again.
    PipelineRestored,
    /// An entry of a table was added or corrected.
    TableSaved,
    /// An added entry of a table was removed.
    TableRemoved,
    /// A model was made the champion of its name.
    Promoted,
    /// A former champion was made the champion again.
    RolledBack,
    /// A model was set beside those of pipelines, or taken away.
    Shadowed,
    /// A training was asked for.
    TrainingBegun,
    /// A training was stopped.
    TrainingStopped,
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
    pub const ALL: [Self; 65] = [
        Self::Setup,
        Self::Login,
        Self::LoginFailed,
        Self::Logout,
        Self::Password,
        Self::SessionRevoked,
        Self::FactorSet,
        Self::FactorOff,
        Self::FactorTaken,
        Self::CodeFailed,
        Self::RecoveryMade,
        Self::RecoveryUsed,
        Self::Linked,
        Self::Unlinked,
        Self::ProviderFailed,
        Self::CreatedByProvider,
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
        Self::MarkWithdrawn,
        Self::Triaged,
        Self::Commented,
        Self::CategoryChanged,
        Self::WebhookTested,
        Self::ReportTaken,
        Self::Exported,
        Self::TeamChanged,
        Self::MemberChanged,
        Self::QuotaChanged,
        Self::Shared,
        Self::TakenBack,
        Self::Kept,
        Self::LetGo,
        Self::EntryExpired,
        Self::CaptureExpired,
        Self::ClockAccepted,
        Self::AccountDeleted,
        Self::AccountEmptied,
        Self::PipelineSaved,
        Self::PipelineRetired,
        Self::PipelineRestored,
        Self::TableSaved,
        Self::TableRemoved,
        Self::Promoted,
        Self::RolledBack,
        Self::Shadowed,
        Self::TrainingBegun,
        Self::TrainingStopped,
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
            Self::FactorSet => "factor-set",
            Self::FactorOff => "factor-off",
            Self::FactorTaken => "factor-taken",
            Self::CodeFailed => "code-failed",
            Self::RecoveryMade => "recovery-made",
            Self::RecoveryUsed => "recovery-used",
            Self::Linked => "linked",
            Self::Unlinked => "unlinked",
            Self::ProviderFailed => "provider-failed",
            Self::CreatedByProvider => "created-by-provider",
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
            Self::MarkWithdrawn => "mark-withdrawn",
            Self::Triaged => "triaged",
            Self::Commented => "commented",
            Self::CategoryChanged => "category-changed",
            Self::WebhookTested => "webhook-tested",
            Self::ReportTaken => "report-taken",
            Self::Exported => "exported",
            Self::TeamChanged => "team-changed",
            Self::MemberChanged => "member-changed",
            Self::QuotaChanged => "quota-changed",
            Self::Shared => "shared",
            Self::TakenBack => "taken-back",
            Self::Kept => "kept",
            Self::LetGo => "let-go",
            Self::EntryExpired => "entry-expired",
            Self::CaptureExpired => "capture-expired",
            Self::ClockAccepted => "clock-accepted",
            Self::AccountDeleted => "account-deleted",
            Self::AccountEmptied => "account-emptied",
            Self::PipelineSaved => "pipeline-saved",
            Self::PipelineRetired => "pipeline-retired",
            Self::PipelineRestored => "pipeline-restored",
            Self::TableSaved => "table-saved",
            Self::TableRemoved => "table-removed",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled-back",
            Self::Shadowed => "shadowed",
            Self::TrainingBegun => "training-begun",
            Self::TrainingStopped => "training-stopped",
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
