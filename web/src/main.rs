//! The portal's own binary: `veilwatch-web [--config FILE]`.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use veilwatch_web::clock::SystemClock;
use veilwatch_web::config::{Config, ENVIRONMENT_PREFIX};

const USAGE: &str = "\
The portal of Veilwatch.

Usage: veilwatch-web [--config FILE]

Without a file it listens on 127.0.0.1:8000 and keeps everything in ./data. Variables VEILWATCH_WEB_… override the file:
VEILWATCH_WEB_ADDRESS=127.0.0.1:9000. RUST_LOG=debug says more. web/README.md has every key.
";

/// What the command line asks for.
enum Asked {
    Serve(Option<PathBuf>),
    Usage,
    Version,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "worker") && arguments.next().is_none() {
        return veilwatch_web::worker();
    }
    match asked(std::env::args_os().skip(1)) {
        Ok(Asked::Serve(file)) => match rocket::execute(serve(file)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("{error:#}")),
        },
        Ok(Asked::Usage) => say(USAGE),
        Ok(Asked::Version) => say(concat!("veilwatch-web ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(error) => fail(&format!("{error}; --help says more")),
    }
}

fn asked(mut arguments: impl Iterator<Item = OsString>) -> Result<Asked, String> {
    let mut file = None;
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--config") if file.is_none() => {
                file = Some(PathBuf::from(arguments.next().ok_or("--config needs a file")?));
            }
            Some("-h" | "--help") => return Ok(Asked::Usage),
            Some("-V" | "--version") => return Ok(Asked::Version),
            _ => return Err(format!("the argument {} is unknown here", argument.display())),
        }
    }
    Ok(Asked::Serve(file))
}

async fn serve(file: Option<PathBuf>) -> Result<(), Box<dyn std::error::Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).finish();
    log.with(veilwatch_web::recent::Recent).init();
    // Names that are no text are none of ours.
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let variables = variables.filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX));
    let variables = variables.map(|(name, value)| (name, value.to_string_lossy().into_owned()));
    let config = Config::load(file.as_deref(), variables)?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let address = config.address;
    if config.insecure_plain_http && !config.is_https() {
        tracing::warn!("plain HTTP: everybody on the way reads passwords and captures");
    }
    let program = std::env::current_exe().map_err(|error| format!("this program does not find itself: {error}"))?;
    let (rocket, token) = veilwatch_web::build(config, Arc::new(SystemClock), program)?;
    // Only a server that has its port invites anybody.
    let rocket = rocket.attach(rocket::fairing::AdHoc::on_liftoff("welcome", move |_| {
        Box::pin(async move {
            let mut words = format!("The portal listens on {scheme}://{address}\n");
            if let Some(token) = token {
                words.push_str("Nobody has an account yet. Open this to become the administrator; it works once:\n");
                words.push_str(&format!("    {scheme}://{address}/setup?token={token}\n"));
            }
            say(&words);
        })
    }));
    match rocket.launch().await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.kind().to_string().into()),
    }
}

fn say(words: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(words.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(words: &str) -> ExitCode {
    // Where even this cannot be written, the status still says it.
    let _ = writeln!(std::io::stderr(), "veilwatch-web: {words}");
    ExitCode::from(2)
}
