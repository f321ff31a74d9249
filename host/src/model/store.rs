use super::memory::Memory;
use super::registry::{ModelRegistry, RegistryError};
use super::signature::{PrivateKey, PublicKey, SIGNATURE_LIMIT, Signature, Signer, Trust};
use super::{Card, ModelSettings};
use crate::evaluate::Digest;
use crate::hash::sha256_hex;
use crate::plugins::brief;
use nix::fcntl::OFlag;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use veilwatch_core::plugin::PluginError;

/// A model: its card, its weights and what it remembers, hashes checked.
#[derive(Debug, Clone)]
pub struct Model {
    /// What it says of itself.
    pub card: Card,
    /// What the classifier learnt.
    pub weights: Vec<u8>,
    /// What it remembers of its training, where its card names it.
    pub memory: Option<Arc<Memory>>,
    /// How it was judged, where somebody laid that beside it and it can be read. The card's signature does not vouch for it.
    pub evaluation: Option<Arc<Digest>>,
}

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file of it cannot be read or written.
    #[error(
        "model {path}: {error}; a model is a folder with card.json, weights.bin and, where its card names it, memory.bin, \
         made by `veilwatch train`"
    )]
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
    /// What should be a file is none.
    #[error(
        "model {path}: this is no regular file; a model is a folder with card.json, weights.bin and, where its card names \
         it, memory.bin, made by `veilwatch train`"
    )]
    NotAFile {
        /// What stands there.
        path: PathBuf,
    },
    /// The card cannot be understood.
    #[error("model {name}: its card cannot be read ({}); train it again with this version", brief(&error.to_string()))]
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
    /// The signature is not one of this card.
    #[error(
        "model {name}: its signature is wrong: {what}; get card.json and card.sig from one place again, or have it signed \
         again (`veilwatch model sign`) by somebody who knows it"
    )]
    Signature {
        /// The model.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// It must be signed, and is not.
    #[error(
        "model {name} is not signed, and `require_signature` under [models] wants it to be; have it signed \
         (`veilwatch model sign`) by one of `trusted_keys`"
    )]
    Unsigned {
        /// The model.
        name: String,
    },
    /// It must be signed by one who is trusted, and is by somebody else.
    #[error(
        "model {name} is signed by {key}, which is none of `trusted_keys` under [models]; if you trust whoever has that \
         key, add it there"
    )]
    Untrusted {
        /// The model.
        name: String,
        /// The key.
        key: PublicKey,
    },
    /// The classifier cannot read the weights.
    #[error(
        "model {name}: its weights cannot be used by plugin `{plugin}`: {error}; get it again from where it came, or train \
         it again"
    )]
    Weights {
        /// The model.
        name: String,
        /// The instance.
        plugin: String,
        /// What the classifier said.
        error: PluginError,
    },
    /// The registry does not have it, or cannot take it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
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

impl ModelError {
    /// The same about the model that this one is a copy of.
    pub(super) fn of(self, copy: &Path, original: &Path) -> Self {
        let name = original.display().to_string();
        let there = |path: PathBuf| path.strip_prefix(copy).map(|file| original.join(file)).unwrap_or(path);
        match self {
            Self::File { path, error } => Self::File { path: there(path), error },
            Self::TooLarge { path, limit } => Self::TooLarge { path: there(path), limit },
            Self::NotAFile { path } => Self::NotAFile { path: there(path) },
            Self::Memory { what, .. } => Self::Memory { name, what },
            Self::Card { error, .. } => Self::Card { name, error },
            Self::Unusable { what, .. } => Self::Unusable { name, what },
            Self::Tampered { .. } => Self::Tampered { name },
            Self::Signature { what, .. } => Self::Signature { name, what },
            Self::Unsigned { .. } => Self::Unsigned { name },
            Self::Untrusted { key, .. } => Self::Untrusted { name, key },
            error => error,
        }
    }
}

const CARD_LIMIT: u64 = 16 << 20;
const WEIGHTS_LIMIT: u64 = 256 << 20;
const MEMORY_LIMIT: u64 = 64 << 20;

/// The bytes of a card, as they stand in a model's folder.
pub(super) fn card_bytes(folder: &Path) -> Result<Vec<u8>, ModelError> {
    read(&folder.join("card.json"), CARD_LIMIT)
}

/// The files of a model with their bytes, for whoever copies it: nothing else of its folder, and nothing that a link in
/// it leads to.
pub(super) fn files(folder: &Path) -> Result<Vec<(&'static str, Vec<u8>)>, ModelError> {
    let read = |name: &str, limit| read_itself(&folder.join(name), limit);
    let card = read("card.json", CARD_LIMIT)?;
    // What no card names, nothing verifies. One that cannot be read is refused where the copy is opened.
    let remembers = Card::parse("", &card).is_ok_and(|card| card.memory_sha256.is_some());
    let mut files = vec![("card.json", card), ("weights.bin", read("weights.bin", WEIGHTS_LIMIT)?)];
    if remembers {
        files.push(("memory.bin", read("memory.bin", MEMORY_LIMIT)?));
    }
    if let Some(evaluation) = if_there(read(Digest::FILE, Digest::BYTES))? {
        files.push((Digest::FILE, evaluation));
    }
    if let Some(signature) = if_there(read("card.sig", SIGNATURE_LIMIT))? {
        files.push(("card.sig", signature));
    }
    Ok(files)
}

/// A model in the box: its name, card and weights, and what it remembers, where its card names that; and how it was judged.
type Boxed = (&'static str, &'static [u8], &'static [u8], Option<&'static [u8]>, &'static [u8]);

/// The models in the box.
const IN_THE_BOX: [Boxed; 3] = [
    (
        "default",
        include_bytes!("../../../models/default/card.json"),
        include_bytes!("../../../models/default/weights.bin"),
        Some(include_bytes!("../../../models/default/memory.bin")),
        include_bytes!("../../../models/default/evaluation.json"),
    ),
    (
        "full",
        include_bytes!("../../../models/full/card.json"),
        include_bytes!("../../../models/full/weights.bin"),
        Some(include_bytes!("../../../models/full/memory.bin")),
        include_bytes!("../../../models/full/evaluation.json"),
    ),
    (
        "blind",
        include_bytes!("../../../models/blind/card.json"),
        include_bytes!("../../../models/blind/weights.bin"),
        Some(include_bytes!("../../../models/blind/memory.bin")),
        include_bytes!("../../../models/blind/evaluation.json"),
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

    /// The names of those in the box.
    pub fn names_in_the_box() -> impl Iterator<Item = &'static str> {
        IN_THE_BOX.iter().map(|(name, ..)| *name)
    }

    /// One in the box by its name, or a folder, whoever signed it. A signature that is wrong is refused.
    pub fn open(name: &str) -> Result<Self, ModelError> {
        Self::open_signed(name, &Trust::default()).map(|(model, _)| model)
    }

    /// The one that a configuration names: in the box, `registry:NAME`, `registry:NAME@VERSION`, or a folder.
    pub fn find(name: &str, settings: &ModelSettings) -> Result<(Self, Signer), ModelError> {
        let Some(asked) = name.strip_prefix(ModelSettings::REGISTRY) else {
            return Self::open_signed(name, &settings.trust());
        };
        let place = ModelRegistry::open(settings)?.place(&asked.parse()?)?;
        Self::open_signed(&place.display().to_string(), &settings.trust())
    }

    /// What a model says of itself, without a look at its weights: for whoever lists many. `name` is one in the box or a folder.
    pub fn glance(name: &str, trust: &Trust) -> Result<(Card, Signer), ModelError> {
        if let Some((_, card, ..)) = IN_THE_BOX.iter().find(|(known, ..)| *known == name) {
            return Ok((Card::parse(name, card)?, Signer::Box));
        }
        let card = card_bytes(Path::new(name))?;
        let signature = if_there(read(&Path::new(name).join("card.sig"), SIGNATURE_LIMIT))?;
        let signer = trust.check(name, &card, signature.as_deref())?;
        Ok((Card::parse(name, &card)?, signer))
    }

    /// One in the box by its name, or a folder, and who vouches for it.
    pub fn open_signed(name: &str, trust: &Trust) -> Result<(Self, Signer), ModelError> {
        if let Some((_, card, weights, memory, evaluation)) = IN_THE_BOX.iter().find(|(known, ..)| *known == name) {
            let memory = || Ok(memory.unwrap_or_default().to_vec());
            let model = Self::from_parts(name, card, weights.to_vec(), memory)?;
            let evaluation = Digest::parse(evaluation).map(Arc::new);
            return Ok((Self { evaluation, ..model }, Signer::Box));
        }
        let folder = Path::new(name);
        let card = card_bytes(folder)?;
        let signature = if_there(read(&folder.join("card.sig"), SIGNATURE_LIMIT))?;
        let signer = trust.check(name, &card, signature.as_deref())?;
        let weights = read(&folder.join("weights.bin"), WEIGHTS_LIMIT)?;
        let memory = || read(&folder.join("memory.bin"), MEMORY_LIMIT);
        let model = Self::from_parts(name, &card, weights, memory)?;
        // Verdicts do not hang on it: one that cannot be read is none.
        let evaluation = read(&folder.join(Digest::FILE), Digest::BYTES).ok();
        let evaluation = evaluation.as_deref().and_then(Digest::parse).map(Arc::new);
        Ok((Self { evaluation, ..model }, signer))
    }

    /// The memory is asked for where the card names one.
    fn from_parts(
        name: &str,
        card: &[u8],
        weights: Vec<u8>,
        memory: impl FnOnce() -> Result<Vec<u8>, ModelError>,
    ) -> Result<Self, ModelError> {
        let card = Card::parse(name, card)?;
        if sha256_hex(&weights) != card.weights_sha256 {
            return Err(ModelError::Tampered { name: name.to_owned() });
        }
        let memory = match &card.memory_sha256 {
            Some(sha256) => Some(remembered(name, sha256, card.columns.len(), &memory()?)?),
            None => None,
        };
        Ok(Self { card, weights, memory, evaluation: None })
    }

    /// Signs the card of a model in a folder, which must be whole, and writes the signature beside it, in one step.
    pub fn sign(folder: &Path, key: &PrivateKey) -> Result<Signature, ModelError> {
        let name = folder.display().to_string();
        let card = card_bytes(folder)?;
        let weights = read(&folder.join("weights.bin"), WEIGHTS_LIMIT)?;
        Self::from_parts(&name, &card, weights, || read(&folder.join("memory.bin"), MEMORY_LIMIT))?;
        let signature = key.sign(&card);
        let (path, new) = (folder.join("card.sig"), folder.join(".card.sig.new"));
        let failed = |error| ModelError::File { path: path.clone(), error };
        // The folder may be anybody's, and what stands there under this name a link to a file of ours.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        write_new(&new, signature.text().as_bytes()).map_err(failed)?;
        std::fs::rename(&new, &path).and_then(|()| sync(folder)).map_err(failed)?;
        Ok(signature)
    }

    /// Its files with their bytes, those that it has.
    ///
    /// # Errors
    /// Where a number in its card is none.
    pub fn to_files(&self) -> Result<Vec<(&'static str, Vec<u8>)>, ModelError> {
        let failed = |error| ModelError::Card { name: self.card.name.clone(), error };
        let mut card = serde_json::to_vec_pretty(&self.card).map_err(failed)?;
        card.push(b'\n');
        let mut files = vec![("weights.bin", self.weights.clone()), ("card.json", card)];
        files.extend(self.memory.as_ref().map(|memory| ("memory.bin", memory.to_bytes())));
        if let Some(evaluation) = &self.evaluation {
            files.push((Digest::FILE, evaluation.to_bytes().map_err(failed)?));
        }
        Ok(files)
    }

    /// Writes all of it into a folder, which is made where it is missing. A signature or an evaluation of what was there goes
    /// away.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| ModelError::File { path, error }
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let files = self.to_files()?;
        let files = ["weights.bin", "memory.bin", Digest::FILE, "card.json"]
            .map(|name| (name, files.iter().find(|(known, _)| *known == name).map(|(_, bytes)| bytes.as_slice())));
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
        let signature = folder.join("card.sig");
        match std::fs::remove_file(&signature) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(&signature)(error)),
            _ => Ok(()),
        }
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
        Self::parse(&path.display().to_string(), &read(path, CARD_LIMIT)?)
    }

    /// Reads bytes that may be anybody's as a card that can be used; `name` is what messages call the model.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, ModelError> {
        let card: Self =
            serde_json::from_slice(bytes).map_err(|error| ModelError::Card { name: name.to_owned(), error })?;
        match card.flaw() {
            Some(what) => Err(ModelError::Unusable { name: name.to_owned(), what }),
            None => Ok(card),
        }
    }
}

/// The bytes of a regular file, at most so many.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ModelError> {
    read_with(OFlag::empty(), path, limit)
}

/// The same of the file itself: a link is none.
fn read_itself(path: &Path, limit: u64) -> Result<Vec<u8>, ModelError> {
    match read_with(OFlag::O_NOFOLLOW, path, limit) {
        Err(ModelError::File { error, path }) if error.raw_os_error() == Some(nix::libc::ELOOP) => {
            Err(ModelError::NotAFile { path })
        }
        outcome => outcome,
    }
}

fn read_with(flags: OFlag, path: &Path, limit: u64) -> Result<Vec<u8>, ModelError> {
    let failed = |error| ModelError::File { path: path.to_owned(), error };
    // Without waiting: nobody may ever write to a pipe that stands there.
    let open = File::options().read(true).custom_flags((flags | OFlag::O_NONBLOCK).bits()).open(path);
    let file = open.map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(ModelError::NotAFile { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(ModelError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// What was read; nothing where there is no such file.
pub(super) fn if_there(read: Result<Vec<u8>, ModelError>) -> Result<Option<Vec<u8>>, ModelError> {
    match read {
        Err(ModelError::File { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// Writes a new file, until it is on the disk.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Has what a folder lists on the disk.
pub(super) fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}
