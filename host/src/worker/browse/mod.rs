//! One capture that somebody looks into, in a confined child that stays: packets, streams and searches.
//!
//! The parent starts it with a [`BrowseOrder`]. Before it is confined it opens five files: the capture, the index that was
//! kept (if any), what an analysis said of flows (if anything), and two that it may write, an index and what a compressed
//! capture unpacks to. After that it can open none at all. From then on the parent asks one thing at a time, a line each
//! ([`Asked`]), and is answered with a line ([`Answer`]); between questions the child goes on with its work, a small piece at
//! a time: it unpacks, makes the index, and searches. A capture that somebody still writes it follows.
//!
//! | module | story |
//! |---|---|
//! | `say` | what the two say to each other |
//! | `child` | the child: opens, is confined, listens, works on |
//! | `desk` | the capture on its desk: what is asked of it, and how far it has come |
//! | `find` | a display filter over all packets, a piece at a time |
//! | `judged` | what an analysis said of flows |
//! | `reader` | the parent: asks, and is not deceived |

mod child;
mod desk;
mod find;
mod judged;
mod reader;
mod say;

pub(super) use child::run;
pub use judged::{JUDGED_FLOWS, JUDGED_PART, JudgedFlow};
pub use reader::Reader;
pub(super) use reader::{line, write_lines};
pub use say::*;
