//! What the analysis of an entry said of flows, written down for a reader of its packets.
//!
//! Flows are told a page of the result at a time. Whoever asks for the verdicts of a large one waits for a part of them only,
//! and the next question goes on from there; the reader looks into the file once its first byte says that it is whole. Where
//! a result has more flows than are told, malicious and suspicious ones come first.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use veilwatch::worker::browse::{JUDGED_PART, JudgedFlow};

use super::pool::{Death, ReadError};
use super::serve::{Job, What};
use crate::jobs::Bench;
use crate::jobs::tasks::Temporary;
use crate::results::{PAGE_ROWS, ResultError, ResultFile};

/// What comes before the first row.
const BEGIN: i64 = -1;

/// A file with what the analysis said of flows, and how far it is written.
pub(super) struct Judged {
    pub(super) file: Temporary,
    telling: Telling,
}

/// What a reader knows of the verdicts of an analysis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Whether the question speaks of them.
    pub are_asked: bool,
    /// Whether all are there that it is told. Before that no packet is marked, and a search that speaks of them has not begun.
    pub are_told: bool,
    /// Flows that it was told of so far.
    pub told: u64,
    /// Flows that it is told of in the end.
    pub to_tell: u64,
    /// Flows of the result.
    pub flows: u64,
    /// Whether not even all malicious and suspicious flows have room.
    pub lacks_alerts: bool,
}

impl Judged {
    /// None where nothing was analysed, or no file can be made.
    pub(super) fn of(bench: &Bench, job: &Job) -> Option<Self> {
        if !job.what.is_judged() {
            return None;
        }
        let (_, path) = bench.folders.new_work_file().ok()?;
        let browse = &bench.config.browse;
        let mut judged = Self { file: Temporary::new(path), telling: Telling::new(browse.judged_flows.into()) };
        // Packets can be shown without: whoever asks for verdicts hears why there are none.
        let _ = judged.go_on(bench, job, browse.marked_flows.into());
        Some(judged)
    }

    /// Tells more flows, if the result has no more than `most` of them. That takes half of the time that an answer may take,
    /// and a page more: the reader's own part of the answer comes after it.
    ///
    /// # Errors
    /// Where the result cannot be read, or there is no room. What was told until then stays.
    pub(super) fn go_on(&mut self, bench: &Bench, job: &Job, most: u64) -> Result<(), ReadError> {
        let What::Entry { key, .. } = &job.what else { return Ok(()) };
        if self.telling.stage == Stage::Told {
            return Ok(());
        }
        if !bench.has_room() {
            return Err(ReadError::Full);
        }
        let (limits, browse) = (&bench.config.limits, &bench.config.browse);
        let until = Instant::now() + Duration::from_secs(browse.answer_seconds) / 2;
        let result = ResultFile::open(&bench.folders.result(key), limits.search_milliseconds).map_err(of_result)?;
        if self.telling.flows(&result)? > most {
            return Ok(());
        }
        let file = OpenOptions::new().write(true).open(self.file.path()).map_err(ours)?;
        while self.telling.more(&result, &file, PAGE_ROWS)? && Instant::now() < until {}
        Ok(())
    }

    /// What the reader knows, for a question that speaks of verdicts or of something else.
    pub(super) fn known(&self, are_asked: bool) -> Verdicts {
        let Telling { most, flows, stage, told, lacks_alerts, .. } = self.telling;
        let flows = flows.unwrap_or_default();
        let are_told = stage == Stage::Told;
        Verdicts { are_asked, are_told, told, to_tell: flows.min(most), flows, lacks_alerts }
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

/// How far flows are told.
struct Telling {
    /// Flows that are told at most.
    most: u64,
    /// Flows of the result, once they were counted.
    flows: Option<u64>,
    stage: Stage,
    /// The row behind which it goes on.
    after: i64,
    /// Flows that were told.
    told: u64,
    /// Bytes of the file that say so. A page that was not written whole lies behind them, and is written again.
    bytes: u64,
    lacks_alerts: bool,
}

/// Which flows are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// All of them, in their order.
    All,
    /// Malicious and suspicious ones, because not all have room.
    Alerts,
    /// The others after these.
    Others,
    /// None any more: the file is whole.
    Told,
}

impl Telling {
    fn new(most: u64) -> Self {
        Self { most, flows: None, stage: Stage::All, after: BEGIN, told: 0, bytes: 0, lacks_alerts: false }
    }

    /// Flows of the result. They are counted before any is told.
    fn flows(&mut self, result: &ResultFile) -> Result<u64, ReadError> {
        if let Some(flows) = self.flows {
            return Ok(flows);
        }
        let flows = result.flow_count().map_err(of_result)?;
        self.flows = Some(flows);
        if flows > self.most {
            self.stage = Stage::Alerts;
        }
        Ok(flows)
    }

    /// Tells those of the next `rows` rows that there is room for; says whether more may be left. After an error it is where it
    /// was before.
    fn more(&mut self, result: &ResultFile, file: &File, rows: u32) -> Result<bool, ReadError> {
        self.flows(result)?;
        let page = match self.stage {
            Stage::Told => return Ok(false),
            Stage::Alerts => alerts(result, self.after, rows),
            Stage::All | Stage::Others => result.verdicts(self.after, rows),
        };
        let page = page.map_err(of_result)?;
        // One that somebody forged may say that its rows come in another order: it ends there.
        let Some(last) = page.last().map(|(row, _)| *row).filter(|row| *row > self.after) else {
            if self.stage == Stage::Alerts {
                (self.stage, self.after) = (Stage::Others, BEGIN);
                return Ok(true);
            }
            return self.end(file);
        };
        let is_told =
            |flow: &JudgedFlow| self.stage == Stage::Others && flow.verdict.is_some_and(|verdict| verdict.is_alert());
        let left: Vec<&JudgedFlow> = page.iter().map(|(_, flow)| flow).filter(|flow| !is_told(flow)).collect();
        let room = usize::try_from(self.most.saturating_sub(self.told)).unwrap_or(usize::MAX);
        let mut lines = Vec::new();
        if self.bytes == 0 {
            lines.push(JUDGED_PART);
        }
        for flow in left.iter().take(room) {
            serde_json::to_writer(&mut lines, flow).map_err(ours)?;
            lines.push(b'\n');
        }
        file.write_all_at(&lines, self.bytes).map_err(ours)?;
        self.bytes += lines.len() as u64;
        self.told += left.len().min(room) as u64;
        self.after = last;
        if left.len() > room {
            self.lacks_alerts |= self.stage == Stage::Alerts;
            return self.end(file);
        }
        Ok(true)
    }

    /// Says in the file that it is whole.
    fn end(&mut self, file: &File) -> Result<bool, ReadError> {
        file.set_len(self.bytes).map_err(ours)?;
        // The first line is an empty one from here on.
        file.write_all_at(b"\n", 0).map_err(ours)?;
        self.stage = Stage::Told;
        Ok(false)
    }
}

/// The malicious and suspicious flows among the next ones behind a row, `rows` of them at most.
fn alerts(result: &ResultFile, after: i64, rows: u32) -> Result<Vec<(i64, JudgedFlow)>, ResultError> {
    // Their own index leads to their lines, which say where they are. Those that stand side by side are read at once.
    let lines = result.lines(after, rows, true)?;
    let mut found = Vec::new();
    for beside in lines.chunk_by(|(row, _), (next, _)| row.checked_add(1) == Some(*next)) {
        if let Some((first, _)) = beside.first() {
            let count = u32::try_from(beside.len()).unwrap_or(u32::MAX);
            found.extend(result.verdicts(first.saturating_sub(1), count)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    use veilwatch::config::Config;
    use veilwatch::engine::{Pipeline, Progress, RunOptions, run};
    use veilwatch::plugins::Registry;
    use veilwatch::source::Source;

    use super::*;
    use crate::results::ResultWriter;

    /// The result of a capture in which alerts stand among other flows.
    fn result(folder: &Path) -> ResultFile {
        let pipeline = Pipeline::new(Config::builtin().unwrap(), &mut Registry::with_builtins().unwrap()).unwrap();
        let path = folder.join("result");
        std::fs::write(&path, b"").unwrap();
        let mut writer = ResultWriter::open(&path, &pipeline).unwrap();
        let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/captures/first-run.pcap");
        let source = Source::open(&capture, &pipeline.config().input).unwrap();
        let (stop, progress) = (AtomicBool::new(false), Progress::default());
        let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
        let summary = run(&pipeline, source, options, writer.as_mut()).unwrap();
        writer.finish(&summary).unwrap();
        ResultFile::open(&path, 20_000).unwrap()
    }

    /// Tells all of it, so many rows at a time; every second try fails. Gives what the file says in the end.
    fn told(folder: &Path, result: &ResultFile, telling: &mut Telling, rows: u32) -> Vec<JudgedFlow> {
        let path = folder.join("told");
        std::fs::write(&path, b"").unwrap();
        loop {
            // One that may not be written.
            let is_over = telling.more(result, &File::open(&path).unwrap(), rows).is_ok_and(|more| !more);
            assert!(!is_over && std::fs::read(&path).unwrap().first().is_none_or(|first| *first == JUDGED_PART));
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            if !telling.more(result, &file, rows).unwrap() {
                break;
            }
        }
        let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
        let lines = text.strip_prefix('\n').unwrap().lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn flows_are_told_page_by_page_and_alerts_first_where_not_all_have_room() {
        let folder = tempfile::tempdir().unwrap();
        let result = result(folder.path());
        let all: Vec<JudgedFlow> =
            result.verdicts(BEGIN, PAGE_ROWS).unwrap().into_iter().map(|(_, flow)| flow).collect();
        let is_alert = |flow: &JudgedFlow| flow.verdict.is_some_and(|verdict| verdict.is_alert());
        let (alerts, others): (Vec<JudgedFlow>, Vec<JudgedFlow>) = all.iter().copied().partition(is_alert);
        assert!(alerts.len() > 7 && others.len() > 7 && !all.is_sorted_by_key(|flow| !is_alert(flow)));
        let packets = |flows: &[JudgedFlow]| flows.iter().map(|flow| flow.packet).collect::<Vec<u64>>();
        let first: Vec<JudgedFlow> = alerts.iter().chain(&others).copied().collect();
        let few = alerts.len();
        for (most, wanted, lacks_alerts) in [
            (all.len() + 9, &all[..], false),
            (all.len(), &all[..], false),
            (all.len() - 1, &first[..all.len() - 1], false),
            (few + 1, &first[..=few], false),
            (few, &alerts[..], false),
            (few - 1, &alerts[..few - 1], true),
            (1, &alerts[..1], true),
        ] {
            for rows in [1, 3, PAGE_ROWS] {
                let mut telling = Telling::new(most as u64);
                let told = told(folder.path(), &result, &mut telling, rows);
                assert_eq!(packets(&told), packets(wanted), "{most}, {rows} rows at a time");
                assert_eq!((telling.told, telling.lacks_alerts), (wanted.len() as u64, lacks_alerts), "{most}");
            }
        }
    }
}
