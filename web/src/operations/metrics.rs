//! All figures for Prometheus, on a port of their own.
//!
//! Labels are routes, states, kinds and actions, of which there is a fixed number; nobody's name, address or capture is
//! in them. The database is read through a connection of its own, which changes nothing and holds nobody up.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rusqlite::{Connection, params};
use veilwatch::metrics::{Kind, Text, serve};

use super::AccessLog;
use super::figures::{BUCKETS, Figures};
use crate::accounts::audit::Action;
use crate::clock::Clock;
use crate::config::Config;
use crate::database::{self, DbError};
use crate::entries::State;
use crate::jobs::runner::Runner;
use crate::live::Sessions;
use crate::packets::Readers;
use crate::training::store::State as Training;
use crate::uploads::KEPT;
use crate::uploads::{Folders, UnderWay};

/// What messages of webhooks may be.
const DELIVERIES: [&str; 3] = ["waiting", "sent", "dropped"];

/// What figures are taken from.
pub struct Source {
    /// What the operator set.
    pub config: Config,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where captures and results lie.
    pub folders: Folders,
    /// Uploads that are under way.
    pub under_way: UnderWay,
    /// Runs analyses.
    pub runner: Runner,
    /// Readers of packets.
    pub readers: Readers,
    /// Captures on interfaces.
    pub live: Sessions,
    /// What is counted.
    pub figures: Arc<Figures>,
    /// The access log, if there is one.
    pub access: Option<AccessLog>,
}

/// Serves the figures of `source`, until the process ends; says where.
///
/// # Errors
/// Where the address is taken, the database cannot be read, or there is no thread.
pub fn start(source: Source, address: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let bound = listener.local_addr()?;
    let path = source.config.data.join(database::FILE);
    let ledger = Ledger::open(path).map_err(io::Error::other)?;
    let (ledger, started) = (Mutex::new(ledger), SystemTime::now());
    serve(listener, move || {
        let mut out = Text::default();
        requests(&mut out, &source.figures);
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = ledger.tell(&mut out, &source) {
            // The other figures are worth having all the same.
            tracing::error!(%error, "figures cannot be read from the database");
        }
        drop(ledger);
        rest(&mut out, &source);
        out.program(started, env!("CARGO_PKG_VERSION"));
        out.into_string()
    })?;
    Ok(bound)
}

fn requests(out: &mut Text, figures: &Figures) {
    let routes = figures.routes();
    let name = "veilwatch_portal_requests_total";
    out.family(name, Kind::Counter, "Requests by route and class of the answer's status.");
    for ((method, route), counts) in &routes {
        for (count, class) in counts.classes.iter().zip(["1xx", "2xx", "3xx", "4xx", "5xx"]).filter(|(n, _)| **n > 0) {
            out.sample(name, &[("method", method), ("route", route), ("status", class)], count);
        }
    }
    let name = "veilwatch_portal_request_seconds";
    out.family(
        name,
        Kind::Histogram,
        "From the head of a request, an upload's body among it, to the head of its answer.",
    );
    let (bucket, sum, count) = (format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count"));
    for ((method, route), counts) in &routes {
        let mut total = 0;
        let ends = BUCKETS.iter().map(ToString::to_string).chain(std::iter::once("+Inf".to_owned()));
        for (end, own) in ends.zip(&counts.buckets) {
            total += own;
            out.sample(&bucket, &[("method", method), ("route", route), ("le", &end)], total);
        }
        out.sample(&sum, &[("method", method), ("route", route)], counts.seconds);
        out.sample(&count, &[("method", method), ("route", route)], total);
    }
}

/// The database as figures read it.
struct Ledger {
    connection: Connection,
    path: PathBuf,
    /// The last line of the audit log that was counted, and what was counted so far.
    counted: i64,
    actions: [u64; Action::ALL.len()],
}

impl Ledger {
    fn open(path: PathBuf) -> Result<Self, DbError> {
        let connection = database::read_only(&path)?;
        let counted = connection.query_row("SELECT coalesce(max(id), 0) FROM audit", [], |row| row.get(0))?;
        Ok(Self { connection, path, counted, actions: [0; Action::ALL.len()] })
    }

    fn tell(&mut self, out: &mut Text, source: &Source) -> Result<(), DbError> {
        let (now, sessions) = (source.clock.now(), &source.config.sessions);
        self.count_actions()?;
        let name = "veilwatch_portal_actions_total";
        let words = "What the audit log was told: log-ins that failed are `login-failed`, uploads `uploaded`.";
        out.family(name, Kind::Counter, words);
        for (action, count) in Action::ALL.iter().zip(self.actions) {
            out.sample(name, &[("action", action.name())], count);
        }
        let name = "veilwatch_portal_entries";
        out.family(name, Kind::Gauge, "Entries by state.");
        let mut count = self.connection.prepare_cached("SELECT count(*) FROM entries WHERE state = ?1")?;
        let mut queued = 0_i64;
        for state in State::ALL {
            let entries: i64 = count.query_row([state.name()], |row| row.get(0))?;
            out.sample(name, &[("state", state.name())], entries);
            queued = if state == State::Queued { entries } else { queued };
        }
        out.one("veilwatch_portal_queue_length", Kind::Gauge, "Analyses that wait for a worker.", queued);
        let oldest: Option<i64> = self
            .connection
            .prepare_cached("SELECT min(confirmed_at) FROM entries WHERE state = 'queued'")?
            .query_row([], |row| row.get(0))?;
        let waits = oldest.map_or(0, |since| now.saturating_sub(since).max(0));
        out.one("veilwatch_portal_queue_oldest_seconds", Kind::Gauge, "How long the oldest of them waits.", waits);
        let name = "veilwatch_portal_trainings";
        out.family(name, Kind::Gauge, "Trainings by state.");
        let mut count = self.connection.prepare_cached("SELECT count(*) FROM trainings WHERE state = ?1")?;
        for state in Training::ALL {
            out.sample(name, &[("state", state.name())], count.query_row([state.name()], |row| row.get::<_, i64>(0))?);
        }
        let name = "veilwatch_portal_webhook_deliveries";
        out.family(name, Kind::Gauge, "Messages of webhooks that are kept, by what became of them.");
        let mut count = self.connection.prepare_cached("SELECT count(*) FROM deliveries WHERE state = ?1")?;
        for state in DELIVERIES {
            out.sample(name, &[("state", state)], count.query_row([state], |row| row.get::<_, i64>(0))?);
        }
        let open: i64 = self
            .connection
            .prepare_cached("SELECT count(*) FROM sessions WHERE last_seen > ?1 AND created_at > ?2")?
            .query_row(
                params![now.saturating_sub(sessions.idle_seconds), now.saturating_sub(sessions.absolute_seconds)],
                |row| row.get(0),
            )?;
        out.one("veilwatch_portal_sessions", Kind::Gauge, "Log-ins that have not ended.", open);
        let accounts: i64 = self
            .connection
            .prepare_cached("SELECT count(*) FROM accounts WHERE NOT disabled")?
            .query_row([], |row| row.get(0))?;
        out.one("veilwatch_portal_accounts", Kind::Gauge, "Accounts that are not shut out.", accounts);
        let bytes: i64 = self
            .connection
            .prepare_cached(&format!("SELECT coalesce(sum(bytes), 0) FROM captures WHERE {KEPT}"))?
            .query_row([], |row| row.get(0))?;
        out.one("veilwatch_portal_capture_bytes", Kind::Gauge, "Bytes of the captures that are kept.", bytes);
        let size = |end: &str| {
            let mut path = self.path.clone().into_os_string();
            path.push(end);
            std::fs::metadata(path).map_or(0, |file| file.len())
        };
        let bytes = size("") + size("-wal");
        out.one("veilwatch_portal_database_bytes", Kind::Gauge, "Bytes of the database and its log.", bytes);
        Ok(())
    }

    /// The audit log only grows: what came since the last look is counted, and nothing twice.
    fn count_actions(&mut self) -> Result<(), DbError> {
        let mut since = self
            .connection
            .prepare_cached("SELECT action, count(*), max(id) FROM audit WHERE id > ?1 GROUP BY action")?;
        let mut rows = since.query([self.counted])?;
        let mut last = self.counted;
        while let Some(row) = rows.next()? {
            let (name, count, id): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let known = Action::ALL.iter().zip(&mut self.actions).find(|(action, _)| action.name() == name);
            known.into_iter().for_each(|(_, sum)| *sum += u64::try_from(count).unwrap_or(0));
            last = last.max(id);
        }
        self.counted = last;
        Ok(())
    }
}

fn rest(out: &mut Text, source: &Source) {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let words = "Bytes of captures that came in, of uploads that failed as well.";
    out.one("veilwatch_portal_upload_bytes_total", Kind::Counter, words, source.under_way.received());
    let name = "veilwatch_portal_analyses_total";
    out.family(name, Kind::Counter, "Analyses by what became of them: `done`, or why there is no result.");
    for (outcome, count) in source.figures.analyses() {
        out.sample(name, &[("outcome", outcome)], count);
    }
    let name = "veilwatch_portal_workers";
    out.family(name, Kind::Gauge, "Confined processes that run: analyses, readers of packets, captures on interfaces.");
    let (running, kept) = source.live.counts();
    let running = [("analysis", source.runner.board.count()), ("reader", source.readers.count()), ("capture", running)];
    running.iter().for_each(|(kind, count)| out.sample(name, &[("kind", kind)], count));
    let name = "veilwatch_portal_workers_limit";
    out.family(name, Kind::Gauge, "How many may run at the same time.");
    let (config, live) = (&source.config, &source.config.live);
    let captures = if live.enabled { live.sessions } else { 0 };
    let limits = [("analysis", config.worker.at_once), ("reader", config.browse.readers), ("capture", captures)];
    limits.iter().for_each(|(kind, count)| out.sample(name, &[("kind", kind)], count));
    let words = "Captures on interfaces that have ended and are not saved yet.";
    out.one("veilwatch_portal_captures_unsaved", Kind::Gauge, words, kept);
    let name = "veilwatch_portal_worker_deaths_total";
    out.family(name, Kind::Counter, "Workers that died, and did not end by a limit or on demand.");
    let died = [("analysis", &source.figures.analyses_died), ("reader", &source.figures.readers_died)];
    died.iter().for_each(|(kind, count)| out.sample(name, &[("kind", kind)], read(count)));
    if let Ok(bytes) = source.folders.free_bytes() {
        let words = "Bytes that are free on the disk of the data folder.";
        out.one("veilwatch_portal_disk_free_bytes", Kind::Gauge, words, bytes);
    }
    if let Some(log) = &source.access {
        let words = "Lines of the access log that were dropped.";
        out.one("veilwatch_portal_access_log_lost_total", Kind::Counter, words, log.lost());
    }
}
