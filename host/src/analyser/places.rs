use super::Place;
use veilwatch_core::packet::LinkType;

/// Places of packets in columns: captures have millions of packets, of which nearly all have much in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Places {
    pieces: Vec<Piece>,
    len: usize,
}

/// Packets of one piece.
const PIECE: usize = 4096;

/// So many packets in a row. Pieces never move and never grow past that: nothing is copied when there are more.
#[derive(Debug, Clone, PartialEq)]
struct Piece {
    /// Where the first packet lies.
    offset: u64,
    /// What the first packet begins with.
    link: LinkType,
    times: Vec<u64>,
    /// Bytes between the first packet's place and theirs.
    behind: Vec<u32>,
    lens: Vec<u32>,
    flows: Vec<u32>,
    /// Bytes on the wire that were not captured; [`ODD`] of one that does not fit the columns.
    missing: Vec<u16>,
    /// Those, by where they stand in the piece.
    odd: Vec<(u16, Place)>,
}

/// Says that a packet is among the odd ones.
const ODD: u16 = u16::MAX;

impl Piece {
    fn beginning(place: &Place) -> Self {
        Self {
            offset: place.offset,
            link: place.link,
            times: Vec::with_capacity(PIECE),
            behind: Vec::with_capacity(PIECE),
            lens: Vec::with_capacity(PIECE),
            flows: Vec::with_capacity(PIECE),
            missing: Vec::with_capacity(PIECE),
            odd: Vec::new(),
        }
    }

    fn push(&mut self, place: Place) {
        let behind = place.offset.checked_sub(self.offset).and_then(|behind| u32::try_from(behind).ok());
        let missing = place.wire_len.checked_sub(place.len).and_then(|missing| u16::try_from(missing).ok());
        let fits = behind.zip(missing).filter(|(_, missing)| *missing != ODD && place.link == self.link);
        if fits.is_none() {
            self.odd.push((self.times.len() as u16, place));
        }
        let (behind, missing) = fits.unwrap_or((0, ODD));
        self.times.push(place.time_ns);
        self.behind.push(behind);
        self.lens.push(place.len);
        self.flows.push(place.flow);
        self.missing.push(missing);
    }

    fn get(&self, at: usize) -> Option<Place> {
        let missing = *self.missing.get(at)?;
        if missing == ODD {
            let odd = self.odd.binary_search_by_key(&at, |(at, _)| usize::from(*at)).ok()?;
            return self.odd.get(odd).map(|(_, place)| *place);
        }
        let len = *self.lens.get(at)?;
        Some(Place {
            time_ns: *self.times.get(at)?,
            offset: self.offset + u64::from(*self.behind.get(at)?),
            len,
            wire_len: len + u32::from(missing),
            flow: *self.flows.get(at)?,
            link: self.link,
        })
    }
}

impl Places {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes one more in.
    pub(super) fn push(&mut self, place: Place) {
        if self.len.is_multiple_of(PIECE) {
            self.pieces.push(Piece::beginning(&place));
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.push(place);
            self.len += 1;
        }
    }

    /// The one with so many before it.
    pub(super) fn get(&self, at: usize) -> Option<Place> {
        self.pieces.get(at / PIECE)?.get(at % PIECE)
    }

    /// Those with so many before them, and all behind.
    pub(super) fn from(&self, at: usize) -> impl Iterator<Item = Place> {
        (at..self.len).map_while(|at| self.get(at))
    }

    /// Which of them are of a flow, from one on.
    pub(super) fn of_flow(&self, flow: u32, from: usize) -> impl Iterator<Item = usize> {
        let pieces = self.pieces.iter().enumerate().skip(from / PIECE);
        pieces.flat_map(move |(at, piece)| {
            let begin = at * PIECE;
            let skipped = from.saturating_sub(begin);
            let flows = piece.flows.iter().enumerate().skip(skipped);
            flows.filter(move |(_, its)| **its == flow).map(move |(at, _)| begin + at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_comes_out() {
        let mut places = Places::default();
        let mut wanted = Vec::new();
        for at in 0..3 * PIECE as u64 + 5 {
            let place = Place {
                time_ns: at * at,
                // A file that is not in order, lengths that lie, links that change, and places far apart.
                offset: if at % 500 == 3 { 7 } else { at * 1000 + (at / 5000) * (1 << 33) },
                len: (at % 1500) as u32,
                wire_len: if at % 700 == 1 { 0 } else { (at % 1500) as u32 + (at % 100_000) as u32 },
                flow: (at % 13) as u32,
                link: LinkType(u16::from(at % 900 == 2)),
            };
            places.push(place);
            wanted.push(place);
        }
        assert_eq!(places.len(), wanted.len());
        assert_eq!(places.from(0).collect::<Vec<_>>(), wanted);
        assert_eq!(places.from(PIECE + 3).next(), wanted.get(PIECE + 3).copied());
        assert!(places.get(wanted.len()).is_none() && places.from(wanted.len() + PIECE).next().is_none());
        for from in [0, 1, PIECE - 1, PIECE, 2 * PIECE + 77, wanted.len()] {
            let of: Vec<usize> = (from..wanted.len()).filter(|at| wanted[*at].flow == 5).collect();
            assert_eq!(places.of_flow(5, from).collect::<Vec<_>>(), of);
        }
    }
}
