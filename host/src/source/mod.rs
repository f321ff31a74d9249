//! Captures become blocks of packets.
//!
//! A [`Source`] reads a capture file (or standard input) of any format it knows and hands out [`Block`]s: one piece of
//! memory as it was read, and where in it the packets are. A packet is never copied. What is wrong with a capture
//! before its first packet is a [`SourceError`]; what is wrong later is [`Damage`]: what was read until then stays,
//! and reading ends.
//!
//! | module | story |
//! |---|---|
//! | [`inputs`] | files, folders and `-` on the command line become a list of captures |
//! | `reader` | the loop: read, parse, hand out, carry the cut-off record over to the next block |
//! | `block` | a piece of a capture and the packets in it |
//! | `sniff` | by its first bytes: a format we read, or what else it looks like |
//! | `compression` | gzip and zstd, undone on the way in; decompression bombs stop here |
//! | `format` | what the two formats have in common |
//! | `pcap` | classic pcap: either byte order, microseconds, nanoseconds, "modified", IXIA |
//! | `pcapng` | pcapng: sections, interfaces, three kinds of packet blocks |
//! | `clock` | pcapng timestamps of any resolution become nanoseconds |
//! | `status` | how far reading got, what was odd, what was broken |
//! | `write` | the pieces of a capture file that is written |
//! | `limits` | what a capture may cost |
//! | `error` | why a capture cannot be read at all |

mod block;
mod clock;
mod compression;
mod error;
mod format;
pub mod inputs;
mod limits;
mod pcap;
mod pcapng;
mod reader;
mod sniff;
mod status;
#[cfg(test)]
mod testing;
pub(crate) mod write;

pub use block::{Block, Look};
pub use compression::Interrupted;
pub use error::SourceError;
pub use limits::InputLimits;
pub use reader::{Feed, Source};
pub(crate) use reader::{Plain, Unpacking, unpacked};
pub use status::{Damage, SourceStatus};
