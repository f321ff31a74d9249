//! The portal's own binary: `veilwatch-web [--config FILE]`, and what else whoever runs a portal needs.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use indicatif::HumanBytes;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use veilwatch_web::backup::{self, Findings, Progress};
use veilwatch_web::clock::{Clock, SystemClock, readable};
use veilwatch_web::config::{Config, ConfigError, ENVIRONMENT_PREFIX};
use veilwatch_web::operations::access::STANDARD_OUTPUT;
use veilwatch_web::operations::requests::WithRequest;
use veilwatch_web::operations::{AccessLog, health};
use veilwatch_web::portal::Portal;

/// How long the end waits for the access log.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The portal of Veilwatch.
///
/// Without a command it serves: on 127.0.0.1:8000, with everything in ./data, unless a file says otherwise. Variables
/// VEILWATCH_WEB_… override the file: VEILWATCH_WEB_ADDRESS=127.0.0.1:9000. RUST_LOG=debug says more. web/README.md has
/// every key, web/OPERATIONS.md says how to run it for others.
#[derive(Debug, Parser)]
#[command(name = "veilwatch-web", version, max_term_width = 100)]
struct Line {
    /// The configuration.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take a backup of the data folder, while the portal works or while it does not. Exit status 1: something was
    /// damaged or missing before.
    Backup {
        /// A new folder, or one new file if the name ends in `.tar`.
        target: PathBuf,
    },
    /// Make a data folder from a backup.
    Restore {
        /// The backup: a folder or a file.
        backup: PathBuf,
        /// The folder to restore into: a new or an empty one.
        #[arg(long, value_name = "FOLDER")]
        data: PathBuf,
    },
    /// Say whether the data folder is whole; the portal may work meanwhile. Exit status 1: it is not.
    Check {
        /// Read every capture, and hold it against its hash.
        #[arg(long)]
        hashes: bool,
    },
    /// Ask the portal of this configuration whether it is well. Exit status 1: it is not.
    Health,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "worker") && arguments.next().is_none() {
        return veilwatch_web::worker();
    }
    let line = Line::parse();
    let done = match line.command {
        None => rocket::execute(serve(line.config.as_deref())),
        Some(Command::Backup { target }) => take(line.config.as_deref(), &target),
        Some(Command::Restore { backup, data }) => restore(&backup, &data),
        Some(Command::Check { hashes }) => check(line.config.as_deref(), hashes),
        Some(Command::Health) => ask(line.config.as_deref()),
    };
    done.unwrap_or_else(|error| {
        // Where even this cannot be written, the status still says it.
        let _ = writeln!(std::io::stderr(), "veilwatch-web: {error}");
        ExitCode::from(2)
    })
}

type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
    // Names that are no text are none of ours.
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let variables = variables.filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX));
    let variables = variables.map(|(name, value)| (name, value.to_string_lossy().into_owned()));
    Config::load(file, variables)
}

async fn serve(file: Option<&Path>) -> Outcome {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.fmt_fields(WithRequest::default()).finish().with(veilwatch_web::recent::Recent).init();
    let config = load(file)?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let address = config.address;
    if config.insecure_plain_http && !config.is_https() {
        tracing::warn!("plain HTTP: everybody on the way reads passwords and captures");
    }
    // Whoever reads the access log there wants nothing else between its lines.
    let is_log = config.log.access.as_deref() == Some(Path::new(STANDARD_OUTPUT));
    let program = std::env::current_exe().map_err(|error| format!("this program does not find itself: {error}"))?;
    let (rocket, token) = veilwatch_web::build(config, Arc::new(SystemClock), program)?;
    // Only a server that has its port invites anybody.
    let rocket = rocket.attach(rocket::fairing::AdHoc::on_liftoff("welcome", move |rocket| {
        Box::pin(async move {
            let mut words = format!("The portal listens on {scheme}://{address}\n");
            if let Some(metrics) = rocket.state::<Portal>().and_then(|portal| portal.metrics) {
                words.push_str(&format!("Figures are at http://{metrics}/metrics\n"));
            }
            if let Some(token) = token {
                words.push_str("Nobody has an account yet. Open this to become the administrator; it works once:\n");
                words.push_str(&format!("    {scheme}://{address}/setup?token={token}\n"));
            }
            if is_log {
                let _ = std::io::stderr().write_all(words.as_bytes());
            } else {
                say(&words);
            }
        })
    }));
    let ended = rocket.launch().await;
    let ended = ended.map_err(|error| format!("the portal at {address}: {}", error.kind()))?;
    let access = ended.state::<Portal>().and_then(|portal| portal.access.as_ref());
    access.into_iter().for_each(|log: &AccessLog| log.finish(LAST_LINES));
    Ok(ExitCode::SUCCESS)
}

fn take(file: Option<&Path>, target: &Path) -> Outcome {
    let (config, progress) = (load(file)?, Progress::default());
    let shown = progress.show();
    let taken = backup::take(&config.data, target, SystemClock.now(), &progress)?;
    drop(shown);
    let mut words = format!(
        "{}: {} entries, {} in {} files\n",
        target.display(),
        taken.entries,
        HumanBytes(taken.bytes),
        taken.files
    );
    if taken.deleted > 0 {
        words.push_str(&format!("{} more were deleted meanwhile, and are not in it\n", taken.deleted));
    }
    if !taken.has_secret {
        words.push_str(
            "The secret is not in it: it stands in the configuration, without which nobody stays logged in\n",
        );
    }
    Ok(tell(words, &taken.findings))
}

fn restore(from: &Path, data: &Path) -> Outcome {
    let progress = Progress::default();
    let shown = progress.show();
    let restored = backup::restore(from, data, &progress)?;
    drop(shown);
    let mut words = format!(
        "{}: {} entries, {}, as of {}\n",
        data.display(),
        restored.entries,
        HumanBytes(restored.bytes),
        readable(restored.taken_at)
    );
    if !restored.has_secret {
        words.push_str("The secret was not in it: put the one of the old portal into the configuration\n");
    }
    Ok(tell(words, &restored.findings))
}

fn check(file: Option<&Path>, hashes: bool) -> Outcome {
    let (config, progress) = (load(file)?, Progress::default());
    let shown = progress.show();
    let checked = backup::check(&config.data, hashes, &progress)?;
    drop(shown);
    let mut words = String::new();
    list(&mut words, "note", &checked.notes);
    let state = if checked.damage.is_empty() { "whole" } else { "damaged" };
    words.push_str(&format!(
        "{} is {state}: {} entries, {} captures, database of version {}\n",
        config.data.display(),
        checked.entries,
        checked.captures,
        checked.database
    ));
    Ok(tell(words, &checked.damage))
}

fn ask(file: Option<&Path>) -> Outcome {
    let config = load(file)?;
    match health::ask(&config) {
        Ok(()) => Ok(say(&format!("{} is well\n", config.address))),
        Err(error) => {
            say(&format!("{} is not well: {error}\n", config.address));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Says words, and then what is damaged; with a status of its own where something is.
fn tell(mut words: String, damage: &Findings) -> ExitCode {
    list(&mut words, "damaged", damage);
    let said = say(&words);
    if damage.is_empty() { said } else { ExitCode::FAILURE }
}

fn list(words: &mut String, what: &str, findings: &Findings) {
    findings.words.iter().for_each(|finding| words.push_str(&format!("{what}: {finding}\n")));
    let more = findings.count - findings.words.len() as u64;
    if more > 0 {
        words.push_str(&format!("{what}: {more} more like these\n"));
    }
}

fn say(words: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(words.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
