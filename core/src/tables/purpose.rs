use super::names::NameIndex;
use super::{Asked, Purpose, Strength, Transport};

/// A server of which only this is known.
fn around(transport: Transport, port: u16) -> Asked<'static> {
    Asked { transport, port, name: b"", agent: b"" }
}

/// Purposes of names and of ports.
#[derive(Debug, Default)]
pub(super) struct PurposeTable {
    /// By id.
    entries: Vec<Purpose>,
    names: NameIndex,
    /// Those that are found by their ports alone.
    by_port: Vec<u32>,
    /// By transport, a bit for each port of which any of those may speak: every flow is asked about.
    spoken_of: [Vec<u64>; 3],
}

impl PurposeTable {
    pub(super) fn new(mut entries: Vec<Purpose>) -> Self {
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        let names = (0_u32..)
            .zip(&entries)
            .flat_map(|(at, entry)| entry.names.iter().map(move |pattern| (pattern.name.clone(), at)));
        let names = NameIndex::new(names.collect());
        let by_port: Vec<u32> =
            (0_u32..).zip(&entries).filter(|(_, entry)| entry.names.is_empty()).map(|(at, _)| at).collect();
        let spoken_of = Transport::ALL.map(|transport| {
            let any = |port| {
                by_port.iter().any(|at| {
                    entries.get(*at as usize).is_some_and(|entry| entry.fits_around(&around(transport, port)))
                })
            };
            let word = |first: u16| (0..64).fold(0, |word, bit| word | u64::from(any(first + bit)) << bit);
            if by_port.is_empty() { Vec::new() } else { (0..=u16::MAX).step_by(64).map(word).collect() }
        });
        Self { names, by_port, spoken_of, entries }
    }

    /// What a name is for, by the entry that names most of it; of several that name as much, a strong one.
    pub(super) fn of_name(&self, asked: &Asked<'_>) -> Option<&Purpose> {
        let mut best: Option<(usize, bool, Strength, &Purpose)> = None;
        self.names.find(asked.name, |at| {
            let Some(entry) = self.entries.get(at as usize).filter(|entry| entry.fits_around(asked)) else {
                return;
            };
            for pattern in entry.names.iter().filter(|pattern| pattern.matches(asked.name)) {
                let found = (pattern.name.len(), !pattern.under, entry.strength, entry);
                if best.is_none_or(|best| (best.0, best.1, best.2) < (found.0, found.1, found.2)) {
                    best = Some(found);
                }
            }
        });
        best.map(|(.., entry)| entry)
    }

    /// What a port is for, with the entry's place.
    pub(super) fn of_port(&self, transport: Transport, port: u16) -> Option<(u16, &Purpose)> {
        let word = self.spoken_of[transport as usize].get(usize::from(port / 64))?;
        if word >> (port % 64) & 1 == 0 {
            return None;
        }
        self.by_port.iter().find_map(|at| {
            let entry = self.entries.get(*at as usize).filter(|entry| entry.fits_around(&around(transport, port)))?;
            Some((u16::try_from(*at).ok()?, entry))
        })
    }

    pub(super) fn entries(&self) -> &[Purpose] {
        &self.entries
    }
}
