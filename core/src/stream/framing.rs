//! Streams of which only the headers are kept.
//!
//! Once a connection is encrypted, what its frames hold says nothing, but how long they are does. A template that has read
//! so far tells how frames announce their lengths, and from there on a prefix keeps the headers and leaves out the bodies.

/// How one direction goes on: frames of a header and a body, the header with the length of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// Where the first header begins, among the bytes that are kept.
    pub at: usize,
    /// Bytes of a header.
    pub header: u8,
    /// Where in the header the body's length stands, big-endian.
    pub length_at: u8,
    /// Bytes of that length, 1 to 4.
    pub length_bytes: u8,
    /// Bodies of up to so many bytes are kept all the same.
    pub keep: u16,
}

impl Framing {
    /// Whether the length lies in the header.
    pub(crate) fn is_possible(&self) -> bool {
        let end = self.length_at.checked_add(self.length_bytes);
        (1..=4).contains(&self.length_bytes) && end.is_some_and(|end| end <= self.header)
    }
}

/// What a template sees of a direction whose frames' bodies are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framed {
    /// Where the first header begins, among the bytes that are kept.
    pub at: usize,
    /// Bytes of the last frame that are still to come.
    pub missing: usize,
}

/// A framing and how far it has come.
#[derive(Debug, Clone)]
pub(super) struct Frames {
    how: Framing,
    /// Bytes of the current header that are there.
    have: usize,
    /// Bytes of the current body that are still to come.
    left: usize,
    /// Whether these are kept.
    kept: bool,
}

impl Frames {
    pub(super) fn new(how: Framing) -> Self {
        Self { how, have: 0, left: 0, kept: false }
    }

    /// Takes in what comes next, and appends what is kept of it.
    pub(super) fn take(&mut self, mut bytes: &[u8], data: &mut Vec<u8>) {
        let header = usize::from(self.how.header);
        while !bytes.is_empty() {
            if self.left > 0 {
                let (body, rest) = bytes.split_at(self.left.min(bytes.len()));
                if self.kept {
                    data.extend_from_slice(body);
                }
                self.left -= body.len();
                bytes = rest;
                continue;
            }
            let (part, rest) = bytes.split_at((header - self.have).min(bytes.len()));
            data.extend_from_slice(part);
            self.have += part.len();
            bytes = rest;
            if self.have == header {
                let length = &data[data.len() - header + usize::from(self.how.length_at)..];
                let length = &length[..usize::from(self.how.length_bytes)];
                self.left = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
                self.kept = self.left <= usize::from(self.how.keep);
                self.have = 0;
            }
        }
    }

    pub(super) fn seen(&self) -> Framed {
        let header = if self.have > 0 { usize::from(self.how.header) - self.have } else { 0 };
        Framed { at: self.how.at, missing: self.left + header }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PrefixLimits, Spare, StreamPrefix};
    use super::*;
    use proptest::prelude::*;

    const HOW: Framing = Framing { at: 0, header: 3, length_at: 1, length_bytes: 2, keep: 2 };

    /// A frame of type 7 with a body of this length.
    fn frame(len: usize) -> Vec<u8> {
        [&[7, (len >> 8) as u8, len as u8][..], &vec![9; len]].concat()
    }

    #[test]
    fn a_framing_whose_length_lies_elsewhere_is_none() {
        for how in [
            Framing { length_bytes: 0, ..HOW },
            Framing { length_at: 2, ..HOW },
            Framing { length_at: 255, length_bytes: 4, header: 255, ..HOW },
            Framing { at: 4, ..HOW },
        ] {
            let mut prefix = StreamPrefix::default();
            prefix.push(0, b"\x07\0\x01", false, 1, PrefixLimits { bytes: 100, waiting: 4 }, &mut Spare::default());
            prefix.frame(how, &mut Spare::default());
            assert_eq!(prefix.framed(), None, "{how:?}");
        }
    }

    #[test]
    fn headers_lead_to_their_packets() {
        let limits = PrefixLimits { bytes: 1000, waiting: 4 };
        let mut prefix = StreamPrefix::default();
        let stream = [&b"hello"[..], &frame(100), &frame(1), &frame(50)].concat();
        prefix.push(0, &stream[..60], false, 1, limits, &mut Spare::default());
        prefix.frame(Framing { at: 5, ..HOW }, &mut Spare::default());
        for (number, from) in (60..stream.len()).step_by(30).enumerate() {
            let to = (from + 30).min(stream.len());
            prefix.push(from as u32, &stream[from..to], false, number as u64 + 2, limits, &mut Spare::default());
        }
        assert_eq!(prefix.bytes(), b"hello\x07\0\x64\x07\0\x01\x09\x07\0\x32");
        assert_eq!(prefix.framed(), Some(Framed { at: 5, missing: 0 }));
        // 60 bytes in the first packet, 30 in each later one: the second frame begins at 108, the third at 112.
        assert_eq!([0, 5, 8, 12].map(|at| prefix.packet_at(at)), [Some(1), Some(1), Some(3), Some(3)]);
    }

    proptest! {
        /// However a stream is cut and mixed up, and whenever its framing becomes known, what is kept is the same.
        #[test]
        fn what_is_kept_does_not_depend_on_segments(
            lens in prop::collection::vec(0usize..40, 1..12),
            begin in 0usize..20,
            end in 0usize..400,
            known_after in 0usize..10,
            cuts in prop::collection::vec((0usize..400, 1usize..60), 1..20),
        ) {
            let mut stream = vec![1; begin];
            let mut kept = stream.clone();
            for len in &lens {
                let frame = frame(*len);
                let left = end.saturating_sub(stream.len()).min(frame.len());
                kept.extend_from_slice(&frame[..left.min(if *len <= 2 { frame.len() } else { 3 })]);
                stream.extend(frame);
            }
            let stream = &stream[..stream.len().min(end.max(begin))];
            let limits = PrefixLimits { bytes: 10_000, waiting: 100 };
            let mut pieces: Vec<(usize, usize)> = cuts.into_iter().map(|(at, len)| (at % stream.len().max(1), len)).collect();
            pieces.insert(0, (0, begin));
            pieces.extend((0..stream.len()).step_by(15).rev().map(|at| (at, 15)));
            let mut prefix = StreamPrefix::default();
            prefix.anchor(u32::MAX);
            for (number, (at, len)) in pieces.into_iter().enumerate() {
                if number == known_after.max(1) {
                    prefix.frame(Framing { at: begin, ..HOW }, &mut Spare::default());
                }
                let bytes = &stream[at..(at + len).min(stream.len())];
                prop_assert_ne!(
                    prefix.push(at as u32, bytes, false, number as u64, limits, &mut Spare::default()),
                    super::super::Pushed::Conflict
                );
            }
            prefix.frame(Framing { at: begin, ..HOW }, &mut Spare::default());
            prop_assert_eq!(prefix.bytes(), &kept[..]);
        }
    }
}
