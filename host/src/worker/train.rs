//! A model from labelled data and from what people marked, beside the one that there is.
//!
//! The child reads the operator's data, the marks and the captures that they are of, and writes one file: the model's files
//! behind a line that says what came of it. The parent takes the file apart ([`unpack`]) within bounds, and believes the
//! model no further than any other that comes from elsewhere.

use super::events::{Watched, failed};
use super::order::{Failed, FailedWhy, LearnStage, Learnt, TrainTask};
use crate::config::Config;
use crate::engine::Pipeline;
use crate::evaluate::{Bench, Digest, Judgement, Plan, Steps, judge, versus};
use crate::learn::{self, Conflict, Dataset, Feedback, LearnError, LoadOptions, Loading, Origin, Recipe, Truth};
use crate::model::{Compared, Model, compare_reports};
use crate::output::plain;
use crate::plugins::Registry;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use veilwatch_core::detect::Verdict;

/// Version of the file's layout.
const FORMAT: u32 = 1;
/// Bytes of its first line, at most.
const HEAD_BYTES: u64 = 4 << 20;
/// Conflicts, and flows with another verdict, that are told one by one.
const TOLD: usize = 200;
/// Things that are said of the data.
const SAID: usize = 50;
/// Characters of a text in a report.
const TEXT: usize = 300;
/// Time between two looks at how many captures were read.
const EVERY: Duration = Duration::from_millis(100);
/// The files that a model may have.
const FILES: [&str; 4] = ["card.json", "weights.bin", "memory.bin", Digest::FILE];

/// What came of a training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainReport {
    /// Captures with rows.
    pub captures: u64,
    /// Malicious flows, benign ones, infected machines' own, and those without a strong label.
    pub flows: [u64; 4],
    /// Marks that count.
    pub marks: u64,
    /// Marks that are learnt from.
    pub marks_learnt: u64,
    /// Marks that say what labels say.
    pub marks_agreed: u64,
    /// Marks whose capture was not read, and such that belong to no flow with a row.
    pub marks_lost: [u64; 2],
    /// How many marks contradict strong labels.
    pub conflict_count: u64,
    /// The first of them.
    pub conflicts: Vec<ToldConflict>,
    /// What is to be said of the data: captures that were left out, tables that were changed.
    pub said: Vec<String>,
    /// Folds of the comparison.
    pub folds: u64,
    /// The figures of both on the same folds: `one` is as the champion learns, `other` as the challenger does.
    pub figures: Vec<ToldFigure>,
    /// Why there is no champion to compare with, where there is none.
    pub alone: Option<String>,
    /// Marked flows of which the champion's verdict is another than the challenger's.
    pub changed_count: u64,
    /// The first of them.
    pub changed: Vec<Changed>,
    /// Why nothing was audited, where nothing was.
    pub not_judged: Option<String>,
}

/// A mark that contradicts a strong label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToldConflict {
    /// The capture as the data call it.
    pub capture: String,
    /// The flow, as one reads it.
    pub flow: String,
    /// What the label says.
    pub label: String,
    /// What the mark says.
    pub malicious: bool,
    /// Who says so.
    pub by: String,
    /// Why.
    pub words: String,
}

/// One figure of two ways to learn, each with its interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToldFigure {
    /// What it is.
    pub figure: String,
    /// The champion's.
    pub one: Option<crate::model::Figure>,
    /// The challenger's.
    pub other: Option<crate::model::Figure>,
    /// How the challenger stands to the champion.
    pub standing: Option<crate::model::Standing>,
}

impl From<Compared> for ToldFigure {
    fn from(row: Compared) -> Self {
        Self { figure: row.figure.to_owned(), one: row.one, other: row.other, standing: row.standing }
    }
}

/// What a model says of a flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// `malicious`, `suspicious`, `benign` or `unknown`.
    pub verdict: String,
    /// The score, where there is one.
    pub score: Option<f64>,
}

/// A marked flow that is judged otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// SHA-256 of its capture, in hexadecimal.
    pub sha256: String,
    /// Number of its first packet.
    pub packet: u64,
    /// What the mark says.
    pub malicious: bool,
    /// Who says so.
    pub by: String,
    /// What the champion says.
    pub before: Said,
    /// What the challenger says, which learnt from the mark.
    pub after: Said,
    /// What it would say had it not learnt from this capture's marks; none where no fold held the capture back.
    pub held_out: Option<Said>,
}

/// The first line of what a training leaves.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: u32,
    report: TrainReport,
    /// What follows: names and lengths; nothing where nothing was trained.
    files: Vec<(String, u64)>,
}

/// Why what a training left is not taken.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It cannot be read, or its files not be written.
    #[error("what a training left cannot be taken: {0}")]
    File(#[from] std::io::Error),
    /// It is not what a training leaves.
    #[error("a training left what is no model ({0})")]
    Foreign(&'static str),
}

/// Takes apart what a training left: writes the model's files into a folder that is there and empty. Says what came of it,
/// and whether there is a model.
///
/// # Errors
/// Where it is not what a training leaves, or a file cannot be read or written.
pub fn unpack(from: &Path, into: &Path) -> Result<(TrainReport, bool), UnpackError> {
    let file = File::open(from)?;
    let mut left = file.metadata()?.len();
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    file.by_ref().take(HEAD_BYTES).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(UnpackError::Foreign("its first line is none"));
    }
    left = left.saturating_sub(line.len() as u64);
    let head: Head = serde_json::from_slice(&line).map_err(|_| UnpackError::Foreign("its first line is none"))?;
    if head.format != FORMAT || !head.report.is_possible() {
        return Err(UnpackError::Foreign("its report cannot be"));
    }
    let mut before: Vec<&str> = Vec::new();
    for (name, _) in &head.files {
        if !FILES.contains(&name.as_str()) || before.contains(&name.as_str()) {
            return Err(UnpackError::Foreign("it has files that no model has"));
        }
        before.push(name);
    }
    let all = head.files.iter().try_fold(0u64, |sum, (_, bytes)| sum.checked_add(*bytes));
    if all != Some(left) {
        return Err(UnpackError::Foreign("its files are of other lengths"));
    }
    for (name, bytes) in &head.files {
        let mut to = File::create_new(into.join(name))?;
        std::io::copy(&mut file.by_ref().take(*bytes), &mut to)?;
        to.sync_all()?;
    }
    Ok((head.report, !head.files.is_empty()))
}

impl TrainReport {
    /// Whether lists, texts and numbers are within bounds: what a child writes may be anybody's.
    fn is_possible(&self) -> bool {
        let short = |text: &str| text.chars().count() <= TEXT && plain(text) == text;
        let said = |said: &Said| {
            let all = [Verdict::Unknown, Verdict::Benign, Verdict::Suspicious, Verdict::Malicious];
            all.iter().any(|verdict| verdict.name() == said.verdict)
                && said.score.is_none_or(|score| (0.0..=1.0).contains(&score))
        };
        let sound = |figure: &Option<crate::model::Figure>| {
            figure.is_none_or(|figure| [figure.value, figure.low, figure.high].iter().all(|part| part.is_finite()))
        };
        self.conflicts.len() <= TOLD
            && self.changed.len() <= TOLD
            && self.said.len() <= SAID
            && self.figures.len() <= TOLD
            && self.said.iter().chain(&self.alone).chain(&self.not_judged).all(|text| short(text))
            && self.figures.iter().all(|row| short(&row.figure) && sound(&row.one) && sound(&row.other))
            && self.conflicts.iter().all(|one| {
                [&one.capture, &one.flow, &one.label, &one.by, &one.words].into_iter().all(|text| short(text))
            })
            && self.changed.iter().all(|one| {
                one.sha256.len() == 64
                    && one.sha256.bytes().all(|byte| byte.is_ascii_hexdigit())
                    && short(&one.by)
                    && said(&one.before)
                    && said(&one.after)
                    && one.held_out.as_ref().is_none_or(said)
            })
    }
}

/// A text of a table or a capture, fit for a report.
fn text(text: &str) -> String {
    plain(text).chars().take(TEXT).collect()
}

fn unlearnt(error: LearnError) -> Failed {
    let why = match &error {
        LearnError::Classifier { .. } => FailedWhy::Plugin,
        LearnError::Registry(_) | LearnError::NoClassifier => FailedWhy::Pipeline,
        _ => FailedWhy::Labels,
    };
    failed(why, error)
}

/// Trains, compares, and writes the file.
pub(super) fn train(data: &Path, task: &TrainTask, config: Config, watched: &Watched) -> Result<Learnt, Failed> {
    let unfit = |error: &dyn std::fmt::Display| failed(FailedWhy::Pipeline, error);
    let mut registry = Registry::with_builtins().map_err(|error| unfit(&error))?;
    // One that cannot be used any more keeps nobody from learning: it is told.
    let champion = match config.model.as_str() {
        "" => Err("there is none yet".to_owned()),
        name => Model::find(name, &config.models).map(|(model, _)| model).map_err(|error| text(&error.to_string())),
    };
    let mut pipeline = Pipeline::untrained(config, &mut registry).map_err(|error| unfit(&error))?;
    let (path, settings) = pipeline.classifier().ok_or(LearnError::NoClassifier).map_err(unlearnt)?;
    let (path, settings) = (path.to_owned(), settings.to_owned());
    let mut report = TrainReport::default();
    let marks = match &task.marks {
        Some(folder) => {
            let marks = Feedback::load(std::slice::from_ref(folder), task.on_conflict, task.weight);
            Some(marks.map_err(unlearnt)?)
        }
        None => None,
    };
    let data = gather(data, task, &pipeline, marks.as_ref(), watched, &mut report)?;
    if marks.as_ref().is_some_and(|marks| marks.refuses(&data)) {
        write(&task.result, report, None)?;
        return Ok(Learnt { trained: false });
    }
    watched.learning(LearnStage::Learning, 0, 1);
    let say = |done: usize, of: usize| watched.learning(LearnStage::Learning, done as u64, of as u64);
    let trained = learn::train_as(&registry, &pipeline, &settings, &data, &task.name, task.seed, say);
    let mut model = trained.map_err(unlearnt)?.model;
    let judged = audited(&registry, (&path, &settings), &data, &pipeline, task.seed, watched);
    match judged {
        Ok(judgement) => model.evaluation = Some(std::sync::Arc::new(Digest::of(&judgement))),
        Err(error) => report.not_judged = Some(text(&error.to_string())),
    }
    beside(&registry, &mut pipeline, &data, (champion, &model), &path, task.seed, watched, &mut report)?;
    watched.learning(LearnStage::Writing, 0, 1);
    write(&task.result, report, Some(&model))?;
    Ok(Learnt { trained: true })
}

/// All that is learnt from.
fn gather(
    folder: &Path,
    task: &TrainTask,
    pipeline: &Pipeline,
    marks: Option<&Feedback>,
    watched: &Watched,
    report: &mut TrainReport,
) -> Result<Dataset, Failed> {
    let (folders, tables): (Vec<_>, Vec<_>) =
        task.sources.iter().map(|name| folder.join(name)).partition(|path| path.is_dir());
    let mut origins: Vec<Origin> = folders.into_iter().map(Origin::Folder).collect();
    if !task.captures.is_empty() {
        origins.push(Origin::Marked(task.captures.clone()));
    }
    let loading = Loading::default();
    let options =
        LoadOptions { workers: usize::from(task.workers.clamp(1, 64)), feedback: marks, ..LoadOptions::default() };
    let mut data =
        reading(&loading, watched, || learn::load_from(&origins, pipeline, &options, &loading)).map_err(unlearnt)?;
    let mut cleaned: Option<String> = (!data.captures.is_empty()).then(String::new);
    for path in &tables {
        let table = learn::read_table(path, pipeline).map_err(unlearnt)?;
        let by = table.recipe.background_sha256.clone();
        let name = || text(&path.file_name().unwrap_or_default().to_string_lossy());
        if *cleaned.get_or_insert_with(|| by.clone()) != by {
            let words =
                "its rows were not cleaned by the same table of background traffic as the others, or not at all";
            return Err(failed(FailedWhy::Labels, format!("{}: {words}", name())));
        }
        if let Some(capture) = data.shared(&table) {
            let words = format!("{}: its capture {capture} is there already, in another table or beside it", name());
            return Err(failed(FailedWhy::Labels, words));
        }
        data.append(table);
    }
    let unreadable = data.unreadable.iter().map(|path| format!("{path}: no capture, left out"));
    let twins = data.duplicates.iter().map(|path| format!("{path}: the same capture as another, left out"));
    report.said = unreadable.chain(twins).chain(data.doubts.iter().cloned()).take(SAID).map(|it| text(&it)).collect();
    let background_sha256 = cleaned.unwrap_or_default();
    let mut recipe = Recipe { clean: !background_sha256.is_empty(), background_sha256, ..Recipe::default() };
    if let Some(marks) = marks {
        let lost = marks.lost();
        report.marks = marks.len() as u64;
        report.marks_learnt = data.marked.rows.len() as u64;
        report.marks_agreed = data.marked.agreed as u64;
        report.marks_lost = [lost.without_capture as u64, lost.without_flow as u64];
        report.conflict_count = data.marked.conflicts.len() as u64;
        report.conflicts = data.marked.conflicts.iter().take(TOLD).map(told).collect();
        recipe.feedback = Some(marks.settle(&mut data));
    }
    data.set_recipe(recipe);
    let count = |truth| data.count(truth) as u64;
    report.captures = data.captures.len() as u64;
    report.flows = [Truth::Malicious, Truth::Benign, Truth::Background, Truth::Unlabelled].map(count);
    Ok(data)
}

fn told(conflict: &Conflict) -> ToldConflict {
    let Conflict { capture, flow, label, malicious, by, words, .. } = conflict;
    let label = label.name().to_owned();
    ToldConflict {
        capture: text(capture),
        flow: text(flow),
        label,
        malicious: *malicious,
        by: text(by),
        words: text(words),
    }
}

/// Reads while another thread tells how many captures were.
fn reading<T>(loading: &Loading, watched: &Watched, read: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let tell = || {
            while !done.load(Ordering::Relaxed) {
                let count = |counter: &std::sync::atomic::AtomicUsize| counter.load(Ordering::Relaxed) as u64;
                watched.learning(LearnStage::Reading, count(&loading.done), count(&loading.total));
                std::thread::sleep(EVERY);
            }
        };
        // Where there can be no thread, the work still can be done.
        let _teller = std::thread::Builder::new().name("loading".into()).spawn_scoped(scope, tell);
        let outcome = read();
        done.store(true, Ordering::Relaxed);
        outcome
    })
}

/// The quick evaluation of how the challenger learns, with its audit.
fn audited(
    registry: &Registry,
    classifier: (&str, &str),
    data: &Dataset,
    pipeline: &Pipeline,
    seed: u64,
    watched: &Watched,
) -> Result<Judgement, LearnError> {
    let columns: Vec<String> = pipeline.schema().columns().iter().map(|column| column.name.to_string()).collect();
    let plan = Plan { seed, quick: true, table_only: false, own_table: false, planted: false };
    let schema_sha256 = pipeline.schema().hash();
    let (set, sets, altered) = ("own", &[][..], &[][..]);
    let bench = Bench { registry, classifier, data, set, columns: &columns, schema_sha256, sets, altered, plan };
    let mut say = |_: &str, done: usize, of: usize| watched.learning(LearnStage::Judging, done as u64, of as u64);
    judge(&bench, &mut Steps::new(&mut say))
}

/// The champion beside the challenger: on the same folds, and on the marked flows.
#[allow(clippy::too_many_arguments, reason = "what a comparison needs, once")]
fn beside(
    registry: &Registry,
    pipeline: &mut Pipeline,
    data: &Dataset,
    (champion, challenger): (Result<Model, String>, &Model),
    path: &str,
    seed: u64,
    watched: &Watched,
    report: &mut TrainReport,
) -> Result<(), Failed> {
    let champion = champion.map_err(|why| report.alone = Some(why)).ok();
    let procedure = champion.as_ref().map(|model| (model.card.classifier.as_str(), model.card.settings.as_str()));
    let say = |done: usize, of: usize| watched.learning(LearnStage::Comparing, done as u64, of as u64);
    let own = (path, challenger.card.settings.as_str());
    let both = versus(registry, data, procedure, own, seed, say).map_err(unlearnt)?;
    report.folds = both.folds as u64;
    report.figures = match &both.champion {
        Some(champion) => compare_reports(champion, &both.challenger).into_iter().map(Into::into).collect(),
        None => {
            let alone =
                |(figure, other): (&str, _)| ToldFigure { figure: figure.into(), one: None, other, standing: None };
            both.challenger.figures().map(alone).collect()
        }
    };
    let marked: Vec<(usize, &learn::Marked)> = data.marked.rows.iter().map(|(row, marked)| (*row, marked)).collect();
    let Some(champion) = champion.filter(|_| !marked.is_empty()) else { return Ok(()) };
    let rows: Vec<f32> = marked.iter().flat_map(|(row, _)| data.row(*row)).copied().collect();
    let mut verdicts = |model: &Model| -> Result<Vec<(Option<f64>, Verdict)>, String> {
        pipeline.use_model(model).map_err(|error| error.to_string())?;
        pipeline.judge_rows(&rows).map_err(|error| error.to_string())
    };
    let after = verdicts(challenger).map_err(|words| failed(FailedWhy::Plugin, words))?;
    let before = match verdicts(&champion) {
        Ok(before) => before,
        Err(words) => {
            report.alone = Some(text(&words));
            return Ok(());
        }
    };
    let said = |(score, verdict): (Option<f64>, Verdict)| Said { verdict: verdict.name().to_owned(), score };
    for (((row, mark), before), after) in marked.iter().zip(before).zip(after) {
        if before.1 == after.1 {
            continue;
        }
        report.changed_count += 1;
        let Some(facts) = data.rows.get(*row).filter(|_| report.changed.len() < TOLD) else { continue };
        let card = &challenger.card;
        let raw = both.held_out.get(*row).copied().filter(|raw| !raw.is_nan());
        let held_out =
            raw.map(|raw| card.calibration.score(raw)).map(|score| said((Some(score), card.thresholds.verdict(score))));
        report.changed.push(Changed {
            sha256: data.captures.get(facts.capture).map(|capture| capture.sha256.clone()).unwrap_or_default(),
            packet: facts.packet,
            malicious: mark.malicious,
            by: text(&mark.by),
            before: said(before),
            after: said(after),
            held_out,
        });
    }
    Ok(())
}

/// Writes the file that is there already.
fn write(path: &Path, report: TrainReport, model: Option<&Model>) -> Result<(), Failed> {
    let unwritten =
        |error: &dyn std::fmt::Display| failed(FailedWhy::Output, format!("the model cannot be written: {error}"));
    let files = model.map(Model::to_files).transpose().map_err(|error| unwritten(&error))?.unwrap_or_default();
    let lengths = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.len() as u64)).collect();
    let head = Head { format: FORMAT, report, files: lengths };
    let mut line = serde_json::to_vec(&head).map_err(|error| unwritten(&error))?;
    line.push(b'\n');
    let mut file = File::options().write(true).open(path).map_err(|error| unwritten(&error))?;
    let parts = std::iter::once(line.as_slice()).chain(files.iter().map(|(_, bytes)| bytes.as_slice()));
    for part in parts {
        file.write_all(part).map_err(|error| unwritten(&error))?;
    }
    file.flush().map_err(|error| unwritten(&error))
}
