//! The same for people: what client and proxy say to each other, member by member. Passwords are not shown.

use crate::socks::{CONNECT, PASSWORD};
use std::net::{Ipv4Addr, Ipv6Addr};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::StreamView;
use veilwatch_core::plugin::dissect::{ByteRange, TreeSink};

/// Draws both directions. What a side says next depends on what the other one said, so both are read in turns and then
/// drawn one behind the other.
pub(crate) fn draw(stream: &StreamView<'_>, tree: &mut TreeSink<'_>) {
    let (mut client, mut server) = (Side::new(stream.forward), Side::new(stream.backward));
    let through = match stream.forward.first() {
        Some(4) => four(&mut client, &mut server),
        _ => five(&mut client, &mut server),
    };
    let sides = [(Direction::Forward, "SOCKS, client", client), (Direction::Backward, "SOCKS, proxy", server)];
    for (direction, name, side) in sides {
        if !side.bytes.is_empty() {
            tree.open(name, "", Some(ByteRange::new(direction, 0, side.bytes.len())));
            side.draw(direction, through, tree);
            tree.close();
        }
    }
}

/// A part of a message.
struct Member {
    label: &'static str,
    value: String,
    at: usize,
    len: usize,
}

/// A message, as far as it was read.
struct Message {
    label: &'static str,
    at: usize,
    members: Vec<Member>,
}

/// One side, how far it was read, and what was read.
struct Side<'a> {
    bytes: &'a [u8],
    at: usize,
    messages: Vec<Message>,
}

impl<'a> Side<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, messages: Vec::new() }
    }

    fn begin(&mut self, label: &'static str) {
        self.messages.push(Message { label, at: self.at, members: Vec::new() });
    }

    /// The next so many bytes are a member; nothing where they are not there.
    fn take(&mut self, label: &'static str, len: usize, words: impl Fn(&[u8]) -> String) -> Option<&'a [u8]> {
        let at = self.at;
        let bytes = self.bytes.get(at..at.checked_add(len)?)?;
        if let Some(message) = self.messages.last_mut() {
            message.members.push(Member { label, value: words(bytes), at, len });
        }
        self.at += len;
        Some(bytes)
    }

    fn byte(&mut self, label: &'static str, words: impl Fn(u8) -> String) -> Option<u8> {
        let one = |bytes: &[u8]| bytes.first().map(|byte| words(*byte)).unwrap_or_default();
        self.take(label, 1, one)?.first().copied()
    }

    /// Bytes behind their number.
    fn counted(&mut self, label: &'static str, words: impl Fn(&[u8]) -> String) -> Option<()> {
        let len = usize::from(*self.bytes.get(self.at)?);
        self.take(label, 1 + len, |bytes| words(bytes.get(1..).unwrap_or_default())).map(|_| ())
    }

    /// Text up to a zero, which belongs to it.
    fn zero_ended(&mut self, label: &'static str) -> Option<()> {
        let len = self.bytes.get(self.at..)?.iter().position(|byte| *byte == 0)?;
        self.take(label, len + 1, |bytes| text(bytes.strip_suffix(b"\0").unwrap_or(bytes))).map(|_| ())
    }

    /// Kind, address and port (RFC 1928 section 5).
    fn address(&mut self) -> Option<()> {
        match *self.bytes.get(self.at)? {
            1 => self.take("Host", 5, |bytes| ip_4(bytes.get(1..).unwrap_or_default())).map(|_| ()),
            3 => {
                let len = 2 + usize::from(*self.bytes.get(self.at + 1)?);
                self.take("Host", len, |bytes| text(bytes.get(2..).unwrap_or_default())).map(|_| ())
            }
            4 => {
                let words = |bytes: &[u8]| {
                    bytes.last_chunk().map_or_else(String::new, |ip: &[u8; 16]| Ipv6Addr::from(*ip).to_string())
                };
                self.take("Host", 17, words).map(|_| ())
            }
            _ => None,
        }?;
        self.port()
    }

    fn port(&mut self) -> Option<()> {
        let words = |bytes: &[u8]| bytes.first_chunk().map_or(0, |port| u16::from_be_bytes(*port)).to_string();
        self.take("Port", 2, words).map(|_| ())
    }

    /// `through` says whether something goes through the proxy; nothing where somebody has more to say first.
    fn draw(&self, direction: Direction, through: Option<bool>, tree: &mut TreeSink<'_>) {
        let range = |at, len| Some(ByteRange::new(direction, at, len));
        for Message { label, at, members } in &self.messages {
            let end = members.last().map_or(*at, |last| last.at + last.len);
            tree.open(label, "", range(*at, end - at));
            for Member { label, value, at, len } in members {
                tree.leaf(label, value, range(*at, *len));
            }
            tree.close();
        }
        if self.at < self.bytes.len() {
            let label = if through == Some(true) { "What goes through" } else { "Not read" };
            tree.leaf(label, "", range(self.at, self.bytes.len() - self.at));
        } else if through.is_none() {
            tree.leaf("The rest", "is not there", range(self.at, 0));
        }
    }
}

/// Version 4, and 4a: whether something goes through; nothing where it ends early.
fn four(client: &mut Side<'_>, server: &mut Side<'_>) -> Option<bool> {
    client.begin("Request");
    client.byte("Version", |version| version.to_string())?;
    let asked = client.byte("Command", command)?;
    client.port()?;
    let address = client.take("Address", 4, ip_4)?;
    client.zero_ended("User")?;
    if matches!(address, [0, 0, 0, last] if *last != 0) {
        client.zero_ended("Host")?;
    }
    server.begin("Answer");
    server.byte("Version", |version| version.to_string())?;
    let reply = server.byte("Reply", |reply| {
        let name = match reply {
            90 => "granted",
            91 => "refused",
            92 => "no identd at the client",
            93 => "identd names another user",
            _ => "unknown",
        };
        format!("{name}, {reply}")
    })?;
    server.port()?;
    server.take("Address", 4, ip_4)?;
    Some(asked == CONNECT && reply == 90)
}

/// Version 5 (RFC 1928): whether something goes through; nothing where it ends early.
fn five(client: &mut Side<'_>, server: &mut Side<'_>) -> Option<bool> {
    let number = |number: u8| number.to_string();
    client.begin("Greeting");
    client.byte("Version", number)?;
    client.counted("Methods", |methods| methods.iter().copied().map(method).collect::<Vec<_>>().join("; "))?;
    server.begin("Choice");
    server.byte("Version", number)?;
    match server.byte("Method", method)? {
        0 => {}
        PASSWORD if login(client, server)? => {}
        _ => return Some(false),
    }
    let is_five = |side: &Side<'_>| side.bytes.get(side.at).is_none_or(|version| *version == 5);
    if !is_five(client) {
        return Some(false);
    }
    client.begin("Request");
    client.byte("Version", number)?;
    let asked = client.byte("Command", command)?;
    client.byte("Reserved", number)?;
    client.address()?;
    if !is_five(server) {
        return Some(false);
    }
    server.begin("Answer");
    server.byte("Version", number)?;
    let reply = server.byte("Reply", reply)?;
    server.byte("Reserved", number)?;
    server.address()?;
    Some(asked == CONNECT && reply == 0)
}

/// Name and password (RFC 1929): whether they will do.
fn login(client: &mut Side<'_>, server: &mut Side<'_>) -> Option<bool> {
    if client.bytes.get(client.at).is_some_and(|version| *version != 1) {
        return Some(false);
    }
    client.begin("Login");
    client.byte("Version", |version| version.to_string())?;
    client.counted("User", text)?;
    client.counted("Password", |_| "****".into())?;
    server.begin("Login's answer");
    server.byte("Version", |version| version.to_string())?;
    let refused = server.byte("Status", |status| if status == 0 { "welcome" } else { "refused" }.into())?;
    Some(refused == 0)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn ip_4(bytes: &[u8]) -> String {
    bytes.first_chunk().map_or_else(String::new, |ip: &[u8; 4]| Ipv4Addr::from(*ip).to_string())
}

fn command(command: u8) -> String {
    let name = match command {
        CONNECT => "connect",
        2 => "bind",
        3 => "relay UDP",
        _ => "unknown",
    };
    format!("{name}, {command}")
}

/// Methods (IANA, SOCKS Methods).
fn method(method: u8) -> String {
    let name = match method {
        0 => "none",
        1 => "GSSAPI",
        PASSWORD => "name and password",
        3 => "CHAP",
        255 => "none of these",
        _ => "another",
    };
    format!("{name}, {method}")
}

/// RFC 1928 section 6.
fn reply(reply: u8) -> String {
    let name = match reply {
        0 => "granted",
        1 => "failure",
        2 => "not allowed",
        3 => "network not reached",
        4 => "host not reached",
        5 => "connection refused",
        6 => "too many hops",
        7 => "command not known",
        8 => "kind of address not known",
        _ => "unknown",
    };
    format!("{name}, {reply}")
}
