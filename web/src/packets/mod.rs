//! Packets of an entry's capture, as confined children read them.
//!
//! Whoever looks at packets of an entry has a reader started, a child as [`veilwatch::worker::browse`] has it, which stays
//! while it is asked. There are only so many of them at a time, in all and for one account; who needs one more ends the one
//! that was idle longest. One that dies, hangs or talks nonsense is gone with the question that it died of, and the next
//! question has another one. What it learnt of the capture, its index, is kept with the entry once the reader is gone and can
//! write to it no more; the next one of the entry waits for that.
//!
//! | module | story |
//! |---|---|
//! | [`pool`] | the readers: who has one, who must wait |
//! | `judged` | what an analysis said of flows, for a reader |
//! | `serve` | the thread that one reader lives on |

mod judged;
pub mod pool;
mod serve;

pub use judged::Verdicts;
pub use pool::{Death, ReadError, Readers, Told};
