//! The same for people: requests and responses with their lines, and how long their bodies are. Credentials are not shown.

use crate::body::{Body, follow};
use crate::exchange::{Message, Side, Stop, Told, body, read};
use crate::head::{Found, Head, Request, Status};
use crate::probe::{Look, PREFACE, is_reversed, look};
use crate::template::Limits;
use memchr::{memchr, memmem, memrchr};
use std::borrow::Cow;
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::StreamView;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};

/// Longest body behind which a next message is drawn; a tree is for one flow that somebody looks at.
const BODY: usize = 1 << 30;

/// What stands instead of a password.
const HIDDEN: &str = "****";

/// Draws both directions.
pub(crate) fn draw(stream: &StreamView<'_>, limits: &Limits, tree: &mut TreeSink<'_>) {
    let side = |direction: Direction| Side { bytes: stream.bytes(direction), ended: stream.ended(direction) };
    let (client, server) = match is_reversed(stream) {
        Some(true) => (Direction::Backward, Direction::Forward),
        _ => (Direction::Forward, Direction::Backward),
    };
    let preface = side(client).bytes.starts_with(b"PRI ");
    let ends = match read(side(client), side(server), limits, &mut Told::default()) {
        Stop::Behind(asked, answered) => [asked, answered],
        _ => [usize::MAX; 2],
    };
    let mut walk = Walk { limits: Limits { body_bytes: BODY, ..limits.clone() }, requests: Vec::new(), tree };
    for ((direction, name), end) in [(client, "HTTP, client"), (server, "HTTP, server")].into_iter().zip(ends) {
        let bytes = stream.bytes(direction);
        if bytes.is_empty() {
            continue;
        }
        walk.tree.open(name, "", Some(ByteRange::new(direction, 0, bytes.len())));
        let at = if preface { walk.preface(bytes, direction) } else { walk.messages(bytes, end, direction) };
        // What is behind a CONNECT or an upgrade is for others to draw.
        if preface && at < bytes.len() {
            walk.tree.leaf("Frames of HTTP/2", "", Some(ByteRange::new(direction, at, bytes.len() - at)));
        }
        walk.tree.close();
    }
}

/// Both sides in turn, the client first.
struct Walk<'a, 'b, 't> {
    limits: Limits,
    /// The client's, for the answers to them.
    requests: Vec<Message<'a, Request<'a>>>,
    tree: &'b mut TreeSink<'t>,
}

impl<'a> Walk<'a, '_, '_> {
    /// What HTTP/2 begins with where nobody negotiates, and where its frames begin.
    fn preface(&mut self, bytes: &[u8], direction: Direction) -> usize {
        let len = bytes.iter().zip(PREFACE).take_while(|(byte, wanted)| byte == wanted).count();
        if len > 0 {
            self.tree.leaf("Preface", "HTTP/2", Some(ByteRange::new(direction, 0, len)));
        }
        len
    }

    /// Draws messages up to an offset, and says where another protocol begins.
    fn messages(&mut self, bytes: &'a [u8], end: usize, direction: Direction) -> usize {
        let range = |at: usize, end: usize| Some(ByteRange::new(direction, at, end - at));
        let bytes = bytes.get(..end).unwrap_or(bytes);
        let (mut at, mut answers) = (0, 0);
        while at < bytes.len() && !self.tree.is_full() {
            let (head, whole) = match Head::find(bytes, at, false, self.limits.header_bytes) {
                Found::Head(head) => (head, true),
                Found::TooLong => {
                    let why = format!("longer than {} bytes, and not read", self.limits.header_bytes);
                    self.tree.leaf("Head", &why, range(at, bytes.len()));
                    return bytes.len();
                }
                _ => match Head::find(bytes, at, true, self.limits.header_bytes) {
                    Found::Head(head) => (head, false),
                    _ => {
                        self.tree.leaf("Empty lines", "", range(at, bytes.len()));
                        return bytes.len();
                    }
                },
            };
            let behind = if let Some(line) = Status::read(head.first) {
                let request = self.requests.get(answers);
                answers += usize::from(!(100..200).contains(&line.code) || line.code == 101);
                let tunnel = request.is_some_and(|request| request.line.method == b"CONNECT");
                let body = match line.code {
                    // A tunnel and another protocol are no body.
                    100..200 => Body::Ends(head.end),
                    200..300 if tunnel => Body::Ends(head.end),
                    _ => body(&Message { line, head }, request, bytes, &self.limits),
                };
                self.message("Response", &head, whole, body, bytes, direction);
                if line.code == 101 {
                    return head.end;
                }
                body
            } else if let Some(line) = Request::read(head.first) {
                self.requests.push(Message { line, head });
                let body = follow(&head, bytes, self.limits.body_bytes, Body::Ends(head.end));
                self.message("Request", &head, whole, body, bytes, direction);
                // What the client says into a tunnel need not wait for the answer.
                let next = bytes.get(head.end..).unwrap_or_default();
                if line.method == b"CONNECT" && look(next) == Look::No {
                    return head.end;
                }
                body
            } else {
                self.tree.leaf("No message of HTTP", "", range(head.begin, bytes.len()));
                return bytes.len();
            };
            match behind {
                Body::Ends(end) => at = end,
                Body::Wants(_) | Body::Lost => return bytes.len(),
            }
        }
        at
    }

    fn message(&mut self, label: &str, head: &Head<'_>, whole: bool, body: Body, bytes: &[u8], direction: Direction) {
        let range = |at: usize, end: usize| Some(ByteRange::new(direction, at, end - at));
        let end = match body {
            Body::Ends(end) => end.min(bytes.len()),
            _ => bytes.len(),
        };
        let text = |text: &[u8]| String::from_utf8_lossy(&hidden(text, head.is_cut_in(text))).into_owned();
        let first = text(head.first);
        self.tree.open(label, &first, range(head.begin, end));
        self.tree.leaf("First line", &first, range(head.begin, head.begin + head.first.len()));
        let mut secret = false;
        for (at, line) in head.lines() {
            if self.tree.is_full() {
                break;
            }
            // A line that begins with a blank goes on with the one before it (section 5.2).
            let (name, value) = match line.iter().position(|byte| *byte == b':') {
                Some(colon) if !line.starts_with(b" ") && !line.starts_with(b"\t") => {
                    (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii())
                }
                _ => (&b"Line"[..], line),
            };
            let goes_on = line.starts_with(b" ") || line.starts_with(b"\t");
            secret = if goes_on { secret } else { is_secret(name) };
            let value = if secret { credentials(value, goes_on) } else { text(value) };
            self.tree.leaf(&String::from_utf8_lossy(name), &value, range(at, at + line.len()));
        }
        if !whole {
            self.tree.leaf("Head", "cut off here", range(bytes.len(), bytes.len()));
        } else if end > head.end || body != Body::Ends(head.end) {
            let coded = head.field(b"Transfer-Encoding").unwrap_or_default();
            let chunked = if coded.to_ascii_lowercase().ends_with(b"chunked") { ", in chunks" } else { "" };
            let there = end - head.end;
            let words = match body {
                Body::Ends(whole) if whole > end => {
                    format!("{} bytes, {there} of them here{chunked}", whole - head.end)
                }
                Body::Ends(_) => format!("{there} bytes{chunked}"),
                Body::Wants(_) => format!("{there} bytes and more{chunked}"),
                Body::Lost => format!("{there} bytes, and whatever follows{chunked}"),
            };
            self.tree.leaf("Body", &words, range(head.end, end));
        }
        self.tree.close();
    }
}

/// Whether a header says who somebody is, and shows it.
fn is_secret(name: &[u8]) -> bool {
    [&b"Authorization"[..], b"Proxy-Authorization"].iter().any(|secret| name.eq_ignore_ascii_case(secret))
}

/// The scheme alone; of a line that goes on, nothing.
fn credentials(value: &[u8], goes_on: bool) -> String {
    match value.split(|byte| byte.is_ascii_whitespace()).next() {
        Some(scheme) if !goes_on && scheme.len() < value.len() => {
            format!("{} {HIDDEN}", String::from_utf8_lossy(scheme))
        }
        _ => HIDDEN.into(),
    }
}

/// A text in which no address has a password (RFC 3986 section 3.2.1). Where the text is cut off within an address, its end
/// may be that of a password, and is hidden.
pub(crate) fn hidden(text: &[u8], is_cut: bool) -> Cow<'_, [u8]> {
    let mut shown = Vec::new();
    // How much of the text is in `shown`, or hidden, and how much was looked at.
    let (mut done, mut at) = (0, 0);
    while let Some(scheme) = memmem::find(&text[at..], b"://") {
        let begin = at + scheme + 3;
        let authority = text[begin..].split(|byte| b"/?# \t\"<>".contains(byte)).next().unwrap_or_default();
        at = begin + authority.len();
        let cut = (is_cut && at == text.len()).then_some(authority.len());
        let Some(end) = cut.or_else(|| memrchr(b'@', authority)) else { continue };
        let Some(user) = memchr(b':', &authority[..end]) else { continue };
        shown.extend_from_slice(&text[done..=begin + user]);
        shown.extend_from_slice(HIDDEN.as_bytes());
        done = begin + end;
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    shown.extend_from_slice(&text[done..]);
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden() {
        for (text, is_cut, shown) in [
            (
                "GET http://me:secret@a.example/b?c=http://d HTTP/1.1",
                false,
                "GET http://me:****@a.example/b?c=http://d HTTP/1.1",
            ),
            ("ftp://me@a, http://x:y:z@w@b", false, "ftp://me@a, http://x:****@b"),
            ("http://a:80", false, "http://a:80"),
            ("http://a:80", true, "http://a:****"),
            ("http://a:80/ b", true, "http://a:80/ b"),
            ("http://x:y@z", true, "http://x:****"),
        ] {
            assert_eq!(hidden(text.as_bytes(), is_cut), shown.as_bytes(), "{text}");
        }
        assert!(matches!(hidden(b"http://a:80/b@c", false), Cow::Borrowed(_)), "nothing is copied in vain");
        assert_eq!(
            (credentials(b"Basic eA==", false), credentials(b"eA==", false)),
            ("Basic ****".into(), "****".into())
        );
        assert_eq!(credentials(b" eA==", true), "****");
    }
}
