//! Models: folders of data that say what they were trained on.
//!
//! A model is a card (`card.json`), weights (`weights.bin`) and, since there is one, what it remembers of its training
//! (`memory.bin`); it never holds code. Loading checks the hashes of both against the card, and the pipeline checks the
//! schema's. Beside the card may stand a signature of it (`card.sig`), and [`ModelRegistry`] keeps models in versions and
//! knows which one is the champion.

mod card;
mod compare;
pub mod drift;
pub mod memory;
mod promote;
mod rarity;
mod registry;
mod settings;
mod signature;
mod store;

pub use card::{AlarmRate, Card, ColumnProfile, Figure, Report, Training};
pub use compare::{Compared, Standing, compare, compare_reports, same_protocol};
pub use promote::{Candidate, PromoteError, Promoted, promote};
pub(crate) use rarity::{by_rarity, term_columns};
pub use registry::{Champion, Edit, ModelRegistry, RegistryError, Staged, VersionName};
pub use settings::ModelSettings;
pub use signature::{KeyError, PrivateKey, PublicKey, Signature, Signer, Trust};
pub use store::{Model, ModelError};
