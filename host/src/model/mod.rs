//! Models: folders of data that say what they were trained on.
//!
//! A model is a card (`card.json`), weights (`weights.bin`) and, since there is one, what it remembers of its training
//! (`memory.bin`); it never holds code. Loading checks the hashes of both against the card, and the pipeline checks the
//! schema's.

mod card;
pub mod drift;
pub mod memory;
mod rarity;
mod store;

pub use card::{Card, ColumnProfile, Figure, Report, Training};
pub(crate) use rarity::{by_rarity, term_columns};
pub use store::{Model, ModelError};
