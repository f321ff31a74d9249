//! The first visit makes the administrator, with the token that the console printed.

use rocket::http::{CookieJar, Status};
use rocket::{FromForm, State, get, post};
use serde_json::json;

use super::login::begin_session;
use super::render::{Answer, Failure, Page, Reply, told};
use crate::accounts::people::{self, NewAccount};
use crate::accounts::{Reason, display_name, login_name, password};
use crate::forms::Posted;
use crate::portal::Portal;
use crate::visitor::Visitor;

/// What makes an account: shared with invitations.
#[derive(Debug, FromForm)]
pub struct NewPerson {
    /// The token that allows it.
    pub token: String,
    /// What is typed to log in.
    pub name: String,
    /// What is shown.
    pub display_name: String,
    /// The password.
    pub password: String,
    /// The password once more.
    pub again: String,
}

impl NewPerson {
    /// The account to make, if names and password are good enough; the password is hashed.
    pub(super) async fn checked(&self, portal: &Portal) -> Result<Result<NewAccount, Reason>, Failure> {
        let checked = || -> Result<(String, String), Reason> {
            let (name, shown) = (login_name(&self.name)?, display_name(&self.display_name)?);
            if self.password != self.again {
                return Err(Reason::PasswordsDiffer);
            }
            password::check(&self.password, &[&name, &shown])?;
            Ok((name, shown))
        };
        match checked() {
            Err(reason) => Ok(Err(reason)),
            Ok((name, display_name)) => {
                let password_hash = portal.hasher.hash(&self.password).await?;
                Ok(Ok(NewAccount { name, display_name, password_hash }))
            }
        }
    }
}

/// The form for the first administrator.
#[get("/setup?<token>")]
pub async fn show(visitor: &Visitor, portal: &State<Portal>, token: Option<String>) -> Reply {
    if portal.db.run(|connection| people::count(connection)).await? > 0 {
        return Ok(Answer::to("/"));
    }
    Ok(page(portal, visitor, &token.unwrap_or_default(), "", "", None)?.into())
}

/// Makes the first administrator and logs them in.
#[post("/setup", data = "<form>")]
pub async fn create(
    visitor: &Visitor,
    portal: &State<Portal>,
    cookies: &CookieJar<'_>,
    form: Posted<NewPerson>,
) -> Reply {
    let form = form.0;
    let refused = |reason| -> Reply {
        let page = page(portal, visitor, &form.token, &form.name, &form.display_name, Some(reason))?;
        Ok(page.with_status(Status::UnprocessableEntity).into())
    };
    // The token first: a stranger learns nothing else, and cannot make us hash.
    if !portal.is_setup_token(&form.token) {
        return refused(Reason::SetupToken);
    }
    let new = match form.checked(portal).await? {
        Ok(new) => new,
        Err(reason) => return refused(reason),
    };
    let (actor, now, name) = (visitor.actor(), portal.now(), new.name.clone());
    let made = portal.db.run(move |connection| people::create_first(connection, &new, &actor, now)).await;
    match told(made)? {
        Ok(id) => {
            begin_session(portal, visitor, cookies, id, &name).await?;
            Ok(Answer::to("/"))
        }
        Err(reason) => refused(reason),
    }
}

fn page(
    portal: &Portal,
    visitor: &Visitor,
    token: &str,
    name: &str,
    display_name: &str,
    error: Option<Reason>,
) -> Result<Page, Failure> {
    let data = json!({
        "token": token, "name": name, "display_name": display_name,
        "error": error.map(|reason| reason.to_string()),
        "min_characters": password::MIN_CHARACTERS,
    });
    Ok(Page::new(portal, visitor, "setup", data)?)
}
