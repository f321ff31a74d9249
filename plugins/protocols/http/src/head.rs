//! The head of one message: its first line and its header fields (RFC 9112 sections 2 to 5).

/// What stands where a message should begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A head, or as much of it as there will be.
    Head(Head<'a>),
    /// It is not whole yet.
    Short,
    /// Nothing more comes.
    Gone,
    /// It is longer than is read.
    TooLong,
}

/// The lines of a head, and where the body begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    /// Offset of the first line.
    pub(crate) begin: usize,
    /// The first line, without its end.
    pub(crate) first: &'a [u8],
    /// The lines behind it, with their ends.
    fields: &'a [u8],
    /// Offset behind the empty line.
    pub(crate) end: usize,
}

impl<'a> Head<'a> {
    /// Reads the head that begins at an offset. `ended` says that no more bytes will come, `most` how many are read.
    pub(crate) fn find(bytes: &'a [u8], at: usize, ended: bool, most: usize) -> Found<'a> {
        let rest = bytes.get(at..).unwrap_or_default();
        // Empty lines before a message are passed over (section 2.2).
        let empty = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let rest = rest.get(empty..).unwrap_or_default();
        let seen = rest.get(..most).unwrap_or(rest);
        let (whole, end) = match head_end(seen) {
            Some(end) => (true, end),
            None => (false, seen.len()),
        };
        if !whole && seen.len() == most {
            return Found::TooLong;
        }
        if !whole && !ended {
            return Found::Short;
        }
        if end == 0 {
            return Found::Gone;
        }
        let head = seen.get(..end).unwrap_or_default();
        let (first, fields) = split_line(head);
        Found::Head(Head { begin: at + empty, first, fields, end: at + empty + end })
    }

    /// The lines behind the first one, without their ends and the empty one, each with its offset.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &'a [u8])> + use<'a> {
        let (end, mut rest) = (self.end, self.fields);
        std::iter::from_fn(move || {
            let at = end - rest.len();
            let (line, behind) = split_line(rest);
            rest = behind;
            (!line.is_empty()).then_some((at, line))
        })
    }

    /// Whether a text of the head stands where that is cut off, and may lack its end.
    pub(crate) fn is_cut_in(&self, text: &[u8]) -> bool {
        let last = if self.fields.is_empty() { self.first } else { self.fields };
        last.ends_with(text)
    }

    /// The value of the first field of this name, without the blanks around it.
    pub(crate) fn field(&self, name: &[u8]) -> Option<&'a [u8]> {
        let mut rest = self.fields;
        while !rest.is_empty() {
            let (line, behind) = split_line(rest);
            rest = behind;
            if let Some((key, value)) = line.split_at_checked(name.len())
                && key.eq_ignore_ascii_case(name)
                && let Some(value) = value.trim_ascii_start().strip_prefix(b":")
            {
                return Some(value.trim_ascii());
            }
        }
        None
    }
}

/// Offset behind the first empty line.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = bytes.get(at..)?;
        let len = memchr::memchr(b'\n', line)?;
        at += len + 1;
        if len == 0 || (len == 1 && line.first() == Some(&b'\r')) {
            return Some(at);
        }
    }
}

/// The first line without its end, and what stands behind it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some(at) = memchr::memchr(b'\n', bytes) else { return (bytes, &[]) };
    let (line, rest) = bytes.split_at(at);
    (line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..).unwrap_or_default())
}

/// Method, target and version of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) target: &'a [u8],
    pub(crate) version: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// Reads a request line; a target may hold blanks, as programs send them.
    pub(crate) fn read(line: &'a [u8]) -> Option<Self> {
        let space = line.iter().position(|byte| *byte == b' ')?;
        let (method, rest) = (line.get(..space)?, line.get(space + 1..)?.trim_ascii());
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        if method.is_empty() || !method.iter().all(token) {
            return None;
        }
        let (target, version) = match rest.iter().rposition(|byte| *byte == b' ') {
            Some(at) if rest.get(at + 1..).is_some_and(|word| word.starts_with(b"HTTP/")) => {
                (rest.get(..at)?.trim_ascii_end(), rest.get(at + 1..))
            }
            _ => (rest, None),
        };
        Some(Self { method, target, version })
    }
}

/// Version and code of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status<'a> {
    pub(crate) version: &'a [u8],
    pub(crate) code: u16,
}

impl<'a> Status<'a> {
    /// Reads a status line.
    pub(crate) fn read(line: &'a [u8]) -> Option<Self> {
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let version = words.next().filter(|word| word.starts_with(b"HTTP/"))?;
        let code = words.next().and_then(number)?;
        Some(Self { version, code: u16::try_from(code).ok()? })
    }
}

/// A decimal number.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(bytes: &[u8]) -> Head<'_> {
        let Found::Head(head) = Head::find(bytes, 0, false, 1000) else { panic!("{bytes:?}") };
        head
    }

    #[test]
    fn fields_are_found_by_name_in_any_case() {
        let head = head(b"\r\nGET / HTTP/1.1\r\nhOST:  a.example \r\nX: y\nHost: b\r\n\r\nbody");
        assert_eq!(head.first, b"GET / HTTP/1.1");
        assert_eq!((head.field(b"Host"), head.field(b"X")), (Some(&b"a.example"[..]), Some(&b"y"[..])));
        assert_eq!((head.field(b"Hos"), head.end), (None, 53));
    }

    #[test]
    fn a_head_is_whole_or_waited_for() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for len in 0..text.len() {
            assert_eq!(Head::find(&text[..len], 0, false, 100), Found::Short, "{len}");
        }
        assert_eq!(Head::find(text, 0, false, 20), Found::TooLong);
        assert_eq!(Head::find(b"\r\n", 0, true, 20), Found::Gone);
        let Found::Head(cut) = Head::find(&text[..22], 0, true, 100) else { panic!("it is over") };
        assert_eq!(cut.field(b"host"), Some(&b""[..]));
        assert!(cut.is_cut_in(b"Host: ") && !cut.is_cut_in(cut.first));
        assert!(!head(text).is_cut_in(b"a"));
    }

    #[test]
    fn first_lines() {
        let request = |line: &'static str| Request::read(line.as_bytes());
        let read = request("GET /a b HTTP/1.0").unwrap();
        assert_eq!((read.method, read.target, read.version), (&b"GET"[..], &b"/a b"[..], Some(&b"HTTP/1.0"[..])));
        assert_eq!(request("GET /old").unwrap().version, None);
        assert_eq!(request("\x16\x03 x"), None);
        assert_eq!(Status::read(b"HTTP/1.1 204"), Some(Status { version: b"HTTP/1.1", code: 204 }));
        assert_eq!(Status::read(b"HTTP/1.1 OK"), None);
        assert_eq!(
            (number(b"65536"), number(b""), number(b"-1"), number(&[b'9'; 30])),
            (Some(65_536), None, None, None)
        );
    }
}
