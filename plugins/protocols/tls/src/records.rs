//! The records of one direction.

use crate::handshake::{Handshake, Message};
use crate::template::Limits;
use smallvec::SmallVec;
use veilwatch_core::stream::{Framed, Framing};

/// Content types (RFC 8446 section 5.1).
pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;
/// RFC 6520.
const HEARTBEAT: u8 = 24;

/// Handshake message types (RFC 8446 section 4, RFC 5246 section 7.4).
pub(crate) const CLIENT_HELLO: u8 = 1;
pub(crate) const SERVER_HELLO: u8 = 2;
pub(crate) const NEW_SESSION_TICKET: u8 = 4;
pub(crate) const CERTIFICATE: u8 = 11;
pub(crate) const CERTIFICATE_REQUEST: u8 = 13;
/// RFC 6066 section 8.
pub(crate) const CERTIFICATE_STATUS: u8 = 22;

pub(crate) const HEADER: usize = 5;

/// Bytes of an alert in clear (RFC 8446 section 6).
const ALERT_BYTES: u16 = 2;

/// The most that an encrypted record may hold (RFC 5246 section 6.2.3).
const MOST: u16 = (1 << 14) + 2048;

/// Version of the Chinese national TLS (GB/T 38636), which has the same records and hellos.
const TLCP: u16 = 0x0101;

/// Records as frames, for when only their headers matter any more; alerts are kept whole, since they might be in clear.
pub(crate) const RECORDS: Framing =
    Framing { at: 0, header: HEADER as u8, length_at: 3, length_bytes: 2, keep: ALERT_BYTES };

/// How many more bytes are asked for at least, as long as there are handshake messages in clear.
const STEP: usize = 64;
/// The same, once all is encrypted.
const MORE: usize = 4096;

/// The five bytes before each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: u8,
    pub(crate) version: u16,
    pub(crate) len: u16,
}

impl Header {
    /// The header at `at`, if all of it is there.
    pub(crate) fn at(bytes: &[u8], at: usize) -> Option<Self> {
        match *bytes.get(at..at + HEADER)? {
            [kind, major, minor, high, low] => {
                Some(Self { kind, version: u16::from_be_bytes([major, minor]), len: u16::from_be_bytes([high, low]) })
            }
            _ => None,
        }
    }

    /// Whether a record of TLS can begin like this.
    pub(crate) fn is_plausible(self) -> bool {
        (CHANGE_CIPHER_SPEC..=HEARTBEAT).contains(&self.kind)
            && matches!(self.version, 0x0300..=0x0304 | TLCP)
            && self.len <= MOST
    }
}

/// Length of the ClientHello in SSL 2.0 form (RFC 5246 appendix E.2) that these bytes begin with, two bytes of length
/// included.
///
/// `None` says that more bytes are needed, `Some(None)` that it is none.
pub(crate) fn old_hello(bytes: &[u8]) -> Option<Option<usize>> {
    if bytes.first().is_some_and(|first| first & 0x80 == 0) {
        return Some(None);
    }
    // The high bit of the length, message type 1, and a version that is in use.
    let known = |at: usize, good: fn(u8) -> bool| bytes.get(at).is_none_or(|b| good(*b));
    if !known(0, |b| b & 0x80 != 0) || !known(2, |b| b == CLIENT_HELLO) || !known(3, |b| b == 0 || b == 3) {
        return Some(None);
    }
    let word = |at: usize| Some(usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    let (ciphers, session, challenge) = (word(5)?, word(7)?, word(9)?);
    let len = 2 + (word(0)? & 0x7fff);
    let version = matches!(word(3)?, 0x0002 | 0x0300..=0x0304);
    let fits = 11 + ciphers + session + challenge == len;
    let sizes = ciphers > 0 && ciphers % 3 == 0 && session <= 32 && (16..=32).contains(&challenge);
    Some((version && fits && sizes).then_some(len))
}

/// One direction, walked as far as it could be.
#[derive(Debug, Default)]
pub(crate) struct Walk<'a> {
    /// The first bytes, as many as are counted.
    pub(crate) begin: &'a [u8],
    /// Lengths of the first records.
    pub(crate) lengths: SmallVec<[u16; 32]>,
    /// Their content types.
    pub(crate) types: SmallVec<[u8; 32]>,
    /// Alerts in clear.
    pub(crate) alerts: u8,
    /// Level and description of the last one.
    pub(crate) last_alert: Option<[u8; 2]>,
    /// Offset of the first record of application data.
    pub(crate) application_data: Option<usize>,
    /// Whether a ChangeCipherSpec was seen.
    pub(crate) cipher_changed: bool,
    /// Whether everything behind is encrypted.
    pub(crate) encrypted: bool,
    /// All record lengths that were wanted are there, or all that this direction has.
    pub(crate) complete: bool,
    /// Bytes of this direction at which more could be read; `usize::MAX` where nothing more is to come.
    pub(crate) wanted: usize,
    /// Bytes of a ClientHello in SSL 2.0 form, without its length.
    pub(crate) old_hello: Option<&'a [u8]>,
    /// The handshake went on in clear past the bytes that are joined.
    pub(crate) too_long: bool,
    /// It was spread over too many records.
    pub(crate) too_spread: bool,
    /// The handshake in clear.
    handshake: Handshake<'a>,
}

impl<'a> Walk<'a> {
    /// Walks the records of one direction.
    ///
    /// `retried` says that the server sent a HelloRetryRequest: then every handshake record is in clear, also behind
    /// the ChangeCipherSpec that middleboxes are shown (RFC 8446 appendix D.4).
    pub(crate) fn new(bytes: &'a [u8], ended: bool, framed: Option<Framed>, retried: bool, limits: &Limits) -> Self {
        let mut walk = Self { handshake: Handshake::new(limits.handshake_bytes), ..Self::default() };
        walk.begin = bytes.get(..limits.histogram_bytes).unwrap_or(bytes);
        let mut at = walk.skip_old_hello(bytes, limits);
        let mut clear = true;
        let mut records = 0;
        let mut broken = false;
        let mut next = at.saturating_add(HEADER);
        while let Some(header) = Header::at(bytes, at) {
            if !header.is_plausible() {
                broken = true;
                break;
            }
            records += 1;
            if walk.lengths.len() < limits.record_lengths {
                walk.lengths.push(header.len);
                walk.types.push(header.kind);
            }
            let begin = at + HEADER;
            // Of an encrypted record there may be the header alone.
            let left_out = header.len > ALERT_BYTES && framed.is_some_and(|framed| at >= framed.at);
            let end = if left_out { begin } else { begin + usize::from(header.len) };
            let body = &bytes[begin..end.min(bytes.len())];
            let mut wants_body = false;
            match header.kind {
                HANDSHAKE if clear || (walk.application_data.is_none() && is_second_hello(header, body)) => {
                    wants_body = true;
                    walk.handshake.push(body, at, header.version);
                }
                // An encrypted alert is longer than its two bytes, whatever the cipher.
                ALERT if header.len == ALERT_BYTES => {
                    wants_body = true;
                    if let &[level @ 1..=2, description] = body {
                        walk.alerts = walk.alerts.saturating_add(1);
                        walk.last_alert = Some([level, description]);
                    }
                }
                CHANGE_CIPHER_SPEC => {
                    walk.cipher_changed = true;
                    clear &= retried;
                }
                APPLICATION_DATA => {
                    walk.application_data.get_or_insert(at);
                    clear &= retried;
                }
                _ => {}
            }
            walk.too_long |= clear && walk.handshake.len() >= limits.handshake_bytes;
            walk.too_spread |= clear && records >= limits.handshake_records;
            clear &= !walk.too_long && !walk.too_spread;
            let listed = walk.lengths.len() >= limits.record_lengths;
            walk.encrypted = !clear || (retried && walk.application_data.is_some());
            if listed && walk.encrypted {
                walk.complete = true;
                walk.wanted = usize::MAX;
                return walk;
            }
            if end > bytes.len() {
                next = if wants_body { end } else { end + HEADER };
                at = end;
                break;
            }
            at = end;
            next = at + HEADER;
        }
        walk.complete = walk.lengths.len() >= limits.record_lengths
            || (ended && at > 0 && at == bytes.len() && framed.is_none_or(|framed| framed.missing == 0));
        // A parse begins anew each time: asking for so much more keeps all parses together linear in the bytes. What is
        // asked for and never comes is read at the end of the flow.
        let more = if walk.encrypted { bytes.len().max(MORE) } else { (bytes.len() / 4).max(STEP) };
        walk.wanted = if ended || broken { usize::MAX } else { next.max(bytes.len() + more) };
        walk
    }

    /// Walks handshake messages that stand one behind the other without records: each is taken for a record of its own,
    /// of version 0, so that marks lead to where it begins.
    pub(crate) fn of_messages(bytes: &'a [u8], ended: bool, limits: &Limits) -> Self {
        let mut walk = Self { handshake: Handshake::new(limits.handshake_bytes), ..Self::default() };
        let (mut at, mut messages) = (0, 0);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            walk.too_long = walk.handshake.len() >= limits.handshake_bytes;
            walk.too_spread = messages >= limits.handshake_records;
            if walk.too_long || walk.too_spread {
                break;
            }
            let len = match *rest {
                [_, a, b, c, ..] => 4 + u32::from_be_bytes([0, a, b, c]) as usize,
                _ => rest.len(),
            };
            walk.handshake.push(rest.get(..len).unwrap_or(rest), at, 0);
            at += len;
            messages += 1;
        }
        walk.wanted = if ended || walk.too_long || walk.too_spread { usize::MAX } else { bytes.len() + 1 };
        walk
    }

    /// Takes in a ClientHello in SSL 2.0 form; returns where records begin.
    fn skip_old_hello(&mut self, bytes: &'a [u8], limits: &Limits) -> usize {
        match old_hello(bytes) {
            Some(Some(len)) => {
                if let Some(hello) = bytes.get(2..len) {
                    self.old_hello = Some(hello);
                }
                if limits.record_lengths > 0 {
                    self.lengths.push((len - 2) as u16);
                    self.types.push(HANDSHAKE);
                }
                len
            }
            _ => 0,
        }
    }

    /// Whether nothing more will be read here.
    pub(crate) fn is_over(&self) -> bool {
        self.wanted == usize::MAX
    }

    /// The handshake messages in clear, up to the first that is none or not complete.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.handshake.messages()
    }

    /// Whether `handshake_bytes` bounded what was read.
    pub(crate) fn is_too_long(&self) -> bool {
        self.too_long || self.handshake.announces_too_much()
    }

    /// The first message of a kind.
    pub(crate) fn message(&self, kind: u8) -> Option<Message<'_>> {
        self.messages().find(|message| message.kind == kind)
    }
}

/// Whether a record behind a ChangeCipherSpec is the ClientHello that answers a HelloRetryRequest which was not seen.
pub(crate) fn is_second_hello(header: Header, body: &[u8]) -> bool {
    let len = usize::from(header.len).saturating_sub(4) as u32;
    body.first_chunk().is_some_and(|head: &[u8; 6]| {
        u32::from_be_bytes([0, head[1], head[2], head[3]]) == len && (head[0], head[4], head[5]) == (CLIENT_HELLO, 3, 3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{client_hello, message, record};

    fn walk(bytes: &[u8]) -> Walk<'_> {
        Walk::new(bytes, false, None, false, &Limits::default())
    }

    #[test]
    fn asks_for_enough_that_it_is_called_rarely() {
        let hello = record(HANDSHAKE, &client_hello("a.example"));
        assert_eq!(walk(&[]).wanted, STEP);
        assert_eq!(walk(&hello).wanted, hello.len() + STEP);
        // A record that is not there yet is waited for, and of encrypted data the header behind it.
        assert_eq!(walk(&hello[..60]).wanted, hello.len());
        let long = record(HANDSHAKE, &message(CERTIFICATE, &[0; 3000]));
        assert_eq!(walk(&long[..60]).wanted, long.len());
        let data = record(APPLICATION_DATA, &[0; 9000]);
        assert_eq!(walk(&data[..5]).wanted, data.len() + 5);
        assert_eq!(walk(&data[..5]).lengths[..], [9000]);
        assert_eq!(walk(&data.repeat(2)).wanted, data.len() * 4);
    }

    #[test]
    fn is_complete_at_the_limit_or_at_the_end() {
        let data = record(APPLICATION_DATA, &[7; 3]);
        assert!(walk(&data.repeat(32)).is_over());
        assert!(!walk(&data.repeat(31)).is_over());
        let limits = Limits::default();
        assert!(Walk::new(&data, true, None, false, &limits).complete);
        assert!(!Walk::new(&data[..7], true, None, false, &limits).complete);
        assert!(!Walk::new(&[], true, None, false, &limits).complete);
    }

    #[test]
    fn nothing_is_read_behind_a_change_of_cipher() {
        let mut bytes = record(CHANGE_CIPHER_SPEC, &[1]);
        bytes.extend(record(HANDSHAKE, &message(CERTIFICATE, &[0; 40])));
        assert!(walk(&bytes).messages().next().is_none());
        assert!(Walk::new(&bytes, false, None, true, &Limits::default()).message(CERTIFICATE).is_some());
        // But for what is plainly a second ClientHello.
        bytes.extend(record(HANDSHAKE, &client_hello("a.example")));
        assert!(walk(&bytes).message(CLIENT_HELLO).is_some());
    }

    #[test]
    fn clear_alerts_are_two_bytes_long() {
        let mut bytes = record(ALERT, &[2, 40]);
        bytes.extend(record(ALERT, &[2; 26]));
        let walk = walk(&bytes);
        assert_eq!((walk.alerts, walk.last_alert), (1, Some([2, 40])));
    }

    #[test]
    fn stops_where_no_record_can_be() {
        let mut bytes = record(APPLICATION_DATA, &[0; 4]);
        bytes.extend(b"GET / HTTP/1.1\r\n");
        let walk = walk(&bytes);
        assert!(walk.is_over() && !walk.complete);
        assert_eq!(walk.lengths[..], [4]);
    }

    /// 16 KiB of handshake records of one byte each: neither many calls nor many steps.
    #[test]
    fn tiny_records_are_cheap() {
        let tiny: Vec<u8> = record(HANDSHAKE, &[1]).repeat(16_384 / 6);
        let (mut have, mut calls) = (0, 0);
        while have < tiny.len() {
            let walk = walk(&tiny[..have]);
            assert!(walk.handshake.records() <= Limits::default().handshake_records);
            if walk.is_over() {
                break;
            }
            assert!(walk.wanted > have);
            have = walk.wanted;
            calls += 1;
        }
        assert!(calls < 30, "{calls}");
    }
}
