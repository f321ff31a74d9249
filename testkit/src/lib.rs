//! What an author of plugins tests with.
//!
//! | module | story |
//! |---|---|
//! | [`talk`] | one conversation, packet by packet, without a capture; what a template reads of it |
//! | [`flows`] | finished flows of every kind, and the rows that an extractor makes of them |
//! | [`conformance`] | what every plugin keeps to, as a list of checks |
//! | [`fuzz`] | hostile bytes for templates: what becomes of them, and what has to hold |
//! | [`scribe`] | stands for a template that reads what others make |
//! | [`mod@golden`] | a text held against a file, which can be written anew |
//!
//! The smallest test of a plugin is one line:
//!
//! ```
//! # use veilwatch_core::feature::{Column, Evidence, FlowBatch, RowsMut};
//! # use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};
//! # struct Seconds;
//! # impl Seconds {
//! #     fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
//! #         settings.none().map(|()| Self)
//! #     }
//! # }
//! # impl FeatureExtractor for Seconds {
//! #     fn columns(&self) -> Vec<Column> {
//! #         vec![Column::new("duration", "seconds", "how long the flow lasted", Evidence::Flow)]
//! #     }
//! #     fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
//! #         batch.iter().enumerate().for_each(|(at, flow)| rows.writer(at).put(flow.duration()));
//! #         Ok(())
//! #     }
//! # }
//! # veilwatch_core::declare_plugins!(feature "seconds" "how long flows last": Seconds);
//! # fn main() {
//! veilwatch_testkit::conformance::assert_conforms(declarations());
//! # }
//! ```

pub mod conformance;
pub mod flows;
pub mod fuzz;
pub mod golden;
pub mod scribe;
pub mod talk;

pub use golden::golden;
