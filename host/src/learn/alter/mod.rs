//! Ways to change what is learnt from or tested on, each the same for the same seed.
//!
//! A capture was taken in one place, with one snap length, by one generation of clients. What a model makes of it should
//! not hang on these, so they can be changed: in training (so that it learns to do without) and in tests (to see what is
//! lost).
//!
//! Those of *packets* change the capture while it is read: it is written anew, packet by packet, and read again by the same
//! [`Source`](crate::source::Source), so that everything behind it is the very pipeline that detects. Those of *records* change what was read of a
//! flow, before anything that crosses flows is added to it and before its row is computed.
//!
//! | written | what happens |
//! |---|---|
//! | `snaplen=256` | of each packet the first 256 bytes are kept; its length on the wire stays known |
//! | `loss=0.01` | one packet in a hundred is not there |
//! | `mtu=576` | TCP segments in larger IP packets are cut into several; those of SYN packets, fragments, tunnels and rare links stay, and those of which next to nothing was kept |
//! | `jitter=20ms` | each packet comes up to 20 ms earlier or later; what overtakes another then comes before it |
//! | `hide=names` | no ClientHello names its server, as if each were inside an encrypted one; the lengths of the message, of its record and of its packet shrink with it |
//! | `hide=certificates` | no certificate is seen, nor its fingerprint, as in TLS 1.3; the lengths of the records and packets that carried it stay, as they do in TLS 1.3 |
//! | `hide=dns` | nothing is known of names that were asked for, as if they were asked for inside TLS |
//! | `pad=256` | the lengths of application-data records are rounded up to multiples of 256 bytes, and the packets that end them grow with them |
//!
//! What `hide` and `pad` do to lengths is done as far as records are known: those that TLS noted, where TLS begins with the
//! stream. Spreads and extremes of packet lengths over a whole flow, and counts of packets, stay as they were.

mod packets;
mod records;
mod segments;
#[cfg(test)]
mod tests;

pub(super) use packets::altered;
pub(super) use records::RecordChanges;

use std::fmt;
use std::str::FromStr;

/// One way to change what is learnt from or tested on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Alteration {
    /// Bytes kept of each packet.
    SnapLength(u32),
    /// Share of the packets that are dropped.
    Loss(f64),
    /// Largest IP packet in bytes that carries TCP.
    Mtu(u16),
    /// Milliseconds by which a packet comes earlier or later at most.
    Jitter(u32),
    /// What is not to be seen.
    Hide(Hidden),
    /// Application-data records are multiples of so many bytes.
    Pad(u16),
}

/// What a protocol may come to hide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// Server names in ClientHellos.
    Names,
    /// Certificates.
    Certificates,
    /// What was asked of DNS.
    Dns,
}

impl Hidden {
    const ALL: [(Self, &str); 3] = [(Self::Names, "names"), (Self::Certificates, "certificates"), (Self::Dns, "dns")];
}

/// Why a text is no alteration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no alteration; there are snaplen=BYTES, loss=SHARE (below 1), mtu=BYTES ({least} to {most}), \
     jitter=MILLISECONDSms (at most {jitter}), hide=names, hide=certificates, hide=dns, pad=BYTES (at most {pad})",
    least = Alteration::MTU_LEAST, most = Alteration::MTU_MOST, jitter = Alteration::JITTER_MOST, pad = Alteration::PAD_MOST
)]
pub struct NoAlteration {
    text: String,
}

impl Alteration {
    /// Every alteration once, with a usual value: what a table of robustness tries.
    pub const USUAL: [Self; 10] = [
        Self::SnapLength(256),
        Self::Loss(0.01),
        Self::Loss(0.05),
        Self::Mtu(1280),
        Self::Mtu(576),
        Self::Jitter(20),
        Self::Hide(Hidden::Names),
        Self::Hide(Hidden::Certificates),
        Self::Hide(Hidden::Dns),
        Self::Pad(256),
    ];

    /// Room for the largest headers of IPv4 and TCP, and some payload.
    const MTU_LEAST: u16 = 128;
    const MTU_MOST: u16 = 9000;
    /// Labels find their flows within a second.
    const JITTER_MOST: u32 = 1000;
    /// The most that a record of TLS carries, in a power of two (RFC 8446 section 5.1).
    const PAD_MOST: u16 = 16_384;

    /// Whether packets are changed, and not only what was read of flows.
    pub fn changes_packets(self) -> bool {
        !matches!(self, Self::Hide(_) | Self::Pad(_))
    }
}

impl fmt::Display for Alteration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SnapLength(bytes) => write!(f, "snaplen={bytes}"),
            Self::Loss(share) => write!(f, "loss={share}"),
            Self::Mtu(bytes) => write!(f, "mtu={bytes}"),
            Self::Jitter(milliseconds) => write!(f, "jitter={milliseconds}ms"),
            Self::Hide(hidden) => {
                let word = Hidden::ALL.iter().find(|(known, _)| known == hidden).map_or("", |(_, word)| word);
                write!(f, "hide={word}")
            }
            Self::Pad(bytes) => write!(f, "pad={bytes}"),
        }
    }
}

impl FromStr for Alteration {
    type Err = NoAlteration;

    fn from_str(text: &str) -> Result<Self, NoAlteration> {
        let read = || {
            let (kind, value) = text.trim().split_once('=')?;
            Some(match kind {
                "snaplen" => Self::SnapLength(value.parse().ok().filter(|bytes| *bytes > 0)?),
                "loss" => Self::Loss(value.parse().ok().filter(|share| (0.0..1.0).contains(share))?),
                "mtu" => Self::Mtu(value.parse().ok().filter(|mtu| (Self::MTU_LEAST..=Self::MTU_MOST).contains(mtu))?),
                "jitter" => {
                    let number = value.strip_suffix("ms")?.parse().ok();
                    Self::Jitter(number.filter(|most| *most <= Self::JITTER_MOST)?)
                }
                "hide" => Self::Hide(Hidden::ALL.iter().find(|(_, word)| *word == value)?.0),
                "pad" => Self::Pad(value.parse().ok().filter(|pad| (1..=Self::PAD_MOST).contains(pad))?),
                _ => return None,
            })
        };
        read().ok_or_else(|| NoAlteration { text: text.to_owned() })
    }
}
