//! A capture that somebody looks into: any packet at once, its flow, and what all of it comes to.
//!
//! Captures are larger than memory. So an [`Index`] is made of one once, which knows where each packet lies and to which
//! flow it belongs, in 22 bytes a packet; a packet is read when somebody looks at it. To be understood it needs what its flow
//! began with: those packets are read with it. What is shown is what [`crate::packets`] makes of a packet, in a terminal and
//! elsewhere alike.
//!
//! | module | story |
//! |---|---|
//! | `index` | where packets lie, and which flows they are of |
//! | `places` | the same in columns, 22 bytes a packet |
//! | `follow` | an index of a capture that somebody still writes |
//! | `kept` | an index in the user's cache, for the next time |
//! | `open` | a capture as a file that can be read anywhere |
//! | `book` | a packet by its number |
//! | `search` | packets of which an expression holds, or whose line has a text |
//! | `verdicts` | flows as the pipeline judges them, found meanwhile |
//! | `save` | packets into a capture of their own |
//! | `stream` | what both sides of a flow said |
//! | `statistics` | protocols, flows, hosts, lengths, rate |

mod book;
mod follow;
mod index;
mod kept;
mod open;
mod places;
mod save;
mod search;
mod statistics;
mod stream;
#[cfg(test)]
mod tests;
mod verdicts;

pub use book::{Book, Page, Walk};
pub use follow::Follower;
pub use index::{Index, Indexed, IndexedFlow, Indexer, Numbering, Place};
pub use kept::KeptIndexes;
pub use open::{AnalyserError, Opened};
pub use save::save;
pub use search::{Ground, Search, Sought};
pub use statistics::{FlowCount, HostCount, LengthCount, ProtocolCount, Rate, Statistics};
pub use stream::{Said, Stream};
pub use verdicts::{FlowLine, Verdicts};
