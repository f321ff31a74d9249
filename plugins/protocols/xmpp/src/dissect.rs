//! The same for people: the elements of both streams. What is inside of those by which somebody logs in is not shown,
//! but for names.

use crate::stream::{position, tag_end};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::StreamView;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};

/// Elements inside of each other that are drawn so; what lies deeper stands beside them.
const DEPTH: usize = 12;

/// Elements by which somebody logs in (RFC 6120 section 6.4, XEP-0078, XEP-0077, XEP-0388).
const SECRETS: [&[u8]; 9] = [
    b"auth",
    b"response",
    b"challenge",
    b"success",
    b"password",
    b"digest",
    b"initial-response",
    b"additional-data",
    b"handshake",
];

/// What stands instead of a password.
const HIDDEN: &str = "****";

/// Draws both directions up to where TLS begins, at these offsets of client and server.
pub(crate) fn draw(stream: &StreamView<'_>, reversed: bool, tls: [usize; 2], tree: &mut TreeSink<'_>) {
    let (client, server) =
        if reversed { (Direction::Backward, Direction::Forward) } else { (Direction::Forward, Direction::Backward) };
    for ((direction, name), end) in [(client, "XMPP, client"), (server, "XMPP, server")].into_iter().zip(tls) {
        let bytes = stream.bytes(direction);
        if bytes.is_empty() {
            continue;
        }
        tree.open(name, "", Some(ByteRange::new(direction, 0, bytes.len())));
        let end = end.min(bytes.len());
        draw_elements(&bytes[..end], direction, tree);
        if end < bytes.len() {
            tree.leaf("TLS", "from here on", Some(ByteRange::new(direction, end, bytes.len() - end)));
        }
        tree.close();
    }
}

fn draw_elements(bytes: &[u8], direction: Direction, tree: &mut TreeSink<'_>) {
    let range = |at: usize, end: usize| Some(ByteRange::new(direction, at, end - at));
    // The names of those that are open, and how many of them are drawn as such.
    let mut open: Vec<&[u8]> = Vec::new();
    let mut drawn = 0;
    // How many of them log somebody in.
    let mut secret = 0usize;
    let mut at = 0;
    while at < bytes.len() && !tree.is_full() {
        let rest = &bytes[at..];
        if rest.first() != Some(&b'<') {
            let end = at + rest.iter().position(|byte| *byte == b'<').unwrap_or(rest.len());
            let text = bytes[at..end].trim_ascii();
            if !text.is_empty() {
                let text = String::from_utf8_lossy(text);
                tree.leaf("Text", if secret > 0 { HIDDEN } else { &text }, range(at, end));
            }
            at = end;
            continue;
        }
        // Comments and sections of text end with signs of their own.
        let other = [(&b"<!--"[..], &b"-->"[..]), (b"<![CDATA[", b"]]>"), (b"<?", b"?>")];
        if let Some((begin, close)) = other.into_iter().find(|(begin, _)| rest.starts_with(begin)) {
            let end = position(bytes, at + begin.len(), close).map_or(bytes.len(), |end| end + close.len());
            let label = if begin == b"<?" { "Declaration" } else { "Not read" };
            tree.leaf(label, "", range(at, end));
            at = end;
            continue;
        }
        let Some(len) = tag_end(rest) else {
            tree.leaf("Element", "cut off here", range(at, bytes.len()));
            break;
        };
        let (inside, end) = (&rest[1..len], at + len + 1);
        if let Some(name) = inside.strip_prefix(b"/") {
            // One that was never opened, or closed in another's place, closes nothing.
            if open.last().is_some_and(|last| *last == name.trim_ascii()) {
                open.pop();
                secret -= usize::from(is_secret(name.trim_ascii()));
                if drawn > open.len() {
                    drawn = open.len();
                    tree.close();
                }
            }
            at = end;
            continue;
        }
        let (inside, empty) = inside.strip_suffix(b"/").map_or((inside, false), |inside| (inside, true));
        let name = inside.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let attributes = inside.get(name.len()..).unwrap_or_default().trim_ascii();
        let attributes = match secret {
            0 => String::from_utf8_lossy(attributes).into_owned(),
            // They may hold what logs somebody in the next time (XEP-0484).
            _ => names(attributes),
        };
        let label = String::from_utf8_lossy(name);
        if empty || open.len() >= DEPTH {
            tree.leaf(&label, &attributes, range(at, end));
        } else {
            tree.open(&label, &attributes, range(at, end));
            drawn = open.len() + 1;
        }
        if !empty {
            open.push(name);
            secret += usize::from(is_secret(name));
        }
        at = end;
    }
    (0..drawn).for_each(|_| tree.close());
}

/// Attributes without their values. From what is no attribute on, nothing is shown.
fn names(mut attributes: &[u8]) -> String {
    let mut shown = Vec::new();
    while !attributes.is_empty() {
        let Some((name, rest)) = attribute(attributes) else {
            shown.push(HIDDEN.to_owned());
            break;
        };
        shown.push(format!("{}='{HIDDEN}'", String::from_utf8_lossy(name)));
        attributes = rest;
    }
    shown.join(" ")
}

/// The name of the attribute in front, and what stands behind its value.
fn attribute(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = text.split_at_checked(text.iter().position(|byte| *byte == b'=')?)?;
    let name = name.trim_ascii();
    if name.iter().any(|byte| byte.is_ascii_whitespace() || b"'\"".contains(byte)) {
        return None;
    }
    let (quote, inside) = value.get(1..)?.trim_ascii_start().split_first()?;
    let end = inside.iter().position(|byte| byte == quote).filter(|_| b"'\"".contains(quote))?;
    Some((name, inside.get(end + 1..)?.trim_ascii_start()))
}

/// Whether an element logs somebody in, whatever its prefix.
fn is_secret(name: &[u8]) -> bool {
    name.rsplit(|byte| *byte == b':').next().is_some_and(|local| SECRETS.contains(&local))
}
