use super::{Packet, Skip};

/// What is left of a frame behind the headers that have been read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest<'a> {
    /// The captured part.
    pub(super) data: &'a [u8],
    /// Its length on the wire in bytes, as far as the headers before it tell.
    pub(super) wire: u32,
}

impl<'a> Rest<'a> {
    #[inline]
    pub(super) fn of(packet: &Packet<'a>) -> Self {
        Self { data: packet.data, wire: packet.wire_len }
    }

    /// What follows `bytes` of headers.
    #[inline]
    pub(super) fn after(self, bytes: usize) -> Result<Self, Skip> {
        let data = self.data.get(bytes..).ok_or(Skip::Truncated)?;
        Ok(Self { data, wire: self.wire.saturating_sub(bytes as u32) })
    }

    /// At most the first `bytes`: a header said how long what it carries is.
    pub(super) fn first(self, bytes: u32) -> Self {
        let kept = self.data.len().min(bytes as usize);
        Self { data: &self.data[..kept], wire: self.wire.min(bytes) }
    }

    /// Whether the capture holds all of it.
    pub(super) fn is_whole(self) -> bool {
        self.data.len() >= self.wire as usize
    }

    pub(super) fn byte(self, at: usize) -> Result<u8, Skip> {
        self.data.get(at).copied().ok_or(Skip::Truncated)
    }

    #[inline]
    pub(super) fn be16(self, at: usize) -> Result<u16, Skip> {
        self.bytes(at).map(u16::from_be_bytes)
    }

    pub(super) fn be32(self, at: usize) -> Result<u32, Skip> {
        self.bytes(at).map(u32::from_be_bytes)
    }

    #[inline]
    pub(super) fn bytes<const N: usize>(self, at: usize) -> Result<[u8; N], Skip> {
        self.data.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(Skip::Truncated)
    }
}

/// What is carried along from header to header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    /// The identifiers met so far, as [`super::Decoded::lan`] packs them.
    pub(super) lan: u64,
    /// How many more headers may hold another packet or frame.
    left: u8,
}

/// A network that addresses are unique in, and whose number is the same in both directions.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lan {
    /// A VLAN identifier: 12 bits.
    Vlan(u16),
    /// A virtual network or a service instance: 24 bits.
    Virtual(u32),
    /// A PPPoE session: 16 bits.
    Session(u16),
}

/// What a layer below IP leads to: the IP packet, and what was met on the way.
pub(super) type Found<'a> = Result<(Walk, Rest<'a>), Skip>;

impl Walk {
    #[inline]
    pub(super) fn new(nesting: u8) -> Self {
        Self { lan: 0, left: nesting }
    }

    /// One level deeper.
    pub(super) fn enter(self) -> Result<Self, Skip> {
        let left = self.left.checked_sub(1).ok_or(Skip::TooNested)?;
        Ok(Self { left, ..self })
    }

    /// Notes an identifier. Two low bits name its kind, so that no two sequences look the same as long as all of them
    /// fit into 64 bits: four VLANs, or two VLANs and a virtual network. Past that the outermost bits fall out.
    #[inline]
    pub(super) fn within(self, lan: Lan) -> Self {
        let (kind, id, bits) = match lan {
            Lan::Vlan(id) => (1, u64::from(id & 0x0fff), 12),
            Lan::Virtual(id) => (2, u64::from(id & 0x00ff_ffff), 24),
            Lan::Session(id) => (3, u64::from(id), 16),
        };
        Self { lan: self.lan << (bits + 2) | id << 2 | kind, ..self }
    }
}
