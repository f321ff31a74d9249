//! What the analysis of an entry said of flows, written down for a reader of its packets.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};

use veilwatch::worker::browse::JUDGED_FLOWS;

use super::serve::{Job, What};
use crate::jobs::Bench;
use crate::jobs::tasks::Temporary;
use crate::results::{PAGE_ROWS, ResultFile};

/// What the fields of a filter begin with that speak of verdicts.
pub(super) const OF_VERDICTS: &str = "ml.";
/// Flows that are written before the first packet is shown; more of them only for whoever asks for verdicts, who waits then.
const AT_ONCE: usize = 100_000;

/// A file with what the analysis said of flows; empty where nobody needed it yet.
pub(super) struct Judged {
    pub(super) file: Temporary,
}

impl Judged {
    /// None where nothing was analysed, or there is no room.
    pub(super) fn of(bench: &Bench, job: &Job) -> Option<Self> {
        if !job.what.is_judged() {
            return None;
        }
        let (_, path) = bench.folders.new_work_file().ok()?;
        let judged = Self { file: Temporary::new(path) };
        judged.write(bench, job, AT_ONCE);
        Some(judged)
    }

    /// Writes it, if it is not there and is of no more than `most` flows, or as many as a reader is told of. A result that cannot
    /// be read says nothing; its pages say why.
    pub(super) fn write(&self, bench: &Bench, job: &Job, most: usize) {
        let What::Entry { key, .. } = &job.what else { return };
        let write = || -> Result<(), String> {
            let words = |error: &dyn std::fmt::Display| error.to_string();
            let mut file = OpenOptions::new().write(true).open(self.file.path()).map_err(|error| words(&error))?;
            if file.metadata().map_err(|error| words(&error))?.len() > 0 {
                return Ok(());
            }
            let milliseconds = bench.config.limits.search_milliseconds;
            let result = ResultFile::open(&bench.folders.result(key), milliseconds).map_err(|error| words(&error))?;
            let told = tell(&result, &mut file, most);
            if !matches!(told, Ok(true)) {
                file.set_len(0).map_err(|error| words(&error))?;
            }
            told.map(drop)
        };
        if let Err(error) = write() {
            tracing::warn!(entry = job.entry, error, "verdicts cannot be told to a reader");
        }
    }
}

/// Says whether these are all, or as many as there may be at most.
fn tell(result: &ResultFile, file: &mut impl Write, most: usize) -> Result<bool, String> {
    let (mut after, mut told) = (-1, 0);
    let mut file = BufWriter::with_capacity(1 << 16, file);
    let failed = |error: io::Error| error.to_string();
    loop {
        let flows = result.verdicts(after, PAGE_ROWS).map_err(|error| error.to_string())?;
        let Some((last, _)) = flows.last() else { break };
        after = *last;
        let room = most - told;
        for (_, flow) in flows.iter().take(room) {
            serde_json::to_writer(&mut file, flow).map_err(|error| failed(error.into()))?;
            file.write_all(b"\n").map_err(failed)?;
        }
        if flows.len() > room {
            file.flush().map_err(failed)?;
            return Ok(most >= JUDGED_FLOWS);
        }
        told += flows.len();
    }
    file.flush().map_err(failed)?;
    Ok(true)
}
