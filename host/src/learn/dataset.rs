//! Captures become labelled rows, through the very pipeline that detects.

use super::alter::{self, Alteration, RecordChanges};
use super::labels::{self, CaptureRow, FlowLabels};
use super::{LearnError, Truth};
use crate::engine::{self, Detection, Pipeline, PluginErrors, Progress, RunError, RunOptions, Sink};
use crate::hash::hex;
use crate::source::Source;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use veilwatch_core::flow::FlowRecord;
use veilwatch_core::plugin::PluginError;
use veilwatch_core::record::{CertificateInfo, ClientHello, Ja4, ServerHello, ja3, ja4};

/// Labelled rows with what is needed to split them honestly.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    /// Columns of a row.
    pub width: usize,
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
    /// SHA-256 over the tables and the captures' names and contents, in hexadecimal.
    pub sha256: String,
}

/// What is known of a capture as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureFacts {
    /// Its path in the training folder.
    pub path: String,
    /// Its malware family; empty for benign ones.
    pub family: String,
    /// Where it was published.
    pub source: String,
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

/// FNV-1a: the same on every machine.
pub(super) fn key(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
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
    /// One row's features.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.width..(at + 1) * self.width]
    }

    /// How many rows have this truth.
    pub fn count(&self, truth: Truth) -> usize {
        self.rows.iter().filter(|row| row.truth == truth).count()
    }
}

/// Truth, ties, server, first packet and keys of a row.
type Taken = (Truth, Vec<String>, [u8; 16], u64, Keys);

/// What one capture gave.
#[derive(Default)]
struct Part {
    values: Vec<f32>,
    rows: Vec<Taken>,
    sha256: Vec<u8>,
    error: Option<RunError>,
}

/// How captures are changed while they are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Altering<'a> {
    /// What is done, in order; nothing for captures as they are.
    pub alterations: &'a [Alteration],
    /// Seed of what is random in it.
    pub seed: u64,
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
    let changes = RecordChanges::new(altering.alterations, pipeline);
    let tables = labels::read(folder)?;
    loading.total.store(tables.captures.len(), Ordering::Relaxed);
    let none = FlowLabels::default();
    let next = AtomicUsize::new(0);
    let parts: Mutex<BTreeMap<usize, Part>> = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(capture) = tables.captures.get(at) else { return };
                    let labels = tables.flows.get(&capture.path).unwrap_or(&none);
                    let benign = capture.kind == "benign";
                    let collector = Collector {
                        benign,
                        labels,
                        changes: &changes,
                        certificates: HashMap::new(),
                        part: Part::default(),
                    };
                    let part = collector.read(&folder.join(&capture.path), &capture.path, pipeline, altering);
                    loading.done.fetch_add(1, Ordering::Relaxed);
                    if let Ok(mut parts) = parts.lock() {
                        parts.insert(at, part);
                    }
                }
            });
        }
    });
    let mut data = Dataset { width: pipeline.schema().width(), ..Dataset::default() };
    let mut hasher = Sha256::new();
    let mut pairs = BTreeMap::new();
    let twins = duplicates(&tables.captures);
    // Parts come back in any order; the table's order decides.
    for (at, part) in parts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        let capture = &tables.captures[at];
        hasher.update(capture.path.as_bytes());
        hasher.update(&part.sha256);
        match part.error {
            // A file that is no capture is named; anything else ends the run.
            Some(RunError::Source(_)) => data.unreadable.push(capture.path.clone()),
            Some(error) => return Err(LearnError::Capture { capture: capture.path.clone(), error }),
            None => {}
        }
        if twins.contains(&at) {
            data.duplicates.push(capture.path.clone());
            continue;
        }
        let place = data.captures.len();
        data.captures.push(CaptureFacts {
            path: capture.path.clone(),
            family: capture.family.clone(),
            source: capture.source.clone(),
        });
        data.values.extend(part.values);
        for (truth, kin, server, packet, keys) in part.rows {
            let number = pairs.len();
            let pair = *pairs.entry((place, server)).or_insert(number);
            data.rows.push(Row { capture: place, pair, truth, kin, packet, keys });
        }
    }
    for table in ["captures.csv", "flows.csv"] {
        hasher.update(std::fs::read(folder.join(table)).unwrap_or_default());
    }
    if !altering.alterations.is_empty() {
        let words: Vec<String> = altering.alterations.iter().map(ToString::to_string).collect();
        hasher.update(format!("{} with seed {}", words.join(","), altering.seed));
    }
    data.sha256 = hex(&hasher.finalize());
    Ok(data)
}

/// Places of the captures to leave out because another row of the table is the same capture.
fn duplicates(captures: &[CaptureRow]) -> BTreeSet<usize> {
    let mut by_hash: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, capture) in captures.iter().enumerate().filter(|(_, capture)| !capture.sha256_original.is_empty()) {
        by_hash.entry(&capture.sha256_original).or_default().push(at);
    }
    by_hash
        .into_values()
        .flat_map(|same| {
            let alike = same.iter().all(|at| captures[*at].kind == captures[same[0]].kind);
            same.into_iter().skip(usize::from(alike))
        })
        .collect()
}

struct Collector<'a> {
    benign: bool,
    labels: &'a FlowLabels,
    changes: &'a RecordChanges,
    /// Certificates by flow, as they were before alterations: what ties flows together does not change with them.
    certificates: HashMap<u64, String>,
    part: Part,
}

impl Collector<'_> {
    /// Reads one capture; `name` is what it is called in its folder.
    fn read(mut self, path: &Path, name: &str, pipeline: &Pipeline, altering: Altering<'_>) -> Part {
        self.part.sha256 = std::fs::read(path).map(|bytes| Sha256::digest(bytes).to_vec()).unwrap_or_default();
        let (stop, progress) = (AtomicBool::new(false), Progress::default());
        let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
        let limits = &pipeline.config().input;
        let outcome = Source::open(path, limits)
            .and_then(|source| alter::altered(source, altering.alterations, name, altering.seed, limits))
            .map_err(RunError::from)
            .and_then(|source| engine::run(pipeline, source, options, &mut self))
            .and_then(|summary| match summary.plugin_errors.into_iter().next() {
                // A model must not learn from what a plugin could not say.
                Some(PluginErrors { id, reason, .. }) => {
                    Err(RunError::Plugin { id, error: PluginError::failed(reason) })
                }
                None => Ok(()),
            });
        self.part.error = outcome.err();
        self.part
    }
}

/// What ties a flow to others by its certificate.
fn certificate(flow: &FlowRecord) -> Option<String> {
    flow.fields.record::<CertificateInfo<'_>>().map(|certificate| format!("certificate {}", hex(certificate.sha256)))
}

impl Sink for Collector<'_> {
    fn ended(&mut self, flow: &mut FlowRecord) {
        if let Some(certificate) = certificate(flow) {
            self.certificates.insert(flow.id, certificate);
        }
        self.changes.apply(flow);
    }

    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        let Some(scored) = detection.scored else { return Ok(()) };
        let flow = detection.flow;
        let (truth, family) =
            if self.benign { (Truth::Benign, "") } else { self.labels.of(flow).unwrap_or((Truth::Unlabelled, "")) };
        let mut kin = Vec::new();
        if truth == Truth::Malicious {
            kin = vec![format!("family {family}"), format!("server {}", flow.responder.ip())];
            kin.extend(self.certificates.remove(&flow.id));
        }
        self.part.values.extend_from_slice(scored.row);
        self.part.rows.push((truth, kin, flow.responder.address, flow.first_packet, Keys::of(flow)));
        Ok(())
    }
}
