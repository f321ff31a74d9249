//! `Idempotency-Key`: a request that a program sends again, because it did not hear the answer, makes nothing twice.
//!
//! The key is the program's own, and an account's own. What a request made is noted in the transaction that makes it, with
//! the hash of the request; the answer follows. Only what made something is remembered: what was refused may be tried
//! again. While the first request is under way, and only then, its key is held in memory.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use rocket::Request;
use rocket::http::{ContentType, Header, Status};
use rocket::request::{FromRequest, Outcome};
use rocket::response::{self, Responder, Response};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::entries::{refused, said};
use crate::accounts::Refused;
use crate::database::DbError;
use crate::pages::errors::Problem;
use crate::portal::Portal;
use crate::uploads::Key;

/// The header.
const HEADER: &str = "Idempotency-Key";
/// The most characters of a key.
const MAX_KEY: usize = 255;

/// Keys whose first request is under way; copies share it.
#[derive(Clone, Debug, Default)]
pub struct Once(Arc<Mutex<HashSet<(i64, String)>>>);

#[derive(Debug)]
struct Held {
    all: Once,
    what: (i64, String),
}

impl Once {
    fn enter(&self, account: i64, key: &str) -> Option<Held> {
        let what = (account, key.to_owned());
        let is_free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(what.clone());
        is_free.then(|| Held { all: self.clone(), what })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.what);
    }
}

/// What a request says of itself: its key, and what it asks for.
#[derive(Debug)]
pub struct Repeat {
    key: Option<String>,
    line: String,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Repeat {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let key = request.headers().get_one(HEADER).map(|key| key.trim().to_owned());
        Outcome::Success(Self { key, line: format!("{} {}", request.method(), request.uri()) })
    }
}

/// Whether a request is the first of its key.
#[derive(Debug)]
pub enum Turn {
    /// It has none.
    NoKey,
    /// It is; what it makes is to be noted.
    First(Ticket),
    /// Another one was.
    Again(Made),
}

/// The first request of a key, while it is under way.
#[derive(Debug)]
pub struct Ticket {
    account: i64,
    key: String,
    line: String,
    now: i64,
    held: Held,
}

/// What the first request of a key made.
#[derive(Debug)]
pub struct Made {
    line: String,
    request: Vec<u8>,
    /// The key of what was made.
    pub location: String,
    /// The answer it was given; none where the portal ended before that.
    pub answer: Option<String>,
}

fn hash(line: &str, body: &str) -> Vec<u8> {
    Sha256::digest(format!("{line}\n{body}")).to_vec()
}

impl Repeat {
    /// Whether this request is the first of its key.
    ///
    /// # Errors
    /// Where the key is none, its first request is under way, the account has as many keys as it may, or the database
    /// fails.
    pub async fn enter(self, portal: &Portal, account: i64) -> Result<Turn, Problem> {
        let Self { key: Some(key), line } = self else { return Ok(Turn::NoKey) };
        let no = |status, words: &str| said(portal, status, &format!("idempotency.{words}"), &json!({}));
        if !(1..=MAX_KEY).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(no(Status::BadRequest, "key"));
        }
        let Some(held) = portal.once.enter(account, &key) else { return Err(no(Status::Conflict, "under-way")) };
        let (now, limits, wanted) = (portal.now(), portal.config.limits.clone(), key.clone());
        let found = portal.db.run(move |connection| -> Result<_, DbError> {
            forget(connection, now.saturating_sub(limits.idempotency_seconds))?;
            let made = connection
                .prepare_cached("SELECT request, location, answer FROM answers WHERE account_id = ?1 AND key = ?2")?
                .query_row(params![account, wanted], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            let there: u32 =
                connection
                    .query_row("SELECT count(*) FROM answers WHERE account_id = ?1", [account], |row| row.get(0))?;
            Ok((made, there >= limits.idempotency_keys))
        });
        match found.await.map_err(|error| refused(portal, error.into()))? {
            (Some((request, location, answer)), _) => Ok(Turn::Again(Made { line, request, location, answer })),
            (None, true) => Err(no(Status::TooManyRequests, "too-many")),
            (None, false) => Ok(Turn::First(Ticket { account, key, line, now, held })),
        }
    }
}

/// Forgets what was made before this time.
///
/// # Errors
/// Where the database fails.
pub fn forget(connection: &Connection, before: i64) -> Result<(), DbError> {
    connection.execute("DELETE FROM answers WHERE created_at <= ?1", [before])?;
    Ok(())
}

impl Turn {
    /// What notes in the transaction that makes something that it was made: it is told what of the request is not in its
    /// first line, such as the hash of its body, and the key of what is made.
    pub fn note(&self) -> impl FnOnce(&Connection, &str, &Key) -> Result<(), Refused> + Send + use<> {
        let ticket = match self {
            Self::First(Ticket { account, key, line, now, .. }) => Some((*account, key.clone(), line.clone(), *now)),
            Self::NoKey | Self::Again(_) => None,
        };
        move |connection, body, made| {
            if let Some((account, key, line, now)) = ticket {
                connection.execute(
                    "INSERT INTO answers (account_id, key, request, location, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![account, key, hash(&line, body), made.as_str(), now],
                )?;
            }
            Ok(())
        }
    }

    /// Notes the answer, and gives it.
    pub async fn answer(self, portal: &Portal, given: Given) -> Given {
        if let Self::First(Ticket { account, key, held, .. }) = self {
            let answer = given.body.clone();
            let noted = portal.db.run(move |connection| -> Result<usize, DbError> {
                Ok(connection.execute(
                    "UPDATE answers SET answer = ?3 WHERE account_id = ?1 AND key = ?2",
                    params![account, key, answer],
                )?)
            });
            if let Err(error) = noted.await {
                tracing::warn!(%error, "the answer for an idempotency key is not kept; it is made anew when it is asked for");
            }
            drop(held);
        }
        given
    }
}

impl Made {
    /// Whether this was the same request, of which `body` is what is not in its first line.
    ///
    /// # Errors
    /// Where it was another.
    pub fn check(&self, portal: &Portal, body: &str) -> Result<(), Problem> {
        if self.request == hash(&self.line, body) {
            return Ok(());
        }
        Err(said(portal, Status::UnprocessableEntity, "idempotency.other", &json!({})))
    }
}

/// What is answered to who makes something.
#[derive(Debug)]
pub struct Given {
    status: Status,
    body: String,
    location: String,
    is_again: bool,
}

impl Given {
    /// An answer with the address of what was made.
    ///
    /// # Errors
    /// Where it is no JSON.
    pub fn new(status: Status, body: &impl Serialize, location: String) -> Result<Self, Problem> {
        let body = serde_json::to_string(body).map_err(|error| {
            tracing::error!(%error, "an answer is no JSON");
            Problem::from(Status::InternalServerError)
        })?;
        Ok(Self { status, body, location, is_again: false })
    }

    /// The answer that was given before.
    pub fn again(status: Status, body: String, location: String) -> Self {
        Self { status, body, location, is_again: true }
    }
}

impl<'r> Responder<'r, 'static> for Given {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let mut response: Response<'static> = (self.status, (ContentType::JSON, self.body)).respond_to(request)?;
        response.set_header(Header::new("Location", self.location));
        if self.is_again {
            response.set_header(Header::new("Idempotent-Replayed", "true"));
        }
        Ok(response)
    }
}
