use super::Card;
use super::memory::Memory;
use crate::hash::sha256_hex;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A model: its card, its weights and what it remembers, hashes checked.
#[derive(Debug, Clone)]
pub struct Model {
    /// What it says of itself.
    pub card: Card,
    /// What the classifier learnt.
    pub weights: Vec<u8>,
    /// What it remembers of its training, where its card names it.
    pub memory: Option<Arc<Memory>>,
}

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file of it cannot be read or written.
    #[error("model {path}: {error}; a model is a folder with card.json and weights.bin, made by `veilwatch train`")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file is larger than any model.
    #[error("model {path}: more than {limit} bytes; this is no model of ours")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// The card cannot be understood.
    #[error("model {name}: its card cannot be read ({error}); train it again with this version")]
    Card {
        /// The model.
        name: String,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// The card says what cannot be.
    #[error("model {name}: its card cannot be used: {what}; train it again, or get it again from where it came")]
    Unusable {
        /// The model.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The weights are not those of the card.
    #[error("model {name}: its weights are not those that its card names; get both from one place again")]
    Tampered {
        /// The model.
        name: String,
    },
    /// What it remembers is not what the card says, or cannot be understood.
    #[error(
        "model {name}: its memory.bin cannot be used: {what}; get the model from one place again, or train it again"
    )]
    Memory {
        /// The model.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// It was trained on other features.
    #[error(
        "model {name} was trained on other features than this pipeline computes; use the pipeline that it was trained \
         with, or run `veilwatch train` with this one"
    )]
    OtherSchema {
        /// The model.
        name: String,
    },
    /// It was trained on other flows.
    #[error(
        "model {name} was trained on other flows than this pipeline scores: write `scored = \"{trained}\"` for \
         `scored = \"{scored}\"` under [detection], or run `veilwatch train` with this pipeline"
    )]
    OtherFlows {
        /// The model.
        name: String,
        /// Which flows it knows.
        trained: &'static str,
        /// Which the pipeline scores.
        scored: &'static str,
    },
    /// It belongs to another classifier.
    #[error("model {name} is made for {wanted}, but the pipeline has {found}")]
    OtherClassifier {
        /// The model.
        name: String,
        /// What it needs.
        wanted: String,
        /// What there is.
        found: String,
    },
}

const CARD_LIMIT: u64 = 16 << 20;
const WEIGHTS_LIMIT: u64 = 256 << 20;
const MEMORY_LIMIT: u64 = 64 << 20;

/// A model in the box: its name, card and weights, and what it remembers, where its card names that.
type Boxed = (&'static str, &'static [u8], &'static [u8], Option<&'static [u8]>);

const IN_THE_BOX: [Boxed; 3] = [
    (
        "default",
        include_bytes!("../../../models/default/card.json"),
        include_bytes!("../../../models/default/weights.bin"),
        None,
    ),
    (
        "full",
        include_bytes!("../../../models/full/card.json"),
        include_bytes!("../../../models/full/weights.bin"),
        None,
    ),
    (
        "blind",
        include_bytes!("../../../models/blind/card.json"),
        include_bytes!("../../../models/blind/weights.bin"),
        None,
    ),
];

impl Model {
    /// Whether a name is that of a model in the box.
    pub fn is_in_the_box(name: &str) -> bool {
        IN_THE_BOX.iter().any(|(known, ..)| *known == name)
    }

    /// The default model.
    pub fn builtin() -> Result<Self, ModelError> {
        Self::open("default")
    }

    /// One in the box by its name, or a folder.
    pub fn open(name: &str) -> Result<Self, ModelError> {
        if let Some((_, card, weights, memory)) = IN_THE_BOX.iter().find(|(known, ..)| *known == name) {
            return Self::from_parts(name, card, weights.to_vec(), || Ok(memory.unwrap_or_default().to_vec()));
        }
        let folder = Path::new(name);
        let card = read(&folder.join("card.json"), CARD_LIMIT)?;
        let weights = read(&folder.join("weights.bin"), WEIGHTS_LIMIT)?;
        Self::from_parts(name, &card, weights, || read(&folder.join("memory.bin"), MEMORY_LIMIT))
    }

    /// The memory is asked for where the card names one.
    fn from_parts(
        name: &str,
        card: &[u8],
        weights: Vec<u8>,
        memory: impl FnOnce() -> Result<Vec<u8>, ModelError>,
    ) -> Result<Self, ModelError> {
        let card: Card =
            serde_json::from_slice(card).map_err(|error| ModelError::Card { name: name.to_owned(), error })?;
        if let Some(what) = card.flaw() {
            return Err(ModelError::Unusable { name: name.to_owned(), what });
        }
        if sha256_hex(&weights) != card.weights_sha256 {
            return Err(ModelError::Tampered { name: name.to_owned() });
        }
        let memory = match &card.memory_sha256 {
            Some(sha256) => Some(remembered(name, sha256, card.columns.len(), &memory()?)?),
            None => None,
        };
        Ok(Self { card, weights, memory })
    }

    /// Writes all of it into a folder, which is made where it is missing.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| ModelError::File { path, error }
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let mut card = serde_json::to_string_pretty(&self.card)
            .map_err(|error| ModelError::Card { name: self.card.name.clone(), error })?;
        card.push('\n');
        let memory = self.memory.as_ref().map(|memory| memory.to_bytes());
        let files = [
            ("weights.bin", Some(self.weights.as_slice())),
            ("memory.bin", memory.as_deref()),
            ("card.json", Some(card.as_bytes())),
        ];
        for (name, bytes) in files {
            let path = folder.join(name);
            match bytes {
                Some(bytes) => std::fs::write(&path, bytes).map_err(failed(&path))?,
                // That of a model that was there before is not this one's.
                None => match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(&path)(error)),
                    _ => {}
                },
            }
        }
        Ok(())
    }
}

/// What a model remembers, if it is what its card names and fits its columns.
fn remembered(name: &str, sha256: &str, width: usize, bytes: &[u8]) -> Result<Arc<Memory>, ModelError> {
    let wrong = |what| ModelError::Memory { name: name.to_owned(), what };
    if sha256_hex(bytes) != *sha256 {
        return Err(wrong("it is not the one that the card names"));
    }
    let memory = Memory::from_bytes(bytes).map_err(wrong)?;
    if memory.width() == width { Ok(Arc::new(memory)) } else { Err(wrong("it is of other columns than the card")) }
}

impl Card {
    /// Reads a card without its weights.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let name = || path.display().to_string();
        serde_json::from_slice(&read(path, CARD_LIMIT)?).map_err(|error| ModelError::Card { name: name(), error })
    }
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ModelError> {
    let failed = |error| ModelError::File { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(ModelError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}
