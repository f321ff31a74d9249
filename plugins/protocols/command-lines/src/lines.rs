//! One side, line by line.

/// The bytes of one side, and how far they were read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    ended: bool,
    /// Bytes that were read.
    pub(crate) at: usize,
}

/// What comes next of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next<T> {
    Here(T),
    /// More of it has to come first.
    Wait,
    /// Nothing more comes.
    Gone,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(bytes: &'a [u8], ended: bool) -> Self {
        Self { bytes, ended, at: 0 }
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn missing<T>(&self) -> Next<T> {
        if self.ended { Next::Gone } else { Next::Wait }
    }

    /// The next byte, which stays.
    pub(crate) fn peek(&self) -> Next<u8> {
        self.rest().first().map_or(self.missing(), |byte| Next::Here(*byte))
    }

    /// The next line, without its end; the last one of all may lack one.
    pub(crate) fn line(&mut self) -> Next<&'a [u8]> {
        let rest = self.rest();
        let (line, len) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => (rest.get(..end).unwrap_or_default(), end + 1),
            None if self.ended && !rest.is_empty() => (rest, rest.len()),
            None => return self.missing(),
        };
        self.at += len;
        Next::Here(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// So many bytes, whatever they are.
    pub(crate) fn skip(&mut self, len: usize) -> Next<()> {
        if self.rest().len() < len {
            return self.missing();
        }
        self.at += len;
        Next::Here(())
    }
}

/// The word in front of a line, and what stands behind the blanks after it.
pub(crate) fn split_word(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    (word, rest.trim_ascii())
}

/// Whether a text holds a word, in capitals or not; the word is given in capitals.
pub(crate) fn holds(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_or_the_last() {
        let mut open = Lines::new(b"a\r\nb\nc", false);
        assert_eq!((open.line(), open.line(), open.line()), (Next::Here(&b"a"[..]), Next::Here(&b"b"[..]), Next::Wait));
        assert_eq!((open.at, open.peek(), open.skip(2)), (5, Next::Here(b'c'), Next::Wait));
        let mut over = Lines { ended: true, ..open };
        assert_eq!((over.line(), over.line(), over.peek()), (Next::Here(&b"c"[..]), Next::Gone, Next::Gone));
    }

    #[test]
    fn words() {
        assert_eq!(split_word(b"EHLO  a b "), (&b"EHLO"[..], &b"a b"[..]));
        assert_eq!(split_word(b"QUIT"), (&b"QUIT"[..], &b""[..]));
        assert!(holds(b"220 a eSmtp", b"SMTP") && !holds(b"a", b"SMTP"));
    }
}
