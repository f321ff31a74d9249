use super::names::NameIndex;
use super::pattern::{Anchors, FLOATING_REACH};
use super::{Facts, Signature, Transport, Warning};
use aho_corasick::{AhoCorasick, MatchKind};

/// Warnings, each found by the first kind of fact it names: ports, else names, else bytes.
#[derive(Debug, Default)]
pub(super) struct WarnTable {
    /// Worst first, then by id.
    entries: Vec<Warning>,
    /// Single ports, in order.
    ports: Vec<(u16, u32)>,
    /// Warnings that name ranges of ports.
    ranges: Vec<u32>,
    names: NameIndex,
    anchors: Anchors,
    /// Warnings whose bytes may stand anywhere.
    floating: Vec<u32>,
    /// By transport.
    watch: [Watch; 3],
}

/// What is looked for in payload, packet by packet: most packets hold none of it, and should cost little.
#[derive(Debug, Default)]
struct Watch {
    /// All signatures that begin at a place, by it.
    anchors: Anchors,
    /// Warnings with a signature that has no place at all.
    floating: Vec<u32>,
    texts: Texts,
}

/// One text of each signature that has no place: where none of them is, no such signature fits.
#[derive(Debug, Default)]
enum Texts {
    #[default]
    None,
    Some(AhoCorasick),
    /// More than can be looked for at once: each signature is looked for by itself.
    TooMany,
}

impl Watch {
    /// Of the warnings that may speak of this transport.
    fn new(entries: &[Warning], transport: Transport) -> Self {
        let entries =
            || (0..).zip(entries).filter(move |(_, entry)| entry.transport.is_none_or(|its| its == transport));
        let signatures = entries().flat_map(|(at, entry)| {
            entry.bytes.iter().enumerate().map(move |(number, signature)| (at as usize, number, signature))
        });
        let floats = |entry: &Warning| entry.bytes.iter().any(Signature::floats);
        let floating = entries().filter(|(_, entry)| floats(entry)).map(|(at, _)| at).collect();
        let texts = entries().flat_map(|(_, entry)| &entry.bytes).filter(|signature| signature.floats());
        let texts: Vec<Vec<u8>> = texts.map(Signature::longest_text).collect();
        let texts = match texts.as_slice() {
            [] => Texts::None,
            texts => {
                // Which of them is found does not matter, and one that begins within another is found all the same.
                let searcher = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(texts);
                searcher.map_or(Texts::TooMany, Texts::Some)
            }
        };
        Self { anchors: Anchors::new(signatures), floating, texts }
    }
}

/// Places of warnings that fit.
#[derive(Default)]
struct Found(Vec<u16>);

impl Found {
    fn add(&mut self, at: u32, fits: bool) {
        self.0.extend(u16::try_from(at).ok().filter(|_| fits));
    }

    /// In order, each once.
    fn places(mut self) -> Vec<u16> {
        self.0.sort_unstable();
        self.0.dedup();
        self.0
    }
}

impl WarnTable {
    pub(super) fn new(mut entries: Vec<Warning>) -> Self {
        entries.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
        let mut table = Self::default();
        let mut names = Vec::new();
        for (at, entry) in (0_u32..).zip(&entries) {
            if !entry.ports.is_empty() {
                let single = |port: &&super::PortRange| port.first == port.last;
                table.ports.extend(entry.ports.iter().filter(single).map(|port| (port.first, at)));
                if !entry.ports.iter().all(|port| single(&port)) {
                    table.ranges.push(at);
                }
            } else if !entry.names.is_empty() {
                names.extend(entry.names.iter().map(|name| (name.name.clone(), at)));
            } else if entry.bytes.iter().any(super::Signature::floats) {
                table.floating.push(at);
            }
        }
        table.ports.sort_unstable();
        table.names = NameIndex::new(names);
        let by_bytes = |entry: &Warning| entry.ports.is_empty() && entry.names.is_empty();
        table.anchors =
            Anchors::new(entries.iter().enumerate().filter(|(_, entry)| by_bytes(entry)).flat_map(|(at, entry)| {
                entry.bytes.iter().enumerate().map(move |(number, signature)| (at, number, signature))
            }));
        table.watch = Transport::ALL.map(|transport| Watch::new(&entries, transport));
        table.entries = entries;
        table
    }

    pub(super) fn get(&self, facts: &Facts<'_>) -> Vec<&Warning> {
        let mut found = Found::default();
        let mut look = |at: u32| found.add(at, self.entries.get(at as usize).is_some_and(|entry| entry.fits(facts)));
        self.around(facts.port, &[facts.name], &mut look);
        self.anchors.candidates(facts.bytes).for_each(|anchor| look(anchor.entry));
        self.floating.iter().for_each(|at| look(*at));
        found.places().into_iter().filter_map(|at| self.entries.get(usize::from(at))).collect()
    }

    /// Looks at the warnings that are found by their ports or names.
    fn around(&self, port: u16, names: &[&[u8]], look: &mut impl FnMut(u32)) {
        let from = self.ports.partition_point(|(other, _)| *other < port);
        self.ports[from..].iter().take_while(|(other, _)| *other == port).for_each(|(_, at)| look(*at));
        self.ranges.iter().for_each(|at| look(*at));
        names.iter().for_each(|name| self.names.find(name, &mut *look));
    }

    /// Whether bytes are looked for anywhere in what this transport carries, and not only where a direction begins.
    pub(super) fn looks_everywhere(&self, transport: Transport) -> bool {
        !matches!(self.watch[transport as usize].texts, Texts::None)
    }

    /// Places of the entries of which some bytes are in this payload, and whose transport fits; whether it begins the
    /// stream of its direction.
    pub(super) fn seen(&self, transport: Transport, payload: &[u8], begins: bool, mut found: impl FnMut(u16)) {
        let bytes = payload.get(..FLOATING_REACH).unwrap_or(payload);
        let mut look = |at: u32, fits: &dyn Fn(&Signature) -> bool| {
            if self.entries.get(at as usize).is_some_and(|entry| entry.bytes.iter().any(fits)) {
                u16::try_from(at).into_iter().for_each(&mut found);
            }
        };
        let watch = &self.watch[transport as usize];
        if begins {
            for anchor in watch.anchors.candidates(bytes) {
                look(anchor.entry, &|signature| signature.matches(bytes));
            }
        }
        let floats = match &watch.texts {
            Texts::None => false,
            Texts::Some(texts) => texts.is_match(bytes),
            Texts::TooMany => true,
        };
        if floats {
            for at in &watch.floating {
                look(*at, &|signature| signature.floats() && signature.matches(bytes));
            }
        }
    }

    /// Places of what is said of a flow of whose payload these entries were [`seen`](Self::seen).
    pub(super) fn of_flow(
        &self,
        facts: &Facts<'_>,
        names: &[&[u8]],
        seen: impl Iterator<Item = u16> + Clone,
    ) -> Vec<u16> {
        let mut found = Found::default();
        let fits = |at: u32, entry: &Warning| {
            entry.fits_around(facts)
                && (entry.bytes.is_empty() || seen.clone().any(|seen| u32::from(seen) == at))
                && (entry.names.is_empty() || names.iter().any(|name| entry.is_named(name)))
        };
        let mut look = |at: u32| found.add(at, self.entries.get(at as usize).is_some_and(|entry| fits(at, entry)));
        self.around(facts.port, names, &mut look);
        seen.clone().for_each(|at| look(u32::from(at)));
        found.places()
    }

    pub(super) fn entries(&self) -> &[Warning] {
        &self.entries
    }
}
