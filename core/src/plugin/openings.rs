//! With which bytes a protocol begins, so that a template is not asked about flows that are plainly another's.

use crate::flow::Direction;

/// The first bytes with which one direction may begin, and whether that direction may still be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstBytes {
    pub(crate) bits: [u64; 4],
    pub(crate) silence: bool,
}

impl FirstBytes {
    /// No byte, and no silence.
    pub const NONE: Self = Self { bits: [0; 4], silence: false };
    /// Any byte, or none yet.
    pub const ANY: Self = Self { bits: [u64::MAX; 4], silence: true };

    /// Those for which this holds.
    pub fn when(holds: impl Fn(u8) -> bool) -> Self {
        (0..=u8::MAX).filter(|byte| holds(*byte)).fold(Self::NONE, |mut set, byte| {
            set.bits[usize::from(byte >> 6)] |= 1 << (byte & 63);
            set
        })
    }

    /// These.
    pub fn of(bytes: &[u8]) -> Self {
        Self::when(|byte| bytes.contains(&byte))
    }

    /// The same, and silence as well.
    #[must_use]
    pub fn or_silence(self) -> Self {
        Self { silence: true, ..self }
    }

    /// Whether a direction with this first byte, or with none yet, is among them.
    pub fn holds(&self, first: Option<u8>) -> bool {
        match first {
            Some(byte) => self.bits[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1,
            None => self.silence,
        }
    }
}

/// Which flows a template wants to be asked about: those of which the originator's *or* the responder's bytes begin as it
/// says. Of all others its [`probe`](super::ProtocolTemplate::probe) must say no, and is not called, then or later. Where
/// neither side has said anything, as behind a hand-over, every template is asked.
///
/// So a template that waits for the server whatever the client says has silence among what the responder may begin with.
/// Over UDP, each datagram begins anew until one is somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Openings {
    /// What the originator may begin with.
    pub forward: FirstBytes,
    /// What the responder may begin with.
    pub backward: FirstBytes,
}

impl Openings {
    /// Whatever there is.
    pub const ANY: Self = Self { forward: FirstBytes::ANY, backward: FirstBytes::ANY };
    /// Nothing at all: another transport carries the protocol.
    pub const NONE: Self = Self { forward: FirstBytes::NONE, backward: FirstBytes::NONE };

    /// Flows in which either side begins with one of these.
    pub fn either(bytes: FirstBytes) -> Self {
        Self { forward: bytes, backward: bytes }
    }

    /// What one direction may begin with.
    pub fn of(&self, direction: Direction) -> &FirstBytes {
        match direction {
            Direction::Forward => &self.forward,
            Direction::Backward => &self.backward,
        }
    }

    /// Whether a flow with these first bytes is among them.
    pub fn hold(&self, forward: Option<u8>, backward: Option<u8>) -> bool {
        (forward, backward) == (None, None) || self.forward.holds(forward) || self.backward.holds(backward)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_side_is_enough() {
        let openings = Openings { forward: FirstBytes::of(b"GP"), backward: FirstBytes::when(|byte| byte >= 0xc0) };
        assert!(openings.hold(Some(b'G'), None) && openings.hold(Some(b'x'), Some(0xff)));
        assert!(!openings.hold(Some(b'x'), None) && !openings.hold(None, Some(b'G')));
        assert!(openings.hold(None, None), "nobody knows yet");
        let waits = Openings { backward: openings.backward.or_silence(), ..openings };
        assert!(waits.hold(Some(b'x'), None) && !waits.hold(Some(b'x'), Some(b'y')));
        assert!((0..=u8::MAX).all(|byte| Openings::ANY.hold(Some(byte), None)));
        assert!((0..=u8::MAX).all(|byte| !Openings::NONE.hold(Some(byte), Some(byte))));
    }
}
