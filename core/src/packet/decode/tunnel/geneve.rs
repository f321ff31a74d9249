//! GENEVE (RFC 8926).

use super::super::walk::{Found, Lan, Rest, Walk};
use super::super::{Skip, ethertype};

/// The assigned port.
pub(super) const PORT: u16 = 6081;

/// Follows GENEVE over its options to what it carries.
pub(super) fn follow(walk: Walk, rest: Rest<'_>) -> Found<'_> {
    const VERSION: u8 = 0xc0;
    let [head, flags] = rest.bytes(0)?;
    let kind = rest.be16(2)?;
    let network = rest.be32(4)?;
    let known = matches!(kind, 0x6558 | 0x0800 | 0x86dd | 0x8847 | 0x8848 | 0x894f);
    // Six flags and the last byte are reserved.
    if head & VERSION != 0 || flags & 0x3f != 0 || network & 0xff != 0 || !known {
        return Err(Skip::Malformed);
    }
    let options = usize::from(head & 0x3f) * 4;
    ethertype::payload(walk.within(Lan::Virtual(network >> 8)), kind, rest.after(8 + options)?)
}
