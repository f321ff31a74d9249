//! SMTP (RFC 5321) with STARTTLS (RFC 3207) and AUTH (RFC 4954).

use crate::dialogue::{Reply, Stop, three_digits};
use crate::dissect::{Rule, Then};
use crate::lines::{holds, split_word};
use crate::sasl::{is_clear, is_mechanism};
use crate::template::{Conversation, Ended, Look, Protocol, Text, first_line, is_command};

/// SMTP, on the way between servers and from a client.
#[derive(Debug, Clone, Copy)]
pub struct Smtp;

const PORTS: [u16; 3] = [25, 587, 2525];

impl Protocol for Smtp {
    const NAME: &'static str = "smtp";
    const TEXTS: &'static [Text] = &[Text::Name, Text::Mechanism, Text::Sender];
    const RULES: &'static [Rule] = &[
        Rule::new(&[b"AUTH"], 2, Then::Answers),
        Rule::new(&[b"DATA"], usize::MAX, Then::Message),
        Rule::new(&[b"BDAT"], usize::MAX, Then::Chunk),
    ];
    const COMMANDS: &'static [&'static [u8]] = &[
        b"AUTH",
        b"DATA",
        b"EHLO",
        b"HELO",
        b"HELP",
        b"MAIL",
        b"NOOP",
        b"QUIT",
        b"RCPT",
        b"RSET",
        b"STARTTLS",
        b"VRFY",
    ];

    fn look(bytes: &[u8], ports: [u16; 2]) -> Look {
        match bytes.first() {
            None => Look::Short,
            Some(b'2' | b'4' | b'5') => greeting(bytes, ports),
            Some(b'E' | b'H' | b'e' | b'h') => match is_command(bytes, &[b"EHLO", b"HELO"]) {
                None => Look::Short,
                Some(true) => Look::Client,
                Some(false) => Look::No,
            },
            Some(_) => Look::No,
        }
    }

    fn read<'a>(talk: &mut Conversation<'a>) -> Ended {
        Ended(read(talk).err().unwrap_or(Stop::Over))
    }
}

fn greeting(bytes: &[u8], ports: [u16; 2]) -> Look {
    const CODES: [&[u8]; 3] = [b"220", b"421", b"554"];
    if bytes.len() < 4 {
        return if CODES.iter().any(|code| code.starts_with(bytes)) { Look::Short } else { Look::No };
    }
    if !three_digits(bytes.get(..4).unwrap_or_default()).is_some_and(|(code, _)| [220, 421, 554].contains(&code)) {
        return Look::No;
    }
    if ports.iter().any(|port| PORTS.contains(port)) {
        return Look::Server;
    }
    match first_line(bytes) {
        None => Look::Short,
        Some(line) if holds(line, b"SMTP") => Look::Server,
        Some(_) => Look::LikeServer,
    }
}

fn read(talk: &mut Conversation<'_>) -> Result<(), Stop> {
    let (said, told) = (&mut talk.said, &mut talk.told);
    // A capture may begin behind the greeting: then the first reply is one to the first command.
    let before = said.server;
    match said.reply()? {
        Some(Reply { code: 220 | 421 | 554, text }) => told.banner = Some(text),
        _ => said.server = before,
    }
    loop {
        let line = said.command()?;
        let (command, rest) = split_word(line);
        match command.to_ascii_uppercase().as_slice() {
            b"EHLO" | b"HELO" => {
                told.name = Some(rest);
                said.reply()?;
            }
            b"STARTTLS" => {
                let agreed = said.reply()?.map(|reply| reply.is_good());
                told.tls = agreed;
                if agreed == Some(true) {
                    return Err(said.tls());
                }
            }
            b"AUTH" => {
                let (mechanism, first) = split_word(rest);
                told.mechanism = Some(mechanism).filter(|word| is_mechanism(word));
                let mut answers = usize::from(!first.is_empty());
                while said.reply()?.is_some_and(|reply| reply.code == 334) {
                    let answer = said.command()?;
                    answers += usize::from(answer != b"*");
                }
                told.clear_credentials |= is_clear(mechanism, answers);
            }
            b"MAIL" => {
                // What follows is the message.
                told.sender = Some(address(rest));
                return Ok(());
            }
            b"QUIT" | b"DATA" | b"BDAT" => return Ok(()),
            command if command.is_empty() || !command.iter().all(u8::is_ascii_alphabetic) => return Ok(()),
            _ => {
                said.reply()?;
            }
        }
    }
}

/// `FROM:<a@b.example> SIZE=1`
fn address(path: &[u8]) -> &[u8] {
    let path = path.split(|byte| *byte == b'<').nth(1).unwrap_or(path);
    path.split(|byte| *byte == b'>').next().unwrap_or(path)
}
