use crate::packet::decode::steps::Bytes;
use std::ops::Range;

/// A piece of a frame that knows where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    /// Bytes of the frame before it.
    pub(super) at: usize,
    /// The captured part.
    pub(super) data: &'a [u8],
    /// Its length on the wire in bytes, as far as the headers before it tell.
    pub(super) wire: usize,
}

impl<'a> Part<'a> {
    /// What follows `bytes` of headers; nothing where the capture ends before that.
    pub(super) fn after(self, bytes: usize) -> Option<Self> {
        let data = self.data.get(bytes..)?;
        Some(Self { at: self.at + bytes, data, wire: self.wire.saturating_sub(bytes) })
    }

    /// At most the first `bytes`.
    pub(super) fn first(self, bytes: usize) -> Self {
        let data = self.data.get(..bytes).unwrap_or(self.data);
        Self { data, wire: self.wire.min(bytes), ..self }
    }

    /// Whether the capture holds all of it.
    pub(super) fn is_whole(self) -> bool {
        self.data.len() >= self.wire
    }

    pub(super) fn bytes<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.data.get(at..)?.first_chunk::<N>().copied()
    }

    pub(super) fn byte(self, at: usize) -> Option<u8> {
        self.data.get(at).copied()
    }

    pub(super) fn be16(self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_be_bytes)
    }

    pub(super) fn be32(self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_be_bytes)
    }

    /// Where in the frame something of it stands.
    pub(super) fn range(self, at: usize, length: usize) -> Range<usize> {
        let start = self.at.saturating_add(at);
        start..start.saturating_add(length)
    }

    /// Where in the frame its captured part stands.
    pub(super) fn all(self) -> Range<usize> {
        self.range(0, self.data.len())
    }

    /// As the single steps of decoding take it.
    pub(super) fn step(self) -> Bytes<'a> {
        (self.data, u32::try_from(self.wire).unwrap_or(u32::MAX))
    }

    /// The part of it that a step of decoding found.
    pub(super) fn found(self, (data, wire): Bytes<'a>) -> Self {
        let before = (data.as_ptr() as usize).saturating_sub(self.data.as_ptr() as usize);
        Self { at: self.at + before.min(self.data.len()), data, wire: wire as usize }
    }
}
