//! A captured frame becomes addresses, ports and payload.
//!
//! [`decode()`] never fails: it returns a [`Decoded`] packet or says by [`Skip`] why there is none, so that the caller can
//! count what was passed over. A [`Decoder`] remembers fragments besides and puts them together. [`dissect`] shows a packet
//! to people, header by header.

mod decode;
pub mod dissect;
mod link;

pub use decode::{DecodeLimits, Decoded, Decoder, FragmentCounters, Outer, Skip, Tcp, decode, shard_hint};
pub use link::LinkType;

/// One captured frame, as a source hands it over.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Number in its capture; the first packet is 1, as in every packet browser.
    pub number: u64,
    /// Capture time in nanoseconds since 1970-01-01 UTC.
    pub time_ns: u64,
    /// Link-layer type of the interface it was captured on.
    pub link: LinkType,
    /// Its real length on the wire in bytes; never less than `data.len()`.
    pub wire_len: u32,
    /// The bytes that were kept.
    pub data: &'a [u8],
}
