//! One interface that somebody looks at, in a confined child: packets into a file, and alerts as they come.
//!
//! The parent starts it with a [`LiveOrder`]. The child opens the interface and the file, which takes the capability
//! `CAP_NET_RAW`, and then gives everything up: every capability, every other file but those its pipeline reads, every system
//! call that it has no use for. What it captures it writes into the file and judges; what comes of it, it tells ([`LiveSaid`]),
//! a line each. The parent may say [`LiveCommand`]s, and the end of its line is the child's end. Packets themselves are not
//! told: who looks at them reads the file ([`browse`](super::browse)).
//!
//! | module | story |
//! |---|---|
//! | `say` | what the two say to each other |
//! | `child` | the child: opens, is confined, captures and judges |
//! | `tell` | alerts in short, early and final |
//! | `session` | the parent: listens, and is not deceived |

mod child;
mod say;
mod session;
mod tell;

pub(super) use child::run;
pub use say::*;
pub use session::LiveSession;
