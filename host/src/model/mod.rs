//! Models: folders of data that say what they were trained on.
//!
//! A model is a card (`card.json`) and weights (`weights.bin`); it never holds code. Loading checks the weights' hash
//! against the card, and the pipeline checks the schema's.

mod card;
mod rarity;
mod store;

pub use card::{AlarmRate, Card, ColumnProfile, Figure, Report, Training};
pub(crate) use rarity::{by_rarity, term_columns};
pub use store::{Model, ModelError};
