//! Webhooks: another program is told when an analysis is done, or has failed.
//!
//! The operator names them in the configuration, and nobody else: whoever could name an address here could have the portal
//! ask for pages of the network that it stands in, which no visitor reaches (SSRF). Nothing of the answer but its status is
//! read or shown, and no redirect is followed.
//!
//! A trigger in the database notes the end of an analysis in the transaction that ends it. From there it becomes a row for
//! each webhook, and the row is sent until the other side takes it: a message comes at least once, and its number tells
//! one that comes twice. Each webhook has a thread of its own, so that one that does not answer holds up no other.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde_json::{Value, json};
use sha2::Sha256;
use ureq::Agent;
use veilwatch::hash::hex;

use crate::clock::Clock;
use crate::config::{Config, Event, Webhook, WebhookLimits};
use crate::database::{Db, DbError};
use crate::entries::{self, State};
use crate::jobs::clean;
use crate::outgoing::{self, Way};
use crate::secret::Secret;

/// How often a thread looks whether there is something to send.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Ends of analyses that become messages at once.
const AT_ONCE: u32 = 100;

/// The threads that send, and the way to wake and end them.
#[derive(Clone, Default)]
pub struct Webhooks(Arc<Shared>);

#[derive(Default)]
struct Shared {
    has_ended: Mutex<bool>,
    bell: Condvar,
}

impl Webhooks {
    /// Starts a thread for each webhook. They end with [`Webhooks::end`], or with the program.
    ///
    /// # Errors
    /// Where the system has no thread left, or a webhook is wrong.
    pub fn start(config: &Config, db: &Db, clock: &Arc<dyn Clock>) -> Result<Self, String> {
        let webhooks = Self::default();
        check(&config.webhook)?;
        let speaks_https = config.webhook.iter().any(|webhook| webhook.url.starts_with("https"));
        let agent = outgoing::agent(config.webhooks.timeout_seconds, speaks_https, Way::Straight);
        let agent = agent.map_err(|error| error.to_string())?;
        for webhook in config.webhook.clone() {
            let sender = Sender {
                webhooks: webhooks.clone(),
                all: config.webhook.clone(),
                limits: config.webhooks.clone(),
                agent: agent.clone(),
                db: db.clone(),
                clock: Arc::clone(clock),
                webhook,
            };
            let thread = std::thread::Builder::new().name("webhook".to_owned());
            thread.spawn(move || sender.work()).map_err(|error| error.to_string())?;
        }
        Ok(webhooks)
    }

    /// Says that there is something to send.
    pub fn wake(&self) {
        self.0.bell.notify_all();
    }

    /// Sends nothing more. What waits is sent after the next start.
    pub fn end(&self) {
        *self.0.has_ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake();
    }

    /// Waits a while, or until somebody wakes it; says whether to go on.
    fn wait(&self) -> bool {
        let has_ended = self.0.has_ended.lock().unwrap_or_else(PoisonError::into_inner);
        if *has_ended {
            return false;
        }
        let woken = self.0.bell.wait_timeout(has_ended, LOOK_AGAIN);
        !*woken.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What is wrong with the webhooks of a configuration.
fn check(all: &[Webhook]) -> Result<(), String> {
    let mut names = Vec::new();
    for webhook in all {
        let name = webhook.name.as_str();
        let fits = (1..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !fits || names.contains(&name) {
            return Err(format!(
                "the webhook name {name:?} is not usable: use 1 to 40 letters, digits and hyphens, another one for each"
            ));
        }
        names.push(name);
        let said = |what: &str| format!("the webhook `{name}`: {what}");
        let url: ureq::http::Uri = webhook.url.parse().map_err(|error| said(&format!("its url is none: {error}")))?;
        let is_here = matches!(url.host(), Some("127.0.0.1" | "[::1]" | "localhost"));
        match url.scheme_str() {
            Some("https") => {}
            Some("http") if is_here => {}
            _ => return Err(said("its url must begin with https, or lead by http to this computer")),
        }
        Secret::from_text(&webhook.secret.0, "it").map_err(|error| said(&error.to_string()))?;
        if webhook.events.is_empty() {
            return Err(said("it has no events"));
        }
    }
    Ok(())
}

/// What a receiver checks a message by: the header `Veilwatch-Signature`, `t=SECONDS,v1=HEX`, in which HEX is the
/// HMAC-SHA256 of `SECONDS.BODY`. The time keeps an old message from passing for a new one.
pub fn signature(secret: &str, now: i64, body: &str) -> String {
    // HMAC takes a key of any length; an error here cannot happen, and an empty key would never match.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap_or_else(|_| Hmac::new(&Default::default()));
    mac.update(format!("{now}.{body}").as_bytes());
    format!("t={now},v1={}", hex(&mac.finalize().into_bytes()))
}

/// A message that waits.
struct Waiting {
    id: i64,
    event: String,
    body: String,
    tries: u32,
}

struct Sender {
    webhooks: Webhooks,
    all: Vec<Webhook>,
    limits: WebhookLimits,
    agent: Agent,
    db: Db,
    clock: Arc<dyn Clock>,
    webhook: Webhook,
}

impl Sender {
    fn work(&self) {
        loop {
            match self.next() {
                Ok(Some(waiting)) => {
                    if *self.webhooks.0.has_ended.lock().unwrap_or_else(PoisonError::into_inner) {
                        return;
                    }
                    let sent = self.send(&waiting);
                    if let Err(error) = self.note(&waiting, sent) {
                        tracing::error!(%error, "what became of a webhook's message cannot be noted");
                        // It will come once more.
                        if !self.webhooks.wait() {
                            return;
                        }
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "the messages of webhooks cannot be read"),
            }
            if !self.webhooks.wait() {
                return;
            }
        }
    }

    /// The next message that is due.
    fn next(&self) -> Result<Option<Waiting>, DbError> {
        let now = self.clock.now();
        self.db.run_blocking(|connection| {
            collect(connection, &self.all, &self.limits, now)?;
            Ok(connection
                .prepare_cached(
                    "SELECT id, event, body, tries FROM deliveries
                        WHERE webhook = ?1 AND state = 'waiting' AND next_at <= ?2 ORDER BY next_at, id LIMIT 1",
                )?
                .query_row(params![self.webhook.name, now], |row| {
                    Ok(Waiting { id: row.get(0)?, event: row.get(1)?, body: row.get(2)?, tries: row.get(3)? })
                })
                .optional()?)
        })
    }

    /// Sends a message; the text says why it was not taken.
    fn send(&self, waiting: &Waiting) -> Result<String, String> {
        let answer = self
            .agent
            .post(&self.webhook.url)
            .header("Content-Type", "application/json")
            .header("Veilwatch-Event", &waiting.event)
            .header("Veilwatch-Delivery", waiting.id.to_string())
            .header("Veilwatch-Signature", signature(&self.webhook.secret.0, self.clock.now(), &waiting.body))
            .send(waiting.body.as_str());
        match answer {
            Ok(answer) if answer.status().is_success() => Ok(format!("status {}", answer.status().as_u16())),
            Ok(answer) => Err(format!("status {}", answer.status().as_u16())),
            Err(error) => Err(clean(&error.to_string())),
        }
    }

    fn note(&self, waiting: &Waiting, sent: Result<String, String>) -> Result<(), DbError> {
        let (now, tries) = (self.clock.now(), waiting.tries.saturating_add(1));
        let (state, words) = match sent {
            Ok(words) => ("sent", words),
            Err(words) if tries >= self.limits.tries => {
                tracing::warn!(
                    webhook = self.webhook.name,
                    words,
                    "a message is dropped: it was tried as often as it may be"
                );
                ("dropped", words)
            }
            Err(words) => ("waiting", words),
        };
        let next_at = now.saturating_add(back_off(&self.limits, tries));
        let ended_at = (state != "waiting").then_some(now);
        self.db.run_blocking(|connection| {
            connection.execute(
                "UPDATE deliveries SET state = ?2, tries = ?3, next_at = ?4, words = ?5, ended_at = ?6 WHERE id = ?1",
                params![waiting.id, state, tries, next_at, words, ended_at],
            )?;
            Ok(())
        })
    }
}

/// Seconds to wait after so many tries: four times as long each time, up to a bound.
fn back_off(limits: &WebhookLimits, tries: u32) -> i64 {
    let factor = 4_i64.saturating_pow(tries.saturating_sub(1));
    limits.first_wait_seconds.saturating_mul(factor).min(limits.longest_wait_seconds)
}

/// Makes messages of the analyses that ended since the last time.
fn collect(connection: &mut Connection, all: &[Webhook], limits: &WebhookLimits, now: i64) -> Result<(), DbError> {
    if !connection.prepare_cached("SELECT 1 FROM ended")?.exists([])? {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let ended: Vec<(i64, String, Option<String>, Option<i64>)> = transaction
        .prepare_cached(
            "SELECT n.id, n.event, e.key, e.account_id FROM ended n LEFT JOIN entries e ON e.id = n.entry_id
                ORDER BY n.id LIMIT ?1",
        )?
        .query_map([AT_ONCE], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<_, _>>()?;
    for (id, event, key, account) in ended {
        transaction.execute("DELETE FROM ended WHERE id = ?1", [id])?;
        // Of one that was deleted meanwhile there is nothing to say.
        let (Some(key), Some(account)) = (key, account) else { continue };
        let Some(entry) = entries::find(&transaction, account, &key)? else { continue };
        let Some(event) = Event::ALL.into_iter().find(|one| one.name() == event) else { continue };
        for webhook in all.iter().filter(|webhook| webhook.events.contains(&event)) {
            let body = message(&entry, event, webhook);
            add(&transaction, webhook, event.name(), Some(&key), &body, limits, now)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// What is said of an analysis that ended.
fn message(entry: &entries::Entry, event: Event, webhook: &Webhook) -> Value {
    let place = format!("/entries/{}", entry.key);
    let portal = webhook.portal.as_deref().unwrap_or_default().trim_end_matches('/');
    json!({
        "event": event.name(),
        "entry": entry.key,
        "name": entry.name,
        "state": entry.state,
        "ended_at": entry.ended_at,
        "verdict": entry.finding(),
        "analysed": entry.analysed.as_ref().filter(|_| entry.state == State::Done),
        // Words of a failure may hold text of the capture: they stay in the portal.
        "why": entry.why.as_ref().filter(|_| entry.state == State::Failed),
        "link": format!("{portal}{place}"),
    })
}

/// Adds a message; where too many wait already, it is dropped at once, and counted.
fn add(
    connection: &Connection,
    webhook: &Webhook,
    event: &str,
    entry: Option<&str>,
    body: &Value,
    limits: &WebhookLimits,
    now: i64,
) -> Result<(), DbError> {
    let waiting: u32 = connection
        .prepare_cached("SELECT count(*) FROM deliveries WHERE webhook = ?1 AND state = 'waiting'")?
        .query_row([&webhook.name], |row| row.get(0))?;
    let fits = waiting < limits.waiting;
    if !fits {
        tracing::warn!(webhook = webhook.name, "a message is dropped: as many wait as may wait");
    }
    connection.execute(
        "INSERT INTO deliveries (webhook, event, entry, body, state, next_at, words, created_at, ended_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?6, ?8)",
        params![
            webhook.name,
            event,
            entry,
            body.to_string(),
            if fits { "waiting" } else { "dropped" },
            now,
            (!fits).then_some("too many wait"),
            (!fits).then_some(now),
        ],
    )?;
    Ok(())
}

/// Adds a message for a test, which says nothing of anybody.
///
/// # Errors
/// Where the database fails.
pub fn test(connection: &Connection, webhook: &Webhook, limits: &WebhookLimits, now: i64) -> Result<(), DbError> {
    let body = json!({ "event": "test", "at": now, "portal": webhook.portal });
    add(connection, webhook, "test", None, &body, limits, now)
}

/// Forgets old messages that came to their end, the newest of each webhook excepted, and those of webhooks that are none any
/// more; and, where nobody is to be told, that anything ended.
///
/// # Errors
/// Where the database fails.
pub fn forget(connection: &Connection, config: &Config) -> Result<(), DbError> {
    if config.webhook.is_empty() {
        connection.execute("DELETE FROM ended", [])?;
    }
    let names: Vec<String> = connection
        .prepare_cached("SELECT DISTINCT webhook FROM deliveries")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for name in names {
        if config.webhook.iter().any(|webhook| webhook.name == name) {
            connection.execute(
                "DELETE FROM deliveries WHERE webhook = ?1 AND state <> 'waiting' AND id NOT IN (SELECT id FROM deliveries
                    WHERE webhook = ?1 AND state <> 'waiting' ORDER BY id DESC LIMIT ?2)",
                params![name, config.webhooks.kept],
            )?;
        } else {
            connection.execute("DELETE FROM deliveries WHERE webhook = ?1", [&name])?;
        }
    }
    Ok(())
}

/// A message, for administrators.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// Of which webhook.
    pub webhook: String,
    /// `done`, `failed` or `test`.
    pub event: String,
    /// `waiting`, `sent` or `dropped`.
    pub state: String,
    /// How often it was sent.
    pub tries: u32,
    /// What the last try came to.
    pub words: Option<String>,
    /// When it was made.
    pub created_at: i64,
}

/// The newest messages.
///
/// # Errors
/// Where the database fails.
pub fn newest(connection: &Connection, most: u32) -> Result<Vec<Delivery>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, webhook, event, state, tries, words, created_at FROM deliveries ORDER BY id DESC LIMIT ?1",
    )?;
    let read = statement.query_map([most], |row| {
        Ok(Delivery {
            id: row.get(0)?,
            webhook: row.get(1)?,
            event: row.get(2)?,
            state: row.get(3)?,
            tries: row.get(4)?,
            words: row.get(5)?,
            created_at: row.get(6)?,
        })
    })?;
    Ok(read.collect::<Result<_, _>>()?)
}

/// How many messages of each webhook are in each state, of those that are not forgotten.
///
/// # Errors
/// Where the database fails.
pub fn counts(connection: &Connection) -> Result<BTreeMap<(String, String), u32>, DbError> {
    let mut statement =
        connection.prepare_cached("SELECT webhook, state, count(*) FROM deliveries GROUP BY webhook, state")?;
    let read = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
    Ok(read.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretText;
    use crate::uploads::testing::{NOW, Place};

    fn webhook(name: &str, url: &str) -> Webhook {
        Webhook {
            name: name.to_owned(),
            url: url.to_owned(),
            secret: SecretText("a secret of many different letters, 0123".to_owned()),
            ..Webhook::default()
        }
    }

    #[test]
    fn only_webhooks_that_can_be_trusted_are_taken() {
        for url in ["https://example.org/hook?x=1", "http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]:9/"] {
            assert_eq!(check(&[webhook("a", url)]), Ok(()), "{url}");
        }
        for url in ["http://example.org/", "http://127.0.0.1.example.org/", "ftp://127.0.0.1/", "/x", "", "https//x"] {
            assert!(check(&[webhook("a", url)]).is_err(), "{url}");
        }
        let good = webhook("a", "https://example.org/");
        assert!(check(&[good.clone(), good.clone()]).is_err());
        assert!(check(&[webhook("a b", "https://example.org/")]).is_err());
        assert!(check(&[Webhook { secret: SecretText("short".to_owned()), ..good.clone() }]).is_err());
        assert!(check(&[Webhook { events: Vec::new(), ..good }]).is_err());
    }

    #[test]
    fn waits_grow_up_to_a_bound() {
        let limits = WebhookLimits { first_wait_seconds: 10, longest_wait_seconds: 3600, ..WebhookLimits::default() };
        let waits: Vec<i64> = (1..=6).map(|tries| back_off(&limits, tries)).collect();
        assert_eq!(waits, [10, 40, 160, 640, 2560, 3600]);
        assert_eq!(back_off(&limits, u32::MAX), 3600);
    }

    #[test]
    fn every_end_becomes_one_message_for_whom_it_concerns() {
        let mut place = Place::new();
        let ada = place.account("ada");
        let [done, failed, gone] = [&b"1"[..], b"2", b"3"].map(|bytes| place.keep(ada, bytes));
        for key in [&done, &failed, &gone] {
            place.set(key, "state = 'running'");
        }
        place.done(&done);
        place.set(&failed, "state = 'failed', why = 'memory', words = 'of the capture'");
        place.set(&gone, "state = 'failed'");
        place.connection.execute("DELETE FROM entries WHERE key = ?1", [gone.as_str()]).unwrap();
        // What ended before is no news.
        place.set(&done, "state = 'done'");
        let both = webhook("both", "https://example.org/");
        let one = Webhook {
            events: vec![Event::Failed],
            portal: Some("https://portal.example/".to_owned()),
            ..webhook("one", "https://example.org/")
        };
        let limits = WebhookLimits { waiting: 2, ..WebhookLimits::default() };
        for _ in 0..2 {
            collect(&mut place.connection, &[both.clone(), one.clone()], &limits, NOW).unwrap();
        }
        let rows: Vec<(String, String, String)> = place
            .connection
            .prepare("SELECT webhook, event, body FROM deliveries ORDER BY id")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let kinds: Vec<_> = rows.iter().map(|(webhook, event, _)| (webhook.as_str(), event.as_str())).collect();
        assert_eq!(kinds, [("both", "done"), ("both", "failed"), ("one", "failed")]);
        let body: Value = serde_json::from_str(&rows[2].2).unwrap();
        assert_eq!((&body["why"], &body["analysed"]), (&json!("memory"), &Value::Null));
        assert_eq!(body["link"], format!("https://portal.example/entries/{failed}"));
        assert!(!rows[2].2.contains("of the capture"));
        let body: Value = serde_json::from_str(&rows[0].2).unwrap();
        assert_eq!((&body["verdict"], &body["analysed"]["packets"]), (&json!("nothing"), &json!(9)));
        assert_eq!(place.number("SELECT count(*) FROM ended"), 0);
        // As many wait as may wait.
        test(&place.connection, &both, &limits, NOW).unwrap();
        assert_eq!(counts(&place.connection).unwrap()[&("both".to_owned(), "dropped".to_owned())], 1);
        let config = Config { webhook: vec![both], ..Config::default() };
        forget(&place.connection, &config).unwrap();
        assert_eq!(place.number("SELECT count(*) FROM deliveries WHERE webhook = 'one'"), 0);
        assert_eq!(place.number("SELECT count(*) FROM deliveries"), 3);
    }
}
