//! Plugins, in the box and dropped in, behind one registry.
//!
//! After registration nobody knows where a plugin came from: [`Registry::create`] is the only way to an instance. On the
//! way there a library goes through these, and what becomes of it is told by a [`PluginReport`]:
//!
//! | module | story |
//! |---|---|
//! | `verify`, `elf` | what is checked before any of its code runs |
//! | `probe` | it is tried in a process of its own |
//! | `child` | how such a process is started, bounded and listened to |
//! | `conform` | in another one it is held to the contract, for whoever asks |
//! | `remember` | and need not be tried again |
//! | `library` | it is loaded: the one place with `unsafe` |
//! | `registry` | its plugins are known by kind and name |
//! | `guarded`, `meter` | their panics are caught, their calls timed |
//! | `parts` | what they add to a pipeline, and their settings |

mod child;
mod conform;
mod elf;
mod error;
mod guarded;
mod library;
mod meter;
mod parts;
mod probe;
mod registry;
mod remember;
mod report;
mod verify;

pub use conform::{CheckOptions, CheckOutcome, Checked, check_library, check_linked};
pub use error::LibraryError;
pub use meter::{OnOverdue, Overdue};
pub use parts::{Part, Parts, setting_names};
pub use probe::probe_main;
pub use registry::{Origin, Probing, Registry, RegistryError};
pub use report::{PluginReport, PluginState};

pub(crate) use meter::{Meter, Watchdog};
pub(crate) use probe::{finite, steady_columns};
pub(crate) use report::brief;
