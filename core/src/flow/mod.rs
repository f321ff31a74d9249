//! Packets become flows, and flows end by packet time alone.
//!
//! A [`FlowTable`] holds the open flows of one logical shard. It never looks at a clock: [`FlowTable::push`] takes the
//! packet's time and [`FlowTable::expire`] the capture's, and what a flow becomes depends only on its own packets.

mod beginning;
mod deadlines;
mod early;
#[cfg(test)]
mod hand_over;
mod hosts;
mod key;
mod limits;
mod look;
mod made;
mod notice;
mod open;
mod record;
mod stats;
mod table;
mod templates;

pub use beginning::{Beginning, Class};
pub use key::{Endpoint, FlowKey, format_address};
pub use limits::{FlowCounters, FlowLimits};
pub use notice::{Notice, Noticed};
pub use record::{EndReason, FlowRecord, Guest, Handed, SeenWarning, Sights};
pub use stats::{DirectionStats, Moments, SequenceTracker, Splt};
pub use table::{FlowTable, Place};
pub use templates::Templates;

use notice::Told;

/// One of the two directions of a flow, as its packets travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the originator to the responder.
    Forward,
    /// From the responder to the originator.
    Backward,
}

impl Direction {
    /// The other direction.
    pub fn reverse(self) -> Self {
        match self {
            Self::Forward => Self::Backward,
            Self::Backward => Self::Forward,
        }
    }

    /// 0 forward, 1 backward: for arrays of two.
    pub fn index(self) -> usize {
        match self {
            Self::Forward => 0,
            Self::Backward => 1,
        }
    }
}
