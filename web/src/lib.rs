//! The portal: what people who never open a terminal use.
//!
//! It knows the host's library and never a plugin. So far it knows people: the first administrator, invitations,
//! log-in, sessions, API tokens, the audit log. Captures come next.
//!
//! | module | story |
//! |---|---|
//! | [`config`] | what an operator may set |
//! | [`secret`] | the portal's secret and the tokens it protects |
//! | [`clock`] | what time it is |
//! | [`database`] | the embedded database and its migrations |
//! | [`accounts`] | people: who they are, what they may do, how they are let in |
//! | [`portal`] | what every request works with |
//! | [`results`] | what an analysis leaves, and how it is shown |
//! | [`visitor`] | who asks: the guards in front of every page |
//! | [`forms`] | forms that change something |
//! | [`pages`] | the pages |
//! | [`api`] | what programs talk to |
//! | [`headers`] | what every answer tells the browser, and the log the operator |

pub mod accounts;
pub mod api;
pub mod clock;
pub mod config;
pub mod database;
pub mod forms;
pub mod headers;
pub mod pages;
pub mod portal;
pub mod results;
pub mod secret;
pub mod visitor;

use std::sync::Arc;

use rocket::config::{Ident, LogLevel, TlsConfig};
use rocket::shield::Shield;
use rocket::{Build, Rocket, routes};

use crate::clock::Clock;
use crate::config::Config;
use crate::headers::{AccessLog, SecurityHeaders};
use crate::portal::{Portal, StartError};

/// The portal, ready to launch, and the token for the first administrator where there is no account yet.
///
/// # Errors
/// Where the data folder, the secret or the database cannot be used.
pub fn build(config: Config, clock: Arc<dyn Clock>) -> Result<(Rocket<Build>, Option<String>), StartError> {
    let server = rocket::Config {
        address: config.address.ip(),
        port: config.address.port(),
        ident: Ident::none(),
        // Rocket's own lines hold whole addresses, tokens of invitations among them: the access log is ours.
        log_level: LogLevel::Off,
        cli_colors: false,
        // By default Rocket believes any visitor's `X-Real-IP`.
        ip_header: config.proxy.address_header.clone().map(Into::into),
        tls: config.tls.as_ref().map(|tls| TlsConfig::from_paths(&tls.certificate, &tls.key)),
        ..rocket::Config::release_default()
    };
    let (portal, token) = Portal::open(config, clock)?;
    let rocket = rocket::custom(server)
        .manage(portal)
        // Ours says more than Rocket's.
        .attach(Shield::new())
        .attach(SecurityHeaders)
        .attach(AccessLog)
        .mount("/", pages::routes())
        .mount("/", routes![api::healthz])
        .mount("/api/v1", api::routes())
        .register("/", pages::errors::page_catchers())
        .register("/api", pages::errors::api_catchers());
    Ok((rocket, token))
}
