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
//! | [`backup`] | copies of the data folder, taken and put back, and whether one is whole |
//! | [`at_once`] | how much one account may have going on |
//! | [`uploads`] | bytes come in and are kept |
//! | [`entries`] | what people uploaded, and what became of it |
//! | [`models`] | models: what each says of itself, and which one judges |
//! | [`training`] | models learnt from labelled data and marks |
//! | [`jobs`] | analyses: the queue and the workers |
//! | [`results`] | what an analysis leaves, and what is shown of it |
//! | [`retention`] | how long things are kept, and how they go |
//! | [`triage`] | what people make of findings: who looks at what next |
//! | [`live`] | sessions in which an administrator captures |
//! | [`outgoing`] | what is asked of other machines |
//! | [`packets`] | packets of a capture, as confined children read them |
//! | [`portal`] | what every request works with |
//! | [`provider`] | signing in by a provider |
//! | [`visitor`] | who asks: the guards in front of every page |
//! | [`forms`] | forms that change something |
//! | [`tus`] | uploads that go on after they were broken off, as programs and the page speak of them |
//! | [`watch`] | folders from which captures are taken |
//! | [`webhooks`] | who is told when an analysis is done |
//! | [`chores`] | what is forgotten after a while |
//! | [`pipelines`] | pipelines that administrators write, and what pipelines hold |
//! | [`tables`] | entries of protocol tables that they add |
//! | [`recent`] | what the log said last |
//! | [`pages`] | the pages |
//! | [`api`] | what programs talk to |
//! | [`headers`] | what every answer tells the browser |
//! | [`operations`] | what whoever runs it sees: log, figures |

pub mod accounts;
pub mod api;
pub mod at_once;
pub mod backup;
pub mod chores;
pub mod clock;
pub mod config;
pub mod database;
pub mod entries;
pub mod forms;
pub mod headers;
pub mod jobs;
pub mod live;
pub mod models;
pub mod operations;
pub mod outgoing;
pub mod packets;
pub mod pages;
pub mod pipelines;
pub mod portal;
pub mod provider;
pub mod recent;
pub mod results;
pub mod retention;
pub mod secret;
pub mod tables;
pub mod training;
pub mod triage;
pub mod tus;
pub mod uploads;
pub mod visitor;
pub mod watch;
pub mod webhooks;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use rocket::config::{Ident, LogLevel, TlsConfig};
use rocket::fairing::AdHoc;
use rocket::shield::Shield;
use rocket::tokio::signal::unix::{SignalKind, signal};
use rocket::{Build, Orbit, Rocket, routes, tokio};

use crate::clock::Clock;
use crate::config::Config;
use crate::headers::SecurityHeaders;
use crate::operations::AccessLog;
use crate::operations::requests::Requests;
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
    let sweeper = portal.sweeper.clone();
    let (intake, webhooks) = (portal.intake.clone(), portal.webhooks.clone());
    let templates = Arc::clone(&portal.templates);
    let trainer = portal.trainer.clone();
    let live = portal.live.clone();
    let rocket = rocket::custom(server)
        .manage(portal)
        // Ours says more than Rocket's.
        .attach(Shield::new())
        .attach(SecurityHeaders)
        .attach(Requests)
        .attach(AdHoc::on_liftoff("log rotation", |rocket| Box::pin(async move { rotate(rocket) })))
        .attach(tus::Tus)
        .attach(AdHoc::on_liftoff("uploads, watched folders, chores", move |_| {
            Box::pin(async move {
                // Whoever waits for the start does not wait for them.
                for folder in intake.config.watch.clone() {
                    rocket::tokio::spawn(watch::watch(intake.clone(), Arc::clone(&templates), folder));
                }
                rocket::tokio::spawn(chores::run(intake.clone()));
                rocket::tokio::spawn(async move { uploads::resumable::finish_the_whole(&intake).await });
            })
        }))
        .attach(AdHoc::on_shutdown("analyses", move |_| {
            Box::pin(async move {
                runner.end();
                looks.end();
                live.end();
                readers.end();
                sweeper.end();
                webhooks.end();
                trainer.end();
            })
        }))
        .mount("/", pages::routes())
        .mount("/", routes![api::healthz])
        .mount("/api/v1", api::routes())
        .register("/", pages::errors::page_catchers())
        .register("/api", pages::errors::api_catchers());
    Ok((rocket, token))
}

/// Opens the access log anew whenever SIGUSR1 asks for it.
fn rotate(rocket: &Rocket<Orbit>) {
    let access = rocket.state::<Portal>().and_then(|portal| portal.access.clone());
    // Without a log the signal is taken all the same: it would end the portal.
    let mut asked = match signal(SignalKind::user_defined1()) {
        Ok(asked) => asked,
        Err(error) => return tracing::error!(%error, "SIGUSR1 cannot be heard: the access log cannot be rotated"),
    };
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            access.iter().for_each(AccessLog::reopen);
        }
    });
}

/// What a worker process does: one analysis, confined. See [`veilwatch::worker`].
pub fn worker() -> ExitCode {
    veilwatch::worker::main(results::open_for_worker)
}
