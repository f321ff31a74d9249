//! Who asks: the guards in front of every page.
//!
//! [`Visitor`] is anybody. [`Viewer`], [`Analyst`] and [`Administrator`] are accounts that are logged in and may do at
//! least that much: a handler that takes one cannot be reached by anybody else. Whoever must have a second factor and has
//! none gets past none of them, only past [`LoggedIn`].

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;

use rocket::Request;
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};

use crate::accounts::{Account, Actor, Role, second_factor, sessions};
use crate::config::SecondFactor;
use crate::database::DbError;
use crate::pages::{Language, local_path};
use crate::portal::Portal;
use crate::secret::random_token;

/// The cookie of a language that was chosen before the log-in.
pub const LANGUAGE_COOKIE: &str = "veilwatch-language";

/// Longer cookies are none of ours.
const MAX_COOKIE: usize = 128;

/// Anybody, logged in or not.
#[derive(Debug)]
pub struct Visitor {
    /// What pages are written in.
    pub language: Language,
    /// Who they are, once logged in.
    pub account: Option<Account>,
    /// The number of their session.
    pub session: Option<i64>,
    /// Whether they have to set up a second factor before anything else.
    pub must_set_up: bool,
    /// Where they come from.
    pub address: IpAddr,
    /// What their browser calls itself.
    pub agent: String,
    /// What every form of theirs must carry.
    pub form_token: String,
    /// A token to bind forms to, for somebody who has none.
    pub new_visit: Option<String>,
    /// The page they are on, to come back to.
    pub here: String,
    /// What their browser calls this portal: a host, perhaps with a port.
    pub host: Option<String>,
}

impl Visitor {
    /// Who sends this request.
    async fn of(request: &Request<'_>) -> Result<Self, DbError> {
        let Some(portal) = request.rocket().state::<Portal>() else {
            return Err(DbError::Broken("the portal has no state".to_owned()));
        };
        let cookie = |name| {
            request
                .cookies()
                .get(name)
                .map(|cookie| cookie.value().to_owned())
                .filter(|value| value.len() <= MAX_COOKIE)
        };
        let (mut found, mut must_set_up) = (None, false);
        let session_token = cookie(portal.session_cookie());
        if let Some(token) = session_token.clone() {
            let (secret, limits, now) = (portal.secret.clone(), portal.config.sessions.clone(), portal.now());
            let policy = portal.config.login.second_factor;
            (found, must_set_up) = portal
                .db
                .run(move |connection| -> Result<_, DbError> {
                    let found = sessions::find(connection, &secret, &token, &limits, now)?;
                    let must = found.as_ref().filter(|(account, _)| must_have_factor(policy, account.role));
                    let lacks = match must {
                        Some((account, _)) => !second_factor::is_set(connection, account.id)?,
                        None => false,
                    };
                    Ok((found, lacks))
                })
                .await?;
        }
        let (account, session) = found.unzip();
        // Forms are bound to the session, or before the log-in to a token of their own.
        let (holder, new_visit) = match (&account, session_token, cookie(portal.visit_cookie())) {
            (Some(_), Some(token), _) => (token, None),
            (_, _, Some(visit)) => (visit, None),
            _ => {
                let visit = random_token()?;
                (visit.clone(), Some(visit))
            }
        };
        let chosen = account
            .as_ref()
            .and_then(|account| account.language.clone())
            .or_else(|| cookie(LANGUAGE_COOKIE))
            .and_then(|code| Language::from_code(&code));
        let asked = request.headers().get_one("Accept-Language").unwrap_or_default();
        let here = match request.method() {
            rocket::http::Method::Get => local_path(&request.uri().to_string()),
            _ => "/".to_owned(),
        };
        Ok(Self {
            language: chosen.unwrap_or_else(|| Language::from_header(asked)),
            account,
            session,
            must_set_up,
            address: request.client_ip().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            agent: request.headers().get_one("User-Agent").unwrap_or_default().to_owned(),
            form_token: portal.secret.form_token(&holder),
            new_visit,
            here,
            host: request.host().map(ToString::to_string),
        })
    }

    /// Whether their session still goes on: for what is told for longer than a request takes. Where nobody knows, it does not.
    pub async fn goes_on(&self, portal: &Portal) -> bool {
        let Some(session) = self.session else { return false };
        let (limits, now) = (portal.config.sessions.clone(), portal.now());
        portal.db.run(move |connection| sessions::goes_on(connection, session, &limits, now)).await.unwrap_or_default()
    }

    /// How the audit log names them.
    pub fn actor(&self) -> Actor {
        Actor { name: self.account.as_ref().map(|account| account.name.clone()), address: self.address.to_string() }
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for &'r Visitor {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let visitor = request
            .local_cache_async(async {
                Visitor::of(request).await.inspect_err(|error| tracing::error!(%error, "no visitor")).ok()
            })
            .await;
        match visitor {
            Some(visitor) => Outcome::Success(visitor),
            None => Outcome::Error((Status::InternalServerError, ())),
        }
    }
}

/// Whether an account of this role must have a second factor.
pub fn must_have_factor(policy: SecondFactor, role: Role) -> bool {
    match policy {
        SecondFactor::Optional => false,
        SecondFactor::Administrators => role == Role::Administrator,
        SecondFactor::Everybody => true,
    }
}

/// The guard of one role: a visitor who is logged in and may do at least that, and has the second factor they must have.
macro_rules! guard {
    ($(#[$words:meta])* $name:ident, $role:expr) => {
        guard! { $(#[$words])* $name, $role, true }
    };
    ($(#[$words:meta])* $name:ident, $role:expr, $has_factor:expr) => {
        $(#[$words])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<'r> {
            /// Who they are.
            pub account: &'r Account,
            /// The number of their session.
            pub session: i64,
            visitor: &'r Visitor,
        }

        impl<'r> Deref for $name<'r> {
            type Target = Visitor;

            fn deref(&self) -> &Visitor {
                self.visitor
            }
        }

        #[rocket::async_trait]
        impl<'r> FromRequest<'r> for $name<'r> {
            type Error = ();

            async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
                let visitor = match <&Visitor>::from_request(request).await {
                    Outcome::Success(visitor) => visitor,
                    Outcome::Error(error) => return Outcome::Error(error),
                    Outcome::Forward(status) => return Outcome::Forward(status),
                };
                match (&visitor.account, visitor.session) {
                    // The catcher leads them to it.
                    (Some(_), Some(_)) if $has_factor && visitor.must_set_up => {
                        Outcome::Error((Status::Unauthorized, ()))
                    }
                    (Some(account), Some(session)) if account.role >= $role => {
                        Outcome::Success(Self { account, session, visitor })
                    }
                    (Some(_), Some(_)) => Outcome::Error((Status::Forbidden, ())),
                    _ => Outcome::Error((Status::Unauthorized, ())),
                }
            }
        }
    };
}

guard! {
    /// Anybody who is logged in, even where they must set up a second factor first: for that, and for logging out.
    LoggedIn, Role::Viewer, false
}
guard! {
    /// Anybody who is logged in.
    Viewer, Role::Viewer
}
guard! {
    /// Somebody who may upload and mark.
    Analyst, Role::Analyst
}
guard! {
    /// Somebody who may manage people.
    Administrator, Role::Administrator
}

impl<'r> From<Viewer<'r>> for LoggedIn<'r> {
    /// Whoever may do more may do this.
    fn from(viewer: Viewer<'r>) -> Self {
        Self { account: viewer.account, session: viewer.session, visitor: viewer.visitor }
    }
}

impl<'r> From<Administrator<'r>> for Analyst<'r> {
    /// Whoever may do more may do this.
    fn from(administrator: Administrator<'r>) -> Self {
        Self { account: administrator.account, session: administrator.session, visitor: administrator.visitor }
    }
}

impl<'r> From<Analyst<'r>> for Viewer<'r> {
    /// Whoever may do more may do this.
    fn from(analyst: Analyst<'r>) -> Self {
        Self { account: analyst.account, session: analyst.session, visitor: analyst.visitor }
    }
}
