//! The library: the plugin itself stands in `greeting.rs`, which could be in the box as it is.

mod greeting;
#[cfg(test)]
mod tests;

pub use greeting::{SshGreeting, SshGreetingSettings, declarations};

veilwatch_core::export_plugins!(declarations);
