//! What became of each plugin, for whoever asks.

use super::Origin;
use std::fmt;
use veilwatch_core::detect::is_unruly;

/// How far a plugin has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PluginState {
    /// The configuration names it, or a plugin folder holds its library.
    Declared,
    /// Its file is what it should be, and trying it in a process of its own did no harm, where that is done.
    Verified,
    /// Its library is loaded and said what it holds; plugins in the box always are.
    Loaded,
    /// An instance was made and wired into the pipeline.
    Started,
    /// It is not used, or no more; [`PluginReport::reason`] says why.
    Disabled,
}

impl PluginState {
    /// The state as a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Verified => "verified",
            Self::Loaded => "loaded",
            Self::Started => "started",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for PluginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What became of one `[[plugin]]` entry, or of one plugin that a folder brought and no entry uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginReport {
    /// The instance; for what a folder brought, the library's file name.
    pub id: String,
    /// `kind/name`; empty as long as nobody knows.
    pub plugin: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Its version; empty as long as nobody knows.
    pub version: String,
    /// The contract that it was built against; empty as long as nobody knows.
    pub contract: String,
    /// The states it has been through; the last one is where it is.
    pub states: Vec<PluginState>,
    /// For a disabled one: what happened, why, and what to do; one line.
    pub reason: Option<String>,
    /// For one that was disabled during a run: at which record, counted from 1 in the order of output.
    pub record: Option<u64>,
    /// Columns that it adds to each row.
    pub columns: usize,
}

impl PluginReport {
    pub(crate) fn declared(id: impl Into<String>, plugin: impl Into<String>, origin: Origin) -> Self {
        Self {
            id: id.into(),
            plugin: plugin.into(),
            origin,
            version: String::new(),
            contract: String::new(),
            states: vec![PluginState::Declared],
            reason: None,
            record: None,
            columns: 0,
        }
    }

    /// Where it is.
    pub fn state(&self) -> PluginState {
        self.states.last().copied().unwrap_or(PluginState::Declared)
    }

    /// Notes a state; a state that is known already is not noted twice.
    pub(crate) fn reach(&mut self, state: PluginState) {
        if self.state() < state {
            self.states.push(state);
        }
    }

    pub(crate) fn disable(&mut self, reason: &dyn fmt::Display) {
        self.reach(PluginState::Disabled);
        self.reason = Some(brief(&reason.to_string()));
    }
}

/// Characters of a message that somebody else wrote.
const BRIEF: usize = 600;

/// A message that somebody else wrote, on one line that a person can take in.
pub(crate) fn brief(text: &str) -> String {
    let mut out = String::new();
    for (at, c) in text.split_whitespace().collect::<Vec<_>>().join(" ").chars().filter(|c| !is_unruly(*c)).enumerate()
    {
        if at == BRIEF {
            out.push('…');
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_and_bounded() {
        assert_eq!(brief("  two\n\tlines\u{7} \u{1b}[31m"), "two lines [31m");
        assert_eq!(brief(&"x".repeat(100_000)).chars().count(), BRIEF + 1);
    }

    #[test]
    fn states_go_forward_only() {
        let mut report = PluginReport::declared("a", "feature/b", Origin::Builtin);
        for state in [PluginState::Loaded, PluginState::Verified, PluginState::Loaded, PluginState::Started] {
            report.reach(state);
        }
        report.disable(&"why");
        let words: Vec<&str> = report.states.iter().map(|state| state.word()).collect();
        assert_eq!(words, ["declared", "loaded", "started", "disabled"]);
        assert_eq!((report.state(), report.reason.as_deref()), (PluginState::Disabled, Some("why")));
    }
}
