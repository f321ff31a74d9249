//! Single packets, as a packet browser shows them: a capture in, a [`PacketView`] for each packet that was asked for out.
//!
//! What headers say is core's ([`veilwatch_core::packet::dissect`]). Here the payload is added: what the pipeline's
//! templates make of it, what the tables know of its first bytes and of the port. How all that is written stands in
//! [`crate::output`].
//!
//! | module | story |
//! |---|---|
//! | `numbers` | which packets somebody asks for |
//! | `streams` | beginnings of flows, so that a packet is read as what it is a part of |
//! | `graft` | the part of a template's tree that one packet brought |
//! | `payload` | the payload in the tree: templates, file types, warnings |
//! | `browser` | one packet becomes a view |
//! | `read` | a capture, packet by packet |

mod browser;
mod graft;
mod numbers;
mod payload;
mod read;
mod streams;
#[cfg(test)]
mod tests;

pub use browser::{Browser, Extent, PacketView, Payloads, Taken};
pub use numbers::{Numbers, NumbersError};
pub use payload::PacketWarning;
pub use read::{Outcome, PacketSink, ReadOptions, read};
pub use streams::Bitten;
