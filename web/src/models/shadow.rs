//! A challenger beside the model of a pipeline: it scores what the model scores, and decides nothing.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use crate::accounts::audit::{self, Action};
use crate::accounts::{Actor, Refused};
use crate::database::DbError;

/// What two models came to over the analyses so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Analyses.
    pub runs: u64,
    /// Flows that both scored.
    pub flows: u64,
    /// Flows of which both have the same verdict.
    pub same_verdict: u64,
    /// Alerts of the model that decides.
    pub champion_alerts: u64,
    /// Alerts of the challenger.
    pub challenger_alerts: u64,
    /// Flows that both alert on.
    pub both_alert: u64,
    /// Flows on which the challenger failed.
    pub failed: u64,
}

/// Has a model score beside that of these pipelines, or none.
///
/// # Errors
/// Where the database fails.
pub fn set(
    connection: &mut Connection,
    pipelines: &[String],
    model: Option<&str>,
    actor: &Actor,
    now: i64,
) -> Result<(), Refused> {
    let transaction = connection.transaction()?;
    for pipeline in pipelines {
        match model {
            Some(model) => transaction.execute(
                "INSERT INTO shadows (pipeline, model, since) VALUES (?1, ?2, ?3)
                    ON CONFLICT (pipeline) DO UPDATE SET model = ?2, since = ?3",
                params![pipeline, model, now],
            )?,
            None => transaction.execute("DELETE FROM shadows WHERE pipeline = ?1", [pipeline])?,
        };
    }
    let subject = format!("{}: {}", model.unwrap_or("-"), pipelines.join(", "));
    audit::record(&transaction, actor, Action::Shadowed, Some(&subject), now)?;
    transaction.commit()?;
    Ok(())
}

/// The model that scores beside that of a pipeline.
///
/// # Errors
/// Where the database fails.
pub fn of(connection: &Connection, pipeline: &str) -> Result<Option<String>, DbError> {
    let found = connection
        .prepare_cached("SELECT model FROM shadows WHERE pipeline = ?1")?
        .query_row([pipeline], |row| row.get(0))
        .optional()?;
    Ok(found)
}

/// The pipelines beside whose model this one scores.
///
/// # Errors
/// Where the database fails.
pub fn pipelines_of(connection: &Connection, model: &str) -> Result<Vec<String>, DbError> {
    let mut statement = connection.prepare_cached("SELECT pipeline FROM shadows WHERE model = ?1 ORDER BY pipeline")?;
    Ok(statement.query_map([model], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Notes what both came to in an analysis: the last line of its result tells it, where there was a challenger.
///
/// # Errors
/// Where the database fails.
pub fn note(connection: &Connection, entry: i64, champion: &str, challenger: &str, line: &str) -> Result<(), DbError> {
    let told: Option<Value> = serde_json::from_str::<Value>(line).ok().and_then(|line| line.get("shadow").cloned());
    // A challenger that could not be used is not there, and neither is a line of it.
    let Some(told) = told.filter(Value::is_object) else { return Ok(()) };
    let count =
        |name: &str| i64::try_from(told.get(name).and_then(Value::as_u64).unwrap_or_default()).unwrap_or(i64::MAX);
    connection.execute(
        "INSERT OR REPLACE INTO shadow_runs (entry_id, challenger, champion, flows, same_verdict, champion_alerts,
            challenger_alerts, both_alert, failed)
            SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM entries WHERE id = ?1",
        params![
            entry,
            challenger,
            champion,
            count("both"),
            count("same_verdict"),
            count("champion_alerts"),
            count("challenger_alerts"),
            count("both_alert"),
            count("failed"),
        ],
    )?;
    Ok(())
}

/// What a challenger came to beside each model that decided, over all analyses of which there is still an entry.
///
/// # Errors
/// Where the database fails.
pub fn tallies(connection: &Connection, challenger: &str) -> Result<Vec<(String, Tally)>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT champion, count(*), sum(flows), sum(same_verdict), sum(champion_alerts), sum(challenger_alerts),
            sum(both_alert), sum(failed) FROM shadow_runs WHERE challenger = ?1 GROUP BY champion ORDER BY champion",
    )?;
    let rows = statement.query_map([challenger], |row| {
        let count = |at: usize| Ok::<_, rusqlite::Error>(u64::try_from(row.get::<_, i64>(at)?).unwrap_or_default());
        let tally = Tally {
            runs: count(1)?,
            flows: count(2)?,
            same_verdict: count(3)?,
            champion_alerts: count(4)?,
            challenger_alerts: count(5)?,
            both_alert: count(6)?,
            failed: count(7)?,
        };
        Ok((row.get(0)?, tally))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
