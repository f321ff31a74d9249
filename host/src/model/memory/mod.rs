//! What a model remembers of its training beside its weights (`memory.bin`): what traffic looked like there, and some of
//! its flows.
//!
//! It answers three questions. How new is a flow, compared with what was learnt from ([`Memory::novelty`])? Which flows of
//! training is it nearest to ([`Memory::nearest`])? Is today's traffic still what the model was made for
//! ([`drift`](crate::model::drift))? It is data alone, bounded, and may be anybody's until it was read.
//!
//! Flows are compared by the columns that the classifier uses most, each cut into bins at quantiles of training, so that no
//! unit and no odd value decides. The distance to the nearest of a few hundred flows that lie as far from each other as
//! they can is a flow's remoteness; its novelty is the share of flows that were less remote while they were held out of
//! training with all of their family, or all that was published with them.

mod bins;
mod bytes;
mod prototypes;
mod reference;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use bins::learn_all;
pub use bins::{Bins, MAX_EDGES, MISSING};
pub use prototypes::{COLUMNS, FAMILY_BYTES, Kind, LANDMARKS, MAX_PROTOTYPES, Neighbour, Place, Prototypes};
pub(crate) use reference::worth;
pub use reference::{Reference, Shares};

use bytes::{Flaw, Reader, put_count};

/// The word that a memory begins with: what it is, and the version of its layout.
const MAGIC: &[u8] = b"vw-memory-1";

/// Columns of a schema that a memory can be of, at most.
const MAX_WIDTH: usize = u16::MAX as usize;

/// Shares that remoteness is known for: novelty comes in steps of one in so many.
pub(crate) const KNOTS: usize = 1000;

/// What a model remembers.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// The bins of every column.
    bins: Vec<Bins>,
    reference: Reference,
    prototypes: Prototypes,
    /// Remoteness of flows that were held out, in rising order, at even shares of them.
    held_out: Vec<u16>,
}

impl Memory {
    /// One of these parts; `held_out` is how remote flows were that were held out, at even shares of them and in rising
    /// order.
    pub(crate) fn new(bins: Vec<Bins>, reference: Reference, prototypes: Prototypes, held_out: Vec<u16>) -> Self {
        Self { bins, reference, prototypes, held_out }
    }

    /// Columns of the rows that it is of.
    pub fn width(&self) -> usize {
        self.bins.len()
    }

    /// The bins of every column.
    pub fn bins(&self) -> &[Bins] {
        &self.bins
    }

    /// What benign traffic looked like.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The remembered flows.
    pub fn prototypes(&self) -> &Prototypes {
        &self.prototypes
    }

    /// How new a row is: the share of held-out training flows that were nearer to what was learnt from; nothing where that
    /// is not known.
    #[inline]
    pub fn novelty(&self, row: &[f32]) -> Option<f64> {
        let remoteness = self.prototypes.remoteness(&self.prototypes.place(row))?;
        (!self.held_out.is_empty()).then(|| self.share_below(remoteness))
    }

    /// The share of held-out flows that were less remote.
    pub(crate) fn share_below(&self, remoteness: u16) -> f64 {
        let nearer = self.held_out.partition_point(|known| *known < remoteness);
        nearer as f64 / self.held_out.len().max(1) as f64
    }

    /// The nearest remembered flow of each label and family, nearest first, and at most `most` of them.
    pub fn nearest(&self, row: &[f32], most: usize) -> Vec<Neighbour> {
        self.prototypes.nearest(&self.prototypes.place(row), most)
    }

    /// As bytes; the same memory gives the same ones.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_count(&mut out, self.bins.len());
        self.bins.iter().for_each(|bins| bins.write(&mut out));
        self.reference.write(&mut out);
        self.prototypes.write(&mut out);
        put_count(&mut out, self.held_out.len());
        out.extend(self.held_out.iter().flat_map(|known| known.to_le_bytes()));
        out
    }

    /// From bytes that may be anybody's.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Flaw> {
        let mut from = Reader::new(bytes, MAGIC)?;
        let width = from.count(MAX_WIDTH)?;
        let bins = (0..width).map(|_| Bins::read(&mut from)).collect::<Result<Vec<_>, _>>()?;
        let reference = Reference::read(&mut from, &bins)?;
        let prototypes = Prototypes::read(&mut from, &bins)?;
        let known = from.count(KNOTS)?;
        let held_out = (0..known).map(|_| from.u16()).collect::<Result<Vec<_>, _>>()?;
        from.end()?;
        if held_out.is_sorted() {
            Ok(Self { bins, reference, prototypes, held_out })
        } else {
            Err("what was held out is in no order")
        }
    }
}
