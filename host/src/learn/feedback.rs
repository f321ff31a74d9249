//! What people say of flows: marks that the portal exports, learnt from beside the labels.
//!
//! A mark is somebody's word. So it is learnt from and never scored by, nor is a threshold chosen or a score calibrated by
//! it: a row with a mark counts as unlabelled wherever a model is judged. A mark that contradicts a strong label is a
//! *conflict*: it is shown, and who trains says who is right ([`OnConflict`]). What the marks of one person on one capture
//! weigh together is at most what the flows of one pair do, and all marks of one person at most ten times that: where there
//! is much beside them, nobody turns a model by marking a lot.

use super::labels::{CaptureRow, Labelled};
use super::{Dataset, LearnError, Truth};
use crate::hash::hex;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use veilwatch_core::flow::{Endpoint, FlowRecord};

/// Pairs' worth of weight that all marks of one person have together, at most.
pub(super) const PERSON_PAIRS: f64 = 10.0;
/// The most that a mark weighs, in flows, and the least.
pub const MARK_WEIGHTS: std::ops::RangeInclusive<f64> = 0.05..=3.0;
/// Marks that are read.
const MOST_MARKS: usize = 1_000_000;
/// How far a mark's time may be from its flow's first packet: tables that people write have milliseconds.
const NEAR_NS: u64 = 1_000_000;

/// Who is right where a mark contradicts a strong label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// Nobody: nothing is trained until somebody has looked.
    #[default]
    Refuse,
    /// The label: the mark is not learnt from.
    Label,
    /// The mark: the label is neither learnt from nor scored by.
    Mark,
}

impl OnConflict {
    const ALL: [(Self, &str); 3] = [(Self::Refuse, "refuse"), (Self::Label, "label"), (Self::Mark, "mark")];
}

impl FromStr for OnConflict {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(_, word)| *word == text);
        known.map(|(one, _)| *one).ok_or_else(|| format!("`{text}`: there are refuse, label and mark"))
    }
}

/// What a card says of the marks that a model learnt from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedbackRecipe {
    /// SHA-256 over the marks, in hexadecimal.
    pub sha256: String,
    /// What a mark weighs, in flows.
    pub weight: f64,
    /// Who was right where a mark contradicted a label.
    pub on_conflict: OnConflict,
    /// Flows that are learnt from as marked.
    pub learnt: usize,
    /// Marks that contradicted a strong label.
    pub conflicts: usize,
}

/// What somebody says of a flow.
#[derive(Debug)]
struct Mark {
    /// Its capture as the table names it.
    capture: String,
    /// The capture's SHA-256, where the table or the name says it.
    sha256: Option<String>,
    time_ns: u64,
    malicious: bool,
    by: String,
    at: String,
    words: String,
    /// Whether it has a flow with a row.
    found: AtomicBool,
}

impl Mark {
    /// Of marks of one flow the last in this order counts: the newest; one whose time is none is older than all; of two at
    /// one time the malicious one, whichever stands first.
    fn order(&self) -> (Option<Timestamp>, bool) {
        (self.at.parse().ok(), self.malicious)
    }
}

/// Both ends of a flow: addresses and ports.
type Ends = (IpAddr, u16, IpAddr, u16);

/// Marks that training reads beside its data.
#[derive(Debug)]
pub struct Feedback {
    marks: Vec<Mark>,
    by_ends: HashMap<Ends, Vec<usize>>,
    sha256: String,
    on_conflict: OnConflict,
    weight: f64,
    /// Marks that another one says again, and such that a newer one contradicts.
    repeated: usize,
    outdated: usize,
    /// Rows of the tables that are no marks: ends that are no addresses, no time, another label.
    not_understood: usize,
    folders: Vec<PathBuf>,
    /// Hashes and names of captures that were read.
    seen: Mutex<BTreeSet<String>>,
}

#[derive(Deserialize)]
struct FlowLine {
    path: String,
    time: String,
    client: String,
    client_port: u16,
    server: String,
    server_port: u16,
    label: String,
    #[serde(default)]
    words: String,
    #[serde(default)]
    by: String,
    #[serde(default)]
    at: String,
}

#[derive(Deserialize)]
struct CaptureLine {
    path: String,
    #[serde(default)]
    sha256_original: String,
}

/// A row that somebody marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// Whether it is malicious, as they say.
    pub malicious: bool,
    /// Who.
    pub by: String,
}

/// A mark that contradicts a strong label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The capture.
    pub capture: String,
    /// The flow, as one reads it.
    pub flow: String,
    /// What the label says.
    pub label: Truth,
    /// What the mark says.
    pub malicious: bool,
    /// Who says so.
    pub by: String,
    /// When.
    pub at: String,
    /// Why.
    pub words: String,
}

/// What became of marks on the rows of a data set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MarkedRows {
    /// Rows that are learnt from as marked.
    pub rows: BTreeMap<usize, Marked>,
    /// Marks that say what the label says.
    pub agreed: usize,
    /// Marks that contradict it.
    pub conflicts: Vec<Conflict>,
}

/// What a mark does to one flow.
pub(super) enum Said {
    /// It is learnt from.
    Learnt(Marked),
    /// The label says the same.
    Agreed,
    /// The label says something else; the mark is learnt from where it wins.
    Conflict(Conflict, Option<Marked>),
}

/// Marks that found nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LostMarks {
    /// Their capture was not read.
    pub without_capture: usize,
    /// Their capture has no such flow, or it has no row.
    pub without_flow: usize,
}

/// The time of a table in nanoseconds, to the last digit.
fn nanoseconds(text: &str) -> Option<u64> {
    let (seconds, parts) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    if parts.len() > 9 || !parts.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let parts: u64 = format!("{parts:0<9}").parse().ok()?;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(parts)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The hash in a name that the portal gave: its captures are called by it.
fn hash_in_name(path: &str) -> Option<String> {
    let name = path.rsplit('/').next()?.split('.').next()?;
    is_sha256(name).then(|| name.to_lowercase())
}

impl Feedback {
    /// Reads marks: folders with flows.csv and captures.csv, as the portal exports them, or tables like flows.csv.
    ///
    /// Of several marks of one flow the newest counts: by its time, and of those that have none the last.
    pub fn load(paths: &[PathBuf], on_conflict: OnConflict, weight: f64) -> Result<Self, LearnError> {
        let mut all = Self {
            marks: Vec::new(),
            by_ends: HashMap::new(),
            sha256: String::new(),
            on_conflict,
            weight,
            repeated: 0,
            outdated: 0,
            not_understood: 0,
            folders: Vec::new(),
            seen: Mutex::default(),
        };
        let mut newest: BTreeMap<(String, u64, Ends), Mark> = BTreeMap::new();
        for path in paths {
            all.read(path, &mut newest)?;
        }
        // What counts, and not how many files it stands in.
        let mut hasher = Sha256::new();
        for ((capture, time_ns, ends), mark) in newest {
            let said = (&capture, time_ns, ends, mark.malicious, &mark.by, &mark.at, &mark.words);
            hasher.update(format!("{said:?}\n"));
            all.by_ends.entry(ends).or_default().push(all.marks.len());
            all.marks.push(mark);
        }
        all.sha256 = hex(&hasher.finalize());
        Ok(all)
    }

    fn read(&mut self, path: &Path, newest: &mut BTreeMap<(String, u64, Ends), Mark>) -> Result<(), LearnError> {
        let failed = |path: &Path, what: String| LearnError::File { path: path.to_owned(), what };
        let is_folder = path.is_dir();
        let table = if is_folder { path.join("flows.csv") } else { path.to_owned() };
        let folder = if is_folder { path } else { path.parent().unwrap_or(Path::new("")) };
        self.folders.push(folder.to_owned());
        let mut hashes: HashMap<String, String> = HashMap::new();
        let captures = folder.join("captures.csv");
        if captures.is_file() {
            let mut reader = csv::Reader::from_path(&captures).map_err(|error| failed(&captures, error.to_string()))?;
            for line in reader.deserialize() {
                let line: CaptureLine = line.map_err(|error| failed(&captures, error.to_string()))?;
                if is_sha256(&line.sha256_original) {
                    hashes.insert(line.path, line.sha256_original.to_lowercase());
                }
            }
        }
        let no_table = |error: csv::Error| {
            let how = "marks are a table like flows.csv, or a folder with one, as the portal exports them";
            failed(&table, format!("{error}; {how}"))
        };
        for (count, line) in csv::Reader::from_path(&table).map_err(no_table)?.deserialize().enumerate() {
            let line: FlowLine = line.map_err(no_table)?;
            if count >= MOST_MARKS {
                return Err(failed(&table, format!("more than {MOST_MARKS} marks; leave some out")));
            }
            let malicious = match line.label.as_str() {
                "malicious" => Some(true),
                "benign" => Some(false),
                _ => None,
            };
            let ends = line.client.parse().ok().zip(line.server.parse().ok());
            let (Some(malicious), Some((client, server)), Some(time_ns)) = (malicious, ends, nanoseconds(&line.time))
            else {
                self.not_understood += 1;
                continue;
            };
            let sha256 = hashes.get(&line.path).cloned().or_else(|| hash_in_name(&line.path));
            let key = sha256.clone().unwrap_or_else(|| line.path.clone());
            let FlowLine { path: capture, words, by, at, .. } = line;
            let mark = Mark { capture, sha256, time_ns, malicious, by, at, words, found: AtomicBool::new(false) };
            let key = (key, time_ns, (client, line.client_port, server, line.server_port));
            match newest.get_mut(&key) {
                None => _ = newest.insert(key, mark),
                Some(known) => {
                    if known.malicious == mark.malicious {
                        self.repeated += 1;
                    } else {
                        self.outdated += 1;
                    }
                    if mark.order() > known.order() {
                        *known = mark;
                    }
                }
            }
        }
        Ok(())
    }

    /// How many marks count.
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Hash of what counts.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Marks that were said twice, marks that newer ones contradict, and rows of tables that are no marks.
    pub fn passed_over(&self) -> [usize; 3] {
        [self.repeated, self.outdated, self.not_understood]
    }

    /// The files among these folders that hold captures of marks; without folders those that the marks lie in.
    pub fn captures(&self, folders: &[PathBuf]) -> Vec<PathBuf> {
        let folders = if folders.is_empty() { &self.folders } else { folders };
        let names: BTreeSet<&str> = self.marks.iter().map(|mark| mark.capture.as_str()).collect();
        let file = |name: &&str| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        // A name is a table's text: it leads nowhere but into the folders.
        let plain =
            |name: &&str| Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        names.iter().filter(|name| plain(name)).filter_map(file).collect()
    }

    /// What is said of a flow, if something is. `sha256` is that of the capture as it lies here.
    pub(super) fn of(
        &self,
        capture: &CaptureRow,
        sha256: &[u8],
        flow: &FlowRecord,
        label: &Labelled<'_>,
    ) -> Option<Said> {
        let key = |a: &Endpoint, b: &Endpoint| (a.ip(), a.port, b.ip(), b.port);
        let there = [key(&flow.originator, &flow.responder), key(&flow.responder, &flow.originator)];
        let candidates = || there.iter().filter_map(|ends| self.by_ends.get(ends)).flatten();
        candidates().next()?;
        let sha256 = hex(sha256);
        let of_capture = |mark: &&Mark| match &mark.sha256 {
            Some(hash) => *hash == sha256 || *hash == capture.sha256_original.to_lowercase(),
            None => mark.capture == capture.path || Path::new(&mark.capture).file_name() == capture.file.file_name(),
        };
        let near = |mark: &&Mark| mark.time_ns.abs_diff(flow.first_ns) <= NEAR_NS;
        let within = |mark: &&Mark| (flow.first_ns..=flow.last_ns).contains(&mark.time_ns);
        let marks = || candidates().filter_map(|at| self.marks.get(*at)).filter(of_capture);
        // Tables may name a flow in several ways.
        let mut of_flow: Vec<&Mark> = marks().filter(near).collect();
        if of_flow.is_empty() {
            of_flow = marks().filter(within).collect();
        }
        of_flow.iter().for_each(|mark| mark.found.store(true, Ordering::Relaxed));
        let mark = of_flow.into_iter().max_by_key(|mark| mark.order())?;
        let marked = Marked { malicious: mark.malicious, by: mark.by.clone() };
        Some(match label.truth {
            Truth::Unlabelled => Said::Learnt(marked),
            truth if (truth == Truth::Malicious) == mark.malicious => Said::Agreed,
            truth => {
                let end = |end: &Endpoint| std::net::SocketAddr::new(end.ip(), end.port);
                let conflict = Conflict {
                    capture: capture.path.clone(),
                    flow: format!("{} → {}, packet {}", end(&flow.originator), end(&flow.responder), flow.first_packet),
                    label: truth,
                    malicious: mark.malicious,
                    by: mark.by.clone(),
                    at: mark.at.clone(),
                    words: mark.words.clone(),
                };
                Said::Conflict(conflict, (self.on_conflict == OnConflict::Mark).then_some(marked))
            }
        })
    }

    /// Notes that a capture was read.
    pub(super) fn saw(&self, capture: &CaptureRow, sha256: &[u8]) {
        let name = capture.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let names = [hex(sha256), capture.sha256_original.to_lowercase(), capture.path.clone(), name];
        if let Ok(mut seen) = self.seen.lock() {
            seen.extend(names);
        }
    }

    /// Marks that found nothing in what was read.
    pub fn lost(&self) -> LostMarks {
        let seen = self.seen.lock().map(|seen| seen.clone()).unwrap_or_default();
        let mut lost = LostMarks::default();
        for mark in self.marks.iter().filter(|mark| !mark.found.load(Ordering::Relaxed)) {
            let name = mark.sha256.as_ref().or(Some(&mark.capture)).filter(|name| seen.contains(*name));
            let file =
                || Path::new(&mark.capture).file_name().is_some_and(|name| seen.contains(&*name.to_string_lossy()));
            if name.is_some() || (mark.sha256.is_none() && file()) {
                lost.without_flow += 1;
            } else {
                lost.without_capture += 1;
            }
        }
        lost
    }

    /// What a card says of these marks, once a data set was read with them; they are a part of its hash from then on.
    pub fn settle(&self, data: &mut Dataset) -> FeedbackRecipe {
        data.sha256 = hex(&Sha256::digest(format!("{} marks {}", data.sha256, self.sha256)));
        FeedbackRecipe {
            sha256: self.sha256.clone(),
            weight: self.weight,
            on_conflict: self.on_conflict,
            learnt: data.marked.rows.len(),
            conflicts: data.marked.conflicts.len(),
        }
    }

    /// Whether these marks, on this data set, say nothing until somebody has looked at conflicts.
    pub fn refuses(&self, data: &Dataset) -> bool {
        self.on_conflict == OnConflict::Refuse && !data.marked.conflicts.is_empty()
    }
}

impl Dataset {
    /// Weighs marked rows: by what a mark weighs, and so that nobody's marks together weigh more than they may. `rows` are
    /// those of `weights`.
    pub(super) fn weigh_marks(&self, rows: &[usize], weights: &mut [f64]) {
        let Some(FeedbackRecipe { weight, .. }) = &self.recipe.feedback else { return };
        let pair = self.recipe.pair_weight;
        let marked = |row: &usize| self.marked.rows.get(row);
        for (row, own) in rows.iter().zip(weights.iter_mut()) {
            if marked(row).is_some() {
                *own *= weight.clamp(*MARK_WEIGHTS.start(), *MARK_WEIGHTS.end());
            }
        }
        // First each person on each capture, then each person.
        for (by_capture, most) in [(true, pair), (false, PERSON_PAIRS * pair)] {
            let group = |row: &usize| self.rows.get(*row).filter(|_| by_capture).map(|row| row.capture);
            let mut sums: BTreeMap<(Option<usize>, &str), f64> = BTreeMap::new();
            for (row, own) in rows.iter().zip(&*weights) {
                if let Some(mark) = marked(row) {
                    *sums.entry((group(row), &mark.by)).or_default() += own;
                }
            }
            for (row, own) in rows.iter().zip(weights.iter_mut()) {
                if let Some(sum) = marked(row).and_then(|mark| sums.get(&(group(row), mark.by.as_str()))) {
                    *own *= (most / sum).min(1.0);
                }
            }
        }
    }
}

impl fmt::Display for OnConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::ALL.iter().find(|(one, _)| one == self).map_or("", |(_, word)| word);
        f.write_str(word)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Keys, Recipe, Row};
    use super::*;

    const HEAD: &str = "path,time,client,client_port,server,server_port,label,confidence,family,sni,words,by,at\n";

    fn row(time: &str, label: &str, by: &str, at: &str) -> String {
        format!("x.pcap,{time},192.0.2.1,50000,192.0.2.2,443,{label},source,,,\"so, it seems\",{by},{at}\n")
    }

    #[test]
    fn a_time_is_a_time_and_no_text() {
        let at = |at: &str, malicious| {
            let found = AtomicBool::new(false);
            let [capture, by, words] = [const { String::new() }; 3];
            Mark { capture, sha256: None, time_ns: 0, malicious, by, at: at.to_owned(), words, found }
        };
        let noon = at("2026-11-25T12:00:00Z", false);
        assert!(noon.order() > at("yesterday", true).order());
        assert!(noon.order() > at("2026-11-25T12:30:00+02:00", true).order(), "half past ten");
        assert!(noon.order() < at("2026-11-25T12:00:00Z", true).order());
    }

    #[test]
    fn the_newest_mark_counts_and_the_rest_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let hash = "ab".repeat(32);
        let table = format!("path,kind,family,source,sha256_original\nx.pcap,malicious,f,portal,{hash}\n");
        std::fs::write(folder.path().join("captures.csv"), table).unwrap();
        let first = [
            row("1.5", "malicious", "ada", "2026-01-01T00:00:00Z"),
            row("1.500", "benign", "bob", "2026-01-02T00:00:00Z"),
            row("2", "malicious", "ada", ""),
            row("soon", "malicious", "ada", ""),
            row("3", "unknown", "ada", ""),
        ];
        std::fs::write(folder.path().join("flows.csv"), HEAD.to_owned() + &first.concat()).unwrap();
        // An older export, which says less.
        let old = folder.path().join("labels.csv");
        std::fs::write(&old, HEAD.to_owned() + &row("1.5", "malicious", "ada", "2025-01-01T00:00:00Z")).unwrap();
        let load = |paths: &[PathBuf]| Feedback::load(paths, OnConflict::Refuse, 1.0).unwrap();
        let marks = load(&[folder.path().to_owned(), old.clone()]);
        assert_eq!((marks.len(), marks.passed_over()), (2, [0, 2, 2]));
        let said: Vec<_> = marks.marks.iter().map(|mark| (mark.time_ns, mark.malicious, &*mark.by)).collect();
        assert_eq!(said, [(1_500_000_000, false, "bob"), (2_000_000_000, true, "ada")]);
        assert!(marks.marks.iter().all(|mark| mark.sha256.as_ref() == Some(&hash) && mark.words == "so, it seems"));
        // In whatever order, it is the same.
        assert_eq!(load(&[old, folder.path().to_owned()]).sha256(), marks.sha256());
        assert_eq!(marks.lost(), LostMarks { without_capture: 2, without_flow: 0 });
        // A name that leads out of the folder leads nowhere.
        let out = HEAD.to_owned() + &row("1", "benign", "eve", "").replace("x.pcap", "../flows.csv");
        std::fs::create_dir(folder.path().join("in")).unwrap();
        std::fs::write(folder.path().join("in/flows.csv"), out).unwrap();
        assert!(load(&[folder.path().join("in")]).captures(&[]).is_empty());
        let error = Feedback::load(&[folder.path().join("none")], OnConflict::Refuse, 1.0).unwrap_err();
        assert!(error.to_string().contains("as the portal exports them"), "{error}");
    }

    #[test]
    fn times_are_read_to_the_last_digit() {
        assert_eq!(nanoseconds("1700000000.000000007"), Some(1_700_000_000_000_000_007));
        assert_eq!(nanoseconds(" 12 "), Some(12_000_000_000));
        for wrong in ["", "x", "1.x", "-1", "1.0000000001", "99999999999999999999", "1e3", "NaN"] {
            assert_eq!(nanoseconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn nobody_turns_a_model_by_marking_a_lot() {
        // A thousand flows on each of fifty captures, each of a pair of its own, all marked by one person; and one by another.
        let mut data = Dataset::default();
        for at in 0..50_001 {
            let row = Row {
                capture: at / 1000,
                pair: at,
                truth: Truth::Unlabelled,
                kin: Vec::new(),
                packet: 1,
                keys: Keys::default(),
            };
            data.rows.push(row);
            let by = if at == 50_000 { "bob" } else { "ada" };
            data.marked.rows.insert(at, Marked { malicious: false, by: by.into() });
        }
        let recipe = |weight| FeedbackRecipe {
            sha256: String::new(),
            weight,
            on_conflict: OnConflict::Label,
            learnt: 0,
            conflicts: 0,
        };
        let rows: Vec<usize> = (0..data.rows.len()).collect();
        let mut weigh = |weight| {
            data.recipe = Recipe { feedback: Some(recipe(weight)), ..Recipe::default() };
            let mut weights = vec![1.0; rows.len()];
            data.weigh_marks(&rows, &mut weights);
            weights
        };
        for weight in [0.05, 1.0, 3.0, 1e9] {
            let weights = weigh(weight);
            let (ada, bob): (f64, f64) = (weights[..50_000].iter().sum(), weights[50_000]);
            assert!((ada - 3.0 * PERSON_PAIRS).abs() < 1e-6, "{ada}");
            assert!((bob - weight.min(3.0)).abs() < 1e-9, "{bob}");
            assert!(weights[..1000].iter().sum::<f64>() <= 3.0 + 1e-9);
        }
        // A row without a mark keeps what it has, and without a recipe nothing is a mark.
        data.marked.rows.remove(&7);
        data.recipe = Recipe { feedback: Some(recipe(0.5)), ..Recipe::default() };
        let mut weights = vec![1.0; rows.len()];
        data.weigh_marks(&rows, &mut weights);
        assert!(weights[7] == 1.0 && weights[8] < 0.01);
        assert_eq!((data.lesson(8), data.lesson(7)), (Some((false, 1.0)), None));
        data.recipe.feedback = None;
        assert_eq!(data.lesson(8), None);
        // Nor do a flood of marks in a pair take weight from the labels there.
        data.rows.iter_mut().take(1000).for_each(|row| row.pair = 0);
        let weights = super::super::validate::weights(&data, &rows);
        assert!(weights[7] == 1.0 && weights[8] < 0.01);
    }
}
