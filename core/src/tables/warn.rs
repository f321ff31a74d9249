use super::pattern::Anchors;
use super::{Facts, NamePattern, Warning};

/// Labels of a name that are looked at: no valid name has more.
const LABELS: usize = 127;

/// Warnings, each found by the first kind of fact it names: ports, else names, else bytes.
#[derive(Debug, Default)]
pub(super) struct WarnTable {
    /// Worst first, then by id.
    entries: Vec<Warning>,
    /// Single ports, in order.
    ports: Vec<(u16, u32)>,
    /// Warnings that name ranges of ports.
    ranges: Vec<u32>,
    /// Names, in order.
    names: Vec<(Box<str>, u32)>,
    anchors: Anchors,
    /// Warnings whose bytes may stand anywhere.
    floating: Vec<u32>,
}

impl WarnTable {
    pub(super) fn new(mut entries: Vec<Warning>) -> Self {
        entries.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
        let mut table = Self::default();
        for (at, entry) in (0_u32..).zip(&entries) {
            if !entry.ports.is_empty() {
                let single = |port: &&super::PortRange| port.first == port.last;
                table.ports.extend(entry.ports.iter().filter(single).map(|port| (port.first, at)));
                if !entry.ports.iter().all(|port| single(&port)) {
                    table.ranges.push(at);
                }
            } else if !entry.names.is_empty() {
                table.names.extend(entry.names.iter().map(|name| (name.name.clone(), at)));
            } else if entry.bytes.iter().any(super::Signature::floats) {
                table.floating.push(at);
            }
        }
        table.ports.sort_unstable();
        table.names.sort_unstable();
        let by_bytes = |entry: &Warning| entry.ports.is_empty() && entry.names.is_empty();
        table.anchors =
            Anchors::new(entries.iter().enumerate().filter(|(_, entry)| by_bytes(entry)).flat_map(|(at, entry)| {
                entry.bytes.iter().enumerate().map(move |(number, signature)| (at, number, signature))
            }));
        table.entries = entries;
        table
    }

    pub(super) fn get(&self, facts: &Facts<'_>) -> Vec<&Warning> {
        let mut found: Vec<u32> = Vec::new();
        let mut look = |at: u32| {
            if self.entries.get(at as usize).is_some_and(|entry| entry.fits(facts)) {
                found.push(at);
            }
        };
        let from = self.ports.partition_point(|(port, _)| *port < facts.port);
        self.ports[from..].iter().take_while(|(port, _)| *port == facts.port).for_each(|(_, at)| look(*at));
        self.ranges.iter().for_each(|at| look(*at));
        self.named(facts.name, &mut look);
        self.anchors.candidates(facts.bytes).for_each(|anchor| look(anchor.entry));
        self.floating.iter().for_each(|at| look(*at));
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|at| self.entries.get(at as usize)).collect()
    }

    /// Warnings whose name is this one, or stands above it.
    fn named(&self, name: &[u8], look: &mut impl FnMut(u32)) {
        let name = name.strip_suffix(b".").unwrap_or(name);
        if name.is_empty() || name.len() > NamePattern::BYTES {
            return;
        }
        let dots = name.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at + 1);
        for start in std::iter::once(0).chain(dots).take(LABELS) {
            let part = &name[start..];
            let order = |row: &str| row.bytes().cmp(part.iter().map(u8::to_ascii_lowercase));
            let from = self.names.partition_point(|(row, _)| order(row).is_lt());
            self.names[from..].iter().take_while(|(row, _)| order(row).is_eq()).for_each(|(_, at)| look(*at));
        }
    }

    pub(super) fn entries(&self) -> &[Warning] {
        &self.entries
    }
}
