//! Values in DER (X.690): what they say of themselves, and what is in them, without copying any of it.
//!
//! Certificates are not all as strict as DER asks for, so this is as lenient as readers commonly are: a length may be
//! longer than it has to be, and of a tag its number counts; its class and whether it holds other values count only
//! where that is said. Lengths are definite, and none reaches beyond the bytes that it is in. Nothing here calls itself:
//! how deep values lie in each other is up to who reads them.

/// Numbers of tags (X.680 section 8.4).
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u32 = 1;
    pub(crate) const INTEGER: u32 = 2;
    pub(crate) const BIT_STRING: u32 = 3;
    pub(crate) const OCTET_STRING: u32 = 4;
    pub(crate) const ENUMERATED: u32 = 10;
    pub(crate) const UTF8_STRING: u32 = 12;
    pub(crate) const SEQUENCE: u32 = 16;
    pub(crate) const SET: u32 = 17;
    pub(crate) const NUMERIC_STRING: u32 = 18;
    pub(crate) const PRINTABLE_STRING: u32 = 19;
    pub(crate) const T61_STRING: u32 = 20;
    pub(crate) const IA5_STRING: u32 = 22;
    pub(crate) const UTC_TIME: u32 = 23;
    pub(crate) const GENERALIZED_TIME: u32 = 24;
    pub(crate) const VISIBLE_STRING: u32 = 26;
    pub(crate) const GENERAL_STRING: u32 = 27;
    pub(crate) const BMP_STRING: u32 = 30;
}

/// Bytes that a tag of a high number may have behind its first one.
const TAG_BYTES: usize = 5;

/// One value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    /// The first byte of its tag: class, and whether it holds other values.
    lead: u8,
    pub(crate) tag: u32,
    pub(crate) content: &'a [u8],
}

impl<'a> Value<'a> {
    pub(crate) fn is_universal(&self) -> bool {
        self.lead >> 6 == 0
    }

    pub(crate) fn is_context(&self) -> bool {
        self.lead >> 6 == 2
    }

    pub(crate) fn is_constructed(&self) -> bool {
        self.lead & 0x20 != 0
    }

    /// A truth value: one byte, and all but zero is true.
    pub(crate) fn boolean(&self) -> Option<bool> {
        match self.content {
            [byte] if self.tag == tag::BOOLEAN => Some(*byte != 0),
            _ => None,
        }
    }

    /// A number that is not negative and fits, with as many zeros in front as it likes; without a byte it is 0.
    pub(crate) fn unsigned(&self) -> Option<u32> {
        let number = without_zeros(self.content);
        let is_negative = self.content.first().is_some_and(|first| *first >= 0x80);
        if self.tag != tag::INTEGER || is_negative || number.len() > 4 {
            return None;
        }
        Some(number.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    /// What is in the value.
    pub(crate) fn reader(&self) -> Reader<'a> {
        Reader(self.content)
    }
}

/// A big-endian number without its leading zeros.
pub(crate) fn without_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

/// Reads values one after the other. What cannot be read gives `None`, and the reader stays where it was.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value's tag and length; goes to its content, which need not be there.
    fn header(&mut self) -> Option<(u8, u32, usize)> {
        let mut rest = self.0;
        let mut next = || {
            let (byte, behind) = rest.split_first()?;
            rest = behind;
            Some(*byte)
        };
        let lead = next()?;
        let mut tag = u32::from(lead & 0x1f);
        if tag == 0x1f {
            tag = 0;
            let mut ended = false;
            for _ in 0..TAG_BYTES {
                let byte = next()?;
                tag = tag << 7 | u32::from(byte & 0x7f);
                ended = byte < 0x80;
                if ended {
                    break;
                }
            }
            if !ended {
                return None;
            }
        }
        let len = match next()? {
            short @ 0..=0x7f => usize::from(short),
            // An indefinite length, and what is reserved.
            0x80 | 0xff => return None,
            long => {
                let mut len = 0usize;
                for _ in 0..long & 0x7f {
                    len = len.checked_mul(256)? | usize::from(next()?);
                }
                len
            }
        };
        self.0 = rest;
        Some((lead, tag, len))
    }

    /// The number of the next value's tag; its content need not be there.
    pub(crate) fn peek(&self) -> Option<u32> {
        self.clone().header().map(|(_, tag, _)| tag)
    }

    /// Goes into the next value if it has this tag, however long it says that it is.
    pub(crate) fn enter(&mut self, tag: u32) -> Option<()> {
        let mut inner = self.clone();
        let (_, found, _) = inner.header()?;
        (found == tag).then(|| *self = inner)
    }

    /// The next value, whatever it is.
    pub(crate) fn value(&mut self) -> Option<Value<'a>> {
        let mut inner = self.clone();
        let (lead, tag, len) = inner.header()?;
        let (content, rest) = inner.0.split_at_checked(len)?;
        self.0 = rest;
        Some(Value { lead, tag, content })
    }

    /// The next value, which must have this tag.
    pub(crate) fn value_of(&mut self, tag: u32) -> Option<Value<'a>> {
        let mut behind = self.clone();
        let value = behind.value().filter(|value| value.tag == tag)?;
        *self = behind;
        Some(value)
    }

    /// What is in the next value, which must be a sequence.
    pub(crate) fn sequence(&mut self) -> Option<Reader<'a>> {
        self.value_of(tag::SEQUENCE).map(|value| value.reader())
    }

    /// The next value's content, which must hold no other values. This is how object identifiers are read: they are told
    /// by their bytes.
    pub(crate) fn primitive(&mut self) -> Option<&'a [u8]> {
        let mut behind = self.clone();
        let value = behind.value().filter(|value| !value.is_constructed())?;
        *self = behind;
        Some(value.content)
    }

    /// The next value if it has this tag of the context; what has the same number in another class is refused.
    pub(crate) fn optional(&mut self, tag: u32) -> Option<Option<Value<'a>>> {
        if self.is_empty() {
            return Some(None);
        }
        let mut behind = self.clone();
        let value = behind.value()?;
        if value.tag != tag {
            return Some(None);
        }
        *self = behind;
        value.is_context().then_some(Some(value))
    }

    /// The bytes of a number that has no more leading zeros than it needs (X.690 section 8.3.2).
    pub(crate) fn integer(&mut self) -> Option<&'a [u8]> {
        match self.value_of(tag::INTEGER)?.content {
            [] | [0, 0..=0x7f, ..] => None,
            number => Some(number),
        }
    }

    /// A number that is not negative and fits, as short as it can be.
    pub(crate) fn unsigned(&mut self) -> Option<u32> {
        let value = self.value_of(tag::INTEGER).filter(|value| !value.is_constructed())?;
        match value.content {
            [] | [0, 0..=0x7f, ..] => None,
            _ => value.unsigned(),
        }
    }

    /// The bytes of a bit string; bits that are not used must be zero (X.690 section 11.2).
    pub(crate) fn bits(&mut self) -> Option<&'a [u8]> {
        let value = self.value_of(tag::BIT_STRING).filter(|value| !value.is_constructed())?;
        let (unused, bits) = value.content.split_first()?;
        let zeros = bits.last().map_or(0, |last| last.trailing_zeros());
        (zeros >= u32::from(*unused)).then_some(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::der;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_definite_and_within_what_is_there() {
        for (bytes, content) in [
            (&[4, 0][..], Some(&[][..])),
            (&[4, 2, 7, 8, 9], Some(&[7, 8])),
            // Longer than it has to be.
            (&[4, 0x81, 1, 7], Some(&[7])),
            (&[4, 0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7], Some(&[7])),
            (&[4, 2, 7], None),
            (&[0x24, 0x80, 0, 0], None),
            (&[4, 0xff, 7], None),
            (&[4, 0x82, 1], None),
            (&[4, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 7], None),
            (&[4, 0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0, 7], None),
            (&[4], None),
            (&[], None),
        ] {
            let mut reader = Reader(bytes);
            assert_eq!(reader.value().map(|value| value.content), content, "{bytes:?}");
            assert!(content.is_some() || reader.0 == bytes, "{bytes:?}");
        }
    }

    #[test]
    fn tags_may_have_high_numbers() {
        let tag = |bytes: &[u8]| Reader(bytes).peek();
        assert_eq!(tag(&[0xbf, 0x1f, 0]), Some(31));
        assert_eq!(tag(&[0xbf, 0x81, 0x00, 0]), Some(128));
        assert_eq!(tag(&[0x3f, 0x10, 0]), Some(16));
        assert_eq!(tag(&[0xbf, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0]), None);
        assert_eq!(tag(&[0xbf, 0x81]), None);
    }

    #[test]
    fn numbers() {
        for (content, unsigned, is_integer) in [
            (&[2][..], Some(2), true),
            (&[0], Some(0), true),
            (&[0, 0xff, 0xff, 0xff, 0xff], Some(u32::MAX), true),
            (&[1, 0, 0, 0, 0], None, true),
            (&[0xff], None, true),
            (&[0, 1], None, false),
            (&[], None, false),
        ] {
            let bytes = der(2, content);
            assert_eq!(Reader(&bytes).unsigned(), unsigned, "{content:?}");
            assert_eq!(Reader(&bytes).integer(), Some(content).filter(|_| is_integer), "{content:?}");
        }
        // Where it is a value already, it may be longer than it has to be.
        assert_eq!(Reader(&der(2, &[0, 1])).value().unwrap().unsigned(), Some(1));
    }

    #[test]
    fn bits_that_are_not_used_are_zero() {
        for (content, bits) in [
            (&[0, 1, 2][..], Some(&[1, 2][..])),
            (&[3, 0xf8], Some(&[0xf8])),
            (&[4, 0xf8], None),
            (&[0], Some(&[])),
            (&[1], None),
            (&[], None),
        ] {
            assert_eq!(Reader(&der(3, content)).bits(), bits, "{content:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_goes_forward(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader(&bytes);
            let mut left = bytes.len();
            while let Some(value) = reader.value() {
                prop_assert!(reader.0.len() + value.content.len() + 2 <= left);
                left = reader.0.len();
            }
        }
    }
}
