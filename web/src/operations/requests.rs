//! Every request gets a name, is timed, counted, and written down.
//!
//! The name is random, and stands in the answer (`X-Request-Id`), in the access log, and in whatever is logged while the
//! request is worked on: so an operator finds what belongs together, without anything that a visitor sent.

use std::collections::HashMap;
use std::fmt;
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use rocket::fairing::{Fairing, Info, Kind};
use rocket::http::Header;
use rocket::tokio::task;
use rocket::{Data, Request, Response};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use veilwatch::hash::hex;

use super::access::{Line, now};
use crate::accounts::Account;
use crate::portal::Portal;
use crate::secret::random_bytes;
use crate::visitor::Visitor;

/// The header that names a request.
pub const REQUEST_ID: &str = "X-Request-Id";
/// Random bytes in a name: no two requests of a log have the same.
const ID_BYTES: usize = 8;
/// The route of what nobody answers.
const NO_ROUTE: &str = "-";

/// The names of requests by the task that works on each. The framework gives every request a task of its own and no
/// place to enter a span around it.
static TASKS: LazyLock<Mutex<HashMap<task::Id, String>>> = LazyLock::new(Mutex::default);

/// One request.
struct Asked {
    id: String,
    begin: Instant,
    /// Whose program asks, where it is one.
    caller: OnceLock<(i64, &'static str)>,
    task: Option<task::Id>,
}

impl Asked {
    fn new() -> Self {
        // Without random bytes nobody can log in either; a request without a name is still a request.
        let id = random_bytes::<ID_BYTES>().map_or_else(|_| NO_ROUTE.to_owned(), |bytes| hex(&bytes));
        let task = task::try_id();
        if let Some(task) = task {
            TASKS.lock().unwrap_or_else(PoisonError::into_inner).insert(task, id.clone());
        }
        Self { id, begin: Instant::now(), caller: OnceLock::new(), task }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(task) = self.task {
            TASKS.lock().unwrap_or_else(PoisonError::into_inner).remove(&task);
        }
    }
}

/// Notes whose program sends this request: a browser's visitor is known already.
pub fn note_caller(request: &Request<'_>, account: &Account) {
    let _ = request.local_cache(Asked::new).caller.set((account.id, account.role.name()));
}

/// Names, times, counts and writes down every request.
#[derive(Clone, Copy, Debug)]
pub struct Requests;

#[rocket::async_trait]
impl Fairing for Requests {
    fn info(&self) -> Info {
        Info { name: "requests", kind: Kind::Request | Kind::Response }
    }

    async fn on_request(&self, request: &mut Request<'_>, _: &mut Data<'_>) {
        request.local_cache(Asked::new);
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        let asked = request.local_cache(Asked::new);
        let took = asked.begin.elapsed();
        response.set_header(Header::new(REQUEST_ID, asked.id.clone()));
        let route = request.route().map_or_else(|| NO_ROUTE.to_owned(), |route| route.uri.to_string());
        let (method, status) = (request.method().as_str(), response.status().code);
        let Some(portal) = request.rocket().state::<Portal>() else { return };
        portal.figures.answered(method, &route, status, took);
        let Some(log) = &portal.access else {
            tracing::info!(%method, %route, status, "answered");
            return;
        };
        // Nobody is looked up for this: only whoever was is known.
        let visitor = request.local_cache(|| None::<Visitor>).as_ref().and_then(|visitor| visitor.account.as_ref());
        let visitor = visitor.map(|account| (account.id, account.role.name()));
        let who = visitor.or_else(|| asked.caller.get().copied());
        log.write(&Line {
            time: now(),
            request: &asked.id,
            method,
            route: &route,
            status,
            seconds: took.as_secs_f64(),
            bytes_in: request.headers().get_one("Content-Length").and_then(|length| length.parse().ok()),
            bytes_out: response.body_mut().size().await.and_then(|bytes| u64::try_from(bytes).ok()),
            role: who.map(|(_, role)| role),
            account: who.map(|(account, _)| account),
            address: request.client_ip().filter(|_| log.addresses).map(|address| address.to_string()),
        });
    }
}

/// Writes the fields of a log line, and behind them the request that it belongs to.
#[derive(Debug, Default)]
pub struct WithRequest(DefaultFields);

impl<'w> FormatFields<'w> for WithRequest {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        self.0.format_fields(writer.by_ref(), fields)?;
        let Some(task) = task::try_id() else { return Ok(()) };
        match TASKS.lock().unwrap_or_else(PoisonError::into_inner).get(&task) {
            Some(id) => write!(writer, " request={id}"),
            None => Ok(()),
        }
    }
}
