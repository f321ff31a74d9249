//! Analyses in a child process that can hurt nothing but itself.
//!
//! The parent calls [`supervise()`], which starts its own program again with the one argument `worker`; that calls
//! [`main`] first of all. A worker is confined before it parses a byte of the capture or loads a plugin, so that whatever
//! a hostile capture makes of it, it can read the capture, write one file, use so much memory and time, and no more.
//!
//! | module | story |
//! |---|---|
//! | `order` | what the two say to each other |
//! | `run` | the child: takes an order and carries it out |
//! | `events` | the child's line to its parent |
//! | `inspect` | what a capture is, from its first packets |
//! | `analyse` | a pipeline over a capture |
//! | `describe` | what became of the plugins of a pipeline |
//! | `train` | a model from labelled data and marks |
//! | `cut` | the packets of one flow as a capture of their own |
//! | [`browse`] | a child that stays, and answers what is asked of a capture |
//! | [`live`] | a child that captures on an interface, and tells what comes |
//! | `supervise` | the parent: starts a child, listens, and says how it ended |

mod analyse;
pub mod browse;
mod cut;
mod describe;
mod events;
mod inspect;
pub mod live;
mod order;
mod run;
mod supervise;
mod train;

pub use cut::{Cut, CutError, cut};
pub use describe::{PARTS, PLUGINS};
pub use events::MAX_ALERTS;
pub use order::*;
pub use run::{OpenResult, ResultSink, main};
pub use supervise::{Supervised, WorkerEnd, supervise};
pub use train::{Changed, Said, ToldConflict, ToldFigure, TrainReport, UnpackError, unpack};

/// Bytes of a line of the protocol, either way.
pub const LINE_BYTES: usize = 64 << 10;
