//! Schemas, rows, and batches of flows as extractors see them.

mod batch;
mod handshake;
mod name;
mod rows;
mod schema;
mod shape;

pub use batch::{FlowBatch, FlowShape, FlowSource, FlowView, NamesView, SpltView};
pub use handshake::HandshakeEnd;
pub use name::NameShape;
pub use rows::{RowWriter, Rows, RowsMut};
pub use schema::{Column, Evidence, FeatureSchema, SchemaError};
pub use shape::{entropy, hash64, quantiles, ratio, weighted_mean};
