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
const AT_ONCE: u64 = 100_000;

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
        let _ = judged.write(bench, job, AT_ONCE as usize);
        Some(judged)
    }

    /// Writes it, if it is not there, and the result has no more than `most` flows or these are as many as a reader is told of.
    ///
    /// # Errors
    /// Where the result cannot be read, that takes longer than an answer may, or there is no room.
    pub(super) fn write(&self, bench: &Bench, job: &Job, most: usize) -> Result<(), ReadError> {
        let What::Entry { key, .. } = &job.what else { return Ok(()) };
        let ours = |error: &dyn std::fmt::Display| {
            tracing::warn!(entry = job.entry, %error, "verdicts cannot be told to a reader");
            ReadError::Ours(error.to_string())
        };
        let of_result = |error: ResultError| match error {
            ResultError::TooSlow { .. } => ReadError::Died(Death::Slow),
            error => ours(&error),
        };
        let mut file = OpenOptions::new().write(true).open(self.file.path()).map_err(|error| ours(&error))?;
        if file.metadata().map_err(|error| ours(&error))?.len() > 0 {
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
            file.set_len(0).map_err(|error| ours(&error))?;
        }
        told.map_err(|error| match error {
            Untold::Result(error) => of_result(error),
            Untold::File(error) => ours(&error),
            Untold::Slow => ReadError::Died(Death::Slow),
        })
    }
}

enum Untold {
    Result(ResultError),
    File(std::io::Error),
    Slow,
}

fn tell(result: &ResultFile, file: &mut impl Write, most: usize, until: Instant) -> Result<(), Untold> {
    let (mut after, mut room) = (-1, most);
    let mut file = BufWriter::with_capacity(1 << 16, file);
    // Of no flow at all the file is not empty either.
    file.write_all(b"\n").map_err(Untold::File)?;
    while room > 0 {
        let flows = result.verdicts(after, PAGE_ROWS).map_err(Untold::Result)?;
        let Some((last, _)) = flows.last() else { break };
        after = *last;
        for (_, flow) in flows.iter().take(room) {
            serde_json::to_writer(&mut file, flow).map_err(|error| Untold::File(error.into()))?;
            file.write_all(b"\n").map_err(Untold::File)?;
        }
        room = room.saturating_sub(flows.len());
        if Instant::now() >= until {
            return Err(Untold::Slow);
        }
    }
    file.flush().map_err(Untold::File)
}
