//! What the categories are worth: `config/categories-truth.csv` against the engine.
//!
//! Each row of the truth names the flows to one service of one capture, and what they are for. The category function is
//! asked about all of them as if each were an alert, so that the verdict has no part in the figures; what comes through the
//! whole pipeline is counted beside it. A row's category is the one that most of its flows get.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use veilwatch::source::Source;
use veilwatch_core::detect::{Category, Verdict};
use veilwatch_core::record::{ClientHello, FieldId, Value};

/// Where the truth lies, from the root of the workspace.
pub(crate) const TRUTH: &str = "config/categories-truth.csv";

/// What is known of the flows to one service of one capture.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Row {
    /// The capture, relative to the data.
    pub(crate) capture: String,
    /// The server: an address, or a name by which it is asked for or that led there; `*` for any.
    pub(crate) server: String,
    /// Its port.
    pub(crate) port: u16,
    /// What the flows are for.
    pub(crate) category: Category,
    /// `tuned` where tables may be made better by it, `held` where not.
    #[serde(rename = "use")]
    pub(crate) part: String,
    /// How that is known.
    pub(crate) source: String,
}

/// All rows.
pub(crate) fn truth(root: &Path) -> Vec<Row> {
    let text = std::fs::read(root.join(TRUTH)).unwrap();
    csv::Reader::from_reader(&*text).deserialize().map(|row| row.unwrap()).collect()
}

/// What became of a row.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) row: Row,
    /// Flows that it selects.
    pub(crate) flows: usize,
    /// What most of them are said to be for, were they alerts.
    pub(crate) said: Option<Category>,
    /// The words that decided, of one of these.
    pub(crate) because: String,
    /// How many have a verdict that makes them alerts, and how many a category as the pipeline gives it.
    pub(crate) alerts: usize,
    pub(crate) through: usize,
    /// How many of the latter have the right one.
    pub(crate) through_right: usize,
}

/// Looks at the rows of one capture.
struct Looker<'a> {
    rows: Vec<(&'a Row, Vec<Seen>)>,
    host: Option<FieldId>,
}

/// A flow that a row selects.
struct Seen {
    said: Category,
    because: String,
    has_payload: bool,
    is_alert: bool,
    through: Option<Category>,
}

impl Sink for Looker<'_> {
    fn flow(&mut self, detection: &Detection<'_>) -> io::Result<()> {
        let flow = detection.flow;
        let text = |id| match flow.fields.get(id) {
            Some(Value::Bytes(name)) => String::from_utf8_lossy(name).to_ascii_lowercase(),
            _ => String::new(),
        };
        let link = flow.names.link.as_ref().map(|link| String::from_utf8_lossy(&link.name).to_ascii_lowercase());
        let names = [text(ClientHello::SNI), self.host.map(text).unwrap_or_default(), link.unwrap_or_default()];
        // The first of them that is there, as the truth names flows.
        let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        let address = flow.responder.ip().to_string();
        for (row, seen) in &mut self.rows {
            let selects = row.server == "*" || row.server == address || row.server == name;
            if !selects || row.port != flow.responder.port {
                continue;
            }
            let warnings = detection.pipeline.warnings(flow);
            let said = detection.pipeline.categorise(flow, true, &warnings).unwrap();
            seen.push(Seen {
                said: said.category,
                because: format!("{}: {}", said.reasons[0].rule.name(), said.reasons[0].words),
                has_payload: flow.stats.iter().any(|stats| stats.payload_bytes > 0),
                is_alert: detection.scored.and_then(|scored| scored.verdict).is_some_and(Verdict::is_alert),
                through: detection.category.map(|said| said.category),
            });
        }
        Ok(())
    }
}

/// Runs the engine over the captures of some rows, which lie in `data`, on so many threads.
pub(crate) fn look(rows: &[Row], data: &Path, pipeline: &Pipeline, threads: usize) -> Vec<Outcome> {
    let captures: Vec<&str> =
        rows.iter().map(|row| row.capture.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some(capture) = captures.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcomes = look_at(rows, data, pipeline, capture);
            done.lock().unwrap().insert(*capture, outcomes);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    done.into_inner().unwrap().into_values().flatten().collect()
}

fn look_at(rows: &[Row], data: &Path, pipeline: &Pipeline, capture: &str) -> Vec<Outcome> {
    let source = Source::open(&data.join(capture), &pipeline.config().input).unwrap();
    let rows = rows.iter().filter(|row| row.capture == capture).map(|row| (row, Vec::new())).collect();
    let mut looker = Looker { rows, host: pipeline.fields().id("http.hostname") };
    let (stop, progress) = (AtomicBool::new(false), Progress::default());
    let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
    run(pipeline, source, options, &mut looker).unwrap();
    looker.rows.into_iter().map(|(row, seen)| outcome(row, &seen)).collect()
}

fn outcome(row: &Row, seen: &[Seen]) -> Outcome {
    // Those in which nothing was said count where there are no others.
    let some: Vec<&Seen> = seen.iter().filter(|flow| flow.has_payload).collect();
    let some = if some.is_empty() { seen.iter().collect() } else { some };
    let count = |category| some.iter().filter(|flow| flow.said == category).count();
    let most = Category::ALL.into_iter().rev().max_by_key(|category| count(*category));
    let said = most.filter(|_| !some.is_empty());
    let because = some.iter().find(|flow| Some(flow.said) == said).map(|flow| flow.because.clone());
    Outcome {
        row: row.clone(),
        flows: seen.len(),
        said,
        because: because.unwrap_or_default(),
        alerts: seen.iter().filter(|flow| flow.is_alert).count(),
        through: seen.iter().filter(|flow| flow.through.is_some()).count(),
        through_right: seen.iter().filter(|flow| flow.through == Some(row.category)).count(),
    }
}

/// Figures of some rows.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// How often what was said is so: by truth and by what was said; in the order of [`Category::ALL`].
    confusion: [[usize; 6]; 6],
}

impl Figures {
    pub(crate) fn of<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Self {
        let mut figures = Self::default();
        let place = |category| Category::ALL.iter().position(|known| *known == category).unwrap();
        for outcome in outcomes {
            // A row that selects nothing is a mistake in the truth.
            let said = outcome.said.unwrap_or_else(|| panic!("selects no flow: {:?}", outcome.row));
            figures.confusion[place(outcome.row.category)][place(said)] += 1;
        }
        figures
    }

    fn precision(&self, at: usize) -> f64 {
        ratio(self.confusion[at][at], self.confusion.iter().map(|row| row[at]).sum())
    }

    fn recall(&self, at: usize) -> f64 {
        ratio(self.confusion[at][at], self.confusion[at].iter().sum())
    }

    /// Mean over the categories that have rows, but for `other`, which has too few.
    fn macro_mean(&self, of: impl Fn(usize) -> f64) -> f64 {
        let some: Vec<usize> = (0..5).filter(|at| self.confusion[*at].iter().sum::<usize>() > 0).collect();
        some.iter().map(|at| of(*at)).sum::<f64>() / some.len() as f64
    }

    pub(crate) fn macro_precision(&self) -> f64 {
        self.macro_mean(|at| self.precision(at))
    }

    pub(crate) fn macro_recall(&self) -> f64 {
        self.macro_mean(|at| self.recall(at))
    }

    /// A line for each category, and one for all.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for (at, category) in Category::ALL.into_iter().enumerate() {
            let (precision, recall) = (self.precision(at), self.recall(at));
            let rows: usize = self.confusion[at].iter().sum();
            let others = Category::ALL.into_iter().zip(self.confusion[at]);
            let others: Vec<String> = others
                .filter(|(other, count)| *other != category && *count > 0)
                .map(|(other, count)| format!("{count} {other}"))
                .collect();
            let others = if others.is_empty() { String::new() } else { format!("; taken for: {}", others.join(", ")) };
            let _ = writeln!(out, "  {category}: {rows} rows, precision {precision:.3}, recall {recall:.3}{others}");
        }
        let (precision, recall) = (self.macro_precision(), self.macro_recall());
        let _ = writeln!(out, "  mean, but for `other`: precision {precision:.3}, recall {recall:.3}");
        out
    }
}

fn ratio(part: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}
