//! What programs talk to.
//!
//! An API token is the only key to it. A browser never sends one by itself, so no form of another site can use it.

use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::serde::json::Json;
use rocket::{Request, Route, State, get, routes};
use serde::Serialize;

use crate::accounts::tokens::{self, Scope};
use crate::accounts::{Account, Role};
use crate::pages::errors::Problem;
use crate::portal::Portal;

/// The routes below `/api/v1`.
pub fn routes() -> Vec<Route> {
    routes![me]
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
        let given = request.headers().get_one("Authorization").and_then(|value| value.strip_prefix("Bearer "));
        let Some(token) = given.map(str::trim).filter(|token| token.len() <= 128) else {
            return Outcome::Error((Status::Unauthorized, ()));
        };
        let (secret, token, now) = (portal.secret.clone(), token.to_owned(), portal.now());
        match portal.db.run(move |connection| tokens::find(connection, &secret, &token, now)).await {
            Ok(Some((account, scope))) => Outcome::Success(Self { account, scope }),
            Ok(None) => Outcome::Error((Status::Unauthorized, ())),
            Err(error) => {
                tracing::error!(%error, "an API request failed");
                Outcome::Error((Status::InternalServerError, ()))
            }
        }
    }
}

/// Who a token belongs to.
#[derive(Debug, Serialize)]
pub struct Me {
    name: String,
    display_name: String,
    role: Role,
    scope: Scope,
}

/// Who am I, and what may I do?
#[get("/me")]
pub fn me(caller: Caller) -> Json<Me> {
    let Caller { account: Account { name, display_name, role, .. }, scope } = caller;
    Json(Me { name, display_name, role, scope })
}

/// Whether the portal lives.
#[derive(Debug, Serialize)]
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
#[get("/healthz")]
pub async fn healthz(portal: &State<Portal>) -> Result<Json<Health>, Problem> {
    let alive = portal.db.run(|connection| crate::accounts::people::count(connection)).await;
    alive.map_err(|error| {
        tracing::error!(%error, "the health check failed");
        Problem { status: Status::ServiceUnavailable, detail: "The database does not answer." }
    })?;
    Ok(Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        plugins: veilwatch::builtin::declarations().len(),
    }))
}
