//! The packet tables of the project that this one grew from: rows of features, one a conversation.
//!
//! Such a table is a CSV file without a header, one row a packet: time, source, destination, then the packet's length, a
//! summary in words, both ports and the name of the service; where there are no ports, the protocol's name stands before the
//! length and `UnKnow` in the place of ports. The last cell is the label. Summaries were written without quotes where they
//! should have had them, so that a row may have more cells than it should: cells are counted from both ends. A row that still
//! cannot be understood is counted and left out.
//!
//! A conversation is all packets between two addresses. Its row has what the table holds: counts, lengths, gaps between
//! packets, classes of ports, shares of protocols, and the frequency of the words in its packets' summaries, hashed into a
//! few columns. No address, port or date goes into it. The columns are a schema of their own, so a model that is trained on
//! such tables judges no capture; it shows what the tables are worth.

mod features;
mod packets;

pub use features::schema;

use super::{CaptureFacts, Dataset, Keys, LearnError, Row, Truth};
use crate::hash::hex;
use packets::Conversation;
use sha2::{Digest, Sha256};
use std::path::Path;

/// What was read of the tables.
#[derive(Debug)]
pub struct Imported {
    /// One row a conversation. Each is a capture by itself: neither table says more of where its packets come from than that
    /// they are of one place.
    pub data: Dataset,
    /// What there was in the benign and in the malicious table.
    pub counts: [ImportCounts; 2],
}

/// What there was in a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportCounts {
    /// Packets that were understood.
    pub packets: u64,
    /// Rows that were not.
    pub not_understood: u64,
    /// Conversations.
    pub conversations: usize,
}

/// Groups that malicious conversations are dealt into: with no families in the tables, folds leave these out.
const GROUPS: usize = 5;

/// What a card has to say of a model that learnt from such tables.
const CAUTION: &str = "; imported packet tables: conversations in five groups of chance stand in for families, all \
    benign ones are of one place and one time and all malicious ones of another, and their addresses tie nothing together, \
    so the figures say how well two places are told apart";

/// Reads a benign and a malicious table.
pub fn import(good: &Path, bad: &Path) -> Result<Imported, LearnError> {
    let schema = schema()?;
    let mut data = Dataset { caution: CAUTION, ..Dataset::of(&schema) };
    let mut counts = [ImportCounts::default(); 2];
    let mut hasher = Sha256::new();
    for ((path, truth), counts) in [(good, Truth::Benign), (bad, Truth::Malicious)].into_iter().zip(&mut counts) {
        let wrong = |what: String| LearnError::File { path: path.to_owned(), what };
        let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        hasher.update(Sha256::digest(&bytes));
        let table = packets::read(&bytes).map_err(|what| wrong(what.to_owned()))?;
        *counts = ImportCounts {
            packets: table.packets,
            not_understood: table.not_understood,
            conversations: table.conversations.len(),
        };
        for (number, conversation) in table.conversations.iter().enumerate() {
            add(&mut data, conversation, truth, number);
        }
    }
    data.sha256 = hex(&hasher.finalize());
    Ok(Imported { data, counts })
}

fn add(data: &mut Dataset, conversation: &Conversation, truth: Truth, number: usize) {
    let malicious = truth == Truth::Malicious;
    let family = if malicious { format!("group {}", number % GROUPS + 1) } else { String::new() };
    let kin = if malicious { vec![format!("family {family}")] } else { Vec::new() };
    let at = data.rows.len();
    data.values.extend(features::row(conversation));
    data.tuples.push(at as u64);
    data.captures.push(CaptureFacts {
        path: format!("{}/{number}", truth.name()),
        family,
        source: truth.name().into(),
        ..CaptureFacts::default()
    });
    let keys = Keys { first_ns: (conversation.first() * 1e9) as u64, ..Keys::default() };
    data.rows.push(Row { capture: at, pair: at, truth, kin, packet: conversation.first_packet, keys });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn the_tables_of_the_origin_have_their_conversations() {
        let seed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/seed");
        if !seed.is_dir() {
            println!("skipped: {} is not there", seed.display());
            return;
        }
        let Imported { data, counts: [good, bad] } = import(&seed.join("goodx.csv"), &seed.join("badx.csv")).unwrap();
        assert_eq!((good.conversations, bad.conversations), (409, 89));
        assert_eq!((good.packets, good.not_understood), (5600, 0));
        assert_eq!((bad.packets, bad.not_understood), (5500, 6), "six packets without any address");
        assert_eq!(data.rows.len() * data.width, data.values.len());
        assert!(data.values.iter().all(|value| value.is_finite() && *value >= 0.0));
    }
}
