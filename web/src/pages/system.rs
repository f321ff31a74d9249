//! How the portal does, for administrators: what waits and runs, the disk, limits, versions, what went wrong last.

use std::path::Path;

use rocket::tokio::task;
use rocket::{State, get};
use serde_json::{Value, json};

use super::render::{Page, Reply};
use crate::clock::readable;
use crate::config::{Config, DEFAULT_PIPELINE, Source};
use crate::database::DbError;
use crate::portal::Portal;
use crate::recent;
use crate::results::human::{bytes, duration, grouped};
use crate::uploads::KEPT;
use crate::visitor::Administrator;

/// Analyses that are shown one by one.
const RUNNING: u32 = 50;

/// What the database says.
struct Known {
    waiting: u64,
    oldest: Option<i64>,
    /// Number, bytes of the capture, and when it was started.
    running: Vec<(i64, i64)>,
    /// Trainings that wait and that run.
    trainings: (u64, u64),
    /// Messages of webhooks that wait for their turn, or for a receiver that does not answer.
    deliveries: u64,
    captures: (u64, u64),
    results: u64,
    indexes: u64,
    sqlite: String,
    schema: u32,
}

fn known(connection: &rusqlite::Connection) -> Result<Known, DbError> {
    let number = |sql: &str| -> Result<u64, DbError> {
        let found: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        Ok(u64::try_from(found).unwrap_or_default())
    };
    let mut running = connection.prepare_cached(
        "SELECT id, coalesce(started_at, 0) FROM entries WHERE state = 'running' ORDER BY started_at LIMIT ?1",
    )?;
    let running = running.query_map([RUNNING], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    Ok(Known {
        waiting: number("SELECT count(*) FROM entries WHERE state = 'queued'")?,
        oldest: connection
            .query_row("SELECT min(confirmed_at) FROM entries WHERE state = 'queued'", [], |row| row.get(0))?,
        running,
        trainings: (
            number("SELECT count(*) FROM trainings WHERE state = 'queued'")?,
            number("SELECT count(*) FROM trainings WHERE state = 'running'")?,
        ),
        deliveries: number("SELECT count(*) FROM deliveries WHERE state = 'waiting'")?,
        captures: (
            number(&format!("SELECT count(*) FROM captures WHERE {KEPT}"))?,
            number(&format!("SELECT coalesce(sum(bytes), 0) FROM captures WHERE {KEPT}"))?,
        ),
        results: number("SELECT coalesce(sum(result_bytes), 0) FROM entries")?,
        indexes: number("SELECT coalesce(sum(index_bytes), 0) FROM entries")?,
        sqlite: connection.query_row("SELECT sqlite_version()", [], |row| row.get(0))?,
        schema: connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
    })
}

/// All of it.
#[get("/system")]
pub async fn show(me: Administrator<'_>, portal: &State<Portal>) -> Reply {
    let known = portal.db.run(|connection| known(connection)).await?;
    let (now, config) = (portal.now(), &portal.config);
    let since = |at: i64| duration(now.saturating_sub(at).max(0) as f64 * 1e9);
    // How far it is, and neither whose nor which capture: an entry is its owner's alone.
    let running: Vec<Value> = known
        .running
        .iter()
        .map(|(entry, started)| {
            let progress = portal.runner.board.find(*entry).map(|running| running.now().progress);
            let share = progress.as_ref().and_then(|told| Some((told.bytes, told.total_bytes.filter(|all| *all > 0)?)));
            json!({
                "entry": entry, "since": since(*started),
                "packets": progress.map(|told| grouped(told.packets)),
                "percent": share.map(|(read, all)| (read.min(all) as f64 * 100.0 / all as f64) as u64),
            })
        })
        .collect();
    let (live, unsaved) = portal.live.counts();
    let data = config.data.clone();
    let (database, kernel) = task::spawn_blocking(move || (database_bytes(&data), kernel())).await.unwrap_or_default();
    let free = portal.folders.free_bytes().ok();
    let landlock = portal.descriptions.last(DEFAULT_PIPELINE).and_then(|described| described.whole.landlock);
    let lines: Vec<Value> = recent::lines()
        .into_iter()
        .map(|line| {
            json!({ "at": readable(line.at), "is_error": line.is_error, "part": line.part, "words": line.words })
        })
        .collect();
    let data = json!({
        "waiting": grouped(known.waiting), "oldest": known.oldest.map(since), "running": running,
        "running_count": known.running.len(), "at_once": config.worker.at_once,
        "readers": portal.readers.count(), "readers_most": config.browse.readers,
        "trainings": grouped(known.trainings.1), "trainings_waiting": grouped(known.trainings.0),
        "live": config.live.enabled.then(|| json!({ "running": live, "most": config.live.sessions, "unsaved": unsaved })),
        "deliveries": grouped(known.deliveries),
        "captures": grouped(known.captures.0), "capture_bytes": bytes(known.captures.1),
        "result_bytes": bytes(known.results), "index_bytes": bytes(known.indexes), "database_bytes": bytes(database),
        "free": free.map(bytes), "is_full": free.is_none_or(|free| free <= config.limits.free_disk_bytes),
        "free_bound": bytes(config.limits.free_disk_bytes),
        "program": env!("CARGO_PKG_VERSION"), "schema": known.schema, "sqlite": known.sqlite, "kernel": kernel,
        "landlock": landlock,
        "uptime": duration(portal.started.elapsed().as_secs_f64() * 1e9), "settings": settings(config), "lines": lines,
    });
    Ok(Page::new(portal, &me, "system", data)?.into())
}

/// The database and what SQLite puts beside it.
fn database_bytes(data: &Path) -> u64 {
    let files = ["portal.sqlite", "portal.sqlite-wal", "portal.sqlite-shm"];
    files.iter().filter_map(|name| Some(std::fs::metadata(data.join(name)).ok()?.len())).sum()
}

/// What the kernel calls itself.
fn kernel() -> Option<String> {
    Some(std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?.trim().to_owned())
}

/// Every setting in force with where it comes from. Secrets are not among them: they have no text.
fn settings(config: &Config) -> Vec<Value> {
    let mut rows = Vec::new();
    if let Ok(value) = serde_json::to_value(config) {
        flatten("", &value, &mut rows);
    }
    let told = |(key, value): (String, String)| {
        let source = match config.sources.of(&key) {
            Source::Default => "system.source-default",
            Source::File => "system.source-file",
            Source::Environment => "system.source-environment",
        };
        json!({ "is_default": source == "system.source-default", "key": key, "value": value, "source": source })
    };
    rows.into_iter().map(told).collect()
}

fn flatten(key: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match value {
        Value::Object(inner) => inner.iter().for_each(|(name, value)| flatten(&below(name), value, rows)),
        Value::Array(inner) => {
            inner.iter().enumerate().for_each(|(at, value)| flatten(&below(&at.to_string()), value, rows))
        }
        Value::Null => rows.push((key.to_owned(), "–".to_owned())),
        Value::String(text) => rows.push((key.to_owned(), text.clone())),
        other => rows.push((key.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretText;

    #[test]
    fn every_setting_is_told_and_no_secret() {
        let config = Config { secret: Some(SecretText("open sesame".to_owned())), ..Config::default() };
        let told = settings(&config);
        let value = |key: &str| told.iter().find(|row| row["key"] == key).map(|row| row["value"].clone());
        assert_eq!(value("limits.entries"), Some("10000".into()));
        assert_eq!(value("worker.without_sandbox"), Some("false".into()));
        assert_eq!(value("tls"), Some("–".into()));
        assert_eq!(value("secret"), Some("…".into()));
        assert!(!format!("{told:?}").contains("sesame"));
    }
}
