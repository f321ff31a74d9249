//! One message (RFC 1035 section 4), read within bounds and without a copy.

use std::fmt;

/// Why a message could not be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Bytes are missing.
    Cut,
    /// It is none.
    Wrong,
}

/// What a message begins with (section 4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) response: bool,
    pub(crate) opcode: u8,
    /// The bit that must be zero.
    pub(crate) reserved: bool,
    pub(crate) rcode: u8,
    pub(crate) questions: u16,
    pub(crate) answers: u16,
    pub(crate) authorities: u16,
    pub(crate) additionals: u16,
}

impl Header {
    pub(crate) const LEN: usize = 12;

    #[inline]
    pub(crate) fn read(message: &[u8]) -> Result<Self, Bad> {
        let Some(&[_, _, high, low, a, b, c, d, e, f, g, h]) = message.first_chunk() else { return Err(Bad::Cut) };
        let both = |high, low| u16::from_be_bytes([high, low]);
        Ok(Self {
            response: high & 0x80 != 0,
            opcode: high >> 3 & 0xf,
            reserved: low & 0x40 != 0,
            rcode: low & 0xf,
            questions: both(a, b),
            answers: both(c, d),
            authorities: both(e, f),
            additionals: both(g, h),
        })
    }
}

/// A name as text: its labels as they are, joined by dots.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    bytes: [u8; Self::MOST],
    len: u8,
}

impl Name {
    /// Most bytes of a name on the wire, its lengths included (section 3.1).
    const MOST: usize = 255;

    /// Reads the name at `at`; also returns what stands behind it.
    pub(crate) fn read(message: &[u8], at: usize) -> Result<(Self, usize), Bad> {
        let mut name = Self { bytes: [0; Self::MOST], len: 0 };
        let (mut at, mut end, mut floor) = (at, None, at);
        loop {
            match *message.get(at).ok_or(Bad::Cut)? {
                0 => break,
                len @ 1..=63 => {
                    let label = message.get(at + 1..at + 1 + usize::from(len)).ok_or(Bad::Cut)?;
                    name.push(label)?;
                    at += 1 + label.len();
                }
                high @ 192.. => {
                    let low = *message.get(at + 1).ok_or(Bad::Cut)?;
                    end.get_or_insert(at + 2);
                    at = usize::from(u16::from_be_bytes([high & 0x3f, low]));
                    // Each jump goes further back than all before it, so that there is no loop (section 4.1.4).
                    if at >= floor {
                        return Err(Bad::Wrong);
                    }
                    floor = at;
                }
                _ => return Err(Bad::Wrong),
            }
        }
        if name.len == 0 {
            name.bytes[0] = b'.';
            name.len = 1;
        }
        Ok((name, end.unwrap_or(at + 1)))
    }

    /// What stands behind the name at `at`, without reading it.
    fn skip(message: &[u8], mut at: usize) -> Result<usize, Bad> {
        let begin = at;
        loop {
            match *message.get(at).ok_or(Bad::Cut)? {
                0 => return Ok(at + 1),
                len @ 1..=63 => at += 1 + usize::from(len),
                192.. => return Ok(at + 2),
                _ => return Err(Bad::Wrong),
            }
            if at - begin > Self::MOST {
                return Err(Bad::Wrong);
            }
        }
    }

    fn push(&mut self, label: &[u8]) -> Result<(), Bad> {
        let dot = usize::from(self.len > 0);
        let from = usize::from(self.len) + dot;
        // On the wire a length before and a zero behind take two bytes more.
        let to = Some(from + label.len()).filter(|to| to + 2 <= Self::MOST).ok_or(Bad::Wrong)?;
        if dot > 0 {
            self.bytes[from - 1] = b'.';
        }
        self.bytes[from..to].copy_from_slice(label);
        self.len = to as u8;
        Ok(())
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.text().escape_ascii())
    }
}

/// A question (section 4.1.2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) kind: u16,
    pub(crate) class: u16,
}

impl Question {
    /// Reads the question at `at`; also returns what stands behind it.
    pub(crate) fn read(message: &[u8], at: usize) -> Result<(Self, usize), Bad> {
        let (name, at) = Name::read(message, at)?;
        let Some(&[a, b, c, d]) = message.get(at..).and_then(|rest| rest.first_chunk()) else { return Err(Bad::Cut) };
        Ok((Self { name, kind: u16::from_be_bytes([a, b]), class: u16::from_be_bytes([c, d]) }, at + 4))
    }
}

/// A record among the answers (section 4.1.3).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    /// Where its name stands.
    owner: usize,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) data: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Reads the record at `owner`; also returns what stands behind it.
    pub(crate) fn read(message: &'a [u8], owner: usize) -> Result<(Self, usize), Bad> {
        let at = Name::skip(message, owner)?;
        let Some((&[a, b, c, d, e, f, g, h, i, j], rest)) = message.get(at..).and_then(|rest| rest.split_first_chunk())
        else {
            return Err(Bad::Cut);
        };
        let data = rest.get(..usize::from(u16::from_be_bytes([i, j]))).ok_or(Bad::Cut)?;
        let answer = Self {
            owner,
            kind: u16::from_be_bytes([a, b]),
            // The highest bit is mDNS's "flush what you know" (RFC 6762 section 10.2).
            class: u16::from_be_bytes([c, d]) & 0x7fff,
            ttl: u32::from_be_bytes([e, f, g, h]),
            data,
        };
        Ok((answer, at + 10 + data.len()))
    }

    /// The address that it holds, IPv4 mapped.
    pub(crate) fn address(&self) -> Option<[u8; 16]> {
        if self.class != 1 {
            return None;
        }
        match (self.kind, self.data) {
            (1, &[a, b, c, d]) => Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]),
            (28, data) => data.try_into().ok(),
            _ => None,
        }
    }
}

/// A message that was read to its end, or as far as it goes.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) header: Header,
    /// The first question; of a message without any, the name and type of its first answer.
    pub(crate) first: Option<(Name, u16)>,
    bytes: &'a [u8],
    answers: usize,
    /// Where it ends, if its sections could be followed.
    pub(crate) end: Result<usize, Bad>,
}

impl<'a> Message<'a> {
    /// Reads the message that begins here; what is no header is none.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Bad> {
        let header = Header::read(bytes)?;
        let mut message = Self { header, first: None, bytes, answers: bytes.len(), end: Err(Bad::Cut) };
        message.end = message.walk();
        Ok(message)
    }

    fn walk(&mut self) -> Result<usize, Bad> {
        let Header { questions, answers, authorities, additionals, .. } = self.header;
        let mut at = Header::LEN;
        for _ in 0..questions {
            let (question, end) = Question::read(self.bytes, at)?;
            self.first.get_or_insert((question.name, question.kind));
            at = end;
        }
        self.answers = at;
        for count in 0..u32::from(answers) + u32::from(authorities) + u32::from(additionals) {
            let (record, end) = Answer::read(self.bytes, at)?;
            if self.first.is_none() && count < u32::from(answers) {
                self.first = Name::read(self.bytes, record.owner).ok().map(|(name, _)| (name, record.kind));
            }
            at = end;
        }
        Ok(at)
    }

    /// The records among its answers, as far as they are there.
    pub(crate) fn answers(&self) -> impl Iterator<Item = Answer<'a>> + use<'a> {
        let (bytes, mut at) = (self.bytes, self.answers);
        (0..self.header.answers).map_while(move |_| {
            let (answer, end) = Answer::read(bytes, at).ok()?;
            at = end;
            Some(answer)
        })
    }
}
