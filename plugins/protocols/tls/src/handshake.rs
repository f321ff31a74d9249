//! The handshake messages of one direction, whatever records they are cut into.

use smallvec::SmallVec;

/// A handshake message, or as much of it as there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u8,
    /// Length of its body as announced.
    pub(crate) len: usize,
    /// What there is of the body.
    pub(crate) body: &'a [u8],
    /// Offset of the record it begins in.
    pub(crate) record: usize,
    /// Version of that record.
    pub(crate) record_version: u16,
}

impl Message<'_> {
    pub(crate) fn is_complete(&self) -> bool {
        self.body.len() == self.len
    }
}

/// The handshake in clear. Nothing is copied as long as every record but the last ends where a message ends, which is how
/// nearly everybody sends them; the first message that reaches into another record has all records joined.
#[derive(Debug, Default)]
pub(crate) struct Handshake<'a> {
    pieces: SmallVec<[Piece<'a>; 6]>,
    /// All records' bodies; empty while no message spans two.
    joined: Vec<u8>,
    spans: bool,
    /// The last record ends in the middle of a message.
    open: bool,
    len: usize,
    /// Longest message that is believed, and most bytes that are kept.
    longest: usize,
}

/// One record's share.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    /// In the handshake as a whole.
    start: usize,
    body: &'a [u8],
    /// Where the record begins in the direction's bytes.
    record: usize,
    version: u16,
}

impl<'a> Handshake<'a> {
    pub(crate) fn new(longest: usize) -> Self {
        Self { longest, ..Self::default() }
    }

    /// Bytes of handshake so far.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Records so far.
    #[cfg(test)]
    pub(crate) fn records(&self) -> usize {
        self.pieces.len()
    }

    /// Takes in the body of the record that begins at `record`.
    pub(crate) fn push(&mut self, body: &'a [u8], record: usize, version: u16) {
        let body = &body[..body.len().min(self.longest.saturating_sub(self.len))];
        if self.open && !self.spans && !body.is_empty() {
            self.spans = true;
            self.pieces.iter().for_each(|piece| self.joined.extend_from_slice(piece.body));
        }
        if self.spans {
            self.joined.extend_from_slice(body);
        } else if !body.is_empty() {
            self.open = !self.ends_whole(body);
        }
        self.pieces.push(Piece { start: self.len, body, record, version });
        self.len += body.len();
    }

    /// Whether a run of messages ends with the last byte.
    fn ends_whole(&self, body: &[u8]) -> bool {
        let mut at = 0;
        while let Some(&[kind, a, b, c]) = body.get(at..at + 4) {
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            if !is_message(kind) || len > self.longest {
                return false;
            }
            at += 4 + len;
        }
        at == body.len()
    }

    /// Whether the message at which they end announces more than is believed.
    pub(crate) fn announces_too_much(&self) -> bool {
        let at: usize = self.messages().filter(Message::is_complete).map(|message| 4 + message.len).sum();
        let run = if self.spans {
            self.joined.get(at..)
        } else {
            let piece = self.pieces.iter().rev().find(|piece| piece.start <= at);
            piece.and_then(|piece| piece.body.get(at - piece.start..))
        };
        let Some(&[kind, a, b, c, ..]) = run else { return false };
        is_message(kind) && u32::from_be_bytes([0, a, b, c]) as usize > self.longest
    }

    /// The messages, up to the first that is none or not complete.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let (mut piece, mut at) = (0, 0);
        std::iter::from_fn(move || {
            let run = loop {
                if self.spans {
                    break &self.joined[..];
                }
                let run = self.pieces.get(piece)?.body;
                if at < run.len() {
                    break run;
                }
                (piece, at) = (piece + 1, 0);
            };
            let &[kind, a, b, c, ref rest @ ..] = run.get(at..)? else { return None };
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            if !is_message(kind) || len > self.longest {
                return None;
            }
            if self.spans {
                // Empty records leave pieces that begin at the same place: the last of them holds the byte.
                while self.pieces.get(piece + 1).is_some_and(|next| next.start <= at) {
                    piece += 1;
                }
            }
            let Piece { record, version: record_version, .. } = *self.pieces.get(piece)?;
            // Behind an incomplete message there is nothing.
            at += 4 + len;
            Some(Message { kind, len, body: &rest[..len.min(rest.len())], record, record_version })
        })
    }
}

/// Handshake types that exist, those of drafts in use included; anything else is not handshake in clear.
pub(crate) fn is_message(kind: u8) -> bool {
    matches!(kind, 0..=6 | 8 | 11..=16 | 20..=25 | 67 | 203 | 254)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::message;
    use proptest::prelude::*;

    fn told(handshake: &Handshake<'_>) -> Vec<(u8, Vec<u8>, bool)> {
        handshake.messages().map(|m| (m.kind, m.body.to_vec(), m.is_complete())).collect()
    }

    #[test]
    fn whole_records_are_not_copied() {
        let (one, two) = (message(2, &[1; 9]), message(11, &[2; 20]));
        let both = [&one[..], &two].concat();
        let mut handshake = Handshake::new(1000);
        handshake.push(&one, 0, 0x0303);
        handshake.push(&[], 14, 0x0303);
        handshake.push(&both, 19, 0x0303);
        handshake.push(&two[..7], 90, 0x0303);
        assert!(!handshake.spans);
        let records: Vec<usize> = handshake.messages().map(|message| message.record).collect();
        assert_eq!(records, [0, 19, 19, 90]);
        assert_eq!(told(&handshake).last().unwrap(), &(11, vec![2; 3], false));
        handshake.push(&two[7..], 200, 0x0303);
        assert!(handshake.spans);
        assert_eq!(told(&handshake).last().unwrap(), &(11, vec![2; 20], true));
    }

    proptest! {
        /// However a handshake is cut, and with whatever between, the messages are those of the whole.
        #[test]
        fn cuts_do_not_matter(
            bodies in prop::collection::vec((prop::sample::select(vec![1u8, 2, 11, 12, 16]), 0usize..60), 1..8),
            junk in prop::collection::vec(any::<u8>(), 0..9),
            cuts in prop::collection::vec(0usize..40, 0..30),
        ) {
            let mut bytes: Vec<u8> = bodies.iter().flat_map(|(kind, len)| message(*kind, &vec![*kind; *len])).collect();
            bytes.extend(junk);
            let mut whole = Handshake::new(10_000);
            whole.push(&bytes, 0, 0x0303);
            let mut cut = Handshake::new(10_000);
            let mut rest = &bytes[..];
            for len in cuts {
                let (now, later) = rest.split_at(len.min(rest.len()));
                cut.push(now, 0, 0x0303);
                rest = later;
            }
            cut.push(rest, 0, 0x0303);
            prop_assert_eq!(told(&cut), told(&whole));
            prop_assert_eq!(cut.len(), bytes.len());
        }
    }
}
