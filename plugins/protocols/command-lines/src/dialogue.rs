//! Commands and replies in turns, and where TLS begins behind them.

use crate::lines::{Lines, Next};

/// Why reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The client has to say more.
    Client,
    /// The server has.
    Server,
    /// Nothing more is read.
    Over,
    /// TLS begins where both sides were read to.
    Tls,
}

/// Both sides, and how far they were read.
#[derive(Debug)]
pub(crate) struct Dialogue<'a> {
    pub(crate) client: Lines<'a>,
    pub(crate) server: Lines<'a>,
    /// Commands that may still be read.
    commands: usize,
    /// There were more than that.
    pub(crate) too_many: bool,
}

/// A reply of three digits and text, over one line or several (RFC 5321 section 4.2.1, RFC 959 section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply<'a> {
    pub(crate) code: u16,
    /// The text of its first line.
    pub(crate) text: &'a [u8],
}

impl Reply<'_> {
    /// Whether it says yes.
    pub(crate) fn is_good(&self) -> bool {
        self.code / 100 == 2
    }
}

/// The first byte of a handshake in a record of TLS.
const HANDSHAKE: u8 = 0x16;

impl<'a> Dialogue<'a> {
    pub(crate) fn new(client: Lines<'a>, server: Lines<'a>, commands: usize) -> Self {
        Self { client, server, commands, too_many: false }
    }

    /// The next line of the client; where TLS begins instead, nothing else matters.
    pub(crate) fn command(&mut self) -> Result<&'a [u8], Stop> {
        match self.client.peek() {
            Next::Here(HANDSHAKE) => return Err(Stop::Tls),
            Next::Here(_) => {}
            Next::Wait => return Err(Stop::Client),
            Next::Gone => return Err(Stop::Over),
        }
        if self.commands == 0 {
            self.too_many = true;
            return Err(Stop::Over);
        }
        self.commands -= 1;
        match self.client.line() {
            Next::Here(line) => Ok(line),
            Next::Wait => Err(Stop::Client),
            Next::Gone => Err(Stop::Over),
        }
    }

    /// The next line of the server; none where it says no more, as in a capture of one side alone.
    pub(crate) fn answer(&mut self) -> Result<Option<&'a [u8]>, Stop> {
        match self.server.line() {
            Next::Here(line) => Ok(Some(line)),
            Next::Wait => Err(Stop::Server),
            Next::Gone => Ok(None),
        }
    }

    /// The next reply of three digits, whole.
    pub(crate) fn reply(&mut self) -> Result<Option<Reply<'a>>, Stop> {
        let Some(first) = self.answer()? else { return Ok(None) };
        let Some((code, text)) = three_digits(first) else { return Err(Stop::Over) };
        let reply = Reply { code, text: text.trim_ascii() };
        if text.first() != Some(&b'-') {
            return Ok(Some(reply));
        }
        let reply = Reply { text: text.get(1..).unwrap_or_default().trim_ascii(), ..reply };
        while let Some(line) = self.answer()? {
            if three_digits(line).is_some_and(|(same, text)| same == code && text.first() != Some(&b'-')) {
                break;
            }
        }
        Ok(Some(reply))
    }

    /// Finds where TLS begins, after the server agreed to it.
    ///
    /// A client that did not wait may have sent more commands before its TLS, and a server may have answered them: both
    /// are passed over (RFC 3207 section 4.2 has the server discard them).
    pub(crate) fn tls(&mut self) -> Stop {
        let mut hasty = false;
        loop {
            match self.client.peek() {
                Next::Here(byte) if is_text(byte) => {}
                Next::Here(_) => break,
                Next::Wait => return Stop::Client,
                Next::Gone => return Stop::Over,
            }
            hasty = true;
            if let Err(stop) = self.command() {
                return stop;
            }
        }
        if !hasty {
            return Stop::Tls;
        }
        loop {
            match self.server.peek() {
                Next::Here(byte) if is_text(byte) => match self.answer() {
                    Ok(_) => {}
                    Err(stop) => return stop,
                },
                Next::Wait => return Stop::Server,
                Next::Here(_) | Next::Gone => return Stop::Tls,
            }
        }
    }
}

/// Whether a line may begin like this; no record of TLS does, nor a ClientHello in SSL 2.0 form.
fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t')
}

/// The number in front of a line, and what stands behind it.
pub(crate) fn three_digits(line: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, text) = line.split_at_checked(3)?;
    let code = digits
        .iter()
        .try_fold(0u16, |code, digit| digit.is_ascii_digit().then(|| code * 10 + u16::from(digit - b'0')))?;
    matches!(text.first(), None | Some(b' ' | b'-')).then_some((code, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialogue<'a>(client: &'a [u8], server: &'a [u8]) -> Dialogue<'a> {
        Dialogue::new(Lines::new(client, false), Lines::new(server, false), 4)
    }

    #[test]
    fn replies_over_several_lines() {
        let mut both = dialogue(b"", b"220-one\r\ntext\r\n221 no end\r\n220 two\r\n250\r\n250-more\r\n");
        assert_eq!(both.reply(), Ok(Some(Reply { code: 220, text: b"one" })));
        assert_eq!(both.reply(), Ok(Some(Reply { code: 250, text: b"" })));
        assert_eq!(both.reply(), Err(Stop::Server));
        assert_eq!(dialogue(b"", b"hello\r\n").reply(), Err(Stop::Over));
    }

    #[test]
    fn tls_begins_behind_what_was_sent_too_early() {
        let mut both = dialogue(b"EHLO a\r\nNOOP\r\n\x16\x03", b"250 a\r\n250-b\r\n250 b\r\n\x16");
        assert_eq!((both.tls(), both.client.at, both.server.at), (Stop::Tls, 14, 21));
        let mut both = dialogue(b"\x80\x2e\x01", b"250 a\r\n");
        assert_eq!((both.tls(), both.client.at, both.server.at), (Stop::Tls, 0, 0));
        assert_eq!(dialogue(b"", b"").tls(), Stop::Client);
        assert_eq!(dialogue(b"EHLO a\r\n\x16", b"").tls(), Stop::Server);
        assert_eq!(dialogue(b"EHLO a", b"").tls(), Stop::Client);
        assert_eq!(dialogue(&b"a\n".repeat(9), b"").tls(), Stop::Over);
    }
}
