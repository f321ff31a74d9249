//! Captures become labelled rows, through the very pipeline that detects.

use super::alter::{self, Alteration, RecordChanges};
use super::background::Background;
use super::feedback::{Feedback, Marked, MarkedRows, Said};
use super::labels::{CaptureRow, FlowLabels, Tables};
use super::random::fnv;
use super::sources::{self, Found, Origin};
use super::{LearnError, Negatives, Recipe, Truth};
use crate::engine::{self, Detection, Pipeline, PluginErrors, Progress, RunError, RunOptions, Sink};
use crate::hash::{hex, sha256_of_file};
use crate::model::term_columns;
use crate::source::Source;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use veilwatch_core::feature::FeatureSchema;
use veilwatch_core::flow::FlowRecord;
use veilwatch_core::plugin::PluginError;
use veilwatch_core::record::{CertificateInfo, ClientHello, Ja4, ServerHello, ja3, ja4};

/// Labelled rows with what is needed to split them honestly.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    /// Columns of a row.
    pub width: usize,
    /// Those of them that are term weights, which a model weighs by how rare they are.
    pub terms: Vec<usize>,
    /// All rows, one after the other.
    pub values: Vec<f32>,
    /// What each row is.
    pub rows: Vec<Row>,
    /// Names of the captures.
    pub captures: Vec<CaptureFacts>,
    /// Captures that could not be read.
    pub unreadable: Vec<String>,
    /// Captures that are others under a new name; of two that are labelled alike the first is kept, else none.
    pub duplicates: Vec<String>,
    /// Captures that [`LoadOptions::known`] named, and the hash by which it did; they were left out.
    pub known: Vec<(String, String)>,
    /// Labels of flows that find none, because their ends are no addresses.
    pub lost_labels: usize,
    /// Other labels of flows that belong to no flow that has a row: another time, other ends, a capture that is not there.
    pub idle_labels: usize,
    /// Labels of flows in all.
    pub labels: usize,
    /// What is to be said of captures that were read in part, and of tables that are not as they were written.
    pub doubts: Vec<String>,
    /// SHA-256 over the tables and the captures' names and contents, in hexadecimal.
    pub sha256: String,
    /// What weakly labelled malicious rows, and malicious ones that were cleaned, are tied to, by row: [`Row::kin`], were
    /// their labels strong.
    pub weak: BTreeMap<usize, Vec<String>>,
    /// Rows that a table of background traffic recognises in captures of malware.
    pub cleaned: BTreeMap<usize, Cleaned>,
    /// Strongly labelled malicious rows that the table recognises as well; they stay.
    pub contradicted: usize,
    /// Rows that the table recognises and whose labels say the same.
    pub agreed: usize,
    /// What each row's flow is found again by: a hash of its five-tuple.
    pub tuples: Vec<u64>,
    /// What people said of rows.
    pub marked: MarkedRows,
    /// Altered copies of rows, which are learnt from beside them and never tested.
    pub copies: Vec<Copied>,
    /// How rows are weighed and chosen when something is learnt from them.
    pub recipe: Recipe,
    /// What else a card must say of how its folds were made; empty for captures.
    pub caution: &'static str,
}

/// A row that a table of background traffic recognises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleaned {
    /// Place of the rule in its table.
    pub rule: usize,
    /// What it was before: malicious where its whole capture was labelled so, else unlabelled.
    pub was: Truth,
}

/// An altered copy of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Copied {
    /// The row.
    pub row: usize,
    /// Its features, altered.
    pub values: Vec<f32>,
}

/// What is known of a capture as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CaptureFacts {
    /// Its path in the training folder.
    pub path: String,
    /// Its malware family; empty for benign ones.
    pub family: String,
    /// Where it was published.
    pub source: String,
    /// SHA-256 of its file as it was read, in hexadecimal; empty for what was imported.
    pub sha256: String,
}

/// What one row is.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Place of its capture in [`Dataset::captures`].
    pub capture: usize,
    /// Number of its (capture, server) pair, counted from 0 over the whole data set.
    pub pair: usize,
    /// Ground truth.
    pub truth: Truth,
    /// What ties a malicious row to others: the family its label names, its server, its certificate. Rows that share one
    /// of these are never on both sides of a fold. Empty for the rest.
    pub kin: Vec<String>,
    /// Number of the flow's first packet, for people who want to look.
    pub packet: u64,
    /// What it is split and looked up by.
    pub keys: Keys,
}

/// What a row is split and looked up by when a classifier is judged. None of it is ever learnt from: texts and addresses
/// stand as hashes, which say whether two are the same and nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keys {
    /// Time of the flow's first packet, in nanoseconds since 1970.
    pub first_ns: u64,
    /// TLS version that the server chose, or the best one offered where no answer was seen; 0 where neither was.
    pub version: u16,
    /// The responder's address.
    pub server: u64,
    /// The server name asked for.
    pub sni: Option<u64>,
    /// JA3 of the ClientHello.
    pub ja3: Option<u64>,
    /// JA4 of the ClientHello.
    pub ja4: Option<u64>,
    /// The certificate.
    pub certificate: Option<u64>,
}

impl Keys {
    fn of(flow: &FlowRecord) -> Self {
        let client = flow.fields.record::<ClientHello<'_>>();
        let server = flow.fields.record::<ServerHello<'_>>();
        let offered = client.as_ref().map(ClientHello::best_version);
        Self {
            first_ns: flow.first_ns,
            version: server.map(|hello| hello.selected_version).or(offered).unwrap_or_default(),
            server: key(&flow.responder.address),
            sni: client.as_ref().filter(|hello| !hello.sni.is_empty()).map(|hello| key(hello.sni)),
            ja3: client.as_ref().map(|hello| key(ja3(hello).as_bytes())),
            ja4: client.as_ref().map(|hello| key(ja4(hello, Ja4::of(flow.protocol, hello)).as_bytes())),
            certificate: flow.fields.record::<CertificateInfo<'_>>().map(|seen| key(seen.sha256)),
        }
    }
}

/// A text or an address, of which nothing is kept but whether two are the same.
fn key(bytes: &[u8]) -> u64 {
    fnv(0, bytes.iter().copied())
}

/// How far loading has come, for whoever looks on.
#[derive(Debug, Default)]
pub struct Loading {
    /// Captures done.
    pub done: AtomicUsize,
    /// Captures in all.
    pub total: AtomicUsize,
}

impl Dataset {
    /// One without rows, for rows of these columns.
    pub(super) fn of(schema: &FeatureSchema) -> Self {
        Self { width: schema.width(), terms: term_columns(schema.columns()), ..Self::default() }
    }

    /// One row's features.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.width..(at + 1) * self.width]
    }

    /// The same rows without what training adds to them (weak labels, marks, what was cleaned, altered copies): for those whose
    /// labels or columns are about to be others.
    pub(crate) fn without_additions(&self) -> Self {
        Self {
            weak: BTreeMap::new(),
            cleaned: BTreeMap::new(),
            copies: Vec::new(),
            marked: MarkedRows::default(),
            ..self.clone()
        }
    }

    /// The same for those whose labels are about to be others: what the recipe says of this or that label is no longer said
    /// of what they are.
    pub(crate) fn to_be_relabelled(&self) -> Self {
        let mut data = self.without_additions();
        data.recipe = Recipe { negatives: Negatives::Both, clean: false, heuristic: 0.0, ..data.recipe };
        data
    }

    /// How many rows have this truth.
    pub fn count(&self, truth: Truth) -> usize {
        self.rows.iter().filter(|row| row.truth == truth).count()
    }
}

/// What one capture gave.
#[derive(Default)]
struct Part {
    values: Vec<f32>,
    rows: Vec<Seen>,
    sha256: Vec<u8>,
    error: Option<RunError>,
    /// What is wrong with the capture, where it was read in part.
    damage: Option<String>,
    /// The hash by which somebody has its rows already.
    known: Option<String>,
    /// What people's marks said beside the rows that have them.
    marked: MarkedRows,
}

/// What is known of a flow beside its features.
struct Seen {
    truth: Truth,
    kin: Vec<String>,
    weak: bool,
    server: [u8; 16],
    packet: u64,
    keys: Keys,
    tuple: u64,
    /// The rule of the background's table that recognises it.
    rule: Option<usize>,
    /// Whether its label is its whole capture's.
    whole: bool,
    /// What somebody says of it, where that is learnt from.
    marked: Option<Marked>,
}

/// How captures are changed while they are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Altering<'a> {
    /// What is done, in order; nothing for captures as they are.
    pub alterations: &'a [Alteration],
    /// Seed of what is random in it.
    pub seed: u64,
}

/// How captures are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadOptions<'a> {
    /// Captures that are read at a time.
    pub workers: usize,
    /// How they are changed.
    pub altering: Altering<'a>,
    /// What of infected machines' captures is the machines' own.
    pub background: Option<&'a Background>,
    /// What people say of flows.
    pub feedback: Option<&'a Feedback>,
    /// Packets of each capture that are read; nothing for all.
    pub packets: Option<u64>,
    /// Hashes of captures that are left out, since somebody has their rows.
    pub known: Option<&'a BTreeSet<String>>,
}

/// Reads a training folder through a pipeline.
pub fn load(folder: &Path, pipeline: &Pipeline, workers: usize, loading: &Loading) -> Result<Dataset, LearnError> {
    load_altered(folder, pipeline, workers, loading, Altering::default())
}

/// The same with captures altered; labels find their flows as ever.
pub fn load_altered(
    folder: &Path,
    pipeline: &Pipeline,
    workers: usize,
    loading: &Loading,
    altering: Altering<'_>,
) -> Result<Dataset, LearnError> {
    let options = LoadOptions { workers, altering, ..LoadOptions::default() };
    load_from(&[Origin::Folder(folder.to_owned())], pipeline, &options, loading)
}

/// Reads labelled captures of any origin, as one data set.
pub fn load_from(
    origins: &[Origin],
    pipeline: &Pipeline,
    options: &LoadOptions<'_>,
    loading: &Loading,
) -> Result<Dataset, LearnError> {
    let mut all = Vec::with_capacity(origins.len());
    for origin in origins {
        let found = sources::find(origin)?;
        let parts = read_all(&found.tables, pipeline, options, loading);
        all.push((found, parts));
    }
    // What is one capture may be in two origins.
    let named: Vec<(&CaptureRow, &Part)> = all
        .iter()
        .flat_map(|(found, parts)| parts.iter().filter_map(|(at, part)| Some((found.tables.captures.get(*at)?, part))))
        .collect();
    let twins = duplicates(&named);
    let (mut whole, mut first) = (Dataset::of(pipeline.schema()), 0);
    for (found, parts) in all {
        let theirs = first..first + parts.len();
        first = theirs.end;
        let left_out: Vec<bool> = theirs.map(|place| twins.contains(&place)).collect();
        whole.append(put_together(found, parts, &left_out, pipeline, options.altering)?);
    }
    Ok(whole)
}

/// What each capture of an origin gives, by its place in the origin's table.
fn read_all(
    tables: &Tables,
    pipeline: &Pipeline,
    options: &LoadOptions<'_>,
    loading: &Loading,
) -> BTreeMap<usize, Part> {
    let changes = RecordChanges::new(options.altering.alterations, pipeline);
    loading.total.fetch_add(tables.captures.len(), Ordering::Relaxed);
    let none = FlowLabels::default();
    let next = AtomicUsize::new(0);
    let parts: Mutex<BTreeMap<usize, Part>> = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..options.workers.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(capture) = tables.captures.get(at) else { return };
                    let collector = Collector {
                        capture,
                        labels: tables.flows.get(&capture.path).unwrap_or(&none),
                        changes: &changes,
                        options,
                        pipeline,
                        asides: HashMap::new(),
                        part: Part::default(),
                    };
                    let part = collector.read();
                    loading.done.fetch_add(1, Ordering::Relaxed);
                    if let Ok(mut parts) = parts.lock() {
                        parts.insert(at, part);
                    }
                }
            });
        }
    });
    // Parts come back in any order; the table's order decides.
    parts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The data set of an origin, without the captures that are left out.
fn put_together(
    found: Found,
    parts: BTreeMap<usize, Part>,
    left_out: &[bool],
    pipeline: &Pipeline,
    altering: Altering<'_>,
) -> Result<Dataset, LearnError> {
    let lost_labels = found.tables.lost;
    let [labels, idle_labels] = found.tables.counts();
    let mut data =
        Dataset { unreadable: found.unreadable, lost_labels, idle_labels, labels, ..Dataset::of(pipeline.schema()) };
    let known = |kind: &str| kind == "benign" || kind == "malicious";
    let odd = found.tables.captures.iter().map(|capture| capture.kind.as_str()).filter(|kind| !known(kind));
    let doubt =
        |kind| format!("captures.csv: the kind `{kind}` is neither benign nor malicious, and taken for malicious");
    data.doubts.extend(odd.collect::<BTreeSet<_>>().into_iter().map(doubt));
    let mut hasher = Sha256::new();
    let mut pairs = BTreeMap::new();
    for ((at, part), left_out) in parts.into_iter().zip(left_out) {
        let capture = &found.tables.captures[at];
        hasher.update(capture.path.as_bytes());
        hasher.update(&part.sha256);
        match part.error {
            // A file that is no capture is named; anything else ends the run.
            Some(RunError::Source(_)) => data.unreadable.push(capture.path.clone()),
            Some(error) => return Err(LearnError::Capture { capture: capture.path.clone(), error }),
            None => {}
        }
        let doubt = |damage| format!("{}: {damage}; what came before it is learnt from", capture.path);
        data.doubts.extend(part.damage.map(doubt));
        if let Some(hash) = part.known {
            data.known.push((capture.path.clone(), hash));
            continue;
        }
        if *left_out {
            data.duplicates.push(capture.path.clone());
            continue;
        }
        let place = data.captures.len();
        data.captures.push(CaptureFacts {
            path: capture.path.clone(),
            family: capture.family.clone(),
            source: capture.source.clone(),
            sha256: hex(&part.sha256),
        });
        data.values.extend(part.values);
        data.marked.agreed += part.marked.agreed;
        data.marked.conflicts.extend(part.marked.conflicts);
        for seen in part.rows {
            let number = pairs.len();
            let pair = *pairs.entry((place, seen.server)).or_insert(number);
            data.add(place, pair, seen);
        }
    }
    hasher.update(found.words);
    if !altering.alterations.is_empty() {
        let words: Vec<String> = altering.alterations.iter().map(ToString::to_string).collect();
        hasher.update(format!("{} with seed {}", words.join(","), altering.seed));
    }
    data.sha256 = hex(&hasher.finalize());
    Ok(data)
}

impl Dataset {
    /// Takes one row in, whose values stand already.
    fn add(&mut self, capture: usize, pair: usize, seen: Seen) {
        let Seen { mut truth, mut kin, weak, packet, keys, tuple, rule, whole, marked, .. } = seen;
        let row = self.rows.len();
        if let Some(rule) = rule {
            match truth {
                // The capture's label says nothing of this flow by itself.
                Truth::Malicious if whole => {
                    self.cleaned.insert(row, Cleaned { rule, was: truth });
                    self.weak.insert(row, std::mem::take(&mut kin));
                    truth = Truth::Background;
                }
                Truth::Malicious => self.contradicted += 1,
                Truth::Unlabelled => {
                    self.cleaned.insert(row, Cleaned { rule, was: truth });
                }
                Truth::Background => self.agreed += 1,
                Truth::Benign => {}
            }
        }
        if weak {
            self.weak.insert(row, std::mem::take(&mut kin));
        }
        self.marked.rows.extend(marked.map(|marked| (row, marked)));
        self.tuples.push(tuple);
        self.rows.push(Row { capture, pair, truth, kin, packet, keys });
    }

    /// A capture of another data set whose rows are all here already, under whatever name: each by its flow, its time and
    /// its first packet.
    pub fn shared<'a>(&self, other: &'a Self) -> Option<&'a str> {
        let seen =
            |data: &Self, at: usize| Some((data.rows[at].packet, data.rows[at].keys.first_ns, *data.tuples.get(at)?));
        let here: BTreeSet<_> = (0..self.rows.len()).filter_map(|at| seen(self, at)).collect();
        let mut known: BTreeMap<usize, bool> = BTreeMap::new();
        for (at, row) in other.rows.iter().enumerate() {
            *known.entry(row.capture).or_insert(true) &= seen(other, at).is_some_and(|row| here.contains(&row));
        }
        let capture = known.into_iter().find(|(_, known)| *known)?.0;
        other.captures.get(capture).map(|capture| capture.path.as_str())
    }

    /// The same rows, of which those say nothing of a model that a table of background traffic took out of captures labelled
    /// malicious as a whole: by their capture's label they are malicious, by the table they are not, and a comparison of
    /// both must go by neither. They are learnt from as ever, and tied as malicious rows are.
    pub fn without_verdict_on_cleaned(&self) -> Self {
        let mut data = self.clone();
        for at in self.cleaned.iter().filter(|(_, cleaned)| cleaned.was == Truth::Malicious).map(|(at, _)| *at) {
            if let Some(row) = data.rows.get_mut(at) {
                row.truth = Truth::Unlabelled;
                row.kin = self.weak.get(&at).cloned().unwrap_or_default();
            }
        }
        data
    }

    /// Takes all of another data set in, of the same width.
    pub fn append(&mut self, other: Self) {
        let (captures, rows) = (self.captures.len(), self.rows.len());
        let pairs = self.rows.iter().map(|row| row.pair + 1).max().unwrap_or_default();
        self.sha256 = match (self.sha256.is_empty(), other.sha256.is_empty()) {
            (true, _) => other.sha256,
            (false, true) => std::mem::take(&mut self.sha256),
            (false, false) => hex(&Sha256::digest(format!("{} {}", self.sha256, other.sha256))),
        };
        self.values.extend(other.values);
        let moved = |row: Row| Row { capture: row.capture + captures, pair: row.pair + pairs, ..row };
        self.rows.extend(other.rows.into_iter().map(moved));
        self.captures.extend(other.captures);
        self.unreadable.extend(other.unreadable);
        self.duplicates.extend(other.duplicates);
        self.known.extend(other.known);
        self.lost_labels += other.lost_labels;
        self.idle_labels += other.idle_labels;
        self.labels += other.labels;
        self.doubts.extend(other.doubts);
        self.weak.extend(other.weak.into_iter().map(|(row, ties)| (row + rows, ties)));
        self.cleaned.extend(other.cleaned.into_iter().map(|(row, cleaned)| (row + rows, cleaned)));
        self.contradicted += other.contradicted;
        self.agreed += other.agreed;
        self.marked.rows.extend(other.marked.rows.into_iter().map(|(row, marked)| (row + rows, marked)));
        self.marked.agreed += other.marked.agreed;
        self.marked.conflicts.extend(other.marked.conflicts);
        self.tuples.extend(other.tuples);
        self.copies.extend(other.copies.into_iter().map(|copy| Copied { row: copy.row + rows, ..copy }));
    }
}

/// Places of the captures to leave out because another one is the same capture: as it was published, or as it lies here.
fn duplicates(captures: &[(&CaptureRow, &Part)]) -> BTreeSet<usize> {
    let mut by_hash: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, (capture, part)) in captures.iter().enumerate() {
        let here = if part.error.is_none() { hex(&part.sha256) } else { String::new() };
        let hashes = BTreeSet::from([capture.sha256_original.to_lowercase(), here]);
        hashes.into_iter().filter(|hash| !hash.is_empty()).for_each(|hash| by_hash.entry(hash).or_default().push(at));
    }
    by_hash
        .into_values()
        .flat_map(|mut same| {
            // What is here for its marks alone gives way to the same capture with labels; marks find their flows in that.
            let labelled = same.iter().copied().find(|at| !captures[*at].0.only_marks);
            let first = labelled.or(same.first().copied());
            let extra: Vec<usize> =
                same.iter().copied().filter(|at| captures[*at].0.only_marks && Some(*at) != first).collect();
            same.retain(|at| !extra.contains(at));
            let alike = same.iter().all(|at| captures[*at].0.kind == captures[same[0]].0.kind);
            extra.into_iter().chain(same.into_iter().skip(usize::from(alike))).collect::<Vec<_>>()
        })
        .collect()
}

struct Collector<'a> {
    capture: &'a CaptureRow,
    labels: &'a FlowLabels,
    changes: &'a RecordChanges,
    options: &'a LoadOptions<'a>,
    pipeline: &'a Pipeline,
    /// What is known of flows as they were before alterations, by flow: what ties them together does not change with them.
    asides: HashMap<u64, Aside>,
    part: Part,
}

struct Aside {
    keys: Keys,
    certificate: Option<String>,
    rule: Option<usize>,
}

impl Collector<'_> {
    /// Reads the capture.
    fn read(mut self) -> Part {
        let CaptureRow { file, path, sha256_original, .. } = self.capture;
        let LoadOptions { altering, feedback, packets, known, .. } = *self.options;
        self.part.sha256 = sha256_of_file(file).map(Vec::from).unwrap_or_default();
        if let Some(feedback) = feedback {
            feedback.saw(self.capture, &self.part.sha256);
        }
        let hashes = [hex(&self.part.sha256), sha256_original.to_lowercase()];
        self.part.known = hashes.into_iter().find(|hash| known.is_some_and(|known| known.contains(hash)));
        if self.part.known.is_some() {
            return self.part;
        }
        let (stop, progress) = (AtomicBool::new(false), Progress::default());
        let options = RunOptions { workers: 1, packets, stop: &stop, progress: &progress };
        let pipeline = self.pipeline;
        let limits = &pipeline.config().input;
        let outcome = Source::open(file, limits)
            .and_then(|source| alter::altered(source, altering.alterations, path, altering.seed, limits))
            .map_err(RunError::from)
            .and_then(|source| engine::run(pipeline, source, options, &mut self))
            .and_then(|summary| match summary.plugin_errors.into_iter().next() {
                // A model must not learn from what a plugin could not say.
                Some(PluginErrors { id, reason, .. }) => {
                    Err(RunError::Plugin { id, error: PluginError::failed(reason) })
                }
                None => Ok(summary.damage.map(|damage| damage.to_string())),
            });
        match outcome {
            Ok(damage) => self.part.damage = damage,
            Err(error) => self.part.error = Some(error),
        }
        self.part
    }
}

impl Sink for Collector<'_> {
    fn ended(&mut self, flow: &mut FlowRecord) {
        if self.pipeline.scores(flow) && !flow.is_early() {
            let certificate = flow.fields.record::<CertificateInfo<'_>>();
            let aside = Aside {
                keys: Keys::of(flow),
                certificate: certificate.map(|certificate| format!("certificate {}", hex(certificate.sha256))),
                rule: self.options.background.and_then(|table| table.recognises(flow, self.pipeline)),
            };
            self.asides.insert(flow.id, aside);
        }
        self.changes.apply(flow);
    }

    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        let aside = self.asides.remove(&detection.flow.id);
        let (Some(scored), Some(Aside { keys, certificate, rule })) = (detection.scored, aside) else { return Ok(()) };
        let flow = detection.flow;
        let mut label = self.capture.label(self.labels, flow);
        let said =
            self.options.feedback.and_then(|feedback| feedback.of(self.capture, &self.part.sha256, flow, &label));
        let marked = match said {
            None => None,
            Some(Said::Learnt(marked)) => Some(marked),
            Some(Said::Agreed) => {
                self.part.marked.agreed += 1;
                None
            }
            Some(Said::Conflict(conflict, marked)) => {
                self.part.marked.conflicts.push(conflict);
                marked
            }
        };
        // Somebody's word is learnt from, and nothing is scored by it.
        let rule = if marked.is_some() {
            (label.truth, label.weak) = (Truth::Unlabelled, false);
            None
        } else {
            rule
        };
        let mut kin = Vec::new();
        if label.truth == Truth::Malicious || label.weak || marked.as_ref().is_some_and(|marked| marked.malicious) {
            let named = [label.family, &self.capture.family].into_iter().find(|family| !family.is_empty());
            // Where nobody names a family, the capture is one by itself.
            kin = vec![
                format!("family {}", named.unwrap_or(&self.capture.path)),
                format!("server {}", flow.responder.ip()),
            ];
            kin.extend(certificate);
        }
        self.part.values.extend_from_slice(scored.row);
        let ends = [flow.originator, flow.responder].map(|end| [&end.address[..], &end.port.to_be_bytes()].concat());
        self.part.rows.push(Seen {
            truth: label.truth,
            weak: label.weak,
            kin,
            server: flow.responder.address,
            packet: flow.first_packet,
            keys,
            tuple: key(&[&ends.concat()[..], &[flow.protocol]].concat()),
            rule,
            whole: self.capture.whole.is_some(),
            marked,
        });
        Ok(())
    }
}
