//! Protocols whose client sends command lines and whose server, which speaks first, answers with lines: SMTP, IMAP, POP3,
//! FTP and NNTP. What they show in clear is read until somebody has logged in, and TLS behind STARTTLS is handed over.
//!
//! * `lines` cuts one side into lines; `dialogue` goes through commands and replies in turns, and finds where TLS begins.
//! * `dissect` draws both sides line by line, without passwords.
//! * `template` is what the five templates share: settings, who speaks first, fields.
//! * `smtp`, `imap`, `pop3`, `ftp` and `nntp` know the commands.
//!
//! A password is never read; that one went in clear is told.

mod dialogue;
mod dissect;
mod ftp;
mod imap;
mod lines;
mod nntp;
mod pop3;
mod sasl;
mod smtp;
mod template;
#[cfg(test)]
mod tests;

pub use ftp::Ftp;
pub use imap::Imap;
pub use nntp::Nntp;
pub use pop3::Pop3;
pub use smtp::Smtp;
pub use template::{Commands, Limits};

veilwatch_core::declare_plugins!(
    protocol "smtp" "SMTP in clear, and STARTTLS": Commands<Smtp>,
    protocol "imap" "IMAP in clear, and STARTTLS": Commands<Imap>,
    protocol "pop3" "POP3 in clear, and STLS": Commands<Pop3>,
    protocol "ftp" "FTP's control connection in clear, and AUTH TLS": Commands<Ftp>,
    protocol "nntp" "NNTP in clear, and STARTTLS": Commands<Nntp>
);
