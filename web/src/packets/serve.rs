//! The thread that one reader lives on.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use veilwatch::query::asks_verdicts;
use veilwatch::worker::browse::{Answer, Ask, BrowseOrder, Reader};
use veilwatch::worker::{FailedWhy, Unpacking, WorkerEnd, WorkerLimits};

use super::judged::Judged;
use super::pool::{Death, Question, ReadError, Readers, Told};
use crate::jobs::tasks::Temporary;
use crate::jobs::{Bench, clean};
use crate::operations::Figures;
use crate::uploads::{Key, Sha256Hex, drop_index, keep_index};

/// Whose reader it is.
pub(super) struct Job {
    pub(super) entry: i64,
    pub(super) what: What,
    /// Which of the entry's readers it is.
    pub(super) number: Instant,
    /// Readers that were told to end, and whose end it waits for.
    pub(super) before: Vec<Weak<()>>,
}

/// What a reader reads.
#[derive(Clone)]
pub(super) enum What {
    /// The capture of an entry, whose index is kept, and whether it was analysed.
    Entry { key: Key, sha256: Sha256Hex, is_judged: bool },
    /// What a live session captures, and whether it still does.
    Live { path: PathBuf, follows: bool },
}

impl What {
    /// Whether an analysis said something of its flows.
    pub(super) fn is_judged(&self) -> bool {
        matches!(self, Self::Entry { is_judged: true, .. })
    }

    /// Where the capture is.
    pub(super) fn capture(&self, bench: &Bench) -> PathBuf {
        match self {
            Self::Entry { sha256, .. } => bench.folders.capture(sha256),
            Self::Live { path, .. } => path.clone(),
        }
    }
}

/// Serves questions until nobody asks any more, or the reader is dead; then keeps what it made.
pub(super) fn serve(readers: &Readers, job: &Job, asked: &Receiver<Question>) {
    let (bench, limits) = (&readers.bench, &readers.bench.config.browse);
    let (idle, patience) = (Duration::from_secs(limits.idle_seconds), Duration::from_secs(limits.answer_seconds));
    // Two processes would take the room of one, and what the first one learnt is kept when it has ended.
    if !readers.wait_for_those_before(job, patience) {
        return refuse(readers, job, asked, &ReadError::Busy);
    }
    let files = || bench.folders.new_work_file().map(|(_, path)| Temporary::new(path));
    let made = files().and_then(|index| Ok((index, files()?)));
    let (index, unpacked) = match made {
        Ok(made) => made,
        Err(error) => return refuse(readers, job, asked, &ReadError::Ours(error.to_string())),
    };
    let mut judged = Judged::of(bench, job);
    let order = order(bench, job, &index, &unpacked, judged.as_ref());
    let mut reader = match Reader::start(&bench.program, &order) {
        Ok(reader) => reader,
        Err(error) => return refuse(readers, job, asked, &ReadError::Ours(error.to_string())),
    };
    tracing::info!(entry = job.entry, process = reader.process_id(), "a reader is started");
    let mut next = None;
    let mut made = None;
    let died = loop {
        let question = match next.take().map_or_else(|| asked.recv_timeout(idle), Ok) {
            Ok(question) => question,
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => {
                let gone = readers.leave(job, || {
                    next = asked.try_recv().ok();
                    next.is_some()
                });
                if gone { break false } else { continue }
            }
        };
        let Question { ask, answer, waits } = question;
        // The packets of a flow are not searched for.
        let are_asked = matches!(&ask, Ask::Rows { flow: None, filter, .. } if asks_verdicts(filter));
        if let (Some(judged), Ask::Rows { search: true, .. }) = (&mut judged, &ask)
            && are_asked
            && let Err(error) = judged.go_on(bench, job, u64::MAX)
        {
            // The search would wait for them, and nobody would say why.
            drop(waits);
            let _ = answer.send(Err(error));
            continue;
        }
        match reader.ask(&ask, patience) {
            Ok(Answer { read, said, .. }) => {
                made = made.or(read.index_bytes);
                let verdicts = judged.as_ref().map(|judged| judged.known(are_asked));
                // Whoever hears the answer finds the reader idle; whoever asked may have gone.
                drop(waits);
                let _ = answer.send(Ok(Told { read, said, verdicts }));
            }
            Err(end) => {
                let error = told(&end);
                tracing::warn!(entry = job.entry, end = clean(&end.to_string()), "a reader is gone");
                if matches!(error, ReadError::Died(_)) {
                    Figures::count(&bench.figures.readers_died);
                }
                readers.leave(job, || false);
                // Whoever waits behind would get no other answer.
                let _ = answer.send(Err(error.clone()));
                while let Ok(question) = asked.try_recv() {
                    let _ = question.answer.send(Err(error.clone()));
                }
                // Of a slow one the index is as good as before.
                let is_innocent =
                    matches!(end, WorkerEnd::Failed(_) | WorkerEnd::WallTime { .. } | WorkerEnd::CpuTime { .. });
                break !is_innocent;
            }
        }
    };
    // From here on it writes no more.
    drop(reader);
    let kept = match &job.what {
        What::Live { .. } => Ok(false),
        What::Entry { key, .. } if died => forget(bench, key).map(|()| false),
        What::Entry { .. } => keep(bench, job, made, &index),
    };
    match kept {
        Ok(is_kept) => tracing::info!(entry = job.entry, is_kept, died, "a reader has ended"),
        Err(error) => tracing::warn!(entry = job.entry, error, "an index cannot be kept"),
    }
}

/// Tells whoever asked that there is no reader.
fn refuse(readers: &Readers, job: &Job, asked: &Receiver<Question>, error: &ReadError) {
    // That there is no room is nobody's mistake, and however often somebody asks no more is known.
    if matches!(error, ReadError::Busy) {
        tracing::info!(entry = job.entry, "a reader has waited in vain for the end of another one");
    } else {
        tracing::error!(entry = job.entry, ?error, "a reader cannot be started");
    }
    readers.leave(job, || false);
    while let Ok(question) = asked.try_recv() {
        let _ = question.answer.send(Err(error.clone()));
    }
}

fn order(bench: &Bench, job: &Job, index: &Temporary, unpacked: &Temporary, judged: Option<&Judged>) -> BrowseOrder {
    let (limits, browse) = (&bench.config.limits, &bench.config.browse);
    let (kept, identity, follows) = match &job.what {
        What::Entry { key, sha256, .. } => (Some(bench.folders.index(key)), sha256.to_string(), false),
        What::Live { follows, .. } => (None, String::new(), *follows),
    };
    // An index is made by this bound and believed only of the same: it does not hang on the time.
    let unpacked_bytes = browse.unpacked_bytes.min(limits.unpacked_bytes);
    BrowseOrder {
        capture: job.what.capture(bench),
        identity,
        kept: kept.filter(|kept| kept.is_file()),
        follows,
        index: index.path().to_owned(),
        unpacked: unpacked.path().to_owned(),
        tables: Some(bench.folders.tables().to_owned()),
        judged: judged.map(|judged| judged.file.path().to_owned()),
        packets: browse.packets,
        index_bytes: browse.index_bytes,
        unpacking: Unpacking { bytes: unpacked_bytes, ratio: limits.expansion_ratio },
        limits: WorkerLimits {
            memory_bytes: browse.memory_bytes,
            cpu_seconds: browse.cpu_seconds,
            // What it unpacks ends at its own bound; this one is for a reader that was taken over.
            file_bytes: unpacked_bytes.max(browse.index_bytes).saturating_add(1 << 20),
            open_files: bench.config.worker.open_files,
            without_sandbox: bench.config.worker.without_sandbox,
        },
    }
}

/// Why there is no answer.
fn told(end: &WorkerEnd) -> ReadError {
    match end {
        WorkerEnd::Failed(failed) => match failed.why {
            FailedWhy::Empty | FailedWhy::NotACapture | FailedWhy::Unreadable => {
                ReadError::Capture(clean(&failed.words))
            }
            _ => ReadError::Ours(clean(&failed.words)),
        },
        WorkerEnd::Start(error) => ReadError::Ours(error.to_string()),
        WorkerEnd::Memory => ReadError::Died(Death::Memory),
        WorkerEnd::WallTime { .. } | WorkerEnd::NotBegun { .. } | WorkerEnd::Silent { .. } => {
            ReadError::Died(Death::Slow)
        }
        WorkerEnd::CpuTime { .. } => ReadError::Died(Death::Worn),
        WorkerEnd::Forbidden | WorkerEnd::Babble { .. } | WorkerEnd::FileSize { .. } => ReadError::Died(Death::Odd),
        WorkerEnd::Crashed { .. } | WorkerEnd::Killed => ReadError::Died(Death::Crash),
    }
}

/// Keeps an index that was made, where it is what the reader said and there is room for it.
fn keep(bench: &Bench, job: &Job, made: Option<u64>, index: &Temporary) -> Result<bool, String> {
    let Some(bytes) = made else { return Ok(false) };
    let file = File::open(index.path()).map_err(|error| error.to_string())?;
    let written = file.metadata().map_err(|error| error.to_string())?.len();
    if written != bytes || bytes > bench.config.browse.index_bytes {
        return Err("the reader wrote something else than it said".to_owned());
    }
    file.sync_all().map_err(|error| error.to_string())?;
    let quota = bench.config.limits.quota_bytes;
    let kept = bench.db.run_blocking(|c| keep_index(c, &bench.folders, job.entry, index.path(), quota));
    kept.map_err(|error| error.to_string())
}

/// An index by which a reader may have died is not used again.
fn forget(bench: &Bench, key: &Key) -> Result<(), String> {
    bench.db.run_blocking(|c| drop_index(c, &bench.folders, key)).map_err(|error| error.to_string())
}
