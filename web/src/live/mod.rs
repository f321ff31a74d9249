//! Live sessions: an administrator captures on an interface of the machine that the portal runs on.
//!
//! Each session is a confined child ([`veilwatch::worker::live`]) that captures into a file of the data folder's `live` and
//! judges what comes. A session is of who began it. When it has ended its file is kept until it is saved as an entry, thrown
//! away, or its time is over; nothing of it outlives a restart. Who looks at its packets has them read by a reader of their own
//! ([`crate::packets`]), which follows the file while it grows.
//!
//! | module | story |
//! |---|---|
//! | [`board`] | the sessions there are |
//! | [`seen`] | what is known of one: how it goes, and its alerts |
//! | `serve` | the thread that one session lives on |

pub mod board;
pub mod seen;
mod serve;

pub use board::{Begin, Refused, Session, Sessions};
pub use seen::{End, Held, Seen, State};
