//! What the log said last at the level of warnings or above, for administrators who cannot read the log itself.
//!
//! Kept are the time, the sentence and some numbers beside it; never words that a worker or a capture may have chosen, and
//! never paths.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines that are kept.
const LINES: usize = 100;
/// Characters of one.
const CHARACTERS: usize = 300;
/// Values that are ours alone.
const FIELDS: [&str; 8] = ["entry", "why", "again", "died", "is_kept", "process", "status", "table"];

static RECENT: Mutex<VecDeque<Line>> = Mutex::new(VecDeque::new());

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, in seconds since 1970.
    pub at: i64,
    /// Whether it is an error, and not a warning.
    pub is_error: bool,
    /// The part of the program.
    pub part: &'static str,
    /// What, in English.
    pub words: String,
}

/// The newest lines, newest first. They are the process's, not one portal's.
pub fn lines() -> Vec<Line> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
}

/// Keeps lines; whoever sets up the log adds it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recent;

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let facts = event.metadata();
        if *facts.level() > Level::WARN || !facts.target().starts_with("veilwatch") {
            return;
        }
        let mut words = Words::default();
        event.record(&mut words);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let line = Line {
            at: now.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
            is_error: *facts.level() == Level::ERROR,
            part: facts.target(),
            words: format!("{}{}", words.message, words.values).chars().take(CHARACTERS).collect(),
        };
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == LINES {
            recent.pop_front();
        }
        recent.push_back(line);
    }
}

#[derive(Default)]
struct Words {
    message: String,
    values: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name if FIELDS.contains(&name) => self.values.push_str(&format!(" {name}={value:?}")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn sentences_are_kept_and_what_others_wrote_is_not() {
        let log = tracing_subscriber::registry().with(Recent);
        tracing::subscriber::with_default(log, || {
            for n in 0..LINES + 5 {
                tracing::warn!(entry = n, why = "crashed", words = "capture's text", error = "/path", "a worker died");
            }
            tracing::info!("nothing of note");
            tracing::error!(error = "capture's text", "a result cannot be kept");
        });
        let lines = lines();
        assert_eq!(lines.len(), LINES);
        assert_eq!((lines[0].words.as_str(), lines[0].is_error), ("a result cannot be kept", true));
        assert_eq!(lines[1].words, format!("a worker died entry={} why=\"crashed\"", LINES + 4));
        assert!(lines.iter().all(|line| !line.words.contains("capture's") && !line.words.contains("/path")));
    }
}
