//! NNTP (RFC 3977) with STARTTLS (RFC 4642) and AUTHINFO (RFC 4643).

use crate::dialogue::{Reply, Stop, three_digits};
use crate::dissect::{Rule, Then};
use crate::lines::{holds, split_word};
use crate::template::{Conversation, Ended, Look, Protocol, Text, first_line, is_command};

/// NNTP.
#[derive(Debug, Clone, Copy)]
pub struct Nntp;

const PORTS: [u16; 2] = [119, 433];

impl Protocol for Nntp {
    const NAME: &'static str = "nntp";
    const TEXTS: &'static [Text] = &[Text::User];
    const RULES: &'static [Rule] = &[
        Rule::new(&[b"AUTHINFO", b"USER"], 3, Then::Command),
        Rule::new(&[b"AUTHINFO", b"SASL"], 3, Then::Answers),
        // Its password, or that of old, of which name and password stand on the next line (RFC 2980 section 3.1).
        Rule::new(&[b"AUTHINFO", b"PASS"], 2, Then::Command),
        Rule::new(&[b"AUTHINFO"], 2, Then::Answers),
        Rule::new(&[b"POST"], usize::MAX, Then::Message),
        Rule::new(&[b"IHAVE"], usize::MAX, Then::Message),
    ];
    const COMMANDS: &'static [&'static [u8]] =
        &[b"AUTHINFO", b"CAPABILITIES", b"DATE", b"GROUP", b"HELP", b"LIST", b"MODE", b"QUIT", b"STARTTLS"];

    fn look(bytes: &[u8], ports: [u16; 2]) -> Look {
        match bytes.first() {
            None => Look::Short,
            Some(b'2') => greeting(bytes, ports),
            Some(b'A' | b'C' | b'M' | b'a' | b'c' | b'm') => {
                match is_command(bytes, &[b"AUTHINFO", b"CAPABILITIES", b"MODE READER"]) {
                    Some(true) => Look::Client,
                    Some(false) => Look::No,
                    None => Look::Short,
                }
            }
            Some(_) => Look::No,
        }
    }

    fn read<'a>(talk: &mut Conversation<'a>) -> Ended {
        Ended(read(talk).err().unwrap_or(Stop::Over))
    }
}

fn greeting(bytes: &[u8], ports: [u16; 2]) -> Look {
    if bytes.len() < 4 {
        return if b"200".starts_with(bytes) || b"201".starts_with(bytes) { Look::Short } else { Look::No };
    }
    if !three_digits(bytes.get(..4).unwrap_or_default()).is_some_and(|(code, _)| matches!(code, 200 | 201)) {
        return Look::No;
    }
    if ports.iter().any(|port| PORTS.contains(port)) {
        return Look::Server;
    }
    match first_line(bytes) {
        None => Look::Short,
        Some(line) if holds(line, b"NNTP") || holds(line, b"NEWS") => Look::Server,
        Some(_) => Look::LikeServer,
    }
}

fn read(talk: &mut Conversation<'_>) -> Result<(), Stop> {
    let (said, told) = (&mut talk.said, &mut talk.told);
    let before = said.server;
    match said.reply()? {
        Some(Reply { code: 200 | 201, text }) => told.banner = Some(text),
        _ => said.server = before,
    }
    loop {
        let line = said.command()?;
        let (command, rest) = split_word(line);
        match command.to_ascii_uppercase().as_slice() {
            b"STARTTLS" => {
                let agreed = said.reply()?.map(|reply| reply.code == 382);
                told.tls = agreed;
                if agreed == Some(true) {
                    return Err(said.tls());
                }
            }
            b"AUTHINFO" => {
                let (kind, value) = split_word(rest);
                if kind.eq_ignore_ascii_case(b"USER") {
                    told.user = Some(value);
                }
                told.clear_credentials |= kind.eq_ignore_ascii_case(b"PASS") && !value.is_empty();
                if said.reply()?.is_some_and(|reply| reply.code == 281) {
                    return Ok(());
                }
            }
            b"CAPABILITIES" => {
                if said.reply()?.is_some_and(|reply| reply.code == 101) {
                    while said.answer()?.is_some_and(|line| line != b".") {}
                }
            }
            b"MODE" => {
                said.reply()?;
            }
            // Articles and lists follow, and nobody asks for TLS any more.
            _ => return Ok(()),
        }
    }
}
