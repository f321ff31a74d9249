//! Schemas, rows, and batches of flows as extractors see them.

mod batch;
mod rows;
mod schema;
mod shape;

pub use batch::{FlowBatch, FlowShape, FlowSource, FlowView, SpltView};
pub use rows::{RowWriter, Rows, RowsMut};
pub use schema::{Column, Evidence, FeatureSchema, SchemaError};
pub use shape::{entropy, quantiles, ratio, weighted_mean};
