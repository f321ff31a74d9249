//! The contract: three kinds of plugin as safe traits.
//!
//! An author implements one of [`ProtocolTemplate`], [`FeatureExtractor`] and [`Classifier`] and lists the type in one
//! [`declare_plugins!`](crate::declare_plugins) line. Whether the crate is linked into the host or built as a library
//! and dropped in, the source is the same; [`crate::abi`] carries the calls across the boundary.
//!
//! What a plugin may expect, and what is expected of it:
//!
//! * It is made from its settings, asked what it declares, wired once, and then called from several threads at once.
//! * The same input gives the same output. No clock, no chance, nothing kept between calls.
//! * Numbers are finite or NaN, which stands for "not there"; an infinite one counts as a failure.
//! * An error or a panic costs the record this plugin's values and nothing else. A batch that fails is asked for again
//!   record by record, so that one record does not cost the others. With too many failures the plugin is disabled, or the
//!   run ends; the configuration says which (`errors` under `[plugins]`, `required`).
//! * A template writes typed records, and fields under the ids that `wire` gave it, each with the kind that it declared.
//!   What a dropped-in one writes beside that is left out, and counts as its failure.
//! * A call comes back. One that takes too long ends the run.
//! * A library is tried with empty settings before it is used for the first time: `create` may refuse them, but must not
//!   panic over them.
//!
//! ```
//! use veilwatch_core::feature::{Column, Evidence, FlowBatch, RowsMut};
//! use veilwatch_core::flow::Direction;
//! use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};
//!
//! /// Share of the payload that the originator sent.
//! struct SentShare;
//!
//! impl SentShare {
//!     fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
//!         settings.none()?;
//!         Ok(Self)
//!     }
//! }
//!
//! impl FeatureExtractor for SentShare {
//!     fn columns(&self) -> Vec<Column> {
//!         vec![Column::new("sent_share", "ratio", "share of the payload that the originator sent", Evidence::Flow)]
//!     }
//!     fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
//!         for (at, flow) in batch.iter().enumerate() {
//!             let sent = flow.direction(Direction::Forward).payload_bytes as f32;
//!             let received = flow.direction(Direction::Backward).payload_bytes as f32;
//!             rows.row(at)[0] = sent / (sent + received).max(1.0);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! veilwatch_core::declare_plugins!(feature "sent-share" "share of the payload that the originator sent": SentShare);
//! # fn main() { assert_eq!(declarations().len(), 1) }
//! ```

mod classifier;
mod declare;
pub mod dissect;
mod openings;
mod reader;
mod settings;
mod template;
pub mod weights;

pub use classifier::{Classifier, TrainingSet};
pub use declare::{Create, Declaration, Instance, Manifest, PluginKind};
pub use openings::{FirstBytes, Openings};
pub use reader::Reader;
pub use settings::{PluginError, PluginErrorKind, Settings, within};
pub use template::{Carrier, Made, Piece, Probe, Progress, ProtocolTemplate, RecordSink, StreamView, TLS_HANDSHAKE};

pub(crate) use dissect::TreeTarget;
pub(crate) use template::SinkTarget;

use crate::feature::{Column, FlowBatch, RowsMut};
use crate::record::FieldTable;

/// Turns finished flows into rows of numbers: a pure function of a batch of records with their context.
pub trait FeatureExtractor: Send + Sync {
    /// The columns, always the same ones in the same order for the same settings.
    fn columns(&self) -> Vec<Column>;

    /// Looks up the ids of declared fields that this extractor reads, once, when the pipeline is wired.
    fn wire(&mut self, _fields: &FieldTable) -> Result<(), PluginError> {
        Ok(())
    }

    /// Fills one row per flow, in the order of the batch; NaN stands for "not there". The rows come filled with NaN.
    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError>;
}
