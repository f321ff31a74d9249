//! What is known of a session: how it goes, and its alerts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use veilwatch::worker::live::{LiveAlert, LiveEnding, LiveNow};

use crate::jobs::clean;

/// Messages of a session that are held, the newest.
const WORDS: usize = 5;
/// The time over which packets a second are counted, at least.
const SAMPLE: Duration = Duration::from_secs(1);

/// Where a session is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its child opens the interface.
    Starting,
    /// It captures, or pauses.
    Running,
    /// It was told to end.
    Stopping,
    /// It has ended, and how.
    Ended(End),
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, or because somebody said so.
    Well(LiveEnding),
    /// Nobody looked for too long.
    Idle,
    /// The disk has no more room than what is to stay free.
    Room,
    /// Its child said why it cannot go on.
    Refused(String),
    /// Its child died, or was ended because it did what no honest one does: what is in the file may be anything.
    Died(String),
}

impl End {
    /// The key of the message for it.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Well(LiveEnding::Stopped) => "live.end-stopped",
            Self::Well(LiveEnding::Packets) => "live.end-packets",
            Self::Well(LiveEnding::Bytes) => "live.end-bytes",
            Self::Well(LiveEnding::Time) => "live.end-time",
            Self::Well(LiveEnding::Interface) => "live.end-interface",
            Self::Well(LiveEnding::Disk) | Self::Room => "live.end-disk",
            Self::Idle => "live.end-idle",
            Self::Refused(_) => "live.end-refused",
            Self::Died(_) => "live.end-died",
        }
    }

    /// What its child said last, if that is worth telling.
    pub fn words(&self) -> Option<&str> {
        match self {
            Self::Refused(words) | Self::Died(words) => Some(words),
            _ => None,
        }
    }
}

/// An alert that is held.
#[derive(Clone, Debug)]
pub struct Held {
    /// What the child said of it last.
    pub alert: LiveAlert,
    /// The change with which it came, or changed.
    pub change: u64,
}

/// What is known.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where it is in its life.
    pub state: State,
    /// How it goes.
    pub now: LiveNow,
    /// Packets a second.
    pub rate: u64,
    /// Alerts, in the order they came.
    pub alerts: Vec<Held>,
    /// Counts what changed among the alerts.
    pub change: u64,
    /// What a person should know of.
    pub words: VecDeque<String>,
    /// When somebody looked last.
    pub looked: Instant,
    /// Whether its file is being saved.
    pub is_saving: bool,
    /// The moment that packets a second are counted from, and packets by then.
    sample: (Instant, u64),
    most: usize,
}

impl Seen {
    /// Of one that begins, of which so many alerts are held.
    pub(super) fn new(most: u32) -> Self {
        let now = Instant::now();
        Self {
            state: State::Starting,
            now: LiveNow::default(),
            rate: 0,
            alerts: Vec::new(),
            change: 0,
            words: VecDeque::new(),
            looked: now,
            is_saving: false,
            sample: (now, 0),
            most: usize::try_from(most).unwrap_or(usize::MAX),
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// Takes in how it goes.
    pub(super) fn goes(&mut self, now: &LiveNow) {
        let since = self.sample.0.elapsed();
        if since >= SAMPLE {
            let more = now.packets.saturating_sub(self.sample.1);
            self.rate = (more as f64 / since.as_secs_f64()).round() as u64;
            self.sample = (Instant::now(), now.packets);
        }
        self.now = now.clone();
    }

    /// Takes an alert in, or what became of one.
    pub(super) fn alert(&mut self, alert: LiveAlert) {
        let (change, has_room) = (self.change + 1, self.alerts.len() < self.most);
        match self.alerts.iter_mut().find(|held| held.alert.flow_id == alert.flow_id) {
            Some(held) => *held = Held { alert, change },
            None if has_room => self.alerts.push(Held { alert, change }),
            None => return,
        }
        self.change = change;
    }

    /// Takes a message in.
    pub(super) fn word(&mut self, words: &str) {
        if self.words.len() >= WORDS {
            self.words.pop_front();
        }
        self.words.push_back(clean(words));
    }

    /// It has ended.
    pub(super) fn end(&mut self, end: End) {
        self.state = State::Ended(end);
        self.rate = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_and_words_are_bounded_and_a_flow_is_one_alert() {
        let alert = |flow_id, is_final, verdict: &str| LiveAlert {
            flow_id,
            is_final,
            verdict: verdict.to_owned(),
            score: 0.9,
            src: "10.0.0.1:1".to_owned(),
            dest: "10.0.0.2:443".to_owned(),
            name: String::new(),
            reasons: Vec::new(),
            packets: vec![1],
            first_ns: 0,
        };
        let mut seen = Seen::new(2);
        for (flow, is_final, verdict) in
            [(1, false, "malicious"), (2, true, "suspicious"), (3, true, "malicious"), (1, true, "benign")]
        {
            seen.alert(alert(flow, is_final, verdict));
        }
        let told: Vec<(u64, &str, u64)> =
            seen.alerts.iter().map(|held| (held.alert.flow_id, held.alert.verdict.as_str(), held.change)).collect();
        assert_eq!(told, [(1, "benign", 3), (2, "suspicious", 2)]);
        for at in 0..20 {
            seen.word(&format!("{at}\n"));
        }
        assert_eq!(seen.words.len(), WORDS);
        assert_eq!(seen.words.back().map(String::as_str), Some("19 "));
    }
}
