//! The same for people: messages with their operations and results. What shows who somebody is, and what the directory
//! holds, is not shown.

use crate::message::{Found, Message, Value};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::StreamView;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};

/// What stands instead of a password.
const HIDDEN: &str = "****";

/// Draws both directions up to where TLS begins, at these offsets of client and server.
pub(crate) fn draw(stream: &StreamView<'_>, reversed: bool, tls: [usize; 2], tree: &mut TreeSink<'_>) {
    let (client, server) =
        if reversed { (Direction::Backward, Direction::Forward) } else { (Direction::Forward, Direction::Backward) };
    for ((direction, name), end) in [(client, "LDAP, client"), (server, "LDAP, server")].into_iter().zip(tls) {
        let bytes = stream.bytes(direction);
        if bytes.is_empty() {
            continue;
        }
        let range = |at: usize, end: usize| Some(ByteRange::new(direction, at, end - at));
        tree.open(name, "", range(0, bytes.len()));
        let end = end.min(bytes.len());
        let mut at = 0;
        while at < end && !tree.is_full() {
            match Message::read(&bytes[at..end]) {
                Found::Message(message) => {
                    draw_message(&message, &bytes[at..at + message.len], at, direction, tree);
                    at += message.len;
                }
                Found::Short(_) => {
                    let kind = Message::operation_of(&bytes[at..end]).flatten().map(operation).unwrap_or_default();
                    let value = if kind.is_empty() { "cut off here".into() } else { format!("{kind}, cut off here") };
                    tree.leaf("Message", &value, range(at, end));
                    at = end;
                }
                Found::Broken => {
                    tree.leaf("No message of LDAP", "nothing is read from here on", range(at, end));
                    at = end;
                }
            }
        }
        if end < bytes.len() {
            tree.leaf("TLS", "from here on", range(end, bytes.len()));
        }
        tree.close();
    }
}

/// Values one behind the other, and where they stand in the stream.
struct Walk<'a> {
    rest: &'a [u8],
    /// Offset behind the last of them.
    end: usize,
    direction: Direction,
}

impl<'a> Walk<'a> {
    /// The next value, where it stands, and what is inside.
    fn next(&mut self) -> Option<(Value<'a>, Option<ByteRange>, Self)> {
        let at = self.end - self.rest.len();
        let value = Value::read(self.rest)?;
        self.rest = value.rest;
        let end = self.end - value.rest.len();
        let inside = Walk { rest: value.body, end, direction: self.direction };
        Some((value, Some(ByteRange::new(self.direction, at, end - at)), inside))
    }

    /// The next value as a leaf.
    fn leaf(
        &mut self,
        label: &str,
        words: impl Fn(&Value<'a>) -> String,
        tree: &mut TreeSink<'_>,
    ) -> Option<Value<'a>> {
        let (value, range, _) = self.next()?;
        tree.leaf(label, &words(&value), range);
        Some(value)
    }
}

fn draw_message(message: &Message<'_>, bytes: &[u8], at: usize, direction: Direction, tree: &mut TreeSink<'_>) {
    let name = operation(message.operation);
    let whole = Some(ByteRange::new(direction, at, bytes.len()));
    tree.open("Message", &format!("{name}, {}", message.id), whole);
    let mut outer = Walk { rest: bytes, end: at + bytes.len(), direction };
    if let Some((_, _, mut inside)) = outer.next() {
        inside.leaf("ID", number, tree);
        if let Some((value, range, members)) = inside.next() {
            tree.open("Operation", &format!("{name}, {:#04x}", value.tag), range);
            if draw_operation(&value, members, tree).is_none() {
                tree.leaf("The rest", "is not there, or not as it should be", None);
            }
            tree.close();
        }
        if let Some((_, range, _)) = inside.next() {
            tree.leaf("Controls", "", range);
        }
    }
    tree.close();
}

/// The members of an operation (RFC 4511 section 4); nothing where some are missing.
fn draw_operation(operation: &Value<'_>, mut members: Walk<'_>, tree: &mut TreeSink<'_>) -> Option<()> {
    match operation.tag {
        // Bind.
        0x60 => {
            members.leaf("Version", number, tree)?;
            members.leaf("Name", text, tree)?;
            let (choice, range, mut inside) = members.next()?;
            match choice.tag {
                0x80 if choice.body.is_empty() => tree.leaf("Password", "none", range),
                0x80 => tree.leaf("Password", HIDDEN, range),
                // SASL.
                0xa3 => {
                    inside.leaf("Mechanism", text, tree)?;
                    if let Some((_, range, _)) = inside.next() {
                        tree.leaf("Credentials", HIDDEN, range);
                    }
                }
                // Some servers have choices of their own.
                _ => tree.leaf("Credentials", HIDDEN, range),
            }
        }
        // Search.
        0x63 => {
            members.leaf("Base", text, tree)?;
            members.leaf("Scope", |value| named(value, &["base", "one level", "subtree"]), tree)?;
            members.leaf(
                "Aliases",
                |value| named(value, &["never", "in searching", "finding the base", "always"]),
                tree,
            )?;
            members.leaf("Most entries", number, tree)?;
            members.leaf("Most seconds", number, tree)?;
            members.leaf("Types only", |value| if value.body == [0] { "no" } else { "yes" }.into(), tree)?;
            let (filter, range, _) = members.next()?;
            tree.leaf("Filter", &filter_words(&filter), range);
            names("Attributes", &mut members, tree)?;
        }
        // What a search finds: names, without what they hold.
        0x64 => {
            members.leaf("Name", text, tree)?;
            let (_, range, mut inside) = members.next()?;
            tree.open("Attributes", "", range);
            while let Some((_, range, mut attribute)) = inside.next().filter(|_| !tree.is_full()) {
                let name = attribute.next().map(|(name, ..)| text(&name)).unwrap_or_default();
                tree.leaf("Attribute", &name, range);
            }
            tree.close();
        }
        // References.
        0x73 => while members.leaf("Elsewhere", text, tree).is_some() {},
        // Extended.
        0x77 => {
            members.leaf("Name", object, tree)?;
            if let Some((_, range, _)) = members.next() {
                tree.leaf("Value", HIDDEN, range);
            }
        }
        // Answers with a result.
        0x61 | 0x65 | 0x67 | 0x69 | 0x6b | 0x6d | 0x6f | 0x78 => {
            members.leaf("Result", |value| result(value.number().unwrap_or(u32::MAX)), tree)?;
            members.leaf("Matched", text, tree)?;
            members.leaf("Diagnosis", text, tree)?;
            while let Some((value, range, _)) = members.next().filter(|_| !tree.is_full()) {
                match value.tag {
                    0x8a => tree.leaf("Name", &object(&value), range),
                    // It may be a step of a login.
                    0x87 | 0x8b => tree.leaf("Value", HIDDEN, range),
                    _ => tree.leaf("More", "", range),
                }
            }
        }
        // Modify, add, rename, compare: the entry alone.
        0x66 | 0x68 | 0x6c | 0x6e => {
            members.leaf("Name", text, tree)?;
        }
        // Delete has nothing but the entry, abandon nothing but a number.
        0x4a => tree.leaf("Name", &text(operation), None),
        0x50 => tree.leaf(
            "Message",
            &operation.body.iter().fold(0u64, |id, byte| id << 8 | u64::from(*byte)).to_string(),
            None,
        ),
        _ => {}
    }
    Some(())
}

/// A sequence of names.
fn names(label: &str, members: &mut Walk<'_>, tree: &mut TreeSink<'_>) -> Option<()> {
    let (_, range, mut inside) = members.next()?;
    tree.open(label, "", range);
    while !tree.is_full() && inside.leaf("Name", text, tree).is_some() {}
    tree.close();
    Some(())
}

fn text(value: &Value<'_>) -> String {
    String::from_utf8_lossy(value.body).into_owned()
}

fn number(value: &Value<'_>) -> String {
    value.number().map_or_else(|| "no number".into(), |number| number.to_string())
}

fn named(value: &Value<'_>, names: &[&str]) -> String {
    let name = value.number().and_then(|number| names.get(usize::try_from(number).ok()?));
    name.map_or_else(|| number(value), |name| (*name).into())
}

/// What a filter asks for on its outside.
fn filter_words(filter: &Value<'_>) -> String {
    let kind = match filter.tag {
        0xa0 => "all of some",
        0xa1 => "any of some",
        0xa2 => "not",
        0xa3 => "equal",
        0xa4 => "parts",
        0xa5 => "at least",
        0xa6 => "at most",
        0x87 => return format!("has {}", text(filter)),
        0xa8 => "about",
        0xa9 => "by a rule",
        _ => "unknown",
    };
    let of = Value::of(filter.body, 0x04).map(|name| format!(": {}", text(&name))).unwrap_or_default();
    format!("{kind}{of}")
}

/// An object identifier with what it is, where that is known.
fn object(value: &Value<'_>) -> String {
    let name = match value.body {
        b"1.3.6.1.4.1.1466.20037" => ", StartTLS",
        b"1.3.6.1.4.1.4203.1.11.1" => ", a new password",
        b"1.3.6.1.4.1.4203.1.11.3" => ", who am I",
        b"1.3.6.1.4.1.1466.20036" => ", notice of disconnection",
        _ => "",
    };
    format!("{}{name}", text(value))
}

/// Operations (RFC 4511 appendix B).
fn operation(tag: u8) -> String {
    let name = match tag {
        0x60 => "bind",
        0x61 => "answer to a bind",
        0x42 => "unbind",
        0x63 => "search",
        0x64 => "entry found",
        0x65 => "end of a search",
        0x73 => "reference found",
        0x66 => "modify",
        0x67 => "answer to a modify",
        0x68 => "add",
        0x69 => "answer to an add",
        0x4a => "delete",
        0x6b => "answer to a delete",
        0x6c => "rename",
        0x6d => "answer to a rename",
        0x6e => "compare",
        0x6f => "answer to a compare",
        0x50 => "abandon",
        0x77 => "extended",
        0x78 => "extended answer",
        0x79 => "intermediate answer",
        other => return format!("operation {other:#04x}"),
    };
    name.into()
}

/// Results (section 4.1.9).
fn result(code: u32) -> String {
    let name = match code {
        0 => "success",
        1 => "operations error",
        2 => "protocol error",
        3 => "time is up",
        4 => "too much is found",
        5 => "not equal",
        6 => "equal",
        7 => "mechanism not known",
        8 => "a stronger mechanism is wanted",
        10 => "elsewhere",
        13 => "confidentiality is wanted",
        14 => "the login goes on",
        32 => "no such object",
        49 => "wrong credentials",
        50 => "not allowed",
        51 => "busy",
        52 => "not available",
        53 => "unwilling",
        68 => "it exists already",
        80 => "other",
        u32::MAX => return "no number".into(),
        other => return other.to_string(),
    };
    format!("{name}, {code}")
}
