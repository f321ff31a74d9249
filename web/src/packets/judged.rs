//! What the analysis of an entry said of flows, written down for a reader of its packets.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

use veilwatch::worker::browse::JUDGED_FLOWS;

use super::pool::{Death, ReadError};
use super::serve::{Job, What};
use crate::jobs::Bench;
use crate::jobs::tasks::Temporary;
use crate::results::{PAGE_ROWS, ResultError, ResultFile};

/// What the fields of a filter begin with that speak of verdicts.
pub(super) const OF_VERDICTS: &str = "ml.";
/// Flows that are told before the first packet is shown; of more, whoever asks for verdicts waits for them.
const AT_ONCE: usize = 100_000;

/// A file with what the analysis said of flows; empty where nobody needed it yet.
pub(super) struct Judged {
    pub(super) file: Temporary,
}

impl Judged {
    /// None where nothing was analysed, or no file can be made.
    pub(super) fn of(bench: &Bench, job: &Job) -> Option<Self> {
        if !job.what.is_judged() {
            return None;
        }
        let (_, path) = bench.folders.new_work_file().ok()?;
        let judged = Self { file: Temporary::new(path) };
        // Packets can be shown without: whoever asks for verdicts hears why there are none.
        let _ = judged.write(bench, job, AT_ONCE);
        Some(judged)
    }

    /// Writes it, if it is not there, and the result has no more than `most` flows or these are as many as a reader is told of.
    ///
    /// # Errors
    /// Where the result cannot be read, that takes longer than an answer may, or there is no room.
    pub(super) fn write(&self, bench: &Bench, job: &Job, most: usize) -> Result<(), ReadError> {
        let What::Entry { key, .. } = &job.what else { return Ok(()) };
        let mut file = OpenOptions::new().write(true).open(self.file.path()).map_err(ours)?;
        if file.metadata().map_err(ours)?.len() > 0 {
            return Ok(());
        }
        if !bench.has_room() {
            return Err(ReadError::Full);
        }
        let limits = &bench.config.limits;
        let result = ResultFile::open(&bench.folders.result(key), limits.search_milliseconds).map_err(of_result)?;
        if most < JUDGED_FLOWS && result.flow_count().map_err(of_result)? > most as u64 {
            return Ok(());
        }
        let until = Instant::now() + Duration::from_secs(bench.config.browse.answer_seconds);
        let told = tell(&result, &mut file, most, until);
        if told.is_err() {
            // A part would be taken for all of it.
            file.set_len(0).map_err(ours)?;
        }
        told
    }
}

fn ours(error: impl std::fmt::Display) -> ReadError {
    ReadError::Ours(error.to_string())
}

fn of_result(error: ResultError) -> ReadError {
    match error {
        ResultError::TooSlow { .. } => ReadError::Died(Death::Slow),
        error => ours(error),
    }
}

fn tell(result: &ResultFile, file: &mut impl Write, most: usize, until: Instant) -> Result<(), ReadError> {
    let (mut after, mut room) = (-1, most);
    let mut file = BufWriter::with_capacity(1 << 16, file);
    // Of no flow at all the file is not empty either.
    file.write_all(b"\n").map_err(ours)?;
    while room > 0 {
        let flows = result.verdicts(after, PAGE_ROWS).map_err(of_result)?;
        let Some((last, _)) = flows.last() else { break };
        after = *last;
        for (_, flow) in flows.iter().take(room) {
            serde_json::to_writer(&mut file, flow).map_err(ours)?;
            file.write_all(b"\n").map_err(ours)?;
        }
        room = room.saturating_sub(flows.len());
        if Instant::now() >= until {
            return Err(ReadError::Died(Death::Slow));
        }
    }
    file.flush().map_err(ours)
}
