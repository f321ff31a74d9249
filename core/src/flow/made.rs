//! Bytes that a template made out of a flow, on their way to one that reads such contents.

use super::open::Writing;
use super::{Direction, Guest, Templates};
use crate::plugin::{Made, Piece, PluginError, RecordSink, StreamView};
use crate::record::{FieldStore, Mark};

/// What one parse hands on, and the bounds of that.
#[derive(Debug, Default)]
pub(super) struct Hands {
    made: Vec<Parcel>,
    /// Times that something may still be handed on.
    pub(super) left: u32,
    /// Bytes that are taken of each direction.
    pub(super) bytes: usize,
    /// It was done too often.
    pub(super) refused: bool,
    /// There were more bytes than are taken.
    pub(super) cut: bool,
}

/// Bytes that were handed on, with what they are.
#[derive(Debug)]
struct Parcel {
    contents: String,
    bytes: [Vec<u8>; 2],
    /// Where they come from, in the flow's own streams.
    pieces: [Vec<Piece>; 2],
}

/// Most bytes of the name of contents.
const NAME: usize = 64;
/// Most pieces of one direction whose origin is kept.
const PIECES: usize = 1024;

impl Hands {
    /// Bounds of one parse.
    pub(super) fn new(left: u32, bytes: usize) -> Self {
        Self { left, bytes, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// Takes in what a template hands on; `within` is what it had been handed itself.
    pub(super) fn take(&mut self, contents: &str, made: &Made<'_>, within: Option<&[Vec<Piece>; 2]>) {
        if self.left == 0 || contents.len() > NAME {
            self.refused = true;
            return;
        }
        self.left -= 1;
        self.cut |= made.bytes.iter().any(|bytes| bytes.len() > self.bytes);
        let pieces = |at: usize| {
            let pieces = made.pieces[at].iter().take(PIECES);
            pieces.map(|piece| Piece { from: origin(within, at, piece.from), ..*piece }).collect()
        };
        let most = self.bytes;
        self.made.push(Parcel {
            contents: contents.to_owned(),
            bytes: made.bytes.map(|bytes| bytes.get(..most).unwrap_or(bytes).to_vec()),
            pieces: [pieces(0), pieces(1)],
        });
    }
}

/// Where in the flow's own stream a byte comes from.
pub(super) fn origin(pieces: Option<&[Vec<Piece>; 2]>, direction: usize, offset: usize) -> usize {
    let Some(pieces) = pieces.and_then(|both| both.get(direction)) else { return offset };
    let after = pieces.partition_point(|piece| piece.at <= offset);
    after.checked_sub(1).and_then(|at| pieces.get(at)).map_or(0, |piece| piece.from)
}

/// What became of bytes that were handed on.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) guests: Vec<Guest>,
    pub(super) errors: Vec<(u8, PluginError)>,
    /// Values for which there was no room.
    pub(super) dropped: u64,
    pub(super) refused: bool,
    pub(super) cut: bool,
}

/// The flow in which something is handed on.
pub(super) struct Scene<'a> {
    /// Its template, which does not read what it made itself.
    pub(super) host: u8,
    /// Templates that handed the flow over before.
    pub(super) behind: usize,
    /// The flow as its template will see it next.
    pub(super) view: StreamView<'a>,
    pub(super) templates: &'a Templates,
    /// Templates that failed on this flow, and are asked no more.
    pub(super) failed: &'a [(u8, PluginError)],
}

/// Has everything read that `hands` holds, and what its readers hand on in turn; what they write is added to `fields`
/// and `marks`, by way of `aside`.
pub(super) fn read(
    mut hands: Hands,
    scene: &Scene<'_>,
    fields: &mut FieldStore,
    aside: &mut FieldStore,
    marks: &mut [Option<(Direction, usize)>; Mark::COUNT],
) -> Outcome {
    let Scene { host, behind, view, templates, failed } = *scene;
    let mut outcome = Outcome::default();
    while !hands.made.is_empty() {
        let Parcel { contents, bytes, pieces } = hands.made.remove(0);
        let inside =
            StreamView { forward: &bytes[0], backward: &bytes[1], framed: [None; 2], datagram_ends: [&[]; 2], ..view };
        for (at, template) in (0..).zip(templates.iter().take(64)) {
            let knows = |errors: &[(u8, PluginError)]| errors.iter().any(|(other, _)| *other == at);
            if at == host || knows(failed) || knows(&outcome.errors) {
                continue;
            }
            aside.clear();
            let mut target = Writing::to(aside, Hands::new(hands.left, hands.bytes));
            target.within = Some(&pieces);
            let said = template.parse_contents(&contents, &inside, &mut RecordSink::new(&mut target));
            let Writing { fields: written, marks: marked, refused, dropped, hands: deeper, .. } = target;
            match said {
                Ok(None) => continue,
                Err(error) => outcome.errors.push((at, error)),
                Ok(Some(_)) => {
                    outcome.dropped += dropped;
                    for (id, value) in written.iter() {
                        outcome.dropped += u64::from(!fields.set(id, value));
                    }
                    for (known, mark) in marks.iter_mut().zip(marked) {
                        *known = mark.or(*known);
                    }
                    hands.refused |= deeper.refused;
                    hands.cut |= deeper.cut;
                    hands.left = deeper.left;
                    hands.made.extend(deeper.made);
                    outcome.guests.push(Guest {
                        template: at,
                        behind,
                        fields: written.iter().map(|(id, _)| id).collect(),
                        marks: marked.map(|mark| mark.is_some()),
                        refused,
                    });
                }
            }
            break;
        }
    }
    (outcome.refused, outcome.cut) = (hands.refused, hands.cut);
    outcome
}

#[cfg(test)]
#[path = "made_tests.rs"]
mod tests;
