//! How far running analyses have come, for whoever looks on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;
use veilwatch::worker::{Event, Stage, WorkerAlert, WorkerProgress};

/// Alerts that are shown while an analysis runs.
pub const ALERTS: usize = 50;
/// Characters of a text that a capture decides, shown while an analysis runs.
const TEXT: usize = 255;

/// A running analysis as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct Live {
    /// How far it has come.
    pub progress: WorkerProgress,
    /// The first alerts.
    pub alerts: Vec<WorkerAlert>,
    /// Packets a second since it began to read.
    pub packets_per_second: u64,
    /// Seconds until it has read everything, once that can be guessed.
    pub seconds_left: Option<u64>,
    /// Whether it was asked to stop.
    pub stopping: bool,
}

/// One running analysis.
#[derive(Debug)]
pub struct Running {
    /// Ask the worker to end with what it has.
    pub stop: AtomicBool,
    /// End the worker at once.
    pub kill: AtomicBool,
    seen: Mutex<(Live, Instant)>,
}

impl Running {
    fn new() -> Self {
        let progress =
            WorkerProgress { stage: Stage::Preparing, bytes: 0, total_bytes: None, packets: 0, flows: 0, alerts: 0 };
        let live = Live { progress, alerts: Vec::new(), packets_per_second: 0, seconds_left: None, stopping: false };
        Self { stop: AtomicBool::new(false), kill: AtomicBool::new(false), seen: Mutex::new((live, Instant::now())) }
    }

    /// Takes in what the worker says.
    pub fn note(&self, event: &Event) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (live, reading_since) = &mut *seen;
        match event {
            Event::Progress(progress) => {
                if live.progress.stage == Stage::Preparing && progress.stage != Stage::Preparing {
                    *reading_since = Instant::now();
                }
                let seconds = reading_since.elapsed().as_secs_f64();
                // Below that, a rate says more of the start than of the rest.
                if seconds > 0.2 {
                    live.packets_per_second = (progress.packets as f64 / seconds) as u64;
                    let left = progress.total_bytes.and_then(|total| total.checked_sub(progress.bytes));
                    live.seconds_left = match (left, progress.bytes) {
                        (Some(left), read) if read > 0 => Some((left as f64 / (read as f64 / seconds)).ceil() as u64),
                        _ => None,
                    };
                }
                live.progress = progress.clone();
            }
            Event::Alert(alert) if live.alerts.len() < ALERTS => {
                let cut = |text: &str| text.chars().take(TEXT).collect::<String>();
                live.alerts.push(WorkerAlert {
                    verdict: if alert.verdict == "malicious" { "malicious" } else { "suspicious" }.to_owned(),
                    src_ip: cut(&alert.src_ip),
                    dest_ip: cut(&alert.dest_ip),
                    sni: alert.sni.as_deref().map(cut),
                    ..alert.clone()
                });
            }
            _ => {}
        }
    }

    /// As it is now.
    pub fn now(&self) -> Live {
        let mut live = self.seen.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        live.stopping = self.stop.load(Ordering::Relaxed) || self.kill.load(Ordering::Relaxed);
        live
    }
}

/// All running analyses, by entry.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<HashMap<i64, Arc<Running>>>>);

impl Board {
    /// The analysis of this entry, while it runs.
    pub fn find(&self, entry: i64) -> Option<Arc<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&entry).cloned()
    }

    /// How many analyses run.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Puts an analysis on the board, until the guard is dropped.
    pub fn begin(&self, entry: i64) -> OnBoard {
        let running = Arc::new(Running::new());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(entry, Arc::clone(&running));
        OnBoard { board: self.clone(), entry, running }
    }

    /// Ends all workers at once.
    pub fn kill_all(&self) {
        for running in self.0.lock().unwrap_or_else(PoisonError::into_inner).values() {
            running.kill.store(true, Ordering::Relaxed);
        }
    }
}

/// An analysis on the board.
#[derive(Debug)]
pub struct OnBoard {
    board: Board,
    entry: i64,
    /// The analysis.
    pub running: Arc<Running>,
}

impl Drop for OnBoard {
    fn drop(&mut self) {
        self.board.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_bounded_and_texts_cut() {
        let board = Board::default();
        let on = board.begin(3);
        let alert = WorkerAlert {
            flow_id: 1,
            verdict: "<b>".repeat(999),
            score: 0.9,
            src_ip: "1".repeat(9999),
            dest_ip: String::new(),
            dest_port: 1,
            sni: Some("x".repeat(9999)),
        };
        for _ in 0..ALERTS + 10 {
            on.running.note(&Event::Alert(alert.clone()));
        }
        let live = board.find(3).unwrap().now();
        assert_eq!(live.alerts.len(), ALERTS);
        assert!(live.alerts.iter().all(|alert| alert.verdict == "suspicious" && alert.src_ip.len() == TEXT));
        board.kill_all();
        assert!(on.running.kill.load(Ordering::Relaxed) && on.running.now().stopping);
        drop(on);
        assert!(board.find(3).is_none());
    }
}
