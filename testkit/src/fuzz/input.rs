//! Bytes become pieces of a conversation.

use crate::talk::Talk;
use veilwatch_core::flow::{Direction, FlowLimits};

/// Most pieces of one input.
pub const PIECES: usize = 64;

/// Most bytes of one piece.
pub const PIECE_BYTES: usize = 0x1fff;

/// Ports that responders listen at, by the upper half of the first byte.
const PORTS: [u16; 16] = [443, 80, 25, 21, 110, 143, 119, 5222, 389, 53, 67, 161, 5060, 3478, 445, 51_820];

/// What a fuzzer's bytes say: two bytes of how, and pieces.
///
/// Each piece is two bytes of head, big-endian, and its bytes: three bits of mark, then the length, which is cut to what is
/// there. So every byte string is an input, and what comes behind the last piece that may be there is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Input {
    /// How the pieces are read; what the bits mean is the target's. Of a conversation see [`Input::talk`].
    pub how: [u8; 2],
    /// The pieces: packets, messages, frames, or blocks of a file.
    pub pieces: Vec<Piece>,
}

/// A piece of an input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Piece {
    /// Three bits: of a conversation [`BACKWARD`](Self::BACKWARD), [`LATE`](Self::LATE), [`LOST`](Self::LOST).
    pub mark: u8,
    /// Its bytes, at most [`PIECE_BYTES`].
    pub bytes: Vec<u8>,
}

impl Piece {
    /// The responder says it.
    pub const BACKWARD: u8 = 1;
    /// It comes behind the piece that follows it.
    pub const LATE: u8 = 2;
    /// It was sent, and is not in the capture.
    pub const LOST: u8 = 4;

    fn is(&self, mark: u8) -> bool {
        self.mark & mark != 0
    }
}

impl Input {
    /// Over UDP; else over TCP.
    pub const UDP: u8 = 1;
    /// It begins with TCP's handshake.
    pub const OPENED: u8 = 2;
    /// It ends with FIN.
    pub const CLOSED: u8 = 4;
    /// Little is kept of it, so that limits are met.
    pub const SMALL: u8 = 8;

    /// Takes bytes apart.
    pub fn decode(bytes: &[u8]) -> Self {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let mut input = Self { how: [byte(0), byte(1)], pieces: Vec::new() };
        let mut rest = bytes.get(2..).unwrap_or_default();
        while let Some((head, behind)) = rest.split_first_chunk()
            && input.pieces.len() < PIECES
        {
            let head = u16::from_be_bytes(*head);
            let (bytes, left) = behind.split_at(behind.len().min(usize::from(head) & PIECE_BYTES));
            input.pieces.push(Piece { mark: (head >> 13) as u8, bytes: bytes.to_vec() });
            rest = left;
        }
        input
    }

    /// The bytes that [`decode`](Self::decode) makes it of.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.how.to_vec();
        for piece in self.pieces.iter().take(PIECES) {
            let len = piece.bytes.len().min(PIECE_BYTES);
            bytes.extend(((u16::from(piece.mark & 7) << 13) | len as u16).to_be_bytes());
            bytes.extend(&piece.bytes[..len]);
        }
        bytes
    }

    /// An input of what was said, as a seed.
    pub fn of(talk: &Talk) -> Self {
        let mut input = Self::default();
        let tcp = talk.packets().iter().any(|packet| packet.tcp.is_some());
        input.how[0] |= if tcp { 0 } else { Self::UDP };
        input.how[0] |= Self::port(talk.ports()[1]);
        for packet in talk.packets() {
            if packet.payload.is_empty() {
                input.how[0] |= if input.pieces.is_empty() { Self::OPENED } else { Self::CLOSED };
            }
            for bytes in packet.payload.chunks(PIECE_BYTES) {
                input.pieces.push(Piece { mark: packet.direction.index() as u8, bytes: bytes.to_vec() });
            }
        }
        input.pieces.truncate(PIECES);
        input
    }

    /// How a responder's port is said, where it is one that is known; else that of HTTPS.
    pub fn port(port: u16) -> u8 {
        (PORTS.iter().position(|known| *known == port).unwrap_or_default() as u8) << 4
    }

    /// Bytes of all pieces.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes.len()).sum()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn has(&self, bit: u8) -> bool {
        self.how[0] & bit != 0
    }

    /// Whether the conversation is over UDP.
    pub fn is_udp(&self) -> bool {
        self.has(Self::UDP)
    }

    /// The limits of the flow table that reads it.
    pub fn limits(&self) -> FlowLimits {
        let all = FlowLimits::default();
        if !self.has(Self::SMALL) {
            return all;
        }
        FlowLimits { prefix_bytes: 600, prefix_waiting: 2, hand_overs: 1, probe_datagrams: 2, ..all }
    }

    fn begin(&self) -> Talk {
        let talk = if self.is_udp() { Talk::udp() } else { Talk::tcp() };
        talk.at_port(PORTS[usize::from(self.how[0] >> 4)])
    }

    /// The conversation, packet by packet as pieces say.
    pub fn talk(&self) -> Talk {
        let mut talk = self.begin();
        if self.has(Self::OPENED) {
            talk = talk.open();
        }
        let mut waits = false;
        for piece in &self.pieces {
            let direction = side(piece);
            let before = talk.packets().len();
            talk = if piece.is(Piece::LOST) {
                talk.lose(direction, &piece.bytes)
            } else {
                talk.say(direction, &piece.bytes)
            };
            if waits && talk.packets().len() > before {
                talk = talk.late();
                waits = false;
            }
            waits |= piece.is(Piece::LATE) && talk.packets().len() > before;
        }
        if self.has(Self::CLOSED) { talk.close() } else { talk }
    }

    /// What each side says, in one piece.
    pub fn streams(&self) -> [Vec<u8>; 2] {
        let mut streams = [Vec::new(), Vec::new()];
        for piece in self.pieces.iter().filter(|piece| !piece.is(Piece::LOST)) {
            streams[side(piece).index()].extend(&piece.bytes);
        }
        streams
    }

    /// One side after the other, in segments of so many bytes.
    pub(super) fn cut(&self, streams: &[Vec<u8>; 2], segment: usize, opened: bool) -> Talk {
        let talk = if opened { self.begin().open() } else { self.begin() };
        let [forward, backward] = streams.each_ref().map(|stream| stream.chunks(segment.max(1)));
        backward.fold(forward.fold(talk, Talk::forward), Talk::backward)
    }
}

fn side(piece: &Piece) -> Direction {
    if piece.is(Piece::BACKWARD) { Direction::Backward } else { Direction::Forward }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_apart_is_put_together_again() {
        for bytes in [&b"\x03\0\0\x02hi\x20\x01!"[..], b"\0\0", b"\x01\x07\x60\x00\x80\x03abc"] {
            assert_eq!(Input::decode(bytes).encode(), bytes);
        }
        // A length that is not there is cut, and what is too short for a head is left out.
        assert_eq!(Input::decode(b"\0\0\x1f\xffabc").encode(), b"\0\0\0\x03abc");
        assert_eq!(Input::decode(b"\x05"), Input { how: [5, 0], pieces: Vec::new() });
        assert_eq!(Input::decode(&[0; 4096]).pieces.len(), PIECES);
    }

    #[test]
    fn pieces_become_packets() {
        let input = Input::decode(b"\x16\0\0\x01a\x40\x01b\x20\x01c\x80\x01d\0\x01e");
        let talk = input.talk();
        // `b` waits for `c`, which the other side says; of `d` there is only a hole.
        assert_eq!(talk.lines(), "> a\n< c\n> b\n> e\n");
        let seq = |at: usize| talk.packets()[at].tcp.map(|tcp| tcp.seq);
        assert_eq!((seq(3), seq(5), seq(6)), (Some(1001), Some(1002), Some(1004)));
        assert!(talk.packets().is_sorted_by_key(|packet| packet.time_ns));
        assert_eq!((talk.ports()[1], talk.packets().len()), (80, 10));
        assert_eq!(input.streams(), [b"abe".to_vec(), b"c".to_vec()]);
    }

    #[test]
    fn a_talk_is_an_input_again() {
        let talk = Talk::tcp()
            .between("10.0.0.1:50000", "192.0.2.1:25")
            .open()
            .backward(b"220 a\r\n")
            .forward(b"QUIT\r\n")
            .close();
        let input = Input::of(&talk);
        assert_eq!(input.talk(), talk);
        assert_eq!(Input::decode(&input.encode()), input);
        let talk = Talk::udp().between("10.0.0.1:50000", "192.0.2.1:53").forward(b"q").backward(b"a");
        assert_eq!(Input::of(&talk).talk(), talk);
    }
}
