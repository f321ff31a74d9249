//! The contract across a library boundary.
//!
//! Authors never see this module: they write the traits of [`crate::plugin`] and one
//! [`export_plugins!`](crate::export_plugins) line in the crate that becomes the library. Here the traits are carried by
//! `abi_stable` objects in both directions, and a panic is caught on the plugin's side, because one that crossed the
//! boundary would end the process.
//!
//! Only this module and the host's dynamic loader know `abi_stable` and `unsafe`, so that the transport could be
//! replaced without touching a plugin.
//!
//! * [`types`] – plain data as it crosses;
//! * [`export`] – the plugin's side: safe traits behind objects;
//! * [`import`] – the host's side: objects behind safe traits.

#![allow(unsafe_code, missing_docs, non_local_definitions, clippy::used_underscore_items)] // derive output of abi_stable

pub mod export;
pub mod import;
pub mod types;

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RResult, RStr, RVec};
use types::{RawError, RawInstance, RawManifest};

pub use abi_stable;

/// The version of the contract, which is not that of the crate: it grows when the contract does, and only then.
///
/// A program takes plugins of the same first number and of the same or a smaller second one. The third never counts.
pub const CONTRACT: &str = "1.3.0";

/// The symbol under which a library exports its root module, null-terminated for the loader.
pub const ROOT_SYMBOL: &[u8] = b"veilwatch_plugin_root_v1\0";

/// What a plugin library exports. New functions go to the end.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef)))]
#[sabi(missing_field(panic))]
pub struct PluginModule {
    /// The plugins of the library, in order.
    pub manifests: extern "C" fn() -> RResult<RVec<RawManifest>, RawError>,
    /// Makes an instance of one of them, from TOML text.
    #[sabi(last_prefix_field)]
    pub create: extern "C" fn(usize, RStr<'_>) -> RResult<RawInstance, RawError>,
}

impl RootModule for PluginModuleRef {
    abi_stable::declare_root_module_statics! {PluginModuleRef}
    const BASE_NAME: &'static str = "veilwatch_plugin";
    const NAME: &'static str = "veilwatch_plugin";
    const VERSION_STRINGS: VersionStrings = VersionStrings::new(CONTRACT);
}

/// Exports the plugins of a crate from the library it is built as; at most once in a program.
///
/// `declarations` is the path of a function that [`declare_plugins!`](crate::declare_plugins) wrote.
#[macro_export]
macro_rules! export_plugins {
    ($declarations:path) => {
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::abi::abi_stable::library::{CheckTypeLayout, LibHeader, RootModuleResult};
            use $crate::abi::abi_stable::std_types::{RResult, RStr, RVec};
            use $crate::abi::types::{RawError, RawInstance, RawManifest};

            extern "C" fn manifests() -> RResult<RVec<RawManifest>, RawError> {
                $crate::abi::export::manifests($declarations)
            }
            extern "C" fn create(at: usize, settings: RStr<'_>) -> RResult<RawInstance, RawError> {
                $crate::abi::export::create($declarations, at, settings)
            }
            fn root() -> $crate::abi::PluginModuleRef {
                use $crate::abi::abi_stable::prefix_type::PrefixTypeTrait;
                $crate::abi::PluginModule { manifests, create }.leak_into_prefix()
            }
            extern "C" fn erased() -> RootModuleResult {
                $crate::abi::abi_stable::library::__call_root_module_loader(root)
            }
            // What `#[export_root_module]` writes, by hand: its bare `#[no_mangle]` is refused by the 2024 edition,
            // and its symbol collides as soon as two such crates meet in one program.
            #[unsafe(export_name = "veilwatch_plugin_root_v1")]
            pub static ROOT: LibHeader =
                // SAFETY: `erased` returns the root module of the very type that is named here.
                unsafe {
                    LibHeader::from_constructor::<$crate::abi::PluginModuleRef>(erased, CheckTypeLayout::Yes)
                };
        };
    };
}

#[cfg(test)]
mod tests;
