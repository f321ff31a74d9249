//! One packet for people: every header with its fields, the bytes they stand in, and whether checksums are right.
//!
//! Where a [`Decoder`](super::Decoder) hurries to the innermost payload, [`dissect()`] stops at each header and draws it into
//! a tree whose nodes have names of fields, spelled as Wireshark does where it knows them. Every length may lie: what
//! reaches out of the captured bytes is drawn as far as it goes, and the tree is bounded like those of templates. Of our
//! own is `tcp.fingerprint`, of a header with SYN ([`crate::record::syn_print`]).
//!
//! | module | story |
//! |---|---|
//! | `tree` | nodes, and how they are drawn |
//! | `part` | a piece of the frame that knows where it stands |
//! | `outline` | what a packet is in one line |
//! | `checksum` | the Internet checksum, and what may be said of one |
//! | `walk` | from header to header |
//! | `frame`, `link`, `ether` | what was captured; link types; what an EtherType announces |
//! | `ip`, `extension` | IPv4; IPv6 and its extension headers |
//! | `tcp`, `udp`, `icmp`, `other` | what IP carries |
//! | `tunnel` | packets inside packets |
//!
//! Parts of a packet are not put together here: a fragment is shown as what was captured.

mod checksum;
mod ether;
mod extension;
mod frame;
mod icmp;
mod ip;
mod link;
mod other;
mod outline;
mod part;
mod tcp;
#[cfg(test)]
mod tests;
mod tree;
mod tunnel;
mod udp;
mod walk;

pub use checksum::{Checksum, ChecksumStatus};
pub use outline::{Address, Outline, Payload};
pub use tree::{Datum, Names, PacketDrawing, PacketNode, PacketTree};

use super::Packet;
use crate::tables::Tables;
use std::sync::Arc;
use walk::{Next, Walk};

/// What is known of a packet beside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'t> {
    /// Names of numbers.
    pub tables: &'t Tables,
    /// When the capture began, in nanoseconds since 1970-01-01 UTC.
    pub begin_ns: u64,
    /// Sequence number of the first byte that this packet's TCP sender sent, where that is known.
    pub first_seq: Option<u32>,
    /// The same for the other side.
    pub first_ack: Option<u32>,
}

/// A dissected packet, whose payload somebody may draw further.
#[derive(Debug)]
pub struct Dissected<'a> {
    /// The tree so far: all headers.
    pub drawing: PacketDrawing,
    /// The packet in one line.
    pub outline: Outline<'a>,
}

/// Dissects one packet down to its innermost payload.
pub fn dissect<'a>(packet: &Packet<'a>, around: &Surroundings<'_>) -> Dissected<'a> {
    dissect_for(packet, around, None)
}

/// The same, where only the text of some fields is wanted: labels and values of other nodes are empty.
pub fn dissect_for<'a>(packet: &Packet<'a>, around: &Surroundings<'_>, names: Option<&Arc<Names>>) -> Dissected<'a> {
    let mut walk = Walk::new(packet, around);
    names.into_iter().for_each(|names| walk.draw.only(names));
    let frame = walk.frame(packet);
    walk.run(Next::Link(packet.link, frame));
    Dissected { drawing: walk.draw, outline: walk.outline }
}
