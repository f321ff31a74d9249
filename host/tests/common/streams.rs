//! What another program reads of every TCP stream, held against what we read: stored values on one side, a list of all
//! differences with who is right on the other.

#![allow(clippy::print_stdout, reason = "helpers of tests count as tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use veilwatch::engine::{Detection, Pipeline, Progress, RunOptions, Sink, run};
use veilwatch::plugins::Registry;
use veilwatch::source::Source;

/// What stands before the rows of a list.
const ROWS: &str =
    "\n## All differences\n\n| capture | packet | field | tshark | we | class |\n|---|---|---|---|---|---|\n";

/// The class of what no rule explains.
pub(crate) const UNEXPLAINED: &str = "UNEXPLAINED";

/// One comparison.
pub(crate) struct Oracle {
    /// What the other program said, in `oracle/`: a line for each stream.
    pub(crate) stored: &'static str,
    /// The list of differences, in `oracle/`.
    pub(crate) table: &'static str,
    /// The list's first lines.
    pub(crate) title: &'static str,
    /// Names of the values of a line, in its order.
    pub(crate) fields: &'static [&'static str],
    /// Classes of differences: name, who is right, why.
    pub(crate) classes: &'static [(&'static str, &'static str, &'static str)],
    /// Our values of a flow, in the same order.
    pub(crate) ours: fn(&Detection<'_>) -> Vec<String>,
    /// Whether two values of a field are the same.
    pub(crate) same: fn(&str, &str, &str) -> bool,
    /// The class of a difference.
    pub(crate) explain: fn(&Case<'_>) -> &'static str,
    /// Bytes of the largest capture that is read where the list is not written.
    pub(crate) largest: u64,
}

/// A difference that wants a class.
pub(crate) struct Case<'a> {
    pub(crate) capture: &'a str,
    pub(crate) field: &'static str,
    /// All values of the other program, and all of ours; none where there is no such stream, or flow.
    pub(crate) theirs: &'a [String],
    pub(crate) ours: &'a [String],
    /// Which of them differ.
    pub(crate) at: usize,
}

impl Case<'_> {
    /// What both say.
    pub(crate) fn values(&self) -> [&str; 2] {
        [self.theirs, self.ours].map(|values| values.get(self.at).map_or("", String::as_str))
    }
}

type End = (IpAddr, u16);

/// Values, as text, and what tells which flow they belong to.
#[derive(Debug, Clone)]
struct Seen {
    /// The first packet of a flow of ours; where tshark reads first in a stream.
    packet: u64,
    /// In the order of addresses.
    ends: [End; 2],
    values: Vec<String>,
}

fn in_order(mut ends: [End; 2]) -> [End; 2] {
    ends.sort();
    ends
}

/// A value as both sides can write it: tshark escapes what is no text, each in its own way.
pub(crate) fn clean(text: &str) -> String {
    let text: String = text.chars().filter(|c| c.is_ascii() && !c.is_ascii_control() && *c != '\\').collect();
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What the other program said, by capture.
fn stored(path: &Path) -> BTreeMap<String, Vec<Seen>> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    let mut captures = BTreeMap::<String, Vec<Seen>>::new();
    for line in String::from_utf8_lossy(&bytes).lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let [capture, packet, one, two, values @ ..] = &cells[..] else { panic!("{line}") };
        let end = |text: &str| -> Option<End> {
            let (ip, port) = text.split_once(' ')?;
            Some((ip.parse().ok()?, port.parse().ok()?))
        };
        // Without addresses there is no flow, as in a capture of something else than IP.
        let (Some(one), Some(two)) = (end(one), end(two)) else { continue };
        let values = values.iter().map(|value| clean(value)).collect();
        let seen = Seen { packet: packet.parse().unwrap(), ends: in_order([one, two]), values };
        captures.entry((*capture).to_owned()).or_default().push(seen);
    }
    captures
}

/// Our flows that have any of the values.
struct Ours {
    values: fn(&Detection<'_>) -> Vec<String>,
    flows: Vec<Seen>,
}

impl Sink for Ours {
    fn flow(&mut self, detection: &Detection<'_>) -> std::io::Result<()> {
        let flow = detection.flow;
        if flow.protocol != 6 {
            return Ok(());
        }
        let values = (self.values)(detection);
        if values.iter().any(|value| !value.is_empty()) {
            let ends = [flow.originator, flow.responder].map(|end| (end.ip(), end.port));
            self.flows.push(Seen { packet: flow.first_packet, ends: in_order(ends), values });
        }
        Ok(())
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    capture: String,
    packet: u64,
    field: &'static str,
    theirs: String,
    ours: String,
    class: &'static str,
}

impl Row {
    fn line(&self) -> String {
        let Self { capture, packet, field, theirs, ours, class } = self;
        let cell = |text: &str| text.replace('|', "\\|");
        format!("| {capture} | {packet} | {field} | {} | {} | {class} |", cell(theirs), cell(ours))
    }
}

/// How many values there are, and how many are the same.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) theirs: usize,
    pub(crate) equal: usize,
}

#[derive(Default)]
struct Found {
    counts: Vec<Count>,
    rows: Vec<Row>,
}

impl Oracle {
    fn read(&self, pipeline: &Pipeline, path: &Path) -> Vec<Seen> {
        let Ok(source) = Source::open(path, &pipeline.config().input) else { return Vec::new() };
        let (stop, progress) = (AtomicBool::new(false), Progress::default());
        let options = RunOptions { workers: 1, packets: None, stop: &stop, progress: &progress };
        let mut ours = Ours { values: self.ours, flows: Vec::new() };
        run(pipeline, source, options, &mut ours).unwrap();
        ours.flows
    }

    fn compare(&self, capture: &str, theirs: &[Seen], ours: &[Seen], found: &mut Found) {
        let mut left: Vec<Option<&Seen>> = ours.iter().map(Some).collect();
        let mut hold = |packet, theirs: &[String], ours: &[String]| {
            for (at, field) in self.fields.iter().enumerate() {
                let case = Case { capture, field, theirs, ours, at };
                let [one, other] = case.values();
                if one.is_empty() && other.is_empty() {
                    continue;
                }
                found.counts[at].theirs += usize::from(!one.is_empty());
                if (self.same)(field, one, other) {
                    found.counts[at].equal += 1;
                    continue;
                }
                let (class, theirs, ours) = ((self.explain)(&case), one.to_owned(), other.to_owned());
                found.rows.push(Row { capture: capture.to_owned(), packet, field, theirs, ours, class });
            }
        };
        // A stream of tshark's may be several flows of ours, one after the other: the last that has begun by then counts.
        let near = |stream: &Seen| {
            (0..ours.len())
                .filter(|at| ours[*at].ends == stream.ends && ours[*at].packet <= stream.packet)
                .max_by_key(|at| ours[*at].packet)
        };
        let taken: BTreeSet<usize> = theirs.iter().filter_map(near).collect();
        for stream in theirs {
            let mut values = near(stream).map_or_else(Vec::new, |at| ours[at].values.clone());
            // Or two at once, where each direction is in a network of its own: their values are taken together.
            let other = (0..ours.len()).find(|at| {
                let apart = |values: &[String]| {
                    values.iter().zip(&ours[*at].values).all(|(one, other)| one.is_empty() || other.is_empty())
                };
                ours[*at].ends == stream.ends && !taken.contains(at) && left[*at].is_some() && apart(&values)
            });
            if let Some(at) = other {
                values.resize(self.fields.len(), String::new());
                values.iter_mut().zip(&ours[at].values).for_each(|(value, other)| value.push_str(other));
                left[at] = None;
            }
            near(stream).into_iter().for_each(|at| left[at] = None);
            hold(stream.packet, &stream.values, &values);
        }
        left.into_iter().flatten().for_each(|flow| hold(flow.packet, &[], &flow.values));
    }

    fn document(&self, captures: usize, found: &Found) -> String {
        let mut text = format!(
            "{}\nOver {captures} captures in which tshark finds any of it; do not edit. How to write it again stands in\n\
             [README.md](README.md). One value for each TCP stream.\n\n\
             | | tshark reads | equal | of all | only we |\n|---|---|---|---|---|\n",
            self.title
        );
        for (name, count) in self.fields.iter().zip(&found.counts) {
            let share = 100.0 * count.equal as f64 / count.theirs as f64;
            let only = found.rows.iter().filter(|row| row.field == *name && row.theirs.is_empty()).count();
            writeln!(text, "| {name} | {} | {} | {share:.2} % | {only} |", count.theirs, count.equal).unwrap();
        }
        text.push_str("\n## Classes\n\n| class | rows | who is right | why |\n|---|---|---|---|\n");
        for (name, right, why) in self.classes.iter().chain(&[(UNEXPLAINED, "?", "")]) {
            let count = found.rows.iter().filter(|row| row.class == *name).count();
            if count > 0 {
                writeln!(text, "| {name} | {count} | {right} | {why} |").unwrap();
            }
        }
        text.push_str(ROWS);
        found.rows.iter().for_each(|row| writeln!(text, "{}", row.line()).unwrap());
        text
    }

    /// Reads all captures and holds the differences to the list, or writes it; how much was the same, by field, where
    /// the captures are there.
    pub(crate) fn hold(&self) -> Option<Vec<Count>> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
        let (Some(train), Some(_)) = (crate::common::shared("train"), crate::common::shared("badinput")) else {
            return None;
        };
        let folder = train.parent().unwrap();
        let write = std::env::var_os("VEILWATCH_WRITE_ORACLE").is_some_and(|value| value == "1");
        let oracle = stored(&here.join(self.stored));
        let small = |capture: &str| std::fs::metadata(folder.join(capture)).is_ok_and(|it| it.len() <= self.largest);
        let captures: Vec<(&String, &Vec<Seen>)> =
            oracle.iter().filter(|(capture, _)| write || small(capture)).collect();
        let pipeline =
            Pipeline::untrained(crate::common::protocols(), &mut Registry::with_builtins().unwrap()).unwrap();
        let found = Found { counts: vec![Count::default(); self.fields.len()], rows: Vec::new() };
        let (next, all) = (AtomicUsize::new(0), Mutex::new(found));
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    while let Some((capture, theirs)) = captures.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let flows = self.read(&pipeline, &folder.join(capture));
                        self.compare(capture, theirs, &flows, &mut all.lock().unwrap());
                    }
                });
            }
        });
        let mut found = all.into_inner().unwrap();
        found.rows.sort();
        for (name, count) in self.fields.iter().zip(&found.counts) {
            println!("{name}: {} of {} equal", count.equal, count.theirs);
        }
        let table = here.join(self.table);
        if write {
            std::fs::write(&table, self.document(captures.len(), &found)).unwrap();
        }
        let read: BTreeSet<&str> = captures.iter().map(|(capture, _)| capture.as_str()).collect();
        let capture = |line: &str| line.split(" | ").next().unwrap_or_default().trim_start_matches("| ").to_owned();
        let known = std::fs::read_to_string(&table).unwrap();
        let known: BTreeSet<&str> =
            known.split_once(ROWS).unwrap().1.lines().filter(|line| read.contains(capture(line).as_str())).collect();
        let lines: Vec<String> = found.rows.iter().map(Row::line).collect();
        let now: BTreeSet<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(now.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "new differences");
        assert_eq!(known.difference(&now).collect::<Vec<_>>(), Vec::<&&str>::new(), "differences that are gone");
        assert!(found.rows.iter().all(|row| row.class != UNEXPLAINED), "differences without a reason");
        Some(found.counts)
    }
}
