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
        let of_ports = || by_port.iter().filter_map(|at| entries.get(*at as usize));
        let spoken_of = Transport::ALL.map(|transport| {
            let theirs = || of_ports().filter(|entry| entry.transport.is_none_or(|its| its == transport));
            let mut words =
                if theirs().next().is_some() { vec![0; usize::from(u16::MAX) / 64 + 1] } else { Vec::new() };
            for range in theirs().flat_map(|entry| &entry.ports) {
                for port in range.first..=range.last {
                    if let Some(word) = words.get_mut(usize::from(port / 64)) {
                        *word |= 1 << (port % 64);
                    }
                }
            }
            words
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
