//! Ground truth: `captures.csv` and `flows.csv` beside the captures.

use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use veilwatch_core::flow::{Endpoint, FlowRecord};

/// Why labels cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// A table cannot be read.
    #[error("{path}: {error}; a training folder holds captures.csv, flows.csv and the captures they name")]
    Table {
        /// The table.
        path: PathBuf,
        /// What is wrong.
        error: csv::Error,
    },
}

/// Ground truth of one flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Truth {
    /// A flow of a benign capture.
    Benign,
    /// A benign flow of an infected machine: the same surroundings as the malicious ones.
    Background,
    /// Named malicious by a published indicator or by the capture's author.
    Malicious,
    /// Weakly labelled or unknown: neither learnt from nor scored.
    Unlabelled,
}

impl Truth {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Benign => "benign",
            Self::Background => "background",
            Self::Malicious => "malicious",
            Self::Unlabelled => "unlabelled",
        }
    }
}

impl FromStr for Truth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = [Self::Benign, Self::Background, Self::Malicious, Self::Unlabelled].into_iter();
        all.find(|truth| truth.name() == text)
            .ok_or_else(|| format!("`{text}` is no label; there are benign, background, malicious and unlabelled"))
    }
}

/// One capture of the table.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CaptureRow {
    pub(super) path: String,
    pub(super) kind: String,
    pub(super) family: String,
    pub(super) source: String,
    /// The file itself.
    #[serde(skip)]
    pub(super) file: PathBuf,
    /// What all flows are, where the capture was labelled as a whole.
    #[serde(skip)]
    pub(super) whole: Option<Truth>,
    /// Whether it is here for people's marks alone: where it stands among the others as well, it is left out.
    #[serde(skip)]
    pub(super) only_marks: bool,
    /// Hash of the capture as it was published; two rows with the same one are one capture.
    #[serde(default)]
    pub(super) sha256_original: String,
}

#[derive(Debug, Deserialize)]
struct FlowRow {
    path: String,
    time: f64,
    client: String,
    client_port: u16,
    server: String,
    server_port: u16,
    label: String,
    confidence: String,
    family: String,
    #[serde(default)]
    reason: String,
}

#[derive(Debug)]
struct FlowLabel {
    time: f64,
    truth: Truth,
    /// Whether it is taken for malicious without a published indicator.
    weak: bool,
    family: String,
    /// Whether a flow was found that it belongs to.
    found: AtomicBool,
}

/// What a label says of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Labelled<'a> {
    pub(super) truth: Truth,
    /// Whether it is taken for malicious without a published indicator.
    pub(super) weak: bool,
    /// The family it belongs to; empty for benign ones.
    pub(super) family: &'a str,
}

impl CaptureRow {
    /// What is known of a flow of this capture.
    pub(super) fn label<'a>(&'a self, labels: &'a FlowLabels, flow: &FlowRecord) -> Labelled<'a> {
        let all =
            |truth| Labelled { truth, weak: false, family: if truth == Truth::Malicious { &self.family } else { "" } };
        match self.whole {
            Some(truth) => all(truth),
            None if self.kind == "benign" => all(Truth::Benign),
            None => labels.of(flow).unwrap_or(all(Truth::Unlabelled)),
        }
    }
}

/// The labels of one capture: by client and server endpoint.
#[derive(Debug, Default)]
pub(super) struct FlowLabels {
    by_ends: HashMap<(IpAddr, u16, IpAddr, u16), Vec<FlowLabel>>,
}

impl FlowLabels {
    /// The label of a flow; matched by five-tuple and a time within it.
    fn of(&self, flow: &FlowRecord) -> Option<Labelled<'_>> {
        let key = |a: &Endpoint, b: &Endpoint| (a.ip(), a.port, b.ip(), b.port);
        let labels = self
            .by_ends
            .get(&key(&flow.originator, &flow.responder))
            .or_else(|| self.by_ends.get(&key(&flow.responder, &flow.originator)))?;
        // The table's times have microseconds; a second of slack bridges rounding and retransmitted hellos.
        let (from, to) = (flow.first_ns as f64 / 1e9 - 1.0, flow.last_ns as f64 / 1e9 + 1.0);
        let label = labels.iter().find(|label| (from..=to).contains(&label.time))?;
        label.found.store(true, Ordering::Relaxed);
        Some(Labelled { truth: label.truth, weak: label.weak, family: &label.family })
    }
}

/// A training folder's tables.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) captures: Vec<CaptureRow>,
    pub(super) flows: BTreeMap<String, FlowLabels>,
    /// Labels of flows whose ends are no addresses: they find no flow.
    pub(super) lost: usize,
}

impl Tables {
    /// Labels of flows in all, and those of which no flow was found yet.
    pub(super) fn counts(&self) -> [usize; 2] {
        let labels = || self.flows.values().flat_map(|labels| labels.by_ends.values().flatten());
        [labels().count() + self.lost, labels().filter(|label| !label.found.load(Ordering::Relaxed)).count()]
    }
}

/// Reads the table of a folder's captures.
pub(super) fn captures(folder: &Path) -> Result<Vec<CaptureRow>, LabelError> {
    let mut captures: Vec<CaptureRow> = table(&folder.join("captures.csv"))?;
    captures.iter_mut().for_each(|capture| capture.file = folder.join(&capture.path));
    Ok(captures)
}

/// Reads the tables of a training folder.
pub(super) fn read(folder: &Path) -> Result<Tables, LabelError> {
    let captures = captures(folder)?;
    let mut flows: BTreeMap<String, FlowLabels> = BTreeMap::new();
    let mut lost = 0;
    for row in table::<FlowRow>(&folder.join("flows.csv"))? {
        let (Ok(client), Ok(server)) = (row.client.parse(), row.server.parse()) else {
            lost += 1;
            continue;
        };
        let truth = match (row.label.as_str(), row.confidence.as_str()) {
            ("malicious", "ioc" | "source") => Truth::Malicious,
            ("benign", _) => Truth::Background,
            _ => Truth::Unlabelled,
        };
        let key = (client, row.client_port, server, row.server_port);
        let weak = truth == Truth::Unlabelled && row.label == "malicious";
        let family = named_family(&row.reason).unwrap_or(row.family);
        let label = FlowLabel { time: row.time, truth, weak, family, found: AtomicBool::new(false) };
        flows.entry(row.path).or_default().by_ends.entry(key).or_default().push(label);
    }
    Ok(Tables { captures, flows, lost })
}

/// The family that a label's reason names, which need not be the capture's: channels of others ride along.
///
/// Reasons end in `= Name C&C` (certificate lists), `in maltrail:name` (indicator lists), or are rules with a name in
/// them. A rule that names two families names none.
fn named_family(reason: &str) -> Option<String> {
    let lower = reason.to_lowercase();
    let named = if let Some((_, name)) = lower.split_once("maltrail:") {
        name
    } else if let Some((_, name)) = lower.rsplit_once(" = ") {
        name.trim_end_matches("c&c")
    } else {
        ["metasploit", "tor2web"].into_iter().find(|name| lower.contains(name))?
    };
    let name: String = named.trim().chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    Some(match name.as_str() {
        "" | "generic" | "malware" => return None,
        // The same family under other names.
        "pandazeus" | "pandabanker" | "zeus" => "zeus_panda".into(),
        "gozi" => "ursnif_gozi".into(),
        "heodo" => "emotet".into(),
        "zloader" => "terdot_zloader".into(),
        "netsupport" => "netsupport_rat".into(),
        "metasploit" => "meterpreter".into(),
        _ => name,
    })
}

fn table<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Vec<T>, LabelError> {
    let failed = |error| LabelError::Table { path: path.to_owned(), error };
    csv::Reader::from_path(path).map_err(failed)?.deserialize().collect::<Result<_, _>>().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_name_the_family_that_rides() {
        let named = |reason| named_family(reason);
        assert_eq!(named("abuse.ch SSLBL cert sha1 00ff = PandaZeuS C&C").as_deref(), Some("zeus_panda"));
        assert_eq!(named("SNI a.example in maltrail:azorult").as_deref(), Some("azorult"));
        assert_eq!(named("FeodoTracker 192.0.2.1:449 = Heodo").as_deref(), Some("emotet"));
        assert_eq!(named("rule 1: SSL certificate detected (Dridex/Trickbot CnC)"), None);
        assert_eq!(named("abuse.ch SSLBL cert sha1 00ff = Malware C&C"), None);
    }

    #[test]
    fn labels_are_strong_weak_or_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("captures.csv"), "path,kind,family,source\nx,malicious,f,s\n").unwrap();
        let mut rows = "path,time,client,client_port,server,server_port,label,confidence,family\n".to_owned();
        let said = [
            "malicious,ioc",
            "malicious,source",
            "malicious,heuristic",
            "malicious,ioc-weak",
            "benign,allowlist",
            "unknown,",
        ];
        for (port, said) in said.iter().enumerate() {
            rows += &format!("x,1.5,192.0.2.1,{port},192.0.2.2,443,{said},f\n");
        }
        rows += "x,1.5,client.example,9,192.0.2.2,443,malicious,ioc,f\n";
        std::fs::write(folder.path().join("flows.csv"), rows).unwrap();
        let tables = read(folder.path()).unwrap();
        assert_eq!(tables.lost, 1);
        assert_eq!(tables.captures[0].file, folder.path().join("x"));
        let mut labels: Vec<_> =
            tables.flows["x"].by_ends.iter().map(|(ends, labels)| (ends.1, labels[0].truth, labels[0].weak)).collect();
        labels.sort();
        use Truth::{Background, Malicious, Unlabelled};
        let expected = [Malicious, Malicious, Unlabelled, Unlabelled, Background, Unlabelled];
        let weak = [false, false, true, true, false, false];
        assert!(labels.iter().map(|(_, truth, _)| *truth).eq(expected), "{labels:?}");
        assert!(labels.iter().map(|(_, _, weak)| *weak).eq(weak), "{labels:?}");
    }
}
