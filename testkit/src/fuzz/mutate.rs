//! Inputs become other inputs.

use super::input::{Input, PIECE_BYTES, PIECES, Piece};
use crate::flows::Chance;
use std::collections::BTreeMap;

/// Most bytes of a mutated input: more than a flow keeps of both directions.
pub const INPUT_BYTES: usize = 40_000;

/// Most words of a dictionary.
const WORDS: usize = 512;

/// Bytes that programs treat as something special.
const BYTES: [u8; 12] = [0, 1, 2, 0x0a, 0x0d, 0x20, 0x22, 0x30, 0x7f, 0x80, 0xc0, 0xff];

/// Numbers at the edge of something.
const NUMBERS: [u32; 12] = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_ffff];

/// Changes inputs by chance, the same for the same seed: bits, bytes, blocks, numbers that may be lengths, words of the
/// protocol, pieces, and what two inputs have.
pub struct Mutator {
    chance: Chance,
    /// What occurs in the corpus: texts, and short strings of bytes that several entries have.
    words: Vec<Vec<u8>>,
}

impl Mutator {
    /// A mutator whose dictionary is taken from a corpus.
    pub fn new(seed: u64, corpus: &[Input]) -> Self {
        Self { chance: Chance(seed), words: words(corpus) }
    }

    /// A number below `limit`; 0 for a limit of 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.chance.below(limit as u64) as usize
    }

    /// A size from 1 on: a small one, and now and then one that may be large.
    fn size(&mut self, large: usize, small: usize) -> usize {
        let most = if self.below(8) == 0 { large } else { small };
        1 + self.below(most)
    }

    /// The input with one to eight changes; `other` lends what it has.
    pub fn mutate(&mut self, input: &Input, other: &Input) -> Input {
        let mut input = input.clone();
        input.how[1] = self.chance.below(256) as u8;
        let mut changes = 1;
        while changes < 8 && self.chance.below(2) == 0 {
            changes += 1;
        }
        for _ in 0..changes {
            match self.chance.below(8) {
                0 => self.pieces(&mut input, other),
                1 if self.chance.below(3) == 0 => input.how[0] ^= 1 << self.chance.below(8),
                _ => self.bytes(&mut input, other),
            }
        }
        let mut left = INPUT_BYTES;
        input.pieces.truncate(PIECES);
        for piece in &mut input.pieces {
            piece.bytes.truncate(left.min(PIECE_BYTES));
            left -= piece.bytes.len();
        }
        input
    }

    /// Changes which pieces there are, and how they come.
    fn pieces(&mut self, input: &mut Input, other: &Input) {
        let pieces = &mut input.pieces;
        let (at, to) = (self.below(pieces.len()), self.below(pieces.len()));
        if pieces.is_empty() {
            pieces.push(Piece::default());
            return;
        }
        match self.below(9) {
            0 => pieces.swap(at, to),
            1 => pieces.insert(to, pieces[at].clone()),
            2 if pieces.len() > 1 => drop(pieces.remove(at)),
            3 => {
                let cut = self.below(pieces[at].bytes.len() + 1);
                let rest = Piece { mark: pieces[at].mark, bytes: pieces[at].bytes.split_off(cut) };
                pieces.insert(at + 1, rest);
            }
            4 if at + 1 < pieces.len() => {
                let next = pieces.remove(at + 1);
                pieces[at].bytes.extend(next.bytes);
            }
            5 => pieces[at].mark ^= 1 << self.below(3),
            // What one side says, the other does.
            6 => pieces.iter_mut().for_each(|piece| piece.mark ^= Piece::BACKWARD),
            7 => {
                pieces.truncate(at + 1);
                let from = self.below(other.pieces.len());
                pieces.extend(other.pieces.iter().skip(from).cloned());
            }
            _ => {
                if let Some(piece) = other.pieces.get(self.below(other.pieces.len())) {
                    pieces.insert(to, piece.clone());
                }
            }
        }
    }

    /// Changes the bytes of one piece.
    fn bytes(&mut self, input: &mut Input, other: &Input) {
        let place = self.below(input.pieces.len());
        let Some(Piece { bytes, .. }) = input.pieces.get_mut(place) else { return };
        let at = self.below(bytes.len());
        if bytes.is_empty() {
            let len = 1 + self.below(16);
            bytes.extend(self.chance.bytes(len));
            return;
        }
        match self.below(14) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = BYTES[self.below(BYTES.len())],
            2 => bytes[at] = self.chance.below(256) as u8,
            3 => bytes[at] = bytes[at].wrapping_add(self.below(9) as u8).wrapping_sub(4),
            4 => {
                let number = NUMBERS[self.below(NUMBERS.len())];
                self.number(&mut bytes[at..], number);
            }
            // A length: of what is left of the piece, or near to it.
            5 | 6 => {
                let width = self.below(5);
                let left = bytes.len() - at - width.min(bytes.len() - at);
                let number = (left + self.below(5)).saturating_sub(2) as u32;
                self.number(&mut bytes[at..], number);
            }
            7 => {
                let len = self.size(2000, 12);
                let new = self.chance.bytes(len);
                bytes.splice(at..at, new);
            }
            8 => {
                let end = (at + 1 + self.below(32)).min(bytes.len());
                bytes.drain(at..end);
            }
            9 => bytes.truncate(at + 1),
            10 => {
                let block = self.block(bytes);
                bytes.splice(at..at, block);
            }
            11 => {
                let block = self.block(bytes);
                let times = self.size(400, 6);
                let new: Vec<u8> = block.iter().copied().cycle().take((block.len() * times).min(PIECE_BYTES)).collect();
                bytes.splice(at..at, new);
            }
            12 => {
                let from = self.below(other.pieces.len());
                let block = other.pieces.get(from).map(|piece| self.block(&piece.bytes)).unwrap_or_default();
                let end = if self.below(2) == 0 { at } else { (at + block.len()).min(bytes.len()) };
                bytes.splice(at..end, block);
            }
            _ => {
                let which = self.below(self.words.len());
                let word = self.words.get(which).cloned().unwrap_or_default();
                let end = if self.below(2) == 0 { at } else { (at + word.len()).min(bytes.len()) };
                bytes.splice(at..end, word);
            }
        }
    }

    /// Writes a number of one to four bytes, in either order, as far as there is room.
    fn number(&mut self, into: &mut [u8], number: u32) {
        let width = 1 + self.below(4);
        let mut digits = number.to_be_bytes();
        let digits = &mut digits[4 - width..];
        if self.below(3) == 0 {
            digits.reverse();
        }
        into.iter_mut().zip(digits).for_each(|(byte, digit)| *byte = *digit);
    }

    /// A block of these bytes.
    fn block(&mut self, bytes: &[u8]) -> Vec<u8> {
        let from = self.below(bytes.len());
        let len = self.size(bytes.len(), 24);
        bytes.iter().skip(from).take(len).copied().collect()
    }
}

/// Texts of a corpus, and strings of two and four bytes that several of its entries have.
fn words(corpus: &[Input]) -> Vec<Vec<u8>> {
    let mut texts: BTreeMap<&[u8], usize> = BTreeMap::new();
    let mut short: BTreeMap<&[u8], (usize, usize)> = BTreeMap::new();
    for (at, input) in corpus.iter().enumerate() {
        for piece in &input.pieces {
            let text = piece.bytes.split(|byte| !byte.is_ascii_graphic()).filter(|text| (3..=32).contains(&text.len()));
            text.for_each(|text| *texts.entry(text).or_default() += 1);
            for part in piece.bytes.windows(2).chain(piece.bytes.windows(4)) {
                let (entries, last) = short.entry(part).or_insert((0, usize::MAX));
                *entries += usize::from(*last != at);
                *last = at;
            }
        }
    }
    let mut often: Vec<(&[u8], usize)> = texts.into_iter().collect();
    often.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    often.truncate(WORDS / 2);
    let mut shared: Vec<(&[u8], usize)> = short.into_iter().map(|(word, (entries, _))| (word, entries)).collect();
    shared.retain(|(_, entries)| *entries > 1);
    shared.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    shared.truncate(WORDS / 2);
    often.into_iter().chain(shared).map(|(word, _)| word.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus() -> Vec<Input> {
        [&b"\x02\0\0\x0eGET / HTTP/1.1\x20\x08HTTP/1.1"[..], b"\0\0\0\x0fPOST / HTTP/1.1"].map(Input::decode).to_vec()
    }

    #[test]
    fn the_same_seed_gives_the_same_inputs_and_another_one_others() {
        let run = |seed| {
            let (corpus, mut inputs) = (corpus(), Vec::new());
            let mut mutator = Mutator::new(seed, &corpus);
            (0..200).for_each(|at| inputs.push(mutator.mutate(&corpus[at % 2], &corpus[(at + 1) % 2])));
            inputs
        };
        assert_eq!(run(1), run(1));
        let (one, other) = (run(1), run(2));
        assert!(one.iter().zip(&other).filter(|(one, other)| one == other).count() < 20);
        let distinct: std::collections::BTreeSet<Vec<u8>> = one.iter().map(Input::encode).collect();
        assert!(distinct.len() > 150, "{}", distinct.len());
    }

    #[test]
    fn mutated_inputs_keep_within_bounds_however_long_it_goes_on() {
        let mut pool = corpus();
        let mut mutator = Mutator::new(3, &pool);
        for round in 0..20_000 {
            let next = mutator.mutate(&pool[round % pool.len()], &pool[round * 7 % pool.len()]);
            assert!(next.len() <= INPUT_BYTES && next.pieces.len() <= PIECES);
            assert_eq!(Input::decode(&next.encode()), next);
            if pool.len() < 40 { pool.push(next) } else { pool[round % 40] = next }
        }
    }

    #[test]
    fn words_are_those_of_the_protocol() {
        let words = words(&corpus());
        assert!(words.contains(&b"HTTP/1.1".to_vec()) && words.contains(&b"POST".to_vec()));
        assert!(words.contains(&b"T /".to_vec()[..2].to_vec()));
    }
}
