//! A file on its way to an entry: to the disk, a look into it, and kept. The same for a form, for a program, for an upload
//! that was gone on with, and for a folder that is watched.

use std::sync::Arc;

use rocket::http::Status;
use rocket::tokio::io::AsyncRead;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use veilwatch::worker::FailedWhy;

use super::receive::{ReceiveLimits, Received, UploadError, receive};
use super::resumable::Writing;
use super::store::{self, NewUpload};
use super::{Folders, Key, UnderWay};
use crate::accounts::{Actor, Reason, Refused};
use crate::clock::Clock;
use crate::config::{Config, DEFAULT_PIPELINE};
use crate::database::{Db, DbError};
use crate::entries::change::begin;
use crate::entries::{self, Bounds, Choices};
use crate::jobs::runner::Runner;
use crate::jobs::tasks::{LookError, Looks};
use crate::pipelines::Names;
use crate::results::human;

/// What became of one file.
pub enum Outcome {
    /// It is kept.
    Kept(Key),
    /// It is not, and why.
    Refused(Status, Refusal),
}

/// Why a file was not kept: a message with what is put into it. What a program said is the message's `{words}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// The key of the message.
    pub key: String,
    /// What goes into it.
    pub values: Value,
}

impl Refusal {
    /// A message that nothing is put into.
    pub fn new(key: impl ToString) -> Self {
        Self { key: key.to_string(), values: json!({}) }
    }
}

/// What files need on their way; copies share it.
#[derive(Clone)]
pub struct Intake {
    /// What the operator set.
    pub config: Arc<Config>,
    /// The database.
    pub db: Db,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where files lie.
    pub folders: Folders,
    /// Uploads that are under way.
    pub under_way: UnderWay,
    /// Takes a look into each.
    pub looks: Looks,
    /// Runs what is confirmed.
    pub runner: Runner,
    /// Uploads that somebody is going on with just now.
    pub writing: Writing,
    /// The names of the pipelines that were made here.
    pub made: Names,
}

impl Intake {
    /// Takes one file: to the disk, a look into it, an entry.
    pub async fn take(
        &self,
        account: i64,
        actor: &Actor,
        name: &str,
        declared: Option<u64>,
        reader: impl AsyncRead + Unpin,
    ) -> Outcome {
        self.take_and(account, actor, name, declared, reader, |_, _, _| Ok(()), None).await
    }

    /// The same, and in the transaction that makes the entry what `first` does, which is told the file's SHA-256 and the
    /// entry's key; and it is confirmed as it is wished. Where that is refused, it waits for its owner: the queue may be full.
    #[allow(clippy::too_many_arguments, reason = "what `take` takes, and two things more")]
    pub(crate) async fn take_and(
        &self,
        account: i64,
        actor: &Actor,
        name: &str,
        declared: Option<u64>,
        reader: impl AsyncRead + Unpin,
        first: impl FnOnce(&Connection, &str, &Key) -> Result<(), Refused> + Send + 'static,
        wish: Option<Choices>,
    ) -> Outcome {
        let received = match self.receive(account, declared, reader).await {
            Ok(received) => received,
            Err((status, refusal)) => return Outcome::Refused(status, self.with_quota(account, refusal).await),
        };
        let sha256 = received.sha256().to_string();
        self.keep(received, actor, name, move |connection, key| first(connection, &sha256, key), wish).await
    }

    async fn receive(
        &self,
        account: i64,
        declared: Option<u64>,
        reader: impl AsyncRead + Unpin,
    ) -> Result<Received, (Status, Refusal)> {
        let mut limits = self.config.limits.clone();
        let asked = limits.clone();
        let found = self.db.run(move |connection| -> Result<_, Refused> {
            Ok((store::room(connection, account, &asked)?, store::quota_of(connection, account, asked.quota_bytes)?))
        });
        let (kept, quota) = found.await.map_err(|error| self.of_refused(error))?;
        // The account's own, where it has one.
        limits.quota_bytes = quota;
        let upload = self.under_way.begin(account, kept, &limits).map_err(|reason| self.of_reason(reason))?;
        let receiving = ReceiveLimits::from(&limits);
        if let Some(length) = declared {
            receiving.check_declared(&self.folders, length).map_err(|error| self.of_upload(&error))?;
        }
        receive(&self.folders, reader, receiving, upload).await.map_err(|error| self.of_upload(&error))
    }

    /// Has a look at a file that came in whole, and keeps it.
    pub(super) async fn keep(
        &self,
        received: Received,
        actor: &Actor,
        name: &str,
        first: impl FnOnce(&Connection, &Key) -> Result<(), Refused> + Send + 'static,
        wish: Option<Choices>,
    ) -> Outcome {
        let inspection = match self.looks.inspect(received.account(), received.path().to_owned()).await {
            Ok(inspection) => inspection,
            Err(error) => {
                let (status, refusal) = of_look(&error);
                return Outcome::Refused(status, refusal);
            }
        };
        let (folders, limits, now) = (self.folders.clone(), self.config.limits.clone(), self.clock.now());
        let (actor, name, account) = (actor.clone(), name.to_owned(), received.account());
        let pipelines = self.pipelines();
        let kept = self.db.run(move |connection| {
            let new = NewUpload { name: &name, inspection: &inspection };
            let pipelines: Vec<&str> = pipelines.iter().map(String::as_str).collect();
            let bounds = Bounds { pipelines: &pipelines, waiting: limits.waiting, quota_bytes: limits.quota_bytes };
            let confirm = |connection: &Connection, key: &Key| {
                let Some(choices) = &wish else { return Ok(()) };
                match entries::confirm(connection, account, key.as_str(), choices, bounds, &actor, now) {
                    Err(Refused::Because(reason)) => {
                        tracing::info!(%reason, "an upload is kept and not confirmed");
                        Ok(())
                    }
                    other => other,
                }
            };
            store::keep(connection, &folders, received, &new, &limits, &actor, now, first, confirm)
        });
        match kept.await {
            Ok(key) => {
                self.runner.wake();
                Outcome::Kept(key)
            }
            Err(error) => {
                let (status, refusal) = self.of_refused(error);
                Outcome::Refused(status, self.with_quota(account, refusal).await)
            }
        }
    }

    /// A refusal for want of quota with what the account keeps and may keep: whoever reads it knows how much has to go.
    pub(crate) async fn with_quota(&self, account: i64, refusal: Refusal) -> Refusal {
        if refusal.key != Reason::Quota.to_string() {
            return refusal;
        }
        let everywhere = self.config.limits.quota_bytes;
        let found = self.db.run(move |connection| -> Result<_, DbError> {
            Ok((store::kept_bytes(connection, account)?, store::quota_of(connection, account, everywhere)?))
        });
        match found.await {
            Ok((used, quota)) => {
                Refusal { values: json!({ "used": human::bytes(used), "quota": human::bytes(quota) }), ..refusal }
            }
            Err(error) => {
                tracing::error!(%error, "a quota cannot be read");
                refusal
            }
        }
    }

    /// Puts an entry into the queue.
    ///
    /// # Errors
    /// As [`entries::confirm`].
    pub async fn confirm(&self, account: i64, key: &str, choices: Choices, actor: Actor) -> Result<(), Refused> {
        let (key, now, pipelines) = (key.to_owned(), self.clock.now(), self.pipelines());
        let (waiting, quota_bytes) = (self.config.limits.waiting, self.config.limits.quota_bytes);
        let confirmed = self.db.run(move |connection| {
            let pipelines: Vec<&str> = pipelines.iter().map(String::as_str).collect();
            let bounds = Bounds { pipelines: &pipelines, waiting, quota_bytes };
            let transaction = begin(connection)?;
            entries::confirm(&transaction, account, &key, &choices, bounds, &actor, now)?;
            Ok::<_, Refused>(transaction.commit().map_err(DbError::from)?)
        });
        confirmed.await?;
        self.runner.wake();
        Ok(())
    }

    /// The names of the pipelines that can be chosen, the one in the box first.
    pub fn pipelines(&self) -> Vec<String> {
        let own = self.config.pipeline.iter().map(|choice| choice.name.clone());
        std::iter::once(DEFAULT_PIPELINE.to_owned()).chain(own).chain(self.made.now()).collect()
    }

    /// What to say where the database, a file or a rule refuses.
    pub(crate) fn of_refused(&self, error: Refused) -> (Status, Refusal) {
        match error {
            Refused::Because(reason) => self.of_reason(reason),
            Refused::Db(error) => ours(&error),
            Refused::File(error) => ours(&error),
        }
    }

    pub(crate) fn of_upload(&self, error: &UploadError) -> (Status, Refusal) {
        match error.reason() {
            Some(reason) => self.of_reason(reason),
            None => ours(error),
        }
    }

    /// A reason with the limits that its message names.
    pub(crate) fn of_reason(&self, reason: Reason) -> (Status, Refusal) {
        let limits = &self.config.limits;
        let status = match reason {
            Reason::UploadTooLarge => Status::PayloadTooLarge,
            Reason::TooManyUploads | Reason::TooManyUnfinished => Status::TooManyRequests,
            Reason::UploadSlow | Reason::UploadTooLong => Status::RequestTimeout,
            Reason::DiskFull => Status::InsufficientStorage,
            _ => Status::UnprocessableEntity,
        };
        let values = json!({
            "limit": human::bytes(limits.upload_bytes), "seconds": limits.upload_idle_seconds, "n": limits.entries,
        });
        (status, Refusal { key: reason.to_string(), values })
    }
}

/// Trouble of this side: the log says what, the visitor hears that it is none of theirs.
pub(crate) fn ours(error: &dyn std::fmt::Display) -> (Status, Refusal) {
    tracing::error!(%error, "an upload failed");
    (Status::InternalServerError, Refusal::new("upload-error.ours"))
}

fn of_look(error: &LookError) -> (Status, Refusal) {
    let (key, said) = match error {
        LookError::Capture(FailedWhy::Empty, said) => ("upload-error.empty", said),
        LookError::Capture(FailedWhy::NotACapture, said) => ("upload-error.not-a-capture", said),
        LookError::Capture(_, said) => ("upload-error.unreadable", said),
        LookError::Died(said) => ("upload-error.died", said),
        LookError::Ours(said) => return ours(said),
    };
    (Status::UnprocessableEntity, Refusal { key: key.to_owned(), values: json!({ "words": said }) })
}
