use crate::record::Mark;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write;

/// What part of a flow a feature was computed from, so that a reason can lead to packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Evidence {
    /// The flow as a whole: its first packet.
    Flow = 0,
    /// The ClientHello.
    ClientHello = 1,
    /// The ServerHello.
    ServerHello = 2,
    /// The certificate.
    Certificate = 3,
    /// The encrypted records.
    ApplicationData = 4,
    /// Other flows of the same conversation.
    Conversation = 5,
}

impl Evidence {
    /// The evidence with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        use Evidence::{ApplicationData, Certificate, ClientHello, Conversation, Flow, ServerHello};
        [Flow, ClientHello, ServerHello, Certificate, ApplicationData, Conversation].get(usize::from(number)).copied()
    }

    /// The mark that leads to its packet; `None` for the flow's first packet.
    pub fn mark(self) -> Option<Mark> {
        match self {
            Self::ClientHello => Some(Mark::ClientHello),
            Self::ServerHello => Some(Mark::ServerHello),
            Self::Certificate => Some(Mark::Certificate),
            Self::ApplicationData => Some(Mark::ApplicationData),
            Self::Flow | Self::Conversation => None,
        }
    }
}

/// One named column of a feature table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name within its extractor, in lower case with underscores; the pipeline puts the instance's id before it.
    pub name: Cow<'static, str>,
    /// Unit: `bytes`, `seconds`, `count`, `ratio`, `flag`, `code`, `bits`, `days`.
    pub unit: Cow<'static, str>,
    /// What it measures, in words that a reason can use.
    pub words: Cow<'static, str>,
    /// What it was computed from.
    pub evidence: Evidence,
}

impl Column {
    /// A column.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        unit: impl Into<Cow<'static, str>>,
        words: impl Into<Cow<'static, str>>,
        evidence: Evidence,
    ) -> Self {
        Self { name: name.into(), unit: unit.into(), words: words.into(), evidence }
    }
}

/// Why columns make no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Two columns have the same name.
    #[error("two feature columns are named `{0}`")]
    Duplicate(String),
    /// Too many columns.
    #[error("{found} feature columns are more than the limit of {limit}")]
    TooWide {
        /// Columns found.
        found: usize,
        /// Columns allowed.
        limit: usize,
    },
}

/// The ordered list of all columns of a pipeline, with a hash that stands for it.
///
/// A model stores the hash of the schema it was trained on and refuses any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureSchema {
    columns: Vec<Column>,
    hash: String,
}

impl FeatureSchema {
    /// Most columns a pipeline may have.
    pub const LIMIT: usize = 16_384;

    /// Joins the extractors' columns; each comes with its instance's id, which becomes the first part of the name.
    pub fn join<'a>(parts: impl IntoIterator<Item = (&'a str, Vec<Column>)>) -> Result<Self, SchemaError> {
        let mut columns = Vec::new();
        let mut names = BTreeSet::new();
        for (id, part) in parts {
            for column in part {
                let name = format!("{id}.{}", column.name);
                if !names.insert(name.clone()) {
                    return Err(SchemaError::Duplicate(name));
                }
                columns.push(Column { name: name.into(), ..column });
            }
        }
        if columns.len() > Self::LIMIT {
            return Err(SchemaError::TooWide { found: columns.len(), limit: Self::LIMIT });
        }
        let mut hasher = Sha256::new();
        for column in &columns {
            hasher.update(column.name.as_bytes());
            hasher.update(b"\t");
            hasher.update(column.unit.as_bytes());
            hasher.update(b"\n");
        }
        let hash = hasher.finalize().iter().fold(String::new(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        });
        Ok(Self { columns, hash })
    }

    /// The columns in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// How many columns there are.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// SHA-256 over names and units, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}
