use std::fmt;

/// Fixed bytes and wildcards of one part of a signature.
pub const PART_BYTES: usize = 128;
/// Parts of one signature.
pub const PATTERN_PARTS: usize = 8;
/// Bytes from the start within which a signature lies.
pub const PATTERN_REACH: usize = 1 << 16;
/// Bytes from the start within which a part is searched that may stand anywhere.
pub const FLOATING_REACH: usize = 4096;

/// Where a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Position {
    /// So many bytes from the start.
    At(u32),
    /// Anywhere in the first [`FLOATING_REACH`] bytes.
    Any,
}

/// Bytes with gaps, at a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Where it stands.
    pub position: Position,
    /// Bytes; nothing stands for any byte.
    pub bytes: Box<[Option<u8>]>,
}

impl Part {
    fn fits(&self, bytes: &[u8]) -> bool {
        bytes.len() >= self.bytes.len()
            && self.bytes.iter().zip(bytes).all(|(want, have)| want.is_none_or(|want| want == *have))
    }

    fn matches(&self, bytes: &[u8]) -> bool {
        match self.position {
            Position::At(offset) => bytes.get(offset as usize..).is_some_and(|rest| self.fits(rest)),
            Position::Any => {
                let bytes = &bytes[..bytes.len().min(FLOATING_REACH)];
                let fixed = self.bytes.iter().enumerate().find_map(|(at, byte)| Some((at, (*byte)?)));
                match fixed {
                    // Only where its first byte stands it can begin.
                    Some((at, byte)) => memchr::memchr_iter(byte, bytes.get(at..).unwrap_or_default())
                        .any(|start| bytes.get(start..).is_some_and(|rest| self.fits(rest))),
                    None => bytes.len() >= self.bytes.len().max(1),
                }
            }
        }
    }

    fn fixed(&self) -> usize {
        self.bytes.iter().filter(|byte| byte.is_some()).count()
    }
}

/// Parts that must all fit: `0: 52 49 46 46, 8: 'WAVE'`.
///
/// A part is a place (an offset, or `any`), a colon, and bytes: two hexadecimal digits each, `..` for any byte, or text
/// between `'` marks that stands for itself. Parts are separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    parts: Vec<Part>,
    fixed: usize,
    text: Box<str>,
}

/// Why a text is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A part has no place.
    #[error("`{0}`: say where the bytes stand: `0: 89 50 …`, or `any: …`")]
    NoPlace(String),
    /// The place is neither a number nor `any`.
    #[error("`{0}` is no place: give an offset in bytes, or `any`")]
    Place(String),
    /// What should be bytes is not.
    #[error("`{0}` is no byte: give two hexadecimal digits, `..` for any byte, or text between ' marks")]
    Byte(String),
    /// A text has no end.
    #[error("the text that begins at `{0}` has no closing ' mark")]
    OpenText(String),
    /// A part has no bytes, or begins with one that may be any.
    #[error("a part must begin with a fixed byte")]
    NotFixed,
    /// A signature that fits nearly everything.
    #[error("only {0} fixed byte; a signature needs at least 2")]
    TooShort(usize),
    /// A part is too long.
    #[error("a part has {0} bytes; at most {PART_BYTES} are allowed")]
    TooLong(usize),
    /// Too many parts.
    #[error("more than {PATTERN_PARTS} parts")]
    TooMany,
    /// A part reaches too far.
    #[error("a part ends {0} bytes from the start; at most {PATTERN_REACH} are looked at")]
    TooFar(u64),
}

impl Signature {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let mut parts = Vec::new();
        let mut rest = text;
        loop {
            if parts.len() == PATTERN_PARTS {
                return Err(SignatureError::TooMany);
            }
            let (place, bytes) = rest.split_once(':').ok_or_else(|| SignatureError::NoPlace(cut(rest)))?;
            let (bytes, after) = read_bytes(bytes)?;
            let position = match place.trim() {
                "any" => Position::Any,
                number => Position::At(number.parse().map_err(|_| SignatureError::Place(cut(number)))?),
            };
            if let Position::At(offset) = position {
                let end = u64::from(offset) + bytes.len() as u64;
                if end > PATTERN_REACH as u64 {
                    return Err(SignatureError::TooFar(end));
                }
            }
            if bytes.first().is_none_or(Option::is_none) {
                return Err(SignatureError::NotFixed);
            }
            parts.push(Part { position, bytes: bytes.into() });
            match after {
                Some(after) => rest = after,
                None => break,
            }
        }
        let fixed = parts.iter().map(Part::fixed).sum();
        if fixed < 2 {
            return Err(SignatureError::TooShort(fixed));
        }
        // Parts at a place come first: they are the cheaper ones to try.
        parts.sort();
        Ok(Self { parts, fixed, text: text.into() })
    }

    /// Whether bytes fit it.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.parts.iter().all(|part| part.matches(bytes))
    }

    /// Its parts: those with an offset first, in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Bytes that are fixed: how much it takes to fit.
    pub fn fixed(&self) -> usize {
        self.fixed
    }

    /// Whether no part has an offset.
    pub fn floats(&self) -> bool {
        self.anchor().is_none()
    }

    /// Whether some part may stand anywhere.
    pub fn has_floating_part(&self) -> bool {
        self.parts.iter().any(|part| part.position == Position::Any)
    }

    /// The longest text without a gap in any of its parts.
    pub(super) fn longest_text(&self) -> Vec<u8> {
        let texts = self.parts.iter().flat_map(|part| part.bytes.split(Option::is_none));
        let longest = texts.max_by_key(|text| text.len()).unwrap_or_default();
        longest.iter().flatten().copied().collect()
    }

    /// A place with its byte, by which it is found.
    pub(super) fn anchor(&self) -> Option<(u32, u8)> {
        let part = self.parts.first()?;
        match (part.position, part.bytes.first()) {
            (Position::At(offset), Some(Some(byte))) => Some((offset, *byte)),
            _ => None,
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The bytes of a part, and what stands after its comma.
fn read_bytes(text: &str) -> Result<(Vec<Option<u8>>, Option<&str>), SignatureError> {
    let mut bytes = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if bytes.len() > PART_BYTES {
            return Err(SignatureError::TooLong(bytes.len()));
        }
        if rest.is_empty() {
            return Ok((bytes, None));
        }
        if let Some(after) = rest.strip_prefix(',') {
            return Ok((bytes, Some(after)));
        }
        if let Some(inside) = rest.strip_prefix('\'') {
            let (inside, after) = inside.split_once('\'').ok_or_else(|| SignatureError::OpenText(cut(rest)))?;
            bytes.extend(inside.bytes().map(Some));
            rest = after.trim_start();
            continue;
        }
        let (byte, after) =
            rest.get(..2).zip(rest.get(2..)).ok_or_else(|| SignatureError::Byte(rest.chars().take(2).collect()))?;
        bytes.push(match byte {
            ".." => None,
            digits if digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Some(u8::from_str_radix(digits, 16).map_err(|_| SignatureError::Byte(digits.into()))?)
            }
            other => return Err(SignatureError::Byte(other.into())),
        });
        rest = after.trim_start();
    }
}

/// The beginning of a text, for a message.
fn cut(text: &str) -> String {
    text.chars().take(24).collect()
}

/// Signatures by their anchors: place, then byte.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    rows: Vec<Anchor>,
    /// Each place once, with where its rows end.
    places: Vec<(u32, usize)>,
}

/// A signature among others.
#[derive(Debug)]
pub(super) struct Anchor {
    place: u32,
    byte: u8,
    /// Which entry.
    pub(super) entry: u32,
    /// Which of its signatures.
    pub(super) signature: u32,
}

impl Anchors {
    /// Signatures as (entry, number, signature); those that float are left out.
    pub(super) fn new<'a>(signatures: impl Iterator<Item = (usize, usize, &'a Signature)>) -> Self {
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let mut rows: Vec<Anchor> = signatures
            .filter_map(|(entry, signature, pattern)| {
                let (place, byte) = pattern.anchor()?;
                Some(Anchor { place, byte, entry: number(entry), signature: number(signature) })
            })
            .collect();
        rows.sort_by_key(|row| (row.place, row.byte, row.entry, row.signature));
        let mut places: Vec<(u32, usize)> = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            match places.last_mut() {
                Some((place, end)) if *place == row.place => *end = at + 1,
                _ => places.push((row.place, at + 1)),
            }
        }
        Self { rows, places }
    }

    /// Signatures whose anchor is there.
    pub(super) fn candidates(&self, bytes: &[u8]) -> impl Iterator<Item = &Anchor> {
        let starts = std::iter::once(0).chain(self.places.iter().map(|(_, end)| *end));
        self.places
            .iter()
            .zip(starts)
            .map_while(|(&(place, end), start)| {
                let byte = *bytes.get(place as usize)?;
                let rows = &self.rows[start..end];
                let from = rows.partition_point(|row| row.byte < byte);
                let to = rows.partition_point(|row| row.byte <= byte);
                Some(rows[from..to].iter())
            })
            .flatten()
    }
}
