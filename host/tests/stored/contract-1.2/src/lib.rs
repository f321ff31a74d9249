//! The library that is stored; the plugins stand in `plugins.rs`, which the test links in as it is.

pub mod plugins;

veilwatch_core::export_plugins!(plugins::declarations);
