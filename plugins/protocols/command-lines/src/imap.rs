//! IMAP (RFC 9051, RFC 3501): commands have tags, and answers come in any order.

use crate::dialogue::{Dialogue, Stop};
use crate::dissect::{Rule, Then};
use crate::lines::{Lines, Next, split_word};
use crate::sasl::{is_clear, is_mechanism};
use crate::template::{Conversation, Ended, Look, Protocol, Text};

/// IMAP.
#[derive(Debug, Clone, Copy)]
pub struct Imap;

const GREETINGS: [&[u8]; 3] = [b"* OK", b"* PREAUTH", b"* BYE"];
const COMMANDS: [&[u8]; 4] = [b"CAPABILITY", b"STARTTLS", b"AUTHENTICATE", b"LOGIN"];
/// Longest tag that is looked for.
const TAG: usize = 32;

impl Protocol for Imap {
    const NAME: &'static str = "imap";
    const TEXTS: &'static [Text] = &[Text::User, Text::Mechanism];
    const RULES: &'static [Rule] =
        &[Rule::new(&[b"LOGIN"], 2, Then::Command), Rule::new(&[b"AUTHENTICATE"], 2, Then::Answers)];
    const COMMANDS: &'static [&'static [u8]] = &[
        b"AUTHENTICATE",
        b"CAPABILITY",
        b"CREATE",
        b"ENABLE",
        b"EXAMINE",
        b"ID",
        b"LIST",
        b"LOGIN",
        b"LOGOUT",
        b"NAMESPACE",
        b"NOOP",
        b"SELECT",
        b"STARTTLS",
        b"STATUS",
    ];
    const TAGS: bool = true;
    const LITERALS: bool = true;

    fn look(bytes: &[u8], _: [u16; 2]) -> Look {
        match bytes.first() {
            None => Look::Short,
            Some(b'*') => {
                let word = |greeting: &&[u8]| {
                    let seen = bytes.get(..greeting.len()).unwrap_or(bytes);
                    greeting.starts_with(&seen.to_ascii_uppercase())
                };
                match GREETINGS.iter().find(|greeting| word(greeting)) {
                    Some(greeting) if bytes.len() >= greeting.len() => Look::Server,
                    Some(_) => Look::Short,
                    None => Look::No,
                }
            }
            Some(first) if first.is_ascii_alphanumeric() => tagged(bytes),
            Some(_) => Look::No,
        }
    }

    fn read<'a>(talk: &mut Conversation<'a>) -> Ended {
        Ended(read(talk).err().unwrap_or(Stop::Over))
    }
}

/// A tag, and one of the first commands.
fn tagged(bytes: &[u8]) -> Look {
    let seen = bytes.get(..=TAG).unwrap_or(bytes);
    let end = seen.iter().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')));
    let Some(end) = end else { return if seen.len() > TAG { Look::No } else { Look::Short } };
    if seen.get(end) != Some(&b' ') {
        return Look::No;
    }
    let word = bytes.get(end + 1..).unwrap_or_default();
    match crate::template::is_command(word, &COMMANDS) {
        Some(true) => Look::Client,
        Some(false) => Look::No,
        None => Look::Short,
    }
}

fn read(talk: &mut Conversation<'_>) -> Result<(), Stop> {
    let (said, told) = (&mut talk.said, &mut talk.told);
    let before = said.server;
    match said.answer()? {
        Some(line) if line.starts_with(b"* ") => {
            let rest = line.get(2..).unwrap_or_default();
            told.banner = Some(split_word(rest).1);
        }
        _ => said.server = before,
    }
    loop {
        let line = said.command()?;
        let (tag, rest) = split_word(line);
        let (command, rest) = split_word(rest);
        literals(&mut said.client, line, Stop::Client)?;
        match command.to_ascii_uppercase().as_slice() {
            b"STARTTLS" => {
                let agreed = answer(said, tag)?;
                told.tls = agreed;
                if agreed == Some(true) {
                    return Err(said.tls());
                }
            }
            b"LOGIN" => {
                told.clear_credentials = true;
                let user = split_word(rest).0;
                // A literal stands on a line of its own, behind its length.
                told.user = Some(user).filter(|user| !user.starts_with(b"{")).map(unquoted);
                if answer(said, tag)? != Some(false) {
                    return Ok(());
                }
            }
            b"AUTHENTICATE" => {
                let (mechanism, first) = split_word(rest);
                told.mechanism = Some(mechanism).filter(|word| is_mechanism(word));
                let mut answers = usize::from(!first.is_empty());
                let passed = loop {
                    match said.answer()? {
                        Some(line) if line == b"+" || line.starts_with(b"+ ") => {
                            let answer = said.command()?;
                            answers += usize::from(answer != b"*");
                        }
                        Some(line) if tag_of(line, tag) => {
                            break split_word(split_word(line).1).0.eq_ignore_ascii_case(b"OK");
                        }
                        Some(_) => {}
                        None => break false,
                    }
                };
                told.clear_credentials |= is_clear(mechanism, answers);
                if passed {
                    return Ok(());
                }
            }
            b"LOGOUT" | b"SELECT" | b"EXAMINE" | b"" => return Ok(()),
            _ => {
                answer(said, tag)?;
            }
        }
    }
}

fn tag_of(line: &[u8], tag: &[u8]) -> bool {
    split_word(line).0 == tag
}

fn unquoted(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text)
}

/// Whether the answer with this tag is OK; nothing where none comes.
fn answer(said: &mut Dialogue<'_>, tag: &[u8]) -> Result<Option<bool>, Stop> {
    while let Some(line) = said.answer()? {
        literals(&mut said.server, line, Stop::Server)?;
        if tag_of(line, tag) {
            return Ok(Some(split_word(split_word(line).1).0.eq_ignore_ascii_case(b"OK")));
        }
    }
    Ok(None)
}

/// Passes over literals and the rest of their lines: `{5}` at the end of a line says that five bytes follow
/// (RFC 9051 section 4.3).
fn literals(side: &mut Lines<'_>, line: &[u8], more: Stop) -> Result<(), Stop> {
    let mut line = line;
    while let Some(len) = literal(line) {
        match side.skip(len) {
            Next::Here(()) => {}
            Next::Wait => return Err(more),
            Next::Gone => return Err(Stop::Over),
        }
        line = match side.line() {
            Next::Here(line) => line,
            Next::Wait => return Err(more),
            Next::Gone => return Err(Stop::Over),
        };
    }
    Ok(())
}

/// How many bytes follow a line.
pub(crate) fn literal(line: &[u8]) -> Option<usize> {
    let inside = line.strip_suffix(b"}")?;
    let inside = inside.strip_suffix(b"+").unwrap_or(inside);
    let digits = inside.rsplit(|byte| *byte == b'{').next().filter(|digits| digits.len() < inside.len())?;
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0usize, |len, digit| digit.is_ascii_digit().then(|| len * 10 + usize::from(digit - b'0')))
}
