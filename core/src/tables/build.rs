use super::files::FileTable;
use super::numbers::NumberTable;
use super::purpose::PurposeTable;
use super::warn::WarnTable;
use super::{FileType, NumberEntry, Place, PortRange, Purpose, Table, Tables, Warning};
use std::collections::BTreeMap;
use std::fmt;

/// What an entry does to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictKind {
    /// It takes its place.
    Replaces,
    /// It takes it away.
    Removes,
    /// Ranges that share numbers without one lying in the other; the narrower one wins, else the later one.
    Overlaps,
    /// TCP or UDP is asked before PORT, so an entry of PORT is never reached over this transport.
    Hides,
    /// Two file types with the same signature; the later one wins.
    SameBytes,
}

/// Two entries that speak of the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What the one does to the other.
    pub kind: ConflictKind,
    /// The table of the one that stands.
    pub table: Table,
    /// Its number, range or id.
    pub key: String,
    /// What the other is called.
    pub other: String,
    /// Where the one that stands was written.
    pub after: Place,
    /// Where the other was written.
    pub before: Place,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.kind {
            ConflictKind::Replaces => "replaces",
            ConflictKind::Removes => "removes",
            ConflictKind::Overlaps => "overlaps",
            ConflictKind::Hides => "hides, in [port],",
            ConflictKind::SameBytes => "has the same bytes as",
        };
        let Self { after, key, other, before, .. } = self;
        write!(f, "{after}: `{key}` of [{}] {verb} `{other}` ({before})", self.table.name())
    }
}

/// Merges entries into [`Tables`]. Later entries replace earlier ones; one that says the same is no conflict.
#[derive(Debug, Default)]
pub struct TablesBuilder {
    numbers: [BTreeMap<PortRange, (u32, NumberEntry)>; 5],
    files: BTreeMap<Box<str>, (u32, FileType)>,
    warn: BTreeMap<Box<str>, Warning>,
    purpose: BTreeMap<Box<str>, Purpose>,
    conflicts: Vec<Conflict>,
    /// Counts entries, in the order in which they came.
    order: u32,
}

impl TablesBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a number or range to a table of numbers; in the others it has no place and is dropped. A range that
    /// ends before it begins is its first number.
    pub fn number(&mut self, table: Table, mut entry: NumberEntry) {
        entry.last = entry.last.max(entry.first);
        let key = PortRange { first: entry.first, last: entry.last };
        self.order += 1;
        let (order, after, name) = (self.order, entry.place.clone(), key_text(table, key));
        let Some(numbers) = self.numbers.get_mut(table as usize) else { return };
        let (new_name, new_words) = (entry.name.clone(), entry.words.clone());
        if let Some((_, old)) = numbers.insert(key, (order, entry))
            && (&old.name, &old.words) != (&new_name, &new_words)
        {
            self.note(ConflictKind::Replaces, table, name, &old.name, after, old.place);
        }
    }

    /// Adds a file type.
    pub fn file(&mut self, entry: FileType) {
        self.order += 1;
        let new = entry.clone();
        let (id, after) = (entry.id.clone(), entry.place.clone());
        if let Some((_, old)) = self.files.insert(id.clone(), (self.order, entry))
            && (FileType { place: after.clone(), ..old.clone() }) != new
        {
            self.note(ConflictKind::Replaces, Table::Files, id.into(), &old.name, after, old.place);
        }
    }

    /// Adds a warning.
    pub fn warning(&mut self, entry: Warning) {
        let new = entry.clone();
        let (id, after) = (entry.id.clone(), entry.place.clone());
        if let Some(old) = self.warn.insert(id.clone(), entry)
            && (Warning { place: after.clone(), ..old.clone() }) != new
        {
            self.note(ConflictKind::Replaces, Table::Warn, id.into(), &old.id, after, old.place);
        }
    }

    /// Adds what servers are there for.
    pub fn purpose(&mut self, entry: Purpose) {
        let new = entry.clone();
        let (id, after) = (entry.id.clone(), entry.place.clone());
        if let Some(old) = self.purpose.insert(id.clone(), entry)
            && (Purpose { place: after.clone(), ..old.clone() }) != new
        {
            self.note(ConflictKind::Replaces, Table::Purpose, id.into(), &old.id, after, old.place);
        }
    }

    /// Takes a number or range out again; whether it was there.
    pub fn remove_number(&mut self, table: Table, key: PortRange, after: Place) -> bool {
        let old = self.numbers.get_mut(table as usize).and_then(|numbers| numbers.remove(&key));
        let Some((_, old)) = old else { return false };
        self.note(ConflictKind::Removes, table, key_text(table, key), &old.name, after, old.place);
        true
    }

    /// Takes an entry that has an id out again; whether it was there.
    pub fn remove_id(&mut self, table: Table, id: &str, after: Place) -> bool {
        let old = match table {
            Table::Files => self.files.remove(id).map(|(_, old)| (old.name, old.place)),
            Table::Warn => self.warn.remove(id).map(|old| (old.id, old.place)),
            Table::Purpose => self.purpose.remove(id).map(|old| (old.id, old.place)),
            _ => None,
        };
        let Some((name, before)) = old else { return false };
        self.note(ConflictKind::Removes, table, id.to_owned(), &name, after, before);
        true
    }

    /// Where the entry with these numbers was written.
    pub fn number_place(&self, table: Table, key: PortRange) -> Option<&Place> {
        self.numbers.get(table as usize)?.get(&key).map(|(_, entry)| &entry.place)
    }

    /// Entries of a table so far.
    pub fn len(&self, table: Table) -> usize {
        match table {
            Table::Files => self.files.len(),
            Table::Warn => self.warn.len(),
            Table::Purpose => self.purpose.len(),
            numbers => self.numbers.get(numbers as usize).map_or(0, BTreeMap::len),
        }
    }

    /// Whether there is no entry yet.
    pub fn is_empty(&self) -> bool {
        Table::ALL.into_iter().all(|table| self.len(table) == 0)
    }

    /// Ids of FILES, WARN or PURPOSE so far.
    pub fn ids(&self, table: Table) -> impl Iterator<Item = &str> {
        let files = self.files.keys().filter(move |_| table == Table::Files);
        let warn = self.warn.keys().filter(move |_| table == Table::Warn);
        let purpose = self.purpose.keys().filter(move |_| table == Table::Purpose);
        files.chain(warn).chain(purpose).map(|id| &**id)
    }

    /// Signatures of WARN with a part that is searched for.
    pub fn floating(&self) -> usize {
        let all = self.warn.values().flat_map(|entry| &entry.bytes);
        all.filter(|signature| signature.has_floating_part()).count()
    }

    /// Everything merged.
    pub fn build(mut self) -> Tables {
        for table in Table::NUMBERS {
            self.note_overlaps(table);
        }
        self.note_hidden(Table::Tcp);
        self.note_hidden(Table::Udp);
        self.note_same_bytes();
        Tables {
            numbers: self.numbers.map(|numbers| NumberTable::new(numbers.into_values().collect())),
            files: FileTable::new(self.files.into_values().collect()),
            warn: WarnTable::new(self.warn.into_values().collect()),
            purpose: PurposeTable::new(self.purpose.into_values().collect()),
            conflicts: self.conflicts,
        }
    }

    fn note(&mut self, kind: ConflictKind, table: Table, key: String, other: &str, after: Place, before: Place) {
        self.conflicts.push(Conflict { kind, table, key, other: other.to_owned(), after, before });
    }

    /// Ranges that overlap in part: each with the last open one before it.
    fn note_overlaps(&mut self, table: Table) {
        let Some(numbers) = self.numbers.get(table as usize) else { return };
        // Of ranges that begin at the same number the widest comes first, as if it were around the others.
        let mut sorted: Vec<&(u32, NumberEntry)> = numbers.values().collect();
        sorted.sort_by_key(|(_, entry)| (entry.first, std::cmp::Reverse(entry.last)));
        let mut open: Vec<&(u32, NumberEntry)> = Vec::new();
        let mut found = Vec::new();
        for item in sorted {
            open.retain(|(_, around)| around.last >= item.1.first);
            if let Some(around) = open.last().filter(|(_, around)| around.last < item.1.last) {
                let (later, earlier) = if item.0 > around.0 { (&item.1, &around.1) } else { (&around.1, &item.1) };
                let key = PortRange { first: later.first, last: later.last };
                found.push((key_text(table, key), earlier.name.clone(), later.place.clone(), earlier.place.clone()));
            }
            // A single number is around nothing.
            if item.1.first < item.1.last {
                open.push(item);
            }
            // Ranges that overlap in part would pile up; the newest tells enough.
            if open.len() > 64 {
                open.remove(0);
            }
        }
        for (key, other, after, before) in found {
            self.note(ConflictKind::Overlaps, table, key, &other, after, before);
        }
    }

    /// Entries of PORT that TCP or UDP speaks of with the same numbers.
    fn note_hidden(&mut self, table: Table) {
        let [.., port] = &self.numbers;
        let own = self.numbers.get(table as usize);
        let found: Vec<_> = own
            .into_iter()
            .flatten()
            .filter_map(|(key, (_, entry))| {
                let (_, hidden) = port.get(key)?;
                Some((key_text(table, *key), hidden.name.clone(), entry.place.clone(), hidden.place.clone()))
            })
            .collect();
        for (key, other, after, before) in found {
            self.note(ConflictKind::Hides, table, key, &other, after, before);
        }
    }

    /// File types that share a signature.
    fn note_same_bytes(&mut self) {
        let mut in_order: Vec<&(u32, FileType)> = self.files.values().collect();
        in_order.sort_by_key(|(order, _)| *order);
        let mut seen: BTreeMap<&[super::Part], &FileType> = BTreeMap::new();
        let mut found = Vec::new();
        for (_, entry) in in_order {
            for signature in &entry.signatures {
                if let Some(other) = seen.insert(signature.parts(), entry).filter(|other| other.id != entry.id) {
                    let after = entry.place.clone();
                    found.push((String::from(&*entry.id), other.id.clone(), after, other.place.clone()));
                }
            }
        }
        for (key, other, after, before) in found {
            self.note(ConflictKind::SameBytes, Table::Files, key, &other, after, before);
        }
    }
}

/// Numbers as the registries write them.
fn key_text(table: Table, key: PortRange) -> String {
    match (table, key.first == key.last) {
        (Table::Ether, true) => format!("0x{:04x}", key.first),
        (Table::Ether, false) => format!("0x{:04x}-0x{:04x}", key.first, key.last),
        _ => key.to_string(),
    }
}
