//! The bytes of CRYPTO frames in their order (RFC 9000 section 19.6), whatever order they come in.

use veilwatch_core::plugin::Piece;

/// One side's handshake as far as its Initial packets have it. The first copy of a byte wins.
#[derive(Debug, Default)]
pub(crate) struct Crypto {
    bytes: Vec<u8>,
    /// Of each byte, one more than where in its direction the packet stands that brought it; 0 where none has.
    from: Vec<u32>,
    /// More came than may be kept.
    pub(crate) cut: bool,
}

impl Crypto {
    /// Takes in the data of a frame out of the packet that stands at `packet`; of all, so many bytes are kept.
    pub(crate) fn take(&mut self, offset: u64, data: &[u8], packet: usize, most: usize) {
        let begin = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = begin.saturating_add(data.len());
        self.cut |= end > most;
        let end = end.min(most);
        if begin >= end {
            return;
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
            self.from.resize(end, 0);
        }
        let packet = u32::try_from(packet).unwrap_or(u32::MAX - 1) + 1;
        for ((byte, from), new) in self.bytes.iter_mut().zip(&mut self.from).skip(begin).zip(data) {
            if *from == 0 {
                (*byte, *from) = (*new, packet);
            }
        }
    }

    /// The bytes up to the first that is missing.
    pub(crate) fn bytes(&self) -> &[u8] {
        let len = self.from.iter().position(|from| *from == 0).unwrap_or(self.from.len());
        self.bytes.get(..len).unwrap_or_default()
    }

    /// Where these come from.
    pub(crate) fn pieces(&self) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for (at, from) in self.from.iter().take_while(|from| **from != 0).enumerate() {
            let from = *from as usize - 1;
            if pieces.last().is_none_or(|last| last.from != from) {
                pieces.push(Piece { at, from });
            }
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_copies_win_and_holes_end_it() {
        let mut crypto = Crypto::default();
        crypto.take(4, b"efgh", 100, 64);
        assert_eq!((crypto.bytes(), crypto.pieces()), (&b""[..], vec![]));
        crypto.take(0, b"abcdXX", 0, 64);
        crypto.take(9, b"j", 200, 64);
        assert_eq!(crypto.bytes(), b"abcdefgh");
        assert_eq!(crypto.pieces(), [Piece { at: 0, from: 0 }, Piece { at: 4, from: 100 }]);
        crypto.take(7, b"-i-", 300, 64);
        assert_eq!((crypto.bytes(), crypto.cut), (&b"abcdefghij"[..], false));
    }

    #[test]
    fn it_is_bounded() {
        let mut crypto = Crypto::default();
        crypto.take(u64::MAX >> 2, b"x", 0, 8);
        crypto.take(6, b"ghij", 0, 8);
        crypto.take(0, b"abcdef", 0, 8);
        assert_eq!((crypto.bytes(), crypto.cut), (&b"abcdefgh"[..], true));
    }

    proptest! {
        /// However a handshake is cut, shuffled and repeated, it comes out as it was.
        #[test]
        fn order_does_not_matter(
            bytes in prop::collection::vec(any::<u8>(), 1..300),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), 1usize..80), 0..40),
        ) {
            let mut crypto = Crypto::default();
            let whole = (0..bytes.len()).step_by(50).rev().map(|at| (at, 50));
            for (at, len) in cuts.iter().map(|(at, len)| (at.index(bytes.len()), *len)).chain(whole) {
                crypto.take(at as u64, &bytes[at..(at + len).min(bytes.len())], at, 4096);
            }
            prop_assert_eq!(crypto.bytes(), &bytes[..]);
        }
    }
}
