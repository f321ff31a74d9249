use crate::engine::Detection;

/// Which flows are written: alerts, and those that have a category without being one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Selection {
    /// All flows, benign and unscored ones too.
    pub all: bool,
    /// Flows with at least this score, whatever their verdict.
    pub min_score: Option<f64>,
}

impl Selection {
    /// Whether a flow is written.
    pub fn takes(&self, detection: &Detection<'_>) -> bool {
        if self.all {
            return true;
        }
        match self.min_score {
            Some(least) => detection.scored.and_then(|scored| scored.score).is_some_and(|score| score >= least),
            None => detection.category.is_some(),
        }
    }
}

/// The door of a sink: what is written, and how much of it.
#[derive(Debug)]
pub(super) struct Door {
    selection: Selection,
    most: u64,
    room: u64,
    /// Room for early records: they take none of the final ones'.
    early_room: u64,
    turned_away: u64,
}

impl Door {
    /// For all that is selected.
    pub(super) fn new(selection: Selection) -> Self {
        Self { selection, most: u64::MAX, room: u64::MAX, early_room: u64::MAX, turned_away: 0 }
    }

    /// The same for the first `most` of them, and as many early records.
    pub(super) fn at_most(self, most: u64) -> Self {
        Self { most, room: most, early_room: most, ..self }
    }

    /// Has all its room again.
    pub(super) fn renew(&mut self) {
        (self.room, self.early_room) = (self.most, self.most);
    }

    /// Whether a flow is written; one for which there is no room is counted.
    pub(super) fn lets(&mut self, detection: &Detection<'_>) -> bool {
        if !self.selection.takes(detection) {
            return false;
        }
        let room = if detection.flow.is_early() { &mut self.early_room } else { &mut self.room };
        let lets = *room > 0;
        *room -= u64::from(lets);
        self.turned_away += u64::from(!lets);
        lets
    }

    /// Records that were selected and found no room.
    pub(super) fn turned_away(&self) -> u64 {
        self.turned_away
    }
}
