//! The same for people: each side line by line. Passwords, and whatever else shows who somebody is, are not shown.

use crate::imap::literal;
use crate::lines::{Lines, Next, split_word};
use crate::sasl::is_mechanism;
use crate::template::Protocol;
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::StreamView;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};

/// What stands instead of a secret.
const HIDDEN: &str = "****";

/// A command behind which not everything may be shown, or not everything is a command.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its words in capitals.
    pub(crate) words: &'static [&'static [u8]],
    /// Words of the line that are shown, these among them.
    pub(crate) shown: usize,
    pub(crate) then: Then,
}

impl Rule {
    /// A command of one word.
    pub(crate) const fn new(words: &'static [&'static [u8]], shown: usize, then: Then) -> Self {
        Self { words, shown, then }
    }
}

/// What a client says next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Command,
    /// Lines that show who it is, until a known command comes or it gives up with an asterisk.
    Answers,
    /// A message, which ends with a line of one dot.
    Message,
    /// So many bytes of a message as the command's second word says.
    Chunk,
}

/// Draws both directions up to where TLS begins, at these offsets of client and server.
pub(crate) fn draw<P: Protocol>(stream: &StreamView<'_>, reversed: bool, tls: [usize; 2], tree: &mut TreeSink<'_>) {
    let (client, server) =
        if reversed { (Direction::Backward, Direction::Forward) } else { (Direction::Forward, Direction::Backward) };
    for ((direction, side), end) in [(client, "client"), (server, "server")].into_iter().zip(tls) {
        let bytes = stream.bytes(direction);
        if bytes.is_empty() {
            continue;
        }
        let name = format!("{}, {side}", P::NAME.to_ascii_uppercase());
        tree.open(&name, "", Some(ByteRange::new(direction, 0, bytes.len())));
        let end = end.min(bytes.len());
        let mut drawn = Drawn { lines: Lines::new(&bytes[..end], true), direction, tree };
        if direction == client {
            drawn.client::<P>()
        } else {
            drawn.server::<P>()
        }
        if end < bytes.len() {
            tree.leaf("TLS", "from here on", Some(ByteRange::new(direction, end, bytes.len() - end)));
        }
        tree.close();
    }
}

/// One side in clear.
struct Drawn<'a, 'b, 't> {
    lines: Lines<'a>,
    direction: Direction,
    tree: &'b mut TreeSink<'t>,
}

impl<'a> Drawn<'a, '_, '_> {
    /// The next line, unless the tree is full.
    fn next(&mut self) -> Option<(usize, &'a [u8])> {
        let at = self.lines.at;
        match self.lines.line() {
            Next::Here(line) if !self.tree.is_full() => Some((at, line)),
            _ => None,
        }
    }

    /// A leaf from an offset to where the side was read to.
    fn leaf(&mut self, label: &str, value: &str, at: usize) {
        self.tree.leaf(label, value, Some(ByteRange::new(self.direction, at, self.lines.at - at)));
    }

    fn server<P: Protocol>(&mut self) {
        while let Some((at, line)) = self.next() {
            self.leaf("Reply", &String::from_utf8_lossy(line), at);
            self.literals::<P>(line, "Reply", false);
        }
    }

    fn client<P: Protocol>(&mut self) {
        let mut then = Then::Command;
        while let Some((at, line)) = self.next() {
            if then == Then::Answers && !is_known::<P>(line) {
                then = if line == b"*" { Then::Command } else { then };
                self.leaf("Login", if line == b"*" { "*" } else { HIDDEN }, at);
                continue;
            }
            let rule = rule::<P>(line);
            let shown = shown(line, rule.map(|rule| rule.shown));
            self.leaf("Command", &shown, at);
            self.literals::<P>(line, "Command", rule.is_some());
            then = rule.map_or(Then::Command, |rule| rule.then);
            match then {
                Then::Message => self.message(),
                Then::Chunk => self.chunk(line),
                Then::Command | Then::Answers => {}
            }
        }
    }

    /// Literals behind a line, each with the rest of its line.
    fn literals<P: Protocol>(&mut self, line: &[u8], label: &str, hidden: bool) {
        let mut line = line;
        while let Some(len) = literal(line).filter(|_| P::LITERALS && !self.tree.is_full()) {
            let at = self.lines.at;
            let there = len.min(self.lines.rest().len());
            self.lines.at += there;
            let words = if there < len { format!("{len} bytes, cut off here") } else { format!("{len} bytes") };
            self.leaf("Literal", if hidden { HIDDEN } else { &words }, at);
            let Some((at, rest)) = self.next() else { return };
            if !rest.is_empty() {
                let words = String::from_utf8_lossy(rest);
                self.leaf(label, if hidden { HIDDEN } else { &words }, at);
            }
            line = rest;
        }
    }

    /// A message up to a line of one dot.
    fn message(&mut self) {
        let begin = self.lines.at;
        let mut lines = 0;
        let mut end = ", without an end";
        while let Next::Here(line) = self.lines.line() {
            if line == b"." {
                end = "";
                break;
            }
            lines += 1;
        }
        if self.lines.at > begin {
            self.leaf("Message", &format!("{lines} lines{end}"), begin);
        }
    }

    fn chunk(&mut self, line: &[u8]) {
        let digits = split_word(split_word(line).1).0;
        let len = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0usize);
        let at = self.lines.at;
        self.lines.at += len.min(self.lines.rest().len());
        if self.lines.at > at {
            self.leaf("Message", &format!("{len} bytes of it"), at);
        }
    }
}

/// A word without what no command begins with, as signs of Telnet: it hides nothing behind them.
fn plain(word: &[u8]) -> &[u8] {
    word.get(word.iter().take_while(|byte| !byte.is_ascii_alphanumeric()).count()..).unwrap_or_default()
}

/// The words of a line.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Whether a line is a command, where it may also be an answer in a login. What these words would be in base64 is no text.
fn is_known<P: Protocol>(line: &[u8]) -> bool {
    let mut words = words(line).skip(usize::from(P::TAGS));
    words.next().is_some_and(|word| P::COMMANDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// The rule for a line, at whose beginning a tag may stand where the protocol has tags.
fn rule<P: Protocol>(line: &[u8]) -> Option<Rule> {
    (0..=usize::from(P::TAGS)).find_map(|tags| {
        let follows = |rule: &&Rule| {
            let mut words = words(line).skip(tags);
            rule.words.iter().all(|wanted| words.next().is_some_and(|word| plain(word).eq_ignore_ascii_case(wanted)))
        };
        P::RULES.iter().find(follows).map(|rule| {
            let shown = rule.shown.saturating_add(tags);
            // Where a mechanism should be, a password may be; behind a bare AUTHINFO stands a kind.
            let asks = rule.then == Then::Answers && rule.words != [b"AUTHINFO"];
            let named = words(line).nth(shown.saturating_sub(1)).is_none_or(|word| is_mechanism(plain(word)));
            Rule { shown: if asks && !named { shown - 1 } else { shown }, ..*rule }
        })
    })
}

/// A line of which so many words may be shown.
fn shown(line: &[u8], most: Option<usize>) -> String {
    let Some(most) = most.filter(|most| words(line).count() > *most) else {
        return String::from_utf8_lossy(line).into_owned();
    };
    let mut shown: Vec<_> = words(line).take(most).map(String::from_utf8_lossy).collect();
    shown.push(HIDDEN.into());
    shown.join(" ")
}
