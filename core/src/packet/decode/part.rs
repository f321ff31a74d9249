use super::walk::{Rest, Walk};

/// Where a walk that ends with [`Skip::Fragment`](super::Skip::Fragment) leaves the part that it found. Handed down
/// instead of returned, so that the common path has nothing to carry.
pub(super) type Left<'s, 'a> = &'s mut Option<Fragment<'a>>;

/// A part of an IP packet.
#[derive(Debug)]
pub(super) struct Fragment<'a> {
    pub(super) key: FragmentKey,
    pub(super) walk: Walk,
    /// What the packet carries: an IP protocol number. Only that of the first part counts.
    pub(super) next: u8,
    /// Length in bytes of the headers that all parts repeat.
    pub(super) headers: u32,
    /// Where in the packet it belongs, in bytes behind those headers.
    pub(super) offset: u32,
    /// Whether parts follow it.
    pub(super) more: bool,
    pub(super) body: Rest<'a>,
}

/// What the parts of one packet have in common (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FragmentKey {
    pub(super) src: [u8; 16],
    pub(super) dst: [u8; 16],
    pub(super) id: u32,
    /// IP protocol number with IPv4; none with IPv6, where it is no part of the name.
    pub(super) protocol: Option<u8>,
    pub(super) lan: u64,
}
