//! Where a message ends (RFC 9112 section 6).

use crate::head::{Head, number};

/// Where the body of a message leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// The next message begins at this offset, which may lie behind the bytes that are there.
    Ends(usize),
    /// More is known with this many bytes.
    Wants(usize),
    /// It is longer than is followed, ends with the connection, or is broken.
    Lost,
}

/// Follows the body behind a head. `default` is what it is where no field says how long it is.
pub(crate) fn follow(head: &Head<'_>, bytes: &[u8], most: usize, default: Body) -> Body {
    if head.field(b"Transfer-Encoding").is_some_and(|value| value.to_ascii_lowercase().ends_with(b"chunked")) {
        return chunks(bytes, head.end, most);
    }
    match head.field(b"Content-Length") {
        Some(value) => match number(value).and_then(|len| usize::try_from(len).ok()) {
            Some(len) if len <= most => Body::Ends(head.end + len),
            _ => Body::Lost,
        },
        None => default,
    }
}

/// Walks over chunks (section 7.1), and over the trailer behind the last one.
fn chunks(bytes: &[u8], begin: usize, most: usize) -> Body {
    let mut at = begin;
    let mut last = false;
    loop {
        if at - begin > most {
            return Body::Lost;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(len) = rest.iter().position(|byte| *byte == b'\n') else {
            // A line may not be longer than a body may be.
            return if rest.len() > most { Body::Lost } else { Body::Wants(at.max(bytes.len()) + 1) };
        };
        let line = rest.get(..len).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        at += len + 1;
        if last {
            if line.is_empty() {
                return Body::Ends(at);
            }
            continue;
        }
        let Some(size) = size(line) else { return Body::Lost };
        last = size == 0;
        if !last {
            // Behind the data stands the end of a line.
            let Some(data) = size.checked_add(2).filter(|size| *size <= most) else { return Body::Lost };
            at += data;
        }
    }
}

/// The size of a chunk; what stands behind a semicolon says nothing of it.
fn size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    digits.iter().try_fold(0usize, |size, digit| Some(size * 16 + char::from(*digit).to_digit(16)? as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Found;

    fn told(text: &[u8]) -> Body {
        let Found::Head(head) = Head::find(text, 0, false, 1000) else { panic!("{text:?}") };
        follow(&head, text, 100, Body::Lost)
    }

    #[test]
    fn lengths_and_chunks() {
        assert_eq!(told(b"A\r\nContent-Length: 5\r\n\r\n"), Body::Ends(29));
        assert_eq!(told(b"A\r\nContent-Length: 101\r\n\r\n"), Body::Lost);
        assert_eq!(told(b"A\r\nContent-Length: +5\r\n\r\n"), Body::Lost);
        assert_eq!(told(b"A\r\n\r\n"), Body::Lost);
        let chunked = b"A\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: a\r\n\r\n";
        assert_eq!(told(chunked), Body::Ends(chunked.len()));
        for len in 33..chunked.len() {
            assert!(matches!(told(&chunked[..len]), Body::Wants(wanted) if wanted > len), "{len}");
        }
        for bad in [&b"\r\n"[..], b"g\r\n", b"-1\r\n", b"fffffffff\r\n", b"ff\r\n"] {
            let text = [b"A\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n", bad].concat();
            assert_eq!(told(&text), Body::Lost, "{bad:?}");
        }
    }
}
