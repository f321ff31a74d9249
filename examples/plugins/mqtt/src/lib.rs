//! The library: the plugin itself stands in `mqtt.rs`, which could be in the box as it is.

mod mqtt;
#[cfg(test)]
mod tests;

pub use mqtt::{Mqtt, declarations};

veilwatch_core::export_plugins!(declarations);
