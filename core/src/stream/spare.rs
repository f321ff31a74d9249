//! Memory that prefixes pass on to each other.
//!
//! Most prefixes live for a few packets of a handshake. Asking the allocator for each of them costs more than what is
//! done with the bytes, so those of one shard hand their memory on; a shard of its own keeps what they hold independent of
//! how shards are spread over threads.

use super::StreamPrefix;

/// Sizes that are handed on: the headers of frames, a client's handshake, and servers'.
const SIZES: [usize; 4] = [192, 1024, 3072, 8192];

/// Pieces of memory of each size that wait for a use; every flow of an encrypted connection has two of the smallest.
const KEPT: [usize; SIZES.len()] = [64, 8, 8, 8];

/// Pairs that wait for a use.
const PAIRS: usize = 64;

/// Both directions of one flow.
pub type PrefixPair = Box<[StreamPrefix; 2]>;

/// Memory of prefixes that are no more, for those that come.
#[derive(Debug, Default)]
pub struct Spare {
    buffers: [Vec<Vec<u8>>; SIZES.len()],
    pairs: Vec<PrefixPair>,
}

impl Spare {
    /// An empty buffer for at least so many bytes, and for `most` where that is little more.
    pub(super) fn buffer(&mut self, bytes: usize, most: usize) -> Vec<u8> {
        match SIZES.iter().position(|size| *size >= bytes) {
            Some(at) => self.buffers[at].pop().unwrap_or_else(|| Vec::with_capacity(SIZES[at])),
            None => Vec::with_capacity(most.max(bytes)),
        }
    }

    /// Takes a buffer back.
    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        if let Some(at) = SIZES.iter().position(|size| *size == buffer.capacity())
            && self.buffers[at].len() < KEPT[at]
        {
            buffer.clear();
            self.buffers[at].push(buffer);
        }
    }

    /// Two prefixes without a byte.
    pub fn pair(&mut self) -> PrefixPair {
        self.pairs.pop().unwrap_or_default()
    }

    /// Takes both prefixes of a flow back.
    pub fn give_pair(&mut self, mut pair: PrefixPair) {
        for prefix in pair.iter_mut() {
            prefix.reset(self);
        }
        if self.pairs.len() < PAIRS {
            self.pairs.push(pair);
        }
    }
}
