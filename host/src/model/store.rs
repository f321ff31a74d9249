use super::Card;
use crate::hash::sha256_hex;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A model in memory: its card and its weights, hash checked.
#[derive(Debug, Clone)]
pub struct Model {
    /// What it says of itself.
    pub card: Card,
    /// What the classifier learnt.
    pub weights: Vec<u8>,
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
    /// It has no threshold for the budget that is asked for.
    #[error("model {name}: {what}")]
    Budget {
        /// The model.
        name: String,
        /// What it can answer for.
        what: String,
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

/// The models in the box, by name: card and weights.
const IN_THE_BOX: [(&str, &[u8], &[u8]); 3] = [
    (
        "default",
        include_bytes!("../../../models/default/card.json"),
        include_bytes!("../../../models/default/weights.bin"),
    ),
    ("full", include_bytes!("../../../models/full/card.json"), include_bytes!("../../../models/full/weights.bin")),
    ("blind", include_bytes!("../../../models/blind/card.json"), include_bytes!("../../../models/blind/weights.bin")),
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
        if let Some((_, card, weights)) = IN_THE_BOX.iter().find(|(known, ..)| *known == name) {
            return Self::from_parts(name, card, weights.to_vec());
        }
        let folder = Path::new(name);
        let card = read(&folder.join("card.json"), CARD_LIMIT)?;
        let weights = read(&folder.join("weights.bin"), WEIGHTS_LIMIT)?;
        Self::from_parts(name, &card, weights)
    }

    fn from_parts(name: &str, card: &[u8], weights: Vec<u8>) -> Result<Self, ModelError> {
        let card: Card =
            serde_json::from_slice(card).map_err(|error| ModelError::Card { name: name.to_owned(), error })?;
        if let Some(what) = card.flaw() {
            return Err(ModelError::Unusable { name: name.to_owned(), what });
        }
        if sha256_hex(&weights) != card.weights_sha256 {
            return Err(ModelError::Tampered { name: name.to_owned() });
        }
        Ok(Self { card, weights })
    }

    /// Writes card and weights into a folder, which is made where it is missing.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| ModelError::File { path, error }
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let mut card = serde_json::to_string_pretty(&self.card)
            .map_err(|error| ModelError::Card { name: self.card.name.clone(), error })?;
        card.push('\n');
        for (name, bytes) in [("weights.bin", self.weights.as_slice()), ("card.json", card.as_bytes())] {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(failed(&path))?;
        }
        Ok(())
    }
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
