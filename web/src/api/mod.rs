//! What programs talk to.
//!
//! An API token is the only key to it. A browser never sends one by itself, so no form of another site can use it. The
//! rights are those of the pages; a token of the scope `read` changes nothing, whatever its owner may do.
//!
//! | module | story |
//! |---|---|
//! | [`entries`] | captures come in, and what becomes of them |
//! | [`uploads`] | captures that come in pieces |
//! | [`once`] | requests that are sent again and make nothing twice |
//! | [`results`] | what was found |
//! | [`body`] | the JSON that they send |
//! | [`triage`] | what to look at next |
//! | [`models`] | models, and trainings |
//! | [`openapi`] | the description of it all, made from the code |

pub mod body;
pub mod entries;
pub mod models;
pub mod once;
pub mod openapi;
pub mod results;
pub mod triage;
pub mod uploads;

use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::serde::json::Json;
use rocket::tokio::task;
use rocket::{Request, Route, State, get, routes};
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::tokens::{self, Scope};
use crate::accounts::{Account, Actor, Role, second_factor};
use crate::database::DbError;
use crate::operations::requests::note_caller;
use crate::pages::errors::{Problem, ProblemDocument};
use crate::portal::Portal;
use crate::uploads::FileError;
use crate::visitor::must_have_factor;

/// The routes below `/api/v1`.
pub fn routes() -> Vec<Route> {
    routes![
        me,
        openapi::document,
        entries::upload,
        entries::list,
        entries::show,
        entries::describe,
        entries::delete,
        entries::confirm,
        entries::stop,
        entries::again,
        entries::pipelines,
        entries::my_teams,
        uploads::offer,
        uploads::create,
        uploads::list,
        uploads::show,
        uploads::append,
        uploads::remove,
        results::summary,
        results::alerts,
        results::flows,
        results::json_lines,
        triage::list,
        triage::show,
        triage::decide,
        triage::comment,
        triage::decided,
        models::list,
        models::show,
        models::promote,
        models::train,
        models::training,
    ]
}

/// A program with an API token that has not ended.
#[derive(Debug)]
pub struct Caller {
    /// Whose program.
    pub account: Account,
    /// What its token may be used for.
    pub scope: Scope,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Caller {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let Some(portal) = request.rocket().state::<Portal>() else {
            return Outcome::Error((Status::InternalServerError, ()));
        };
        let given = request
            .headers()
            .get_one("Authorization")
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
            .map(|(_, token)| token);
        let Some(token) = given.map(str::trim).filter(|token| token.len() <= 128) else {
            return Outcome::Error((Status::Unauthorized, ()));
        };
        let (secret, token, now) = (portal.secret.clone(), token.to_owned(), portal.now());
        let policy = portal.config.login.second_factor;
        let found = portal.db.run(move |connection| -> Result<_, DbError> {
            let Some((account, scope)) = tokens::find(connection, &secret, &token, now)? else { return Ok(None) };
            // A token is no way around the second factor that its owner was to set up.
            let lacks = must_have_factor(policy, account.role) && !second_factor::is_set(connection, account.id)?;
            Ok(Some((account, scope, lacks)))
        });
        match found.await {
            Ok(Some((_, _, true))) => Outcome::Error((Status::Forbidden, ())),
            Ok(Some((account, scope, false))) => {
                note_caller(request, &account);
                Outcome::Success(Self { account, scope })
            }
            Ok(None) => Outcome::Error((Status::Unauthorized, ())),
            Err(error) => {
                tracing::error!(%error, "an API request failed");
                Outcome::Error((Status::InternalServerError, ()))
            }
        }
    }
}

impl Caller {
    /// Whether they may do what administrators do: by their role and their token's scope.
    pub(crate) fn administers(&self) -> bool {
        self.scope == Scope::Write && self.account.role == Role::Administrator
    }

    /// How the audit log names them.
    pub fn actor(&self, request: &Address) -> Actor {
        Actor { name: Some(self.account.name.clone()), address: request.0.clone() }
    }
}

/// Where a request comes from.
#[derive(Debug)]
pub struct Address(String);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Address {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        Outcome::Success(Self(request.client_ip().map(|address| address.to_string()).unwrap_or_default()))
    }
}

/// A program that may change something: its token's scope is `write`, and its owner an analyst or more.
#[derive(Debug)]
pub struct Writer(pub Caller);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Writer {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        match Caller::from_request(request).await {
            Outcome::Success(caller) if caller.scope == Scope::Write && caller.account.role >= Role::Analyst => {
                Outcome::Success(Self(caller))
            }
            Outcome::Success(_) => Outcome::Error((Status::Forbidden, ())),
            Outcome::Error(error) => Outcome::Error(error),
            Outcome::Forward(status) => Outcome::Forward(status),
        }
    }
}

/// What a handler gives, or the problem document that says why not.
pub type Answer<T> = Result<Json<T>, Problem>;

/// Who a token belongs to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    name: String,
    display_name: String,
    role: Role,
    scope: Scope,
}

/// Who am I, and what may I do?
#[utoipa::path(get, path = "/api/v1/me", tag = "account", responses((status = 200, body = Me)))]
#[get("/me")]
pub fn me(caller: Caller) -> Json<Me> {
    let Caller { account: Account { name, display_name, role, .. }, scope } = caller;
    Json(Me { name, display_name, role, scope })
}

/// Whether the portal lives.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    status: &'static str,
    version: &'static str,
    /// Plugins that the host has in the box.
    plugins: usize,
}

/// Whether the portal lives, with its database, and what it would analyse with.
///
/// # Errors
/// Where the database does not answer.
#[utoipa::path(
    get, path = "/healthz", tag = "portal", security(()),
    responses((status = 200, body = Health), (status = 503, body = ProblemDocument)),
)]
#[get("/healthz")]
pub async fn healthz(portal: &State<Portal>) -> Result<Json<Health>, Problem> {
    let _turn = portal.well.acquire().await.map_err(|_| Status::ServiceUnavailable)?;
    let alive = portal.db.run(|connection| crate::accounts::people::count(connection)).await;
    alive.map_err(|error| {
        tracing::error!(%error, "the health check failed");
        Problem::new(Status::ServiceUnavailable, "The database does not answer.")
    })?;
    // A slow disk must not keep other requests waiting.
    let folders = portal.folders.clone();
    let kept = task::spawn_blocking(move || {
        let (mut file, path) = folders.new_work_file()?;
        // An empty file has room on a full disk, too.
        let written = std::io::Write::write_all(&mut file, &[0; 4096]);
        let removed =
            std::fs::remove_file(&path).map_err(|source| FileError { what: "removed", path: path.clone(), source });
        written.map_err(|source| FileError { what: "written", path, source }).and(removed)
    });
    let kept = kept.await.map_err(|error| error.to_string()).and_then(|kept| kept.map_err(|error| error.to_string()));
    kept.map_err(|error| {
        tracing::error!(error, "the health check failed");
        Problem::new(Status::ServiceUnavailable, "The data folder cannot be written.")
    })?;
    Ok(Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        plugins: veilwatch::builtin::declarations().len(),
    }))
}
