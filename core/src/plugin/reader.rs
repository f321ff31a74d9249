/// Reads bytes that may be anybody's from the front: nothing is read past the end, and once something was not there,
/// nothing is.
///
/// ```
/// use veilwatch_core::plugin::Reader;
///
/// let mut reader = Reader::new(b"\x00\x02hi!");
/// let text = reader.u16().and_then(|len| reader.take(len.into()));
/// assert_eq!((text, reader.u8(), reader.u8()), (Some(&b"hi"[..]), Some(b'!'), None));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over all of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next so many bytes.
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len).unzip();
        self.rest = rest.unwrap_or_default();
        head
    }

    /// The next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// The next two bytes, as a number in network order.
    pub fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// The next four bytes, as a number in network order.
    pub fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A number of seven bits a byte, the lowest first; all bytes but the last have their highest bit set (LEB128).
    pub fn varint(&mut self) -> Option<usize> {
        let mut number = 0usize;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = usize::from(byte & 0x7f);
            if bits.leading_zeros() < shift {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        self.take(usize::MAX);
        None
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_there_ends_it() {
        let mut reader = Reader::new(&[1, 2, 3, 4, 5, 6, 7]);
        assert_eq!((reader.u8(), reader.u16(), reader.rest().len()), (Some(1), Some(0x0203), 4));
        // Three bytes would still be there, but what they mean depends on what was not.
        assert_eq!((reader.take(5), reader.u8(), reader.rest().len()), (None, None, 0));
        assert_eq!(Reader::new(&[0, 0, 1, 0]).u32(), Some(256));
        assert_eq!(Reader::new(&[]).take(0), Some(&[][..]));
    }

    #[test]
    fn numbers_of_seven_bits_a_byte() {
        let read = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            (reader.varint(), reader.rest().len())
        };
        assert_eq!(read(&[0x7f, 9]), (Some(127), 1));
        assert_eq!(read(&[0x80, 0x01]), (Some(128), 0));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0x7f, 1]), (Some(268_435_455), 1));
        assert_eq!(read(&[0x80]), (None, 0));
        // More than a number can hold.
        assert_eq!(read(&[0xff; 12]), (None, 0));
        assert_eq!(read(&[[0xff; 9].as_slice(), &[0x01, 5]].concat()), (Some(usize::MAX), 1));
        assert_eq!(read(&[[0xff; 9].as_slice(), &[0x02, 5]].concat()), (None, 0));
    }
}
