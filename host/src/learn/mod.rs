//! Training and evaluation.
//!
//! Evaluation is where this field fools itself, so the rules stand in code: captures are never split, a family is
//! never in training when it is in the test, sources that share captures stay together, both kinds of negatives are
//! always there, and one server's flood of flows weighs no more than a few of them.

mod alter;
mod dataset;
pub(crate) mod folds;
mod labels;
pub(crate) mod metrics;
mod random;
mod train;
pub(crate) mod validate;

pub use alter::{Alteration, Hidden, NoAlteration};
pub use dataset::{Altering, CaptureFacts, Dataset, Keys, Loading, Row, load, load_altered};
pub use folds::{Folds, Protocol};
pub use labels::{LabelError, Truth};
pub use metrics::{Pair, Pairs};
pub use train::{Trained, train};
pub use validate::{Evaluation, FamilyResult, evaluate};

/// Why learning ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// The labels cannot be used.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// A capture cannot be read.
    #[error("{capture}: {error}")]
    Capture {
        /// The capture.
        capture: String,
        /// Why.
        error: crate::engine::RunError,
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
