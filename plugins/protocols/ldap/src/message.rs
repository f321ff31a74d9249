//! Values in BER, and the messages that LDAP makes of them (RFC 4511 section 4.1.1).

/// A tag with what is inside, and what stands behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    pub(crate) tag: u8,
    pub(crate) body: &'a [u8],
    pub(crate) rest: &'a [u8],
}

/// Tag and length of a value: the tag, bytes of both, bytes inside. Nothing where they are cut, or where the length is
/// none that LDAP has (definite, at most four bytes).
fn head(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if first < 0x80 {
        return Some((tag, 2, usize::from(first)));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return None;
    }
    let len = rest.get(..count)?.iter().fold(0usize, |len, byte| len << 8 | usize::from(*byte));
    Some((tag, 2 + count, len))
}

impl<'a> Value<'a> {
    /// The value at the front, if it is whole.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (tag, begin, len) = head(bytes)?;
        let end = begin.checked_add(len)?;
        Some(Self { tag, body: bytes.get(begin..end)?, rest: bytes.get(end..)? })
    }

    /// The same, where this is its tag.
    pub(crate) fn of(bytes: &'a [u8], tag: u8) -> Option<Self> {
        Self::read(bytes).filter(|value| value.tag == tag)
    }

    /// An integer or enumeration of at most four bytes, as what LDAP counts with.
    pub(crate) fn number(&self) -> Option<u32> {
        let numeric = matches!(self.tag, INTEGER | ENUMERATED) && (1..=4).contains(&self.body.len());
        numeric.then(|| self.body.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }
}

const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
pub(crate) const SEQUENCE: u8 = 0x30;

/// What stands at the front of a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Message(Message<'a>),
    /// It needs this many bytes, or more.
    Short(usize),
    /// It is none.
    Broken,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) id: u32,
    /// Tag of the operation.
    pub(crate) operation: u8,
    /// What is inside.
    pub(crate) body: &'a [u8],
    /// Bytes of the whole.
    pub(crate) len: usize,
}

impl<'a> Message<'a> {
    /// Reads the message at the front.
    pub(crate) fn read(bytes: &'a [u8]) -> Found<'a> {
        if bytes.first().is_some_and(|tag| *tag != SEQUENCE) {
            return Found::Broken;
        }
        let Some((_, begin, len)) = head(bytes) else {
            let broken = bytes.get(1).is_some_and(|first| *first >= 0x80 && !(0x81..=0x84).contains(first));
            return if broken { Found::Broken } else { Found::Short(bytes.len() + 1) };
        };
        let Some(whole) = begin.checked_add(len) else { return Found::Broken };
        let Some(inside) = bytes.get(begin..whole) else { return Found::Short(whole) };
        let message = Value::read(inside).and_then(|id| {
            let operation = Value::read(id.rest)?;
            Some(Self { id: id.number()?, operation: operation.tag, body: operation.body, len: whole })
        });
        message.map_or(Found::Broken, Found::Message)
    }

    /// The first bytes of a message, which may be cut: length, number, and the operation's tag. Nothing where they are
    /// those of no message, `Some(None)` where they are too few.
    pub(crate) fn operation_of(bytes: &[u8]) -> Option<Option<u8>> {
        let (Some(&tag), second) = (bytes.first(), bytes.get(1)) else { return Some(None) };
        let possible = second.is_none_or(|first| *first < 0x80 || (0x81..=0x84).contains(first));
        if tag != SEQUENCE || !possible {
            return None;
        }
        let Some((_, begin, len)) = head(bytes) else { return Some(None) };
        let inside = bytes.get(begin..).unwrap_or_default();
        let (Some(&kind), size) = (inside.first(), inside.get(1)) else { return Some(None) };
        if kind != INTEGER || size.is_some_and(|size| !(1..=4).contains(size)) || len < 5 {
            return None;
        }
        let Some(size) = size else { return Some(None) };
        Some(inside.get(2 + usize::from(*size)).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let bind = b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0rest";
        let Found::Message(message) = Message::read(bind) else { panic!("it is whole") };
        assert_eq!((message.id, message.operation, message.len), (1, 0x60, 14));
        for len in 0..14 {
            assert!(matches!(Message::read(&bind[..len]), Found::Short(wanted) if wanted > len), "{len}");
            assert_eq!(Message::operation_of(&bind[..len]), Some((len > 5).then_some(0x60)), "{len}");
        }
        let long = b"\x30\x84\0\0\0\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0";
        assert!(matches!(Message::read(long), Found::Message(message) if message.len == 18));
        for bad in [&b"\x31"[..], b"\x30\x80", b"\x30\x85", b"\x30\x03\x04\x01\x01"] {
            assert_eq!(Message::read(bad), Found::Broken, "{bad:?}");
            assert_eq!(Message::operation_of(bad), None, "{bad:?}");
        }
    }
}
