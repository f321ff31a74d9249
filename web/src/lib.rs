//! The portal: what people who never open a terminal use.
//!
//! It knows the host's library and never a plugin. People log in, upload a capture, confirm it, wait, and get an answer.
//! Nothing of a capture is parsed in this process: workers do that, and what they leave is checked.
//!
//! | module | story |
//! |---|---|
//! | [`config`] | what an operator may set |
//! | [`secret`] | the portal's secret and the tokens it protects |
//! | [`clock`] | what time it is |
//! | [`database`] | the embedded database and its migrations |
//! | [`accounts`] | people: who they are, what they may do, how they are let in |
//! | [`at_once`] | how much one account may have going on |
//! | [`uploads`] | bytes come in and are kept |
//! | [`entries`] | what people uploaded, and what became of it |
//! | [`jobs`] | analyses: the queue and the workers |
//! | [`results`] | what an analysis leaves, and what is shown of it |
//! | [`live`] | sessions in which an administrator captures |
//! | [`packets`] | packets of a capture, as confined children read them |
//! | [`portal`] | what every request works with |
//! | [`visitor`] | who asks: the guards in front of every page |
//! | [`forms`] | forms that change something |
//! | [`pages`] | the pages |
//! | [`api`] | what programs talk to |
//! | [`headers`] | what every answer tells the browser, and the log the operator |

pub mod accounts;
pub mod api;
pub mod at_once;
pub mod clock;
pub mod config;
pub mod database;
pub mod entries;
pub mod forms;
pub mod headers;
pub mod jobs;
pub mod live;
pub mod packets;
pub mod pages;
pub mod portal;
pub mod results;
pub mod secret;
pub mod uploads;
pub mod visitor;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use rocket::config::{Ident, LogLevel, TlsConfig};
use rocket::fairing::AdHoc;
use rocket::shield::Shield;
use rocket::{Build, Rocket, routes};

use crate::clock::Clock;
use crate::config::Config;
use crate::headers::{AccessLog, SecurityHeaders};
use crate::portal::{Portal, StartError};

/// The portal, ready to launch, and the token for the first administrator where there is no account yet. `program` is
/// what workers are: a program that hands over to [`worker`] when its only argument is `worker`.
///
/// # Errors
/// Where the data folder, the secret or the database cannot be used.
pub fn build(
    config: Config,
    clock: Arc<dyn Clock>,
    program: PathBuf,
) -> Result<(Rocket<Build>, Option<String>), StartError> {
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
    let (portal, token) = Portal::open(config, clock, program)?;
    let (runner, looks, readers) = (portal.runner.clone(), portal.looks.clone(), portal.readers.clone());
    let live = portal.live.clone();
    let rocket = rocket::custom(server)
        .manage(portal)
        // Ours says more than Rocket's.
        .attach(Shield::new())
        .attach(SecurityHeaders)
        .attach(AccessLog)
        .attach(AdHoc::on_shutdown("analyses", move |_| {
            Box::pin(async move {
                runner.end();
                looks.end();
                live.end();
                readers.end();
            })
        }))
        .mount("/", pages::routes())
        .mount("/", routes![api::healthz])
        .mount("/api/v1", api::routes())
        .register("/", pages::errors::page_catchers())
        .register("/api", pages::errors::api_catchers());
    Ok((rocket, token))
}

/// What a worker process does: one analysis, confined. See [`veilwatch::worker`].
pub fn worker() -> ExitCode {
    veilwatch::worker::main(results::open_for_worker)
}
