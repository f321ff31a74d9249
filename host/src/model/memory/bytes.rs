//! Numbers and texts as bytes, little-endian, and back from bytes that may be anybody's.

/// What is wrong with the bytes of a memory.
pub(super) type Flaw = &'static str;

/// What a reader says where the bytes end too early.
const CUT: Flaw = "it ends too early";

/// Reads what was written, front to back.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Begins behind the word that all memories begin with.
    pub(super) fn new(bytes: &'a [u8], magic: &[u8]) -> Result<Self, Flaw> {
        let rest = bytes.strip_prefix(magic).ok_or("it is no memory of this version of the format")?;
        Ok(Self { rest })
    }

    /// The next bytes.
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Flaw> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(CUT)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A number of one byte.
    pub(super) fn u8(&mut self) -> Result<u8, Flaw> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A number of two.
    pub(super) fn u16(&mut self) -> Result<u16, Flaw> {
        self.array().map(u16::from_le_bytes)
    }

    /// A finite number.
    pub(super) fn f32(&mut self) -> Result<f32, Flaw> {
        let number = f32::from_le_bytes(self.array()?);
        if number.is_finite() { Ok(number) } else { Err("it holds a number that is not finite") }
    }

    /// A count of two bytes, which is at most `most`.
    pub(super) fn count(&mut self, most: usize) -> Result<usize, Flaw> {
        let count = usize::from(self.u16()?);
        if count <= most { Ok(count) } else { Err("it holds more than a memory can") }
    }

    /// Says whether all was read.
    pub(super) fn end(self) -> Result<(), Flaw> {
        if self.rest.is_empty() { Ok(()) } else { Err("bytes follow behind its end") }
    }
}

/// Adds a count of two bytes, whose bound the type that is written keeps.
pub(super) fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend(u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
}
