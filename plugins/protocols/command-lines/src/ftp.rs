//! FTP's control connection (RFC 959) with AUTH TLS (RFC 4217).

use crate::dialogue::{Reply, Stop, three_digits};
use crate::dissect::{Rule, Then};
use crate::lines::{holds, split_word};
use crate::template::{Conversation, Ended, Look, Protocol, Text, first_line, is_command};

/// FTP.
#[derive(Debug, Clone, Copy)]
pub struct Ftp;

impl Protocol for Ftp {
    const NAME: &'static str = "ftp";
    const TEXTS: &'static [Text] = &[Text::User];
    const RULES: &'static [Rule] = &[
        Rule::new(&[b"PASS"], 1, Then::Command),
        Rule::new(&[b"ACCT"], 1, Then::Command),
        Rule::new(&[b"ADAT"], 1, Then::Command),
    ];
    const COMMANDS: &'static [&'static [u8]] = &[];

    fn look(bytes: &[u8], ports: [u16; 2]) -> Look {
        match bytes.first() {
            None => Look::Short,
            Some(b'1' | b'2' | b'4') => greeting(bytes, ports),
            Some(b'A' | b'F' | b'U' | b'S' | b'a' | b'f' | b'u' | b's') => {
                let certain = is_command(bytes, &[b"AUTH TLS", b"AUTH SSL", b"AUTH TLS-C", b"AUTH TLS-P", b"FEAT"]);
                match (certain, is_command(bytes, &[b"USER", b"SYST", b"AUTH"])) {
                    (Some(true), _) => Look::Client,
                    (None, _) => Look::Short,
                    (_, Some(true)) => Look::LikeClient,
                    (_, None) => Look::Short,
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

fn greeting(bytes: &[u8], ports: [u16; 2]) -> Look {
    const CODES: [&[u8]; 3] = [b"120", b"220", b"421"];
    if bytes.len() < 4 {
        return if CODES.iter().any(|code| code.starts_with(bytes)) { Look::Short } else { Look::No };
    }
    if !three_digits(bytes.get(..4).unwrap_or_default()).is_some_and(|(code, _)| [120, 220, 421].contains(&code)) {
        return Look::No;
    }
    if ports.contains(&21) {
        return Look::Server;
    }
    match first_line(bytes) {
        None => Look::Short,
        Some(line) if holds(line, b"FTP") => Look::Server,
        Some(_) => Look::LikeServer,
    }
}

fn read(talk: &mut Conversation<'_>) -> Result<(), Stop> {
    let (said, told) = (&mut talk.said, &mut talk.told);
    let before = said.server;
    match said.reply()? {
        // Ready in some minutes, and then ready.
        Some(Reply { code: 120, text }) => {
            told.banner = Some(text);
            said.reply()?;
        }
        Some(Reply { code: 220 | 421, text }) => told.banner = Some(text),
        _ => said.server = before,
    }
    loop {
        let line = said.command()?;
        let (command, rest) = split_word(line);
        match command.to_ascii_uppercase().as_slice() {
            b"AUTH" => {
                let reply = said.reply()?;
                let for_tls =
                    [&b"TLS"[..], b"SSL", b"TLS-C", b"TLS-P"].iter().any(|word| rest.eq_ignore_ascii_case(word));
                // Other mechanisms go on in their own way.
                if !for_tls && reply.is_some_and(|reply| reply.code == 334) {
                    return Ok(());
                }
                if for_tls {
                    // RFC 4217 has 234; old servers say 334 and mean the same.
                    let agreed = reply.map(|reply| reply.is_good() || reply.code == 334);
                    told.tls = agreed;
                    if agreed == Some(true) {
                        return Err(said.tls());
                    }
                }
            }
            b"USER" => {
                told.user = Some(rest);
                said.reply()?;
            }
            b"PASS" => {
                told.clear_credentials |= !rest.is_empty();
                // Who is in asks for no TLS any more.
                if said.reply()?.is_some_and(|reply| reply.is_good()) {
                    return Ok(());
                }
            }
            b"QUIT" => return Ok(()),
            command if command.is_empty() || !command.iter().all(u8::is_ascii_alphabetic) => return Ok(()),
            _ => while said.reply()?.is_some_and(|reply| reply.code / 100 == 1) {},
        }
    }
}
