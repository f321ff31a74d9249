//! Training and evaluation.
//!
//! Evaluation is where this field fools itself, so the rules stand in code: captures are never split, a family is
//! never in training when it is in the test, sources that share captures stay together, both kinds of negatives are
//! always there, and one server's flood of flows weighs no more than a few of them.

mod alter;
mod augment;
mod background;
pub(crate) mod chosen;
mod collect;
mod dataset;
mod feedback;
pub(crate) mod folds;
mod import;
mod labels;
pub(crate) mod metrics;
pub mod origin;
mod random;
mod recipe;
mod remember;
mod rounds;
mod search;
mod sources;
mod table;
mod train;
pub(crate) mod validate;

pub use alter::{Alteration, Hidden, NoAlteration};
pub use background::Background;
pub use collect::{Added, Collection};
pub use dataset::{
    Altering, CaptureFacts, Cleaned, Copied, Dataset, Keys, LoadOptions, Loading, Row, load, load_altered, load_from,
};
pub use feedback::{Conflict, Feedback, FeedbackRecipe, LostMarks, MARK_WEIGHTS, Marked, MarkedRows, OnConflict};
pub use folds::{Folds, Protocol};
pub use import::{ImportCounts, Imported, import, schema as import_schema};
pub use labels::{LabelError, Truth};
pub use metrics::{Pair, Pairs};
pub use recipe::{Augment, Negatives, NoAugment, Recipe};
pub(crate) use remember::NOVEL_SHARE;
pub use rounds::{Recorder, Rounds, collect_rounds};
pub use search::Grid;
pub use sources::{Collected, Origin};
pub use table::{read_table, write_table};
pub use train::{Trained, train, train_as, train_imported};
pub use validate::{Evaluation, FamilyResult, evaluate};

/// Why learning ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// The labels cannot be used.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// A file that training reads beside captures cannot be used.
    #[error("{path}: {what}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A capture cannot be read.
    #[error("{capture}: {error}")]
    Capture {
        /// The capture.
        capture: String,
        /// Why.
        error: crate::engine::RunError,
    },
    /// A round of live traffic cannot be recorded.
    #[error("{interface}, round {round}: {error}")]
    Round {
        /// The interface.
        interface: String,
        /// Which one, counted from 1.
        round: u32,
        /// What whoever records says.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The classifier failed.
    #[error("classifier {path}: {error}")]
    Classifier {
        /// `kind/name`.
        path: String,
        /// What it said.
        error: veilwatch_core::plugin::PluginError,
    },
    /// The classifier cannot be had.
    #[error(transparent)]
    Registry(#[from] crate::plugins::RegistryError),
    /// The pipeline has none.
    #[error("this pipeline has no classifier; add a [[plugin]] with `use = \"classifier/…\"`")]
    NoClassifier,
    /// There is too little to learn from.
    #[error("{malicious} malicious and {benign} benign flows in {families} families are too few to learn from")]
    TooFew {
        /// Malicious flows.
        malicious: usize,
        /// Benign flows.
        benign: usize,
        /// Families.
        families: usize,
    },
}
