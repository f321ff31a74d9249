//! `veilwatch analyse`: look into any packet, in the terminal.
//!
//! | module | story |
//! |---|---|
//! | `start` | a capture or an interface is chosen |
//! | `app` | what is on the screen |
//! | `listing` | which packets are listed |
//! | `keys` | what keys and the mouse do |
//! | `prompt` | a line that somebody writes |
//! | `find` | display filters, and texts that are looked for |
//! | `copy` | what may be taken along |
//! | `draw` | the screen, cell by cell |
//! | `theme` | colours and columns |
//! | `work` | what goes on beside: an index is made, flows are judged, packets are captured |

mod app;
mod copy;
mod draw;
mod find;
mod keys;
mod listing;
mod prompt;
mod start;
mod theme;
mod work;

use super::FilterArgs;
use anyhow::{Context, Result, bail};
use app::{After, App};
use ratatui::crossterm::event::{self, DisableMouseCapture, EnableMouseCapture, Event};
use ratatui::crossterm::execute;
use start::{Choice, choose};
use std::io::{IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use theme::Theme;
use veilwatch::config::Config;
use veilwatch::engine::Pipeline;
use veilwatch::live::Wanted;
use veilwatch::output::plain;
use work::Work;

/// Arguments of `veilwatch analyse`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A capture file; without one and without an interface either is chosen.
    capture: Option<PathBuf>,
    /// Capture on an interface instead, as `veilwatch interfaces` lists them.
    #[arg(short, long = "interface", value_name = "INTERFACE", conflicts_with = "capture")]
    interfaces: Vec<String>,
    /// Capture only packets that this expression lets through, in tcpdump's language (needs libpcap).
    #[command(flatten)]
    filter: FilterArgs,
    /// Have the interfaces take packets that are for others.
    #[arg(long, requires = "interfaces")]
    promiscuous: bool,
    /// Pipeline that judges flows instead of the default one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Model to use instead of the configuration's.
    #[arg(long, value_name = "FOLDER")]
    model: Option<String>,
    /// Colours and columns: a file like config/analyse/theme.toml.
    #[arg(long, value_name = "FILE")]
    theme: Option<PathBuf>,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !stdout().is_terminal() {
        bail!(
            "analyse is for a terminal; `veilwatch packets` writes packets, and `veilwatch detect` flows, to anywhere"
        );
    }
    let theme = Theme::load(args.theme.as_deref())?;
    let mut folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let mut work = match (&args.capture, args.interfaces.is_empty()) {
        (None, true) => None,
        (capture, _) => Some(open(args, capture.as_deref(), &args.interfaces)?),
    };
    let mut terminal = ratatui::try_init().context("the terminal cannot be used")?;
    let _ = execute!(stdout(), EnableMouseCapture);
    let mut said = String::new();
    let outcome = loop {
        let Some(now) = work.take() else {
            let opened = match choose(&mut terminal, &theme, &mut folder, std::mem::take(&mut said)) {
                Ok(Choice::Capture(path)) => open(args, Some(&path), &[]),
                Ok(Choice::Interface(name)) => open(args, None, &[name]),
                Ok(Choice::Leave) => break Ok(()),
                Err(error) => break Err(error),
            };
            match opened {
                Ok(opened) => work = Some(opened),
                // Another one may do.
                Err(error) => said = plain(&format!("{error:#}")),
            }
            continue;
        };
        let mut app = App::new(now, theme.clone());
        match attend(&mut app, &mut terminal) {
            Ok(After::Choose) => {}
            Ok(After::Leave) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let _ = execute!(stdout(), DisableMouseCapture);
    ratatui::restore();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Every protocol for packets, and the pipeline that judges flows.
fn open(args: &Args, capture: Option<&Path>, interfaces: &[String]) -> Result<Work> {
    let (shown, mut registry) = super::prepare(Some(Path::new("protocols")))?;
    let shown = Arc::new(Pipeline::untrained(shown, &mut registry)?);
    let mut config: Config = super::config(args.config.as_deref())?;
    if let Some(model) = &args.model {
        config.model.clone_from(model);
    }
    args.filter.apply(&mut config);
    if let Some(path) = capture {
        if path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir()) || path.as_os_str() == "-" {
            bail!("analyse needs a file that it can read anywhere; `veilwatch packets -` shows what comes from a pipe");
        }
        let judge = Pipeline::new(config, &mut super::registry()?)?;
        return Work::open(path, shown, judge);
    }
    // The filter is the interface's: what it keeps out is not there.
    let filter = std::mem::take(&mut config.input.filter);
    let (interfaces, promiscuous) = (interfaces.to_vec(), args.promiscuous);
    let wanted = Wanted { interfaces, promiscuous, filter, ..Wanted::default() };
    let settings = config.live.clone();
    let judge = Pipeline::new(config, &mut super::registry()?)?;
    Work::capture(&wanted, &settings, shown, judge)
}

/// Between two looks at what came meanwhile.
const INTERVAL: Duration = Duration::from_millis(100);

fn attend(app: &mut App, terminal: &mut ratatui::DefaultTerminal) -> Result<After> {
    loop {
        app.tick();
        terminal.draw(|frame| draw::draw(app, frame))?;
        if let Some(sequence) = app.to_terminal.take() {
            stdout().write_all(sequence.as_bytes())?;
            stdout().flush()?;
        }
        // All keys that wait, then the screen: whoever holds one down is not kept waiting.
        let begin = Instant::now();
        let mut wait = INTERVAL;
        while event::poll(wait)? {
            match event::read()? {
                Event::Key(key) => app.key(key),
                Event::Mouse(mouse) => app.mouse(mouse),
                _ => {}
            }
            wait = Duration::ZERO;
            if let Some(after) = app.after {
                return Ok(after);
            }
            if begin.elapsed() > INTERVAL {
                break;
            }
        }
    }
}
