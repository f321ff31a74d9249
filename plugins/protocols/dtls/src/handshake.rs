//! Handshake messages, put together from their fragments (RFC 6347 section 4.2.3, RFC 9147 section 5.5).

use crate::template::Limits;
use std::ops::Range;
use veilwatch_core::plugin::{Piece, Reader};

/// Handshake message types (IANA, TLS HandshakeType).
pub(crate) const CLIENT_HELLO: u8 = 1;
pub(crate) const SERVER_HELLO: u8 = 2;
pub(crate) const HELLO_VERIFY_REQUEST: u8 = 3;

/// Bytes in front of a fragment.
pub(crate) const HEAD: usize = 12;
/// Bytes in front of a message of TLS.
const TLS_HEAD: usize = 4;

/// A fragment of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment<'a> {
    pub(crate) kind: u8,
    /// Bytes of the whole message.
    pub(crate) length: usize,
    pub(crate) sequence: u16,
    /// Where it stands in the message.
    pub(crate) offset: usize,
    /// Bytes that it says that it has.
    pub(crate) announced: usize,
    pub(crate) body: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// The fragment that these bytes begin with; its end may be cut off.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let mut three = || Some(usize::from(reader.u8()?) << 16 | usize::from(reader.u16()?));
        let length = three()?;
        let sequence = reader.u16()?;
        let mut three = || Some(usize::from(reader.u8()?) << 16 | usize::from(reader.u16()?));
        let (offset, announced) = (three()?, three()?);
        // A message without contents has one fragment; else one that is empty says nothing.
        let sensible = offset + announced <= length && (announced > 0 || length == 0);
        let rest = reader.rest();
        (is_message(kind) && sensible).then(|| Self {
            kind,
            length,
            sequence,
            offset,
            announced,
            body: rest.get(..announced).unwrap_or(rest),
        })
    }

    /// Bytes that it takes in its record.
    pub(crate) fn size(&self) -> usize {
        HEAD + self.announced
    }
}

/// Handshake types that exist.
fn is_message(kind: u8) -> bool {
    matches!(kind, 0..=6 | 8..=16 | 20..=25)
}

/// One message, as far as its fragments have come.
#[derive(Debug)]
struct Message {
    kind: u8,
    sequence: u16,
    bytes: Vec<u8>,
    /// The parts of it that have come, in order; they do not touch.
    have: Vec<Range<usize>>,
    length: usize,
    /// What brought the fragment that came first.
    from: usize,
}

impl Message {
    /// Takes a fragment in; the first copy of each byte counts. Whether there was anything new in it.
    fn take(&mut self, fragment: &Fragment<'_>) -> bool {
        let end = fragment.offset + fragment.body.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        let mut at = fragment.offset;
        let mut new = fragment.length == 0 && self.have.is_empty();
        while at < end {
            let known = self.have.iter().find(|part| part.end > at).cloned();
            let until = known.as_ref().map_or(end, |part| part.start.min(end));
            if at < until {
                let source = fragment.body.get(at - fragment.offset..until - fragment.offset);
                if let (Some(target), Some(source)) = (self.bytes.get_mut(at..until), source) {
                    target.copy_from_slice(source);
                }
                new = true;
            }
            at = known.map_or(end, |part| part.end);
        }
        self.join(fragment.offset..end);
        new
    }

    /// Adds a part to those that are there.
    fn join(&mut self, mut part: Range<usize>) {
        self.have.retain(|other| {
            let apart = other.end < part.start || part.end < other.start;
            if !apart {
                part = part.start.min(other.start)..part.end.max(other.end);
            }
            apart
        });
        let place = self.have.partition_point(|other| other.start < part.start);
        self.have.insert(place, part);
    }

    /// Bytes that are there without a hole.
    fn sound(&self) -> &[u8] {
        let end = self.have.first().filter(|part| part.start == 0).map_or(0, |part| part.end);
        self.bytes.get(..end).unwrap_or_default()
    }

    fn is_complete(&self) -> bool {
        self.sound().len() == self.length
    }
}

/// The handshake of one direction.
#[derive(Debug, Default)]
pub(crate) struct Handshake {
    messages: Vec<Message>,
    fragments: usize,
    /// Bytes that all messages announce.
    announced: usize,
    /// Fragments that brought nothing new.
    pub(crate) repeated: u64,
    /// Messages announced more bytes than are put together.
    pub(crate) too_long: bool,
    /// There were more messages than are looked at.
    pub(crate) too_many: bool,
    /// There were more fragments than are looked at.
    pub(crate) too_spread: bool,
}

impl Handshake {
    /// Takes in the fragments of a record, which begins at `from` in its direction.
    pub(crate) fn take(&mut self, mut body: &[u8], from: usize, limits: &Limits) {
        while let Some(fragment) = Fragment::read(body) {
            if self.fragments >= limits.fragments {
                self.too_spread = true;
                return;
            }
            self.fragments += 1;
            self.take_fragment(&fragment, from, limits);
            body = body.get(fragment.size()..).unwrap_or_default();
        }
    }

    fn take_fragment(&mut self, fragment: &Fragment<'_>, from: usize, limits: &Limits) {
        // What has the same number and is something else is another message: it takes nothing from the first.
        let same = |message: &&mut Message| {
            (message.sequence, message.kind, message.length) == (fragment.sequence, fragment.kind, fragment.length)
        };
        if let Some(message) = self.messages.iter_mut().find(same) {
            self.repeated += u64::from(!message.take(fragment));
            return;
        }
        if self.messages.len() >= limits.messages {
            self.too_many = true;
            return;
        }
        if self.announced + fragment.length > limits.handshake_bytes {
            self.too_long = true;
            return;
        }
        self.announced += fragment.length;
        let Fragment { kind, sequence, length, .. } = *fragment;
        let mut message = Message { kind, sequence, bytes: Vec::new(), have: Vec::new(), length, from };
        message.take(fragment);
        let place = self.messages.partition_point(|other| other.sequence <= sequence);
        self.messages.insert(place, message);
    }

    /// Whether a message of this kind has begun.
    pub(crate) fn has(&self, kind: u8) -> bool {
        self.messages.iter().any(|message| message.kind == kind)
    }

    /// Messages of this kind that are all there.
    pub(crate) fn count(&self, kind: u8) -> u64 {
        self.messages.iter().filter(|message| message.kind == kind && message.is_complete()).count() as u64
    }

    /// Whether a limit was reached.
    pub(crate) fn is_limited(&self) -> bool {
        self.too_long || self.too_many || self.too_spread
    }

    /// Whether no message is waited for.
    pub(crate) fn is_whole(&self) -> bool {
        self.messages.iter().all(Message::is_complete)
    }

    /// Bytes of the longest cookie that a client gives back.
    pub(crate) fn cookie_bytes(&self) -> Option<usize> {
        let hellos = self.messages.iter().filter(|message| message.kind == CLIENT_HELLO);
        hellos.filter_map(|message| cookie(message.sound())).map(|cookie| cookie.len() - 1).max()
    }

    /// The messages in the form of TLS, one behind the other, and where each comes from: those that are all there in
    /// their order, and then the first of the others, as far as it goes.
    ///
    /// What TLS does not have is left out: the request for a cookie, and the cookie in the hello that follows.
    pub(crate) fn in_form_of_tls(&self) -> (Vec<u8>, Vec<Piece>) {
        let (mut bytes, mut pieces) = (Vec::new(), Vec::new());
        let whole = self.messages.iter().filter(|message| message.is_complete());
        let rest = self.messages.iter().find(|message| !message.is_complete() && !message.sound().is_empty());
        for message in whole.chain(rest).filter(|message| message.kind != HELLO_VERIFY_REQUEST) {
            let body = message.sound();
            let left_out = if message.kind == CLIENT_HELLO {
                // A hello that ends before its cookie says nothing yet.
                let Some(cookie) = cookie(body) else { continue };
                cookie
            } else {
                0..0
            };
            pieces.push(Piece { at: bytes.len(), from: message.from });
            let [_, a, b, c] = ((message.length - left_out.len()) as u32).to_be_bytes();
            bytes.reserve(TLS_HEAD + body.len());
            bytes.extend_from_slice(&[message.kind, a, b, c]);
            bytes.extend_from_slice(body.get(..left_out.start).unwrap_or_default());
            bytes.extend_from_slice(body.get(left_out.end..).unwrap_or_default());
        }
        (bytes, pieces)
    }
}

/// Where the cookie stands in a ClientHello, the byte of its length included.
pub(crate) fn cookie(hello: &[u8]) -> Option<Range<usize>> {
    const SESSION: usize = 2 + 32;
    let start = SESSION + 1 + usize::from(*hello.get(SESSION)?);
    let end = start + 1 + usize::from(*hello.get(start)?);
    (end <= hello.len()).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{client_hello, fragment};
    use proptest::prelude::*;

    fn read(fragments: &[Vec<u8>]) -> Handshake {
        let mut handshake = Handshake::default();
        for (at, fragment) in fragments.iter().enumerate() {
            handshake.take(fragment, at, &Limits::default());
        }
        handshake
    }

    #[test]
    fn a_cookie_is_left_out() {
        let (plain, with) = (client_hello(b""), client_hello(b"cookie"));
        let handshake = read(&[fragment(1, 0, &plain, 0..plain.len()), fragment(1, 1, &with, 0..with.len())]);
        let (bytes, pieces) = handshake.in_form_of_tls();
        let message = [&[1, 0, 0, plain.len() as u8 - 1][..], &plain[..35], &plain[36..]].concat();
        assert_eq!(bytes, message.repeat(2));
        assert_eq!(pieces, [Piece { at: 0, from: 0 }, Piece { at: message.len(), from: 1 }]);
        assert_eq!(handshake.cookie_bytes(), Some(6));
        // Cut before the cookie ends: nothing is known of the hello.
        for end in 1..with.len() {
            let handshake = read(&[fragment(1, 0, &with, 0..end)]);
            assert_eq!(handshake.in_form_of_tls().0.is_empty(), end < 42, "{end}");
        }
    }

    #[test]
    fn the_first_copy_of_a_byte_counts() {
        let handshake = read(&[
            fragment(2, 3, &[1; 20], 4..9),
            fragment(2, 3, &[2; 20], 0..20),
            fragment(2, 3, &[3; 20], 0..20),
            // Another message of the same number.
            fragment(11, 3, &[4; 5], 0..5),
        ]);
        let body = [&[2; 4][..], &[1; 5], &[2; 11]].concat();
        assert_eq!(handshake.in_form_of_tls().0, [&[2, 0, 0, 20][..], &body, &[11, 0, 0, 5], &[4; 5]].concat());
        assert_eq!((handshake.repeated, handshake.is_whole()), (1, true));
    }

    #[test]
    fn what_is_announced_is_bounded() {
        let limits = Limits { handshake_bytes: 100, messages: 3, fragments: 5 };
        let mut handshake = Handshake::default();
        handshake.take(&fragment(2, 0, &[1; 101], 0..1), 0, &limits);
        assert!(handshake.too_long && !handshake.has(2));
        for sequence in 1..=4 {
            handshake.take(&fragment(2, sequence, &[1; 20], 0..20), 0, &limits);
        }
        assert!(handshake.too_many);
        assert_eq!(handshake.count(2), 3);
        // A fragment too many, of a message that is there.
        let mut handshake = Handshake::default();
        (0..6).for_each(|at| handshake.take(&fragment(2, 0, &[1; 20], at..at + 1), 0, &limits));
        assert!(handshake.too_spread && !handshake.too_many);
        assert_eq!(handshake.in_form_of_tls().0.len(), 4 + 5);
    }

    proptest! {
        /// However messages are cut, mixed up and sent again, they are the same.
        #[test]
        fn order_and_repetition_do_not_matter(
            sizes in prop::collection::vec(0usize..60, 1..5),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1usize..40), 0..40),
            order in any::<prop::sample::Index>(),
        ) {
            let messages: Vec<Vec<u8>> = sizes.iter().map(|len| (0..*len).map(|at| at as u8).collect()).collect();
            let whole: Vec<_> =
                messages.iter().enumerate().map(|(at, body)| fragment(11, at as u16, body, 0..body.len())).collect();
            let mut parts: Vec<_> = cuts
                .iter()
                .filter_map(|(message, at, len)| {
                    let message = message.index(messages.len());
                    let body = messages[message].as_slice();
                    let start = at.index(body.len().max(1));
                    let end = (start + len).min(body.len());
                    (start < end).then(|| fragment(11, message as u16, body, start..end))
                })
                .collect();
            parts.extend(whole.iter().cloned());
            let middle = order.index(parts.len());
            parts.rotate_left(middle);
            prop_assert_eq!(read(&parts).in_form_of_tls().0, read(&whole).in_form_of_tls().0);
        }

        #[test]
        fn junk_never_panics(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20)) {
            let limits = Limits { handshake_bytes: 512, ..Limits::default() };
            let mut handshake = Handshake::default();
            for body in &bodies {
                let head = [&[1, 0, 0][..], body].concat();
                handshake.take(&head, 0, &limits);
                handshake.take(body, 0, &limits);
            }
            prop_assert!(handshake.in_form_of_tls().0.len() <= 512 + 4 * limits.messages);
        }
    }
}
