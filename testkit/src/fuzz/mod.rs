//! Hostile bytes for templates: an input, what becomes of it, and what has to hold.
//!
//! ```
//! use veilwatch_testkit::fuzz::{Input, Look, Mutator, Reading};
//!
//! # use veilwatch_core::plugin::{PluginError, Probe, Progress, ProtocolTemplate, RecordSink, Settings, StreamView};
//! # struct Finger;
//! # impl Finger {
//! #     fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
//! #         settings.none().map(|()| Self)
//! #     }
//! # }
//! # impl ProtocolTemplate for Finger {
//! #     fn probe(&self, _: &StreamView<'_>) -> Probe {
//! #         Probe::Certain
//! #     }
//! #     fn parse(&self, _: &StreamView<'_>, _: &mut RecordSink<'_>) -> Result<Progress, PluginError> {
//! #         Ok(Progress::Done)
//! #     }
//! # }
//! # veilwatch_core::declare_plugins!(protocol "finger" "finger": Finger);
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let reading = Reading::new(&declarations())?;
//! let seed = Input::decode(b"\x02\0\0\x05root\n");
//! let mut mutator = Mutator::new(1, std::slice::from_ref(&seed));
//! for _ in 0..100 {
//!     reading.read(&mutator.mutate(&seed, &seed), Look::ALL)?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | module | story |
//! |---|---|
//! | `input` | bytes become pieces of a conversation |
//! | `mutate` | inputs become other inputs |
//! | `reading` | what a template keeps to, whatever comes |
//! | `seeds` | what tests have templates read is written down, to begin with |

mod input;
mod mutate;
mod reading;
pub(crate) mod seeds;

pub use input::{Input, PIECE_BYTES, PIECES, Piece};
pub use mutate::{INPUT_BYTES, Mutator};
pub use reading::Reading;

use std::hash::Hasher;

/// What is looked at beside what is read: bits, which a fuzzer takes from the input, and a test all at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look(u8);

impl Look {
    /// Everything.
    pub const ALL: Self = Self(0xff);
    const TWICE: Self = Self(1);
    const ACROSS: Self = Self(2);
    const PIECES: Self = Self(4);
    const TREE: Self = Self(8);

    /// What an input says: one look or none, so that it takes the time of little more than one reading; and which segments.
    pub fn of(input: &Input) -> Self {
        let how = input.how[1];
        let one = match how & 7 {
            0 => Self::TWICE.0,
            1 => Self::ACROSS.0,
            2 => Self::PIECES.0,
            3 => Self::TREE.0,
            _ => 0,
        };
        Self(how & 0xf0 | one)
    }

    /// Whether a tree is drawn: then more is seen than without.
    pub fn draws(self) -> bool {
        self.has(Self::TREE)
    }

    /// Whether a look is among these.
    fn has(self, one: Self) -> bool {
        self.0 & one.0 != 0
    }
}

/// What an input led to, as a number: another one is worth keeping.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen(pub u64);

impl Hasher for Seen {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
