//! Teams: who belongs together, and what each may do with what is shared there.
//!
//! Administrators make teams and put people in. That gives them no look at what is shared: whoever is not in a team sees
//! nothing of it, and what a member may do with an entry is told by [`crate::entries::access`] alone. A team is never
//! deleted, since entries name it: it is retired, and whatever is shared with it is its owner's alone until it is restored.

use std::fmt;
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::audit::{self, Action};
use super::{Actor, Reason, Refused, people, shown_text_of};
use crate::database::DbError;
use crate::entries::visible;

/// The most characters of a team's name.
pub const MAX_NAME: usize = 40;
/// The most teams, retired ones included.
pub const MAX_TEAMS: usize = 200;
/// The most days of a timer: a hundred years.
pub const MAX_DAYS: u32 = 36_500;
/// The most bytes of a quota, in MB (10⁶ bytes): an exabyte.
pub const MAX_QUOTA_MB: u64 = 1_000_000_000_000;

/// What somebody may do with what is shared with a team; each may do everything that those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Reads.
    Reads,
    /// Marks, notes, confirms, runs again, and takes the capture.
    Works,
    /// Deletes, and takes an entry out of the team.
    Leads,
}

impl Standing {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Reads, Self::Works, Self::Leads];

    /// Its name in the database, in forms and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Works => "works",
            Self::Leads => "leads",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Standing {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        Self::ALL.into_iter().find(|standing| standing.name() == text).ok_or(Reason::Form)
    }
}

/// What holds for a team beside what holds everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TeamLimits {
    /// Bytes that may be shared with it.
    pub quota_bytes: Option<u64>,
    /// Days after which a capture is deleted, where that is shorter than everywhere.
    pub captures_days: Option<u32>,
    /// Days after which an entry is deleted, where that is shorter than everywhere.
    pub entries_days: Option<u32>,
    /// Days after which an upload that nobody confirmed is deleted, where that is shorter than everywhere.
    pub unconfirmed_days: Option<u32>,
}

/// A team as administrators see it: how much, and nothing of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Team {
    /// Its number.
    pub id: i64,
    /// What it is called: any text.
    pub name: String,
    /// Whether nothing is shared with it any more.
    pub retired: bool,
    /// How many are in it.
    pub members: u64,
    /// Entries that are shared with it.
    pub entries: u64,
    /// What holds for it.
    pub limits: TeamLimits,
}

/// Somebody in a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Their account.
    pub account_id: i64,
    /// What they log in with.
    pub name: String,
    /// What is shown of them: any text.
    pub display_name: String,
    /// Whether they are shut out of the portal.
    pub disabled: bool,
    /// What they may do.
    pub standing: Standing,
}

/// A team that somebody is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The team's number.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// What they may do there.
    pub standing: Standing,
}

/// What [`read`] reads.
const SELECT: &str = "SELECT t.*, (SELECT count(*) FROM members m WHERE m.team_id = t.id) AS members,
    (SELECT count(*) FROM entries e WHERE e.team_id = t.id) AS entries FROM teams t";

fn read(row: &Row<'_>) -> Result<Team, DbError> {
    let count = |column: &str| Ok::<_, DbError>(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0));
    let quota: Option<i64> = row.get("quota_bytes")?;
    Ok(Team {
        id: row.get("id")?,
        name: row.get("name")?,
        retired: row.get("retired")?,
        members: count("members")?,
        entries: count("entries")?,
        limits: TeamLimits {
            quota_bytes: quota.and_then(|quota| u64::try_from(quota).ok()),
            captures_days: row.get("captures_days")?,
            entries_days: row.get("entries_days")?,
            unconfirmed_days: row.get("unconfirmed_days")?,
        },
    })
}

/// All teams by name, the retired ones last.
///
/// # Errors
/// Where the database fails.
pub fn list(connection: &Connection) -> Result<Vec<Team>, DbError> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} ORDER BY t.retired, t.name, t.id"))?;
    statement.query_and_then([], read)?.collect()
}

/// The team of this number.
///
/// # Errors
/// Where there is none, or the database fails.
pub fn by_id(connection: &Connection, id: i64) -> Result<Team, Refused> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE t.id = ?1"))?;
    let team = statement.query_and_then([id], read)?.next();
    Ok(team.transpose()?.ok_or(Reason::NotThere)?)
}

/// The teams that an account is in, by name; those that are retired are none.
///
/// # Errors
/// Where the database fails.
pub fn of_account(connection: &Connection, account: i64) -> Result<Vec<Membership>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT t.id, t.name, m.standing FROM members m JOIN teams t ON t.id = m.team_id
            WHERE m.account_id = ?1 AND t.retired = 0 ORDER BY t.name, t.id",
    )?;
    let read = |row: &Row<'_>| Ok(Membership { id: row.get(0)?, name: row.get(1)?, standing: standing(row.get(2)?)? });
    statement.query_and_then([account], read)?.collect()
}

/// A standing as the database has it.
pub(crate) fn standing(text: String) -> Result<Standing, DbError> {
    text.parse().map_err(|_| DbError::Foreign(format!("the standing {text:?}")))
}

/// Who is in a team, by name.
///
/// # Errors
/// Where the database fails.
pub fn members(connection: &Connection, team: i64) -> Result<Vec<Member>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT a.id, a.name, a.display_name, a.disabled, m.standing FROM members m JOIN accounts a ON a.id = m.account_id
            WHERE m.team_id = ?1 ORDER BY a.name",
    )?;
    let read = |row: &Row<'_>| {
        Ok(Member {
            account_id: row.get(0)?,
            name: row.get(1)?,
            display_name: row.get(2)?,
            disabled: row.get(3)?,
            standing: standing(row.get(4)?)?,
        })
    };
    statement.query_and_then([team], read)?.collect()
}

/// Bytes that are shared with a team: each content once, and results and indexes.
///
/// # Errors
/// Where the database fails.
pub fn used_bytes(connection: &Connection, team: i64) -> Result<u64, DbError> {
    let sum: i64 = connection
        .prepare_cached(
            "SELECT coalesce((SELECT sum(bytes) FROM captures
                    WHERE sha256 IN (SELECT sha256 FROM entries WHERE team_id = ?1 AND capture_gone_at IS NULL)), 0)
                + coalesce((SELECT sum(coalesce(result_bytes, 0) + coalesce(index_bytes, 0)) FROM entries
                    WHERE team_id = ?1), 0)",
        )?
        .query_row([team], |row| row.get(0))?;
    Ok(u64::try_from(sum).unwrap_or(0))
}

fn begin(connection: &mut Connection) -> Result<Transaction<'_>, DbError> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

fn checked(name: &str) -> Result<String, Reason> {
    shown_text_of(name, MAX_NAME).filter(|name| !name.is_empty()).ok_or(Reason::TeamName)
}

/// Two names that differ in their case alone would be taken for each other.
fn free(connection: &Connection, name: &str, but: Option<i64>) -> Result<(), Refused> {
    let lower = name.to_lowercase();
    let is_taken = list(connection)?.iter().any(|team| Some(team.id) != but && team.name.to_lowercase() == lower);
    if is_taken { Err(Reason::TeamTaken.into()) } else { Ok(()) }
}

/// Makes a team and gives its number.
///
/// # Errors
/// Where the name is empty, too long, steers or is taken, there are too many, or the database fails.
pub fn add(connection: &mut Connection, name: &str, actor: &Actor, now: i64) -> Result<i64, Refused> {
    let name = checked(name)?;
    let transaction = begin(connection)?;
    if list(&transaction)?.len() >= MAX_TEAMS {
        return Err(Reason::TooMany.into());
    }
    free(&transaction, &name, None)?;
    transaction.execute("INSERT INTO teams (name, created_at) VALUES (?1, ?2)", params![name, now])?;
    let id = transaction.last_insert_rowid();
    audit::record(&transaction, actor, Action::TeamChanged, Some(&format!("+ {name}")), now)?;
    transaction.commit()?;
    Ok(id)
}

/// Gives a team another name.
///
/// # Errors
/// Where the name is empty, too long, steers or is taken, the team is not there, or the database fails.
pub fn rename(connection: &mut Connection, id: i64, name: &str, actor: &Actor, now: i64) -> Result<(), Refused> {
    let name = checked(name)?;
    let transaction = begin(connection)?;
    let old = by_id(&transaction, id)?;
    if old.name == name {
        return Ok(());
    }
    free(&transaction, &name, Some(id))?;
    transaction.execute("UPDATE teams SET name = ?2 WHERE id = ?1", params![id, name])?;
    audit::record(&transaction, actor, Action::TeamChanged, Some(&format!("{} -> {name}", old.name)), now)?;
    transaction.commit()?;
    Ok(())
}

/// Retires a team, or restores it. What is shared with a retired team is its owner's alone.
///
/// # Errors
/// Where it is not there, or the database fails.
pub fn set_retired(
    connection: &mut Connection,
    id: i64,
    retired: bool,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let transaction = begin(connection)?;
    let team = by_id(&transaction, id)?;
    if team.retired == retired {
        return Ok(());
    }
    transaction.execute("UPDATE teams SET retired = ?2 WHERE id = ?1", params![id, retired])?;
    visible::release_lost(&transaction, now)?;
    let subject = format!("{} {}", if retired { "-" } else { "+" }, team.name);
    audit::record(&transaction, actor, Action::TeamChanged, Some(&subject), now)?;
    transaction.commit()?;
    Ok(())
}

/// Puts somebody into a team, or changes what they may do there.
///
/// # Errors
/// Where team or account is not there, or the database fails.
pub fn set_member(
    connection: &mut Connection,
    team: i64,
    account: i64,
    standing: Standing,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let transaction = begin(connection)?;
    let (team, account) = (by_id(&transaction, team)?, people::by_id(&transaction, account)?);
    let changed = transaction.execute(
        "INSERT INTO members (team_id, account_id, standing, since) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (team_id, account_id) DO UPDATE SET standing = ?3 WHERE standing <> ?3",
        params![team.id, account.id, standing.name(), now],
    )?;
    if changed > 0 {
        visible::release_lost(&transaction, now)?;
        let subject = format!("{}: {} {standing}", team.name, account.name);
        audit::record(&transaction, actor, Action::MemberChanged, Some(&subject), now)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Takes somebody out of a team: what others share there is gone for them at once. What they shared themselves stays
/// shared; it is theirs to take back.
///
/// # Errors
/// Where they are not in it, or the database fails.
pub fn remove_member(
    connection: &mut Connection,
    team: i64,
    account: i64,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let transaction = begin(connection)?;
    let (team, account) = (by_id(&transaction, team)?, people::by_id(&transaction, account)?);
    let gone =
        transaction.execute("DELETE FROM members WHERE team_id = ?1 AND account_id = ?2", [team.id, account.id])?;
    if gone == 0 {
        return Err(Reason::NotThere.into());
    }
    visible::release_lost(&transaction, now)?;
    let subject = format!("{}: - {}", team.name, account.name);
    audit::record(&transaction, actor, Action::MemberChanged, Some(&subject), now)?;
    transaction.commit()?;
    Ok(())
}

/// Sets what holds for a team.
///
/// # Errors
/// Where a number is 0 or too large, the team is not there, or the database fails.
pub fn set_limits(
    connection: &mut Connection,
    id: i64,
    limits: &TeamLimits,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let days = [limits.captures_days, limits.entries_days, limits.unconfirmed_days];
    if days.iter().flatten().any(|days| !(1..=MAX_DAYS).contains(days)) {
        return Err(Reason::TimerDays.into());
    }
    let quota = checked_quota(limits.quota_bytes)?;
    let transaction = begin(connection)?;
    let team = by_id(&transaction, id)?;
    if team.limits == *limits {
        return Ok(());
    }
    transaction.execute(
        "UPDATE teams SET quota_bytes = ?2, captures_days = ?3, entries_days = ?4, unconfirmed_days = ?5 WHERE id = ?1",
        params![id, quota, limits.captures_days, limits.entries_days, limits.unconfirmed_days],
    )?;
    let text = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let [captures, entries, unconfirmed] = days.map(|days| text(days.map(u64::from)));
    let subject = format!(
        "{}: {} bytes; captures {captures}, entries {entries}, unconfirmed {unconfirmed} days",
        team.name,
        text(limits.quota_bytes)
    );
    audit::record(&transaction, actor, Action::TeamChanged, Some(&subject), now)?;
    transaction.commit()?;
    Ok(())
}

/// A quota as the database has it.
fn checked_quota(bytes: Option<u64>) -> Result<Option<i64>, Reason> {
    let fits =
        |bytes: u64| (1..=MAX_QUOTA_MB * 1_000_000).contains(&bytes).then(|| i64::try_from(bytes).ok()).flatten();
    bytes.map(|bytes| fits(bytes).ok_or(Reason::QuotaNumber)).transpose()
}

/// Sets the quota of an account; without a number the one that holds everywhere.
///
/// # Errors
/// Where the number is 0 or too large, the account is not there, or the database fails.
pub fn set_quota(
    connection: &mut Connection,
    account: i64,
    bytes: Option<u64>,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let quota = checked_quota(bytes)?;
    let transaction = begin(connection)?;
    let account = people::by_id(&transaction, account)?;
    let was: Option<i64> = transaction
        .query_row("SELECT quota_bytes FROM accounts WHERE id = ?1", [account.id], |row| row.get(0))
        .optional()?
        .flatten();
    if was == quota {
        return Ok(());
    }
    transaction.execute("UPDATE accounts SET quota_bytes = ?2 WHERE id = ?1", params![account.id, quota])?;
    let said = bytes.map_or("-".to_owned(), |bytes| bytes.to_string());
    audit::record(&transaction, actor, Action::QuotaChanged, Some(&format!("{}: {said}", account.name)), now)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uploads::testing::{NOW, Place, actor};

    fn because<T: std::fmt::Debug>(result: Result<T, Refused>) -> Reason {
        match result {
            Err(Refused::Because(reason)) => reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn teams_are_made_named_and_retired() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let connection = &mut place.connection;
        let blue = add(connection, " Blue ", &actor(), NOW).unwrap();
        assert_eq!(because(add(connection, "blue", &actor(), NOW)), Reason::TeamTaken);
        for bad in ["", "two\nlines", "a\u{202e}b", &"x".repeat(MAX_NAME + 1)] {
            assert_eq!(because(add(connection, bad, &actor(), NOW)), Reason::TeamName, "{bad}");
        }
        rename(connection, blue, "BLUE", &actor(), NOW).unwrap();
        set_member(connection, blue, ada, Standing::Works, &actor(), NOW).unwrap();
        set_member(connection, blue, ada, Standing::Leads, &actor(), NOW).unwrap();
        set_member(connection, blue, ada, Standing::Leads, &actor(), NOW).unwrap();
        let of_ada = of_account(connection, ada).unwrap();
        assert_eq!(of_ada, [Membership { id: blue, name: "BLUE".to_owned(), standing: Standing::Leads }]);
        assert_eq!(members(connection, blue).unwrap().len(), 1);
        set_retired(connection, blue, true, &actor(), NOW).unwrap();
        assert!(of_account(connection, ada).unwrap().is_empty());
        set_retired(connection, blue, false, &actor(), NOW).unwrap();
        remove_member(connection, blue, ada, &actor(), NOW).unwrap();
        assert_eq!(because(remove_member(connection, blue, ada, &actor(), NOW)), Reason::NotThere);
        assert_eq!(because(set_member(connection, 99, ada, Standing::Reads, &actor(), NOW)), Reason::NotThere);
        assert_eq!(because(set_member(connection, blue, 99, Standing::Reads, &actor(), NOW)), Reason::NotThere);
        let told = place.actions();
        let count = |name: &str| told.iter().filter(|action| *action == name).count();
        assert_eq!((count("team-changed"), count("member-changed")), (4, 3), "{told:?}");
    }

    #[test]
    fn limits_are_numbers_that_make_sense() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let connection = &mut place.connection;
        let blue = add(connection, "Blue", &actor(), NOW).unwrap();
        let limits = TeamLimits { quota_bytes: Some(5), entries_days: Some(7), ..TeamLimits::default() };
        set_limits(connection, blue, &limits, &actor(), NOW).unwrap();
        assert_eq!(by_id(connection, blue).unwrap().limits, limits);
        for bad in [0, MAX_DAYS + 1] {
            let limits = TeamLimits { captures_days: Some(bad), ..limits };
            assert_eq!(because(set_limits(connection, blue, &limits, &actor(), NOW)), Reason::TimerDays);
        }
        for bad in [0, u64::MAX] {
            let limits = TeamLimits { quota_bytes: Some(bad), ..limits };
            assert_eq!(because(set_limits(connection, blue, &limits, &actor(), NOW)), Reason::QuotaNumber);
            assert_eq!(because(set_quota(connection, ada, Some(bad), &actor(), NOW)), Reason::QuotaNumber);
        }
        assert_eq!(by_id(connection, blue).unwrap().limits, limits);
        assert_eq!(because(set_quota(connection, 99, Some(1), &actor(), NOW)), Reason::NotThere);
    }
}
