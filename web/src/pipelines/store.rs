//! Pipelines and their versions. A version is never changed and never deleted; what was retired can be chosen no more.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Reason, Refused, shown_text_of};
use crate::config::{DEFAULT_PIPELINE, Framework};
use crate::database::DbError;

/// The most characters of what is said of a version.
pub const MAX_WORDS: usize = 200;

/// A pipeline that was made here, with its newest version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its number.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// Whether it can no longer be chosen.
    pub retired: bool,
    /// Its newest version.
    pub newest: Facts,
}

/// What is known of a version beside its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its number, from 1.
    pub version: i64,
    /// What whoever saved it said of it.
    pub words: String,
    /// Who saved it.
    pub by: String,
    /// When.
    pub at: i64,
}

/// A version with its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// What is known of it.
    pub facts: Facts,
    /// The TOML as it was typed.
    pub text: String,
}

/// What is to be saved. Whoever calls has had its text checked.
#[derive(Clone, Debug)]
pub struct New {
    /// The pipeline.
    pub name: String,
    /// The text.
    pub text: String,
    /// What is said of it.
    pub words: String,
    /// The version that it was made from; none for a new pipeline.
    pub base: Option<i64>,
}

/// Whether a pipeline may have this name: it goes into forms and addresses.
pub fn is_name(name: &str) -> bool {
    (1..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// All that were made here, by name, the retired ones last.
///
/// # Errors
/// Where the database fails.
pub fn list(connection: &Connection) -> Result<Vec<Made>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT p.id, p.name, p.retired, v.version, v.words, v.saved_by, v.saved_at FROM pipelines p
         JOIN pipeline_versions v ON v.pipeline_id = p.id
             AND v.version = (SELECT max(version) FROM pipeline_versions WHERE pipeline_id = p.id)
         ORDER BY p.retired, p.name",
    )?;
    let rows = statement.query_map([], |row| {
        let newest = Facts { version: row.get(3)?, words: row.get(4)?, by: row.get(5)?, at: row.get(6)? };
        Ok(Made { id: row.get(0)?, name: row.get(1)?, retired: row.get(2)?, newest })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The versions of one, newest first.
///
/// # Errors
/// Where the database fails.
pub fn versions(connection: &Connection, id: i64) -> Result<Vec<Facts>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT version, words, saved_by, saved_at FROM pipeline_versions WHERE pipeline_id = ?1 ORDER BY version DESC",
    )?;
    let rows = statement.query_map([id], |row| {
        Ok(Facts { version: row.get(0)?, words: row.get(1)?, by: row.get(2)?, at: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One version of the pipeline of this name.
///
/// # Errors
/// Where the database fails.
pub fn version(connection: &Connection, name: &str, version: i64) -> Result<Option<Version>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT v.version, v.words, v.saved_by, v.saved_at, v.text FROM pipeline_versions v
         JOIN pipelines p ON p.id = v.pipeline_id WHERE p.name = ?1 AND v.version = ?2",
    )?;
    let found = statement.query_row(params![name, version], |row| {
        let facts = Facts { version: row.get(0)?, words: row.get(1)?, by: row.get(2)?, at: row.get(3)? };
        Ok(Version { facts, text: row.get(4)? })
    });
    Ok(found.optional()?)
}

/// The newest version of the pipeline of this name that can be chosen; none where none was made here.
///
/// # Errors
/// Where the database fails.
pub fn newest(connection: &Connection, name: &str) -> Result<Option<i64>, DbError> {
    Ok(connection
        .prepare_cached(
            "SELECT max(v.version) FROM pipeline_versions v JOIN pipelines p ON p.id = v.pipeline_id
             WHERE p.name = ?1 AND p.retired = 0",
        )?
        .query_row([name], |row| row.get(0))?)
}

/// How many entries used each version of a pipeline.
///
/// # Errors
/// Where the database fails.
pub fn uses(connection: &Connection, name: &str) -> Result<Vec<(i64, i64)>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT pipeline_version, count(*) FROM entries WHERE pipeline = ?1 AND pipeline_version IS NOT NULL
         GROUP BY pipeline_version",
    )?;
    let rows = statement.query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Saves a new pipeline or a new version of one, and gives its number. `taken` are the names of the configuration.
///
/// # Errors
/// Where the name cannot be used or is taken, the words are no line, there are too many, the version that it was made from
/// is not the newest any more, nothing would change, or the database fails.
pub fn save(
    connection: &mut Connection,
    new: &New,
    taken: &[String],
    limits: &Framework,
    actor: &Actor,
    now: i64,
) -> Result<i64, Refused> {
    let words = shown_text_of(&new.words, MAX_WORDS).ok_or(Reason::PipelineWords)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let all = list(&transaction)?;
    let old = all.iter().find(|made| made.name == new.name);
    let (id, version) = match (old, new.base) {
        (Some(_), None) => return Err(Reason::PipelineTaken.into()),
        (None, Some(_)) => return Err(Reason::NotThere.into()),
        (None, None) => {
            if !is_name(&new.name) || ["new", DEFAULT_PIPELINE].contains(&new.name.as_str()) {
                return Err(Reason::PipelineName.into());
            }
            let same = |name: &str| name.eq_ignore_ascii_case(&new.name);
            if taken.iter().any(|name| same(name)) || all.iter().any(|made| same(&made.name)) {
                return Err(Reason::PipelineTaken.into());
            }
            if all.len() >= limits.pipelines as usize {
                return Err(Reason::TooManyPipelines.into());
            }
            transaction.execute("INSERT INTO pipelines (name) VALUES (?1)", [&new.name])?;
            (transaction.last_insert_rowid(), 1)
        }
        (Some(old), Some(base)) => {
            if old.newest.version != base {
                return Err(Reason::PipelineStale.into());
            }
            if old.newest.version >= i64::from(limits.versions) {
                return Err(Reason::TooManyPipelines.into());
            }
            if version(&transaction, &old.name, base)?.is_some_and(|version| version.text == new.text) {
                return Err(Reason::PipelineSame.into());
            }
            (old.id, base + 1)
        }
    };
    transaction.execute(
        "INSERT INTO pipeline_versions (pipeline_id, version, text, words, saved_by, saved_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![id, version, new.text, words, actor.name.as_deref().unwrap_or_default(), now],
    )?;
    let subject = format!("{}@{version}", new.name);
    audit::record(&transaction, actor, Action::PipelineSaved, Some(&subject), now)?;
    transaction.commit()?;
    Ok(version)
}

/// Retires a pipeline, or offers it again.
///
/// # Errors
/// Where it is not there, or the database fails.
pub fn set_retired(
    connection: &mut Connection,
    name: &str,
    retired: bool,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let was: Option<bool> =
        transaction.query_row("SELECT retired FROM pipelines WHERE name = ?1", [name], |row| row.get(0)).optional()?;
    let was = was.ok_or(Reason::NotThere)?;
    if was != retired {
        transaction.execute("UPDATE pipelines SET retired = ?2 WHERE name = ?1", params![name, retired])?;
        let action = if retired { Action::PipelineRetired } else { Action::PipelineRestored };
        audit::record(&transaction, actor, action, Some(name), now)?;
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uploads::testing::{NOW, Place, actor};

    fn new(name: &str, text: &str, base: Option<i64>) -> New {
        New { name: name.to_owned(), text: text.to_owned(), words: "why".to_owned(), base }
    }

    fn save_it(place: &mut Place, new: &New) -> Result<i64, Reason> {
        let taken = ["shop".to_owned()];
        match save(&mut place.connection, new, &taken, &Framework::default(), &actor(), NOW) {
            Ok(version) => Ok(version),
            Err(Refused::Because(reason)) => Err(reason),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn versions_follow_each_other_and_stay() {
        let mut place = Place::new();
        assert_eq!(save_it(&mut place, &new("mine", "a = 1", None)), Ok(1));
        assert_eq!(save_it(&mut place, &new("mine", "a = 2", Some(1))), Ok(2));
        assert_eq!(save_it(&mut place, &new("mine", "a = 3", Some(1))), Err(Reason::PipelineStale));
        assert_eq!(save_it(&mut place, &new("mine", "a = 2", Some(2))), Err(Reason::PipelineSame));
        // Rolled back: a new version with the old text.
        assert_eq!(save_it(&mut place, &new("mine", "a = 1", Some(2))), Ok(3));
        let made = list(&place.connection).unwrap();
        assert_eq!((made.len(), made[0].newest.version, made[0].newest.words.as_str()), (1, 3, "why"));
        let numbers: Vec<i64> = versions(&place.connection, made[0].id).unwrap().iter().map(|v| v.version).collect();
        assert_eq!(numbers, [3, 2, 1]);
        assert_eq!(version(&place.connection, "mine", 2).unwrap().unwrap().text, "a = 2");
        for sql in [
            "UPDATE pipeline_versions SET text = 'x'",
            "DELETE FROM pipeline_versions",
            "REPLACE INTO pipeline_versions SELECT * FROM pipeline_versions",
        ] {
            assert!(place.connection.execute(sql, []).is_err(), "{sql}");
        }
        assert_eq!(place.actions().iter().filter(|action| *action == "pipeline-saved").count(), 3);
    }

    #[test]
    fn names_have_a_form_and_are_there_once() {
        let mut place = Place::new();
        for bad in ["", "new", DEFAULT_PIPELINE, "a b", "../x", &"x".repeat(41), "ä"] {
            assert_eq!(save_it(&mut place, &new(bad, "", None)), Err(Reason::PipelineName), "{bad}");
        }
        assert_eq!(save_it(&mut place, &new("Shop", "", None)), Err(Reason::PipelineTaken));
        assert_eq!(save_it(&mut place, &new("gone", "", Some(1))), Err(Reason::NotThere));
        save_it(&mut place, &new("mine", "", None)).unwrap();
        assert_eq!(save_it(&mut place, &new("MINE", "", None)), Err(Reason::PipelineTaken));
        let words = New { words: "a\nb".to_owned(), ..new("other", "", None) };
        assert_eq!(save_it(&mut place, &words), Err(Reason::PipelineWords));
    }

    #[test]
    fn what_is_retired_cannot_be_chosen() {
        let mut place = Place::new();
        save_it(&mut place, &new("mine", "", None)).unwrap();
        assert_eq!(newest(&place.connection, "mine").unwrap(), Some(1));
        set_retired(&mut place.connection, "mine", true, &actor(), NOW).unwrap();
        set_retired(&mut place.connection, "mine", true, &actor(), NOW).unwrap();
        assert_eq!(newest(&place.connection, "mine").unwrap(), None);
        assert!(list(&place.connection).unwrap()[0].retired);
        set_retired(&mut place.connection, "mine", false, &actor(), NOW).unwrap();
        assert_eq!(newest(&place.connection, "mine").unwrap(), Some(1));
        assert!(set_retired(&mut place.connection, "gone", true, &actor(), NOW).is_err());
        assert_eq!(newest(&place.connection, "gone").unwrap(), None);
    }
}
