//! Ground truth: `captures.csv` and `flows.csv` beside the captures.

use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
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

/// One capture of the table.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CaptureRow {
    pub(super) path: String,
    pub(super) kind: String,
    pub(super) family: String,
    pub(super) source: String,
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
    family: String,
}

/// The labels of one capture: by client and server endpoint.
#[derive(Debug, Default)]
pub(super) struct FlowLabels {
    by_ends: HashMap<(IpAddr, u16, IpAddr, u16), Vec<FlowLabel>>,
}

impl FlowLabels {
    /// The label of a flow, and the family it belongs to; matched by five-tuple and a time within it.
    pub(super) fn of(&self, flow: &FlowRecord) -> Option<(Truth, &str)> {
        let key = |a: &Endpoint, b: &Endpoint| (a.ip(), a.port, b.ip(), b.port);
        let labels = self
            .by_ends
            .get(&key(&flow.originator, &flow.responder))
            .or_else(|| self.by_ends.get(&key(&flow.responder, &flow.originator)))?;
        // The table's times have microseconds; a second of slack bridges rounding and retransmitted hellos.
        let (from, to) = (flow.first_ns as f64 / 1e9 - 1.0, flow.last_ns as f64 / 1e9 + 1.0);
        let label = labels.iter().find(|label| (from..=to).contains(&label.time))?;
        Some((label.truth, &label.family))
    }
}

/// A training folder's tables.
pub(super) struct Tables {
    pub(super) captures: Vec<CaptureRow>,
    pub(super) flows: BTreeMap<String, FlowLabels>,
}

/// Reads the tables of a training folder.
pub(super) fn read(folder: &Path) -> Result<Tables, LabelError> {
    let captures: Vec<CaptureRow> = table(&folder.join("captures.csv"))?;
    let mut flows: BTreeMap<String, FlowLabels> = BTreeMap::new();
    for row in table::<FlowRow>(&folder.join("flows.csv"))? {
        let (Ok(client), Ok(server)) = (row.client.parse(), row.server.parse()) else { continue };
        let truth = match (row.label.as_str(), row.confidence.as_str()) {
            ("malicious", "ioc" | "source") => Truth::Malicious,
            ("benign", _) => Truth::Background,
            _ => Truth::Unlabelled,
        };
        let key = (client, row.client_port, server, row.server_port);
        let label = FlowLabel { time: row.time, truth, family: named_family(&row.reason).unwrap_or(row.family) };
        flows.entry(row.path).or_default().by_ends.entry(key).or_default().push(label);
    }
    Ok(Tables { captures, flows })
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
}
