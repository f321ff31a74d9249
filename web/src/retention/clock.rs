//! Whether the time can be believed: a clock that jumps must not delete everything.
//!
//! Two things are compared with the clock: the row that was written last, which cannot be from the future, and the last
//! sweep, which cannot be longer ago than the portal was ever left alone. Where the clock is behind the one, or far ahead of
//! the other, nothing is deleted until the clock is right again or an administrator vouches for it, after a restart as well
//! as before. A jump within these bounds deletes early what would have gone within `jump_days`, and each sweep so much at
//! most.

use rusqlite::{Connection, params};

use super::DAY;
use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Refused};
use crate::database::DbError;

/// Why the time is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is earlier than the last sweep, or than what was written last.
    Behind,
    /// The last sweep is longer ago than anybody expects.
    Ahead,
}

impl Doubt {
    /// Its name in the database and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Behind => "behind",
            Self::Ahead => "ahead",
        }
    }
}

/// What the clock is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    last_sweep: Option<i64>,
    /// When the newest row was written.
    newest: i64,
    /// The newest row that an administrator vouched for: whatever it says is no doubt any more.
    accepted: i64,
}

fn judge(known: Known, now: i64, jump_days: u32) -> Option<Doubt> {
    let is_behind = now < known.newest && known.newest > known.accepted;
    if is_behind || known.last_sweep.is_some_and(|last| now < last) {
        return Some(Doubt::Behind);
    }
    let is_ahead = known.last_sweep.is_some_and(|last| now.saturating_sub(last) > i64::from(jump_days) * DAY);
    is_ahead.then_some(Doubt::Ahead)
}

fn known(connection: &Connection) -> Result<Known, DbError> {
    // What was written last, not what names the latest time: rows of a clock that was wrong once stand further back.
    Ok(connection.query_row(
        "SELECT last_sweep_at, accepted_at, max(
            coalesce((SELECT at FROM audit ORDER BY id DESC LIMIT 1), 0),
            coalesce((SELECT created_at FROM entries ORDER BY id DESC LIMIT 1), 0)) FROM retention",
        [],
        |row| Ok(Known { last_sweep: row.get(0)?, accepted: row.get(1)?, newest: row.get(2)? }),
    )?)
}

/// What a sweep at this time may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Believed {
    /// Delete.
    Yes,
    /// Note the time, and delete nothing: there was no sweep to compare it with.
    First,
    /// Nothing.
    No(Doubt),
}

/// Whether a sweep may begin at this time; notes what comes of it.
///
/// # Errors
/// Where the database fails.
pub fn believe(connection: &mut Connection, now: i64, jump_days: u32) -> Result<Believed, DbError> {
    let transaction = connection.transaction()?;
    let known = known(&transaction)?;
    let doubt = judge(known, now, jump_days);
    transaction.execute("UPDATE retention SET waits = ?1", [doubt.map(Doubt::name)])?;
    if doubt.is_none() {
        transaction.execute("UPDATE retention SET last_sweep_at = ?1", [now])?;
    }
    transaction.commit()?;
    Ok(match doubt {
        Some(doubt) => Believed::No(doubt),
        None if known.last_sweep.is_none() => Believed::First,
        None => Believed::Yes,
    })
}

/// An administrator vouches for the time.
///
/// # Errors
/// Where the database fails.
pub fn accept(connection: &mut Connection, actor: &Actor, now: i64) -> Result<(), Refused> {
    let transaction = connection.transaction()?;
    let known = known(&transaction)?;
    transaction.execute(
        "UPDATE retention SET waits = NULL, last_sweep_at = ?1, accepted_at = ?2",
        params![now, known.newest],
    )?;
    audit::record(&transaction, actor, Action::ClockAccepted, Some(&crate::clock::readable(now)), now)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_doubted_where_it_jumps() {
        let known = Known { last_sweep: Some(100 * DAY), newest: 100 * DAY + 50, accepted: 0 };
        let at = |known, now| judge(known, now, 7);
        assert_eq!(at(known, 100 * DAY + 50), None);
        assert_eq!(at(known, 100 * DAY + 49), Some(Doubt::Behind));
        assert_eq!(at(known, 107 * DAY), None);
        assert_eq!(at(known, 107 * DAY + 1), Some(Doubt::Ahead));
        assert_eq!(at(known, i64::MAX), Some(Doubt::Ahead));
        assert_eq!(at(Known { last_sweep: None, ..known }, i64::MAX), None);
        // Rows from the future are no doubt any more once somebody said so; earlier than the last sweep still is.
        let vouched = Known { newest: 500 * DAY, accepted: 500 * DAY, ..known };
        assert_eq!(at(vouched, 101 * DAY), None);
        assert_eq!(at(Known { accepted: 0, ..vouched }, 101 * DAY), Some(Doubt::Behind));
        assert_eq!(at(vouched, 100 * DAY - 1), Some(Doubt::Behind));
    }
}
