//! Who may do what with an entry: the one rule that every page, the API and every change goes through.
//!
//! An entry is its owner's. Where it is shared with a team, those in the team may do what their standing there says. Nobody
//! else finds it, administrators neither: for them it is not there. A viewer reads, whatever their standing. Whoever leaves
//! a team, whose team is retired, or who is shut out of the portal may nothing any more, from the next question on: the
//! rule is asked of the database each time, and never remembered.
//!
//! | | reads | takes the capture, marks, notes, confirms, stops, runs again | deletes, takes out of the team | shares, keeps from timers |
//! |---|---|---|---|---|
//! | [`May::Read`] | yes | | | |
//! | [`May::Work`] | yes | yes | | |
//! | [`May::Lead`] | yes | yes | yes | |
//! | [`May::Own`] | yes | yes | yes | yes |

use std::fmt;

use rusqlite::{Connection, Row, named_params};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Entry, read};
use crate::accounts::teams::Standing;
use crate::accounts::{Reason, Refused, Role, teams};
use crate::database::DbError;

/// What somebody may do with an entry; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum May {
    /// Look at it and all that came of it, and save that.
    Read,
    /// Take its capture; mark, note, confirm, stop, run again.
    Work,
    /// Delete it, and take it out of its team.
    Lead,
    /// Share it, and keep it from being deleted by timers.
    Own,
}

impl May {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Work => "work",
            Self::Lead => "lead",
            Self::Own => "own",
        }
    }

    /// What somebody of this role may do with what is theirs, or what they have this standing for.
    fn of(role: Role, is_owner: bool, standing: Option<Standing>) -> Option<Self> {
        let may = match standing {
            _ if is_owner => Self::Own,
            Some(Standing::Leads) => Self::Lead,
            Some(Standing::Works) => Self::Work,
            Some(Standing::Reads) => Self::Read,
            None => return None,
        };
        Some(if role >= Role::Analyst { may } else { Self::Read })
    }
}

impl fmt::Display for May {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Entries `e` with whoever asks (`me`, of the number `:me`) and their standing: never without [`VISIBLE`].
pub(super) const FROM: &str = "FROM entries e
    JOIN accounts me ON me.id = :me JOIN accounts o ON o.id = e.account_id
    LEFT JOIN teams t ON t.id = e.team_id
    LEFT JOIN members m ON m.team_id = t.id AND m.account_id = :me AND t.retired = 0
    JOIN captures c ON c.sha256 = e.sha256 LEFT JOIN categories k ON k.id = e.category_id";

/// That whoever asks, of the number `:me`, may read the entry `e`. It needs no table but that one, and indexes find the
/// entries: whoever lists or counts joins the rest to what is shown alone.
pub(super) const VISIBLE: &str = "(e.account_id = :me OR e.team_id IN (SELECT m.team_id FROM members m
    JOIN teams t ON t.id = m.team_id WHERE m.account_id = :me AND t.retired = 0))
    AND EXISTS (SELECT 1 FROM accounts WHERE id = :me AND disabled = 0)
    AND e.account_id NOT IN (SELECT id FROM accounts WHERE deleted_at IS NOT NULL)";

/// What [`super::read`] reads of [`FROM`].
pub(super) const COLUMNS: &str = "e.*, c.bytes, k.name AS category, o.display_name AS owner, t.name AS team_name,
    t.retired AS team_retired, me.id AS asker, me.role AS asker_role, m.standing,
    (SELECT max(v.version) FROM pipelines p JOIN pipeline_versions v ON v.pipeline_id = p.id
        WHERE p.name = e.pipeline AND p.retired = 0) AS newest_version";

/// What whoever asks may do with the entry of this row.
pub(super) fn may(row: &Row<'_>) -> Result<May, DbError> {
    let (asker, owner): (i64, i64) = (row.get("asker")?, row.get("account_id")?);
    let role: String = row.get("asker_role")?;
    let role = role.parse().map_err(|_| DbError::Foreign(format!("the role {role:?}")))?;
    let standing: Option<String> = row.get("standing")?;
    let standing = standing.map(teams::standing).transpose()?;
    May::of(role, asker == owner, standing).ok_or_else(|| DbError::Foreign("an entry that nobody may see".to_owned()))
}

/// The entry of that key, if this account may read it.
///
/// # Errors
/// Where the database fails.
pub fn find(connection: &Connection, account: i64, key: &str) -> Result<Option<Entry>, DbError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} {FROM} WHERE e.key = :key AND {VISIBLE}"))?;
    let found = statement.query_and_then(named_params! { ":key": key, ":me": account }, read)?.next().transpose()?;
    Ok(found)
}

/// The entry of that key, with which this account must be let do so much.
///
/// # Errors
/// [`Reason::NotThere`] where the account may not even read it, [`Reason::NotAllowed`] where it may do less than `may`, or
/// where the database fails.
pub fn need(connection: &Connection, account: i64, key: &str, may: May) -> Result<Entry, Refused> {
    let entry = find(connection, account, key)?.ok_or(Reason::NotThere)?;
    if entry.may >= may { Ok(entry) } else { Err(Reason::NotAllowed.into()) }
}

/// The entry of that key, which this account must be let work with.
///
/// # Errors
/// As [`need`].
pub fn workable(connection: &Connection, account: i64, key: &str) -> Result<Entry, Refused> {
    need(connection, account, key, May::Work)
}

/// The entry of that key, which must be this account's own.
///
/// # Errors
/// As [`need`].
pub fn owned(connection: &Connection, account: i64, key: &str) -> Result<Entry, Refused> {
    need(connection, account, key, May::Own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::people::set_disabled;
    use crate::accounts::teams::{add, remove_member, set_member, set_retired};
    use crate::entries::{Query, Whose, list, share, take_back};
    use crate::uploads::Key;
    use crate::uploads::testing::{NOW, Place, actor};

    /// What an account may do, told by each way to ask.
    fn may(place: &Place, account: i64, key: &Key) -> Option<May> {
        let connection = &place.connection;
        let found = find(connection, account, key.as_str()).unwrap();
        let listed = list(connection, account, &Query { limit: 50, ..Query::default() }).unwrap();
        let listed_one = listed.entries.into_iter().find(|entry| entry.key == *key);
        assert_eq!((&listed_one, listed.total > 0), (&found, found.is_some()));
        let may = found.map(|entry| entry.may);
        for asked in [May::Read, May::Work, May::Lead, May::Own] {
            let told = need(connection, account, key.as_str(), asked);
            match may {
                Some(may) if may >= asked => assert_eq!(told.unwrap().asker, account),
                Some(_) => assert!(matches!(told, Err(Refused::Because(Reason::NotAllowed)))),
                None => assert!(matches!(told, Err(Refused::Because(Reason::NotThere)))),
            }
        }
        may
    }

    #[test]
    fn each_standing_may_so_much_and_no_more() {
        use Standing::{Leads, Reads, Works};
        let all = |role| [None, Some(Reads), Some(Works), Some(Leads)].map(|standing| May::of(role, false, standing));
        for role in [Role::Analyst, Role::Administrator] {
            assert_eq!(all(role), [None, Some(May::Read), Some(May::Work), Some(May::Lead)]);
            assert_eq!(May::of(role, true, Some(Reads)), Some(May::Own));
        }
        assert_eq!(all(Role::Viewer), [None, Some(May::Read), Some(May::Read), Some(May::Read)]);
        assert_eq!(May::of(Role::Viewer, true, None), Some(May::Read));
    }

    #[test]
    fn what_is_shared_is_seen_by_the_team_and_by_nobody_else() {
        let mut place = Place::new();
        let [admin, olga, tom, other] = ["admin", "olga", "tom", "other"].map(|name| place.account(name));
        let key = place.keep(olga, b"olga's");
        let by = actor();
        let blue = add(&mut place.connection, "Blue", &by, NOW).unwrap();
        let red = add(&mut place.connection, "Red", &by, NOW).unwrap();
        for (team, account, standing) in
            [(blue, olga, Standing::Reads), (blue, tom, Standing::Works), (red, other, Standing::Leads)]
        {
            set_member(&mut place.connection, team, account, standing, &by, NOW).unwrap();
        }
        let seen = |place: &Place| [admin, olga, tom, other].map(|account| may(place, account, &key));
        let alone = [None, Some(May::Own), None, None];
        assert_eq!(seen(&place), alone, "a team is not shared with by being in it");
        share(&mut place.connection, olga, key.as_str(), blue, &by, NOW).unwrap();
        let shared = [None, Some(May::Own), Some(May::Work), None];
        assert_eq!(seen(&place), shared);
        // Whose it is can be asked for.
        let count = |place: &Place, account, whose| {
            list(&place.connection, account, &Query { whose, limit: 9, ..Query::default() }).unwrap().total
        };
        assert_eq!([Whose::All, Whose::Mine, Whose::Team(blue)].map(|whose| count(&place, tom, whose)), [1, 0, 1]);
        assert_eq!([Whose::Mine, Whose::Team(red)].map(|whose| count(&place, olga, whose)), [1, 0]);
        assert_eq!(count(&place, other, Whose::Team(blue)), 0);
        // What ends it, ends it at once.
        set_retired(&mut place.connection, blue, true, &by, NOW).unwrap();
        assert_eq!(seen(&place), alone);
        set_retired(&mut place.connection, blue, false, &by, NOW).unwrap();
        set_disabled(&mut place.connection, tom, true, &by, NOW).unwrap();
        assert_eq!(seen(&place), alone);
        set_disabled(&mut place.connection, tom, false, &by, NOW).unwrap();
        assert_eq!(seen(&place), shared);
        remove_member(&mut place.connection, blue, tom, &by, NOW).unwrap();
        assert_eq!(seen(&place), alone);
        set_member(&mut place.connection, blue, tom, Standing::Leads, &by, NOW).unwrap();
        assert_eq!(seen(&place)[2], Some(May::Lead));
        take_back(&mut place.connection, tom, key.as_str(), &by, NOW).unwrap();
        assert_eq!(seen(&place), alone);
    }
}
