//! What an owner lets others do: shared with a team and taken back, kept from the timers and let go.

use rusqlite::{Connection, params};

use super::change::begin;
use super::{Entry, May, access, visible};
use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Reason, Refused, shown_text_of, teams};
use crate::database::DbError;

/// The fewest characters of the reason for keeping an entry.
pub const MIN_REASON: usize = 3;
/// The most characters of the reason for keeping an entry.
pub const MAX_REASON: usize = 200;

/// Shares an entry with one of its owner's teams; with another one than before, where there was one.
///
/// # Errors
/// Where the entry is not there or another's, its owner is in no such team, the team's quota is used up, or the database
/// fails.
pub fn share(
    connection: &mut Connection,
    account: i64,
    key: &str,
    team: i64,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let transaction = begin(connection)?;
    let entry = access::owned(&transaction, account, key)?;
    share_with(&transaction, &entry, Some(team), actor, now)?;
    transaction.commit()?;
    Ok(())
}

/// Takes an entry back from its team: its owner does, or whoever leads the team.
///
/// # Errors
/// Where the entry is not there, or may not be taken back, or the database fails.
pub fn take_back(connection: &mut Connection, account: i64, key: &str, actor: &Actor, now: i64) -> Result<(), Refused> {
    let transaction = begin(connection)?;
    let entry = access::need(&transaction, account, key, May::Lead)?;
    share_with(&transaction, &entry, None, actor, now)?;
    transaction.commit()?;
    Ok(())
}

/// Shares with a team, or with none; inside the caller's transaction, which has asked whether that may be.
pub(super) fn share_with(
    connection: &Connection,
    entry: &Entry,
    team: Option<i64>,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    if entry.team.as_ref().map(|team| team.id) == team {
        return Ok(());
    }
    let name = match team {
        Some(team) => {
            let mine = teams::of_account(connection, entry.asker)?;
            Some(mine.into_iter().find(|one| one.id == team).ok_or(Reason::Team)?.name)
        }
        None => None,
    };
    connection.execute("UPDATE entries SET team_id = ?2 WHERE id = ?1", params![entry.id, team])?;
    if let Some(team) = team {
        let quota = teams::by_id(connection, team)?.limits.quota_bytes;
        if let Some(quota) = quota
            && teams::used_bytes(connection, team)? > quota
        {
            return Err(Reason::TeamQuota.into());
        }
    }
    if entry.team.is_some() {
        visible::release_lost(connection, now)?;
    }
    let (action, name) = match &name {
        Some(name) => (Action::Shared, name.as_str()),
        None => (Action::TakenBack, entry.team.as_ref().map_or("", |team| team.name.as_str())),
    };
    audit::record(connection, actor, action, Some(&format!("{}: {name}", entry.key)), now)?;
    Ok(())
}

/// Keeps an entry and its capture from being deleted by timers, with the reason for it; without a reason they count again.
///
/// # Errors
/// Where the reason says nothing, is too long or steers, the entry is not there or another's, or the database fails.
pub fn keep(
    connection: &mut Connection,
    account: i64,
    key: &str,
    reason: Option<&str>,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let fits = |text: &String| text.chars().count() >= MIN_REASON;
    let reason = reason.map(|text| shown_text_of(text, MAX_REASON).filter(fits).ok_or(Reason::Keep)).transpose()?;
    let transaction = begin(connection)?;
    let entry = access::owned(&transaction, account, key)?;
    if entry.kept_why == reason {
        return Ok(());
    }
    transaction.execute("UPDATE entries SET kept_why = ?2 WHERE id = ?1", params![entry.id, reason])?;
    let action = if reason.is_some() { Action::Kept } else { Action::LetGo };
    audit::record(&transaction, actor, action, Some(key), now)?;
    transaction.commit()?;
    Ok(())
}

/// The number of entries of an account that are shared with a team.
///
/// # Errors
/// Where the database fails.
pub fn shared_count(connection: &Connection, account: i64) -> Result<u64, DbError> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM entries WHERE account_id = ?1 AND team_id IS NOT NULL")?
        .query_row([account], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::teams::{Standing, TeamLimits, set_limits, set_member};
    use crate::entries::find;
    use crate::uploads::testing::{NOW, Place, actor};

    fn because<T: std::fmt::Debug>(result: Result<T, Refused>) -> Reason {
        match result {
            Err(Refused::Because(reason)) => reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn only_a_team_of_the_owner_s_can_be_shared_with_and_within_its_quota() {
        let mut place = Place::new();
        let (ada, bob) = (place.account("ada"), place.account("bob"));
        let (small, large) = (place.keep(ada, b"four"), place.keep(ada, b"larger than that"));
        let by = actor();
        let [blue, red] = ["Blue", "Red"].map(|name| teams::add(&mut place.connection, name, &by, NOW).unwrap());
        set_member(&mut place.connection, blue, ada, Standing::Reads, &by, NOW).unwrap();
        set_member(&mut place.connection, blue, bob, Standing::Works, &by, NOW).unwrap();
        let limits = TeamLimits { quota_bytes: Some(10), ..TeamLimits::default() };
        set_limits(&mut place.connection, blue, &limits, &by, NOW).unwrap();
        let connection = &mut place.connection;
        for team in [red, 99] {
            assert_eq!(because(share(connection, ada, small.as_str(), team, &by, NOW)), Reason::Team);
        }
        assert_eq!(because(share(connection, bob, small.as_str(), blue, &by, NOW)), Reason::NotThere);
        share(connection, ada, small.as_str(), blue, &by, NOW).unwrap();
        assert_eq!(because(share(connection, ada, large.as_str(), blue, &by, NOW)), Reason::TeamQuota);
        assert_eq!(find(connection, ada, large.as_str()).unwrap().unwrap().team, None);
        assert_eq!(shared_count(connection, ada).unwrap(), 1);
        assert_eq!(because(take_back(connection, bob, small.as_str(), &by, NOW)), Reason::NotAllowed);
        take_back(connection, ada, small.as_str(), &by, NOW).unwrap();
        assert_eq!(find(connection, bob, small.as_str()).unwrap(), None);
    }

    #[test]
    fn an_entry_is_kept_with_a_reason() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let key = place.keep(ada, b"x");
        let connection = &mut place.connection;
        for bad in ["", "  x ", "two\nlines", &"x".repeat(MAX_REASON + 1)] {
            assert_eq!(because(keep(connection, ada, key.as_str(), Some(bad), &actor(), NOW)), Reason::Keep, "{bad}");
        }
        keep(connection, ada, key.as_str(), Some(" case 7 "), &actor(), NOW).unwrap();
        assert_eq!(find(connection, ada, key.as_str()).unwrap().unwrap().kept_why.as_deref(), Some("case 7"));
        keep(connection, ada, key.as_str(), None, &actor(), NOW).unwrap();
        keep(connection, ada, key.as_str(), None, &actor(), NOW).unwrap();
        assert_eq!(find(connection, ada, key.as_str()).unwrap().unwrap().kept_why, None);
        let log = place.actions();
        assert_eq!(log[log.len() - 2..], ["kept", "let-go"]);
    }
}
