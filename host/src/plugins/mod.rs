//! Plugins, in the box and dropped in, behind one registry.
//!
//! After registration nobody knows where a plugin came from: [`Registry::create`] is the only way to an instance.

mod guarded;
mod library;
mod registry;

pub use registry::{Origin, Registry, RegistryError};
