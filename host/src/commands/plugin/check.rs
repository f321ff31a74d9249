use super::show::{self, Format};
use super::{Named, named};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use veilwatch::output::plain;
use veilwatch::plugins::{CheckOptions, CheckOutcome, Checked, check_library, check_linked};

/// Exit status: a check failed.
const FAILED_CHECK: u8 = 1;

/// Arguments of `veilwatch plugin check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The path of a library, or a plugin in the box such as `feature/splt`.
    #[arg(value_name = "PATH|KIND/NAME")]
    plugin: PathBuf,
    /// Its settings as TOML, such as 'key = 1'.
    #[arg(long, value_name = "TOML", default_value = "")]
    settings: String,
    /// Seconds that one check may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
    /// How to write it; by default a text on a terminal and JSON Lines elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    toml::from_str::<toml::Table>(&args.settings).context("`--settings` is no TOML")?;
    let how = CheckOptions { settings: args.settings.clone(), patience: Duration::from_secs(args.patience) };
    let checks = match named(&args.plugin) {
        Named::Library(path) => {
            let program = std::env::current_exe().context("this program cannot be found again, to try the library")?;
            check_library(&program, &path, &how)?
        }
        Named::Plugin(_) => {
            let (_, mut registry) = crate::commands::prepare(None)?;
            let found = super::declarations(&args.plugin, &mut registry)?;
            found.iter().flat_map(|(declaration, _)| check_linked(declaration, &how)).collect()
        }
    };
    let count = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
    let (failed, unknown) = (count(CheckOutcome::Failed), count(CheckOutcome::Unknown));
    if show::for_people(args.format) {
        let mut about = "";
        for check in &checks {
            if check.plugin != about {
                about = &check.plugin;
                show::text(&plain(about))?;
            }
            show::text(&line(check))?;
        }
        let (passed, skipped) = (count(CheckOutcome::Passed), count(CheckOutcome::Skipped));
        show::text(&format!(
            "{passed} passed, {failed} failed, {skipped} skipped{}",
            if unknown > 0 { format!(", {unknown} unknown") } else { String::new() }
        ))?;
    } else {
        show::lines(&checks)?;
    }
    if failed == 0 && unknown > 0 {
        bail!("{unknown} checks could not be made; see what they say to do");
    }
    if failed == 0 && checks.iter().all(|check| check.outcome == CheckOutcome::Skipped) {
        bail!("nothing could be checked");
    }
    Ok(ExitCode::from(if failed > 0 { FAILED_CHECK } else { 0 }))
}

fn line(check: &Checked) -> String {
    let why = check.why.as_ref().map_or_else(String::new, |why| format!(": {}", plain(why)));
    format!("  {:8} {}{why}", check.outcome.word(), plain(&check.check))
}
