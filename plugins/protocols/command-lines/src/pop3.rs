//! POP3 (RFC 1939) with STLS (RFC 2595) and AUTH (RFC 5034).

use crate::dialogue::Stop;
use crate::dissect::{Rule, Then};
use crate::lines::{holds, split_word};
use crate::sasl::{is_clear, is_mechanism};
use crate::template::{Conversation, Ended, Look, Protocol, Text, first_line, is_command};

/// POP3.
#[derive(Debug, Clone, Copy)]
pub struct Pop3;

impl Protocol for Pop3 {
    const NAME: &'static str = "pop3";
    const TEXTS: &'static [Text] = &[Text::User, Text::Mechanism];
    const RULES: &'static [Rule] = &[
        Rule::new(&[b"PASS"], 1, Then::Command),
        Rule::new(&[b"APOP"], 2, Then::Command),
        Rule::new(&[b"AUTH"], 2, Then::Answers),
    ];
    const COMMANDS: &'static [&'static [u8]] =
        &[b"APOP", b"AUTH", b"CAPA", b"LIST", b"NOOP", b"PASS", b"QUIT", b"RETR", b"STAT", b"STLS", b"UIDL", b"USER"];

    fn look(bytes: &[u8], ports: [u16; 2]) -> Look {
        match bytes.first() {
            None => Look::Short,
            Some(b'+') if bytes.len() < 3 && b"+OK".starts_with(bytes) => Look::Short,
            Some(b'+') if !bytes.starts_with(b"+OK") => Look::No,
            Some(b'+') if ports.contains(&110) => Look::Server,
            Some(b'+') => match first_line(bytes) {
                None => Look::Short,
                Some(line) if holds(line, b"POP") => Look::Server,
                Some(_) => Look::LikeServer,
            },
            Some(b'C' | b'S' | b'A' | b'U' | b'c' | b's' | b'a' | b'u') => {
                match (is_command(bytes, &[b"CAPA", b"STLS", b"APOP"]), is_command(bytes, &[b"USER", b"AUTH"])) {
                    (Some(true), _) => Look::Client,
                    (_, Some(true)) if begins_with_auth(bytes) => match first_line(bytes).map(split_word) {
                        None => Look::Short,
                        // Redis logs in by a word of the same name.
                        Some((_, rest)) if rest.is_empty() || is_mechanism(split_word(rest).0) => Look::LikeClient,
                        Some(_) => Look::No,
                    },
                    (_, Some(true)) => Look::LikeClient,
                    (None, _) | (_, None) => Look::Short,
                    _ => Look::No,
                }
            }
            Some(_) => Look::No,
        }
    }

    fn read<'a>(talk: &mut Conversation<'a>) -> Ended {
        Ended(read(talk).err().unwrap_or(Stop::Over))
    }
}

/// Whether the server says yes, no, or nothing more.
fn good(line: Option<&[u8]>) -> Option<bool> {
    line.map(|line| line.starts_with(b"+OK"))
}

fn begins_with_auth(bytes: &[u8]) -> bool {
    bytes.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"AUTH"))
}

fn read(talk: &mut Conversation<'_>) -> Result<(), Stop> {
    let (said, told) = (&mut talk.said, &mut talk.told);
    if let Some(line) = said.answer()? {
        told.banner = line.strip_prefix(b"+OK").map(<[u8]>::trim_ascii);
    }
    loop {
        let line = said.command()?;
        let (command, rest) = split_word(line);
        match command.to_ascii_uppercase().as_slice() {
            b"STLS" => {
                let agreed = good(said.answer()?);
                told.tls = agreed;
                if agreed == Some(true) {
                    return Err(said.tls());
                }
            }
            b"USER" => {
                told.user = Some(rest);
                said.answer()?;
            }
            b"PASS" => {
                told.clear_credentials |= !rest.is_empty();
                if good(said.answer()?) == Some(true) {
                    return Ok(());
                }
            }
            b"APOP" => {
                told.user = Some(split_word(rest).0);
                if good(said.answer()?) == Some(true) {
                    return Ok(());
                }
            }
            b"AUTH" if !rest.is_empty() => {
                let (mechanism, first) = split_word(rest);
                told.mechanism = Some(mechanism).filter(|word| is_mechanism(word));
                let mut answers = usize::from(!first.is_empty());
                let mut reply = said.answer()?;
                while reply.is_some_and(|line| line == b"+" || line.starts_with(b"+ ")) {
                    let answer = said.command()?;
                    answers += usize::from(answer != b"*");
                    reply = said.answer()?;
                }
                told.clear_credentials |= is_clear(mechanism, answers);
                if good(reply) == Some(true) {
                    return Ok(());
                }
            }
            // A list follows (RFC 2449 section 5), and ends with a dot.
            b"CAPA" | b"AUTH" => {
                if good(said.answer()?) == Some(true) {
                    while said.answer()?.is_some_and(|line| line != b".") {}
                }
            }
            b"QUIT" => return Ok(()),
            command if command.is_empty() || !command.iter().all(u8::is_ascii_alphabetic) => return Ok(()),
            _ => {
                said.answer()?;
            }
        }
    }
}
