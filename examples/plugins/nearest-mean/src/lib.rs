//! The library: the plugin itself stands in `nearest_mean.rs`, which could be in the box as it is.

mod nearest_mean;
#[cfg(test)]
mod tests;

pub use nearest_mean::{NearestMean, declarations};

veilwatch_core::export_plugins!(declarations);
