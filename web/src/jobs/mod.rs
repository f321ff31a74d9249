//! Analyses: a queue that is fair and survives a restart, and the workers that empty it.
//!
//! | module | story |
//! |---|---|
//! | [`queue`] | which analysis comes next, and what became of it |
//! | [`live`] | how far running analyses have come, for whoever looks on |
//! | [`runner`] | the threads that start workers and look after them |
//! | [`tasks`] | the short looks into a capture that somebody waits for |
//! | [`check`] | what a pipeline holds and whether it can be used, before anybody chooses it |

pub mod check;
pub mod live;
pub mod queue;
pub mod runner;
pub mod tasks;

use std::path::PathBuf;
use std::sync::Arc;

use veilwatch::worker::{Order, Task, Unpacking, WorkerLimits};

use crate::accounts::steers;
use crate::clock::Clock;
use crate::config::Config;
use crate::database::Db;
use crate::operations::Figures;
use crate::uploads::Folders;

/// Characters of a worker's words that are kept.
const WORDS: usize = 500;

/// Words of a worker, which may be a capture's: on one line, without anything that steers, and not too many.
pub(crate) fn clean(words: &str) -> String {
    words.chars().map(|c| if steers(c) { ' ' } else { c }).take(WORDS).collect()
}

/// What every part of this module works with.
#[derive(Clone)]
pub struct Bench {
    /// What the operator set.
    pub config: Config,
    /// The database.
    pub db: Db,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where captures and results lie.
    pub folders: Folders,
    /// The program that workers are: this one.
    pub program: PathBuf,
    /// What is counted.
    pub figures: Arc<Figures>,
}

impl Bench {
    /// Whether the disk has room for more than what is to stay free.
    pub(crate) fn has_room(&self) -> bool {
        let free = self.folders.free_bytes();
        free.inspect_err(|error| tracing::error!(%error, "the disk does not say how much room it has"))
            .is_ok_and(|free| free > self.config.limits.free_disk_bytes)
    }

    /// An order within the operator's limits.
    pub(crate) fn order(&self, capture: PathBuf, task: Task, pipeline: Option<PathBuf>) -> Order {
        let (worker, limits) = (&self.config.worker, &self.config.limits);
        Order {
            capture,
            task,
            pipeline,
            tables: Some(self.folders.tables().to_owned()),
            model: None,
            shadow: None,
            unpacking: Unpacking { bytes: limits.unpacked_bytes, ratio: limits.expansion_ratio },
            limits: WorkerLimits {
                memory_bytes: worker.memory_bytes,
                cpu_seconds: worker.cpu_seconds,
                file_bytes: worker.result_bytes,
                open_files: worker.open_files,
                without_sandbox: worker.without_sandbox,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_on_one_line() {
        assert_eq!(clean("a\nb\u{1b}[31m\u{202e}c"), "a b [31m c");
        assert_eq!(clean(&"x".repeat(9999)).len(), WORDS);
    }
}
