use super::Record;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Number of a field within one wired pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub u16);

impl FieldId {
    /// The first id that declared fields get; the typed records stand below it.
    pub const FIRST_DECLARED: Self = Self(1024);
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FieldKind {
    /// An unsigned number; 0 and 1 for no and yes.
    U64 = 0,
    /// A number with a fraction.
    F64 = 1,
    /// Bytes as they were on the wire; an attacker's, so not necessarily text.
    Bytes = 2,
    /// A list of code points such as cipher suites.
    U16List = 3,
}

impl FieldKind {
    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::U64, Self::F64, Self::Bytes, Self::U16List].get(usize::from(number)).copied()
    }
}

/// One value of a field, borrowed from the flow's record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// An unsigned number.
    U64(u64),
    /// A number with a fraction.
    F64(f64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list of code points.
    U16List(&'a [u16]),
}

impl Value<'_> {
    /// An unsigned number, of whatever width it was on the wire.
    pub fn number(number: impl Into<u64>) -> Self {
        Self::U64(number.into())
    }

    /// The kind of field that holds such a value.
    pub fn kind(&self) -> FieldKind {
        match self {
            Self::U64(_) => FieldKind::U64,
            Self::F64(_) => FieldKind::F64,
            Self::Bytes(_) => FieldKind::Bytes,
            Self::U16List(_) => FieldKind::U16List,
        }
    }
}

/// A field as a template declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldSpec {
    /// Dotted lower-case name such as `tls.client.sni`; Wireshark's where it has the field.
    pub name: Cow<'static, str>,
    /// What it holds.
    pub kind: FieldKind,
    /// What it is, in a few words with its unit.
    pub words: Cow<'static, str>,
}

impl FieldSpec {
    /// A field.
    pub fn new(name: impl Into<Cow<'static, str>>, kind: FieldKind, words: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), kind, words: words.into() }
    }
}

/// Why a field could not be declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The name exists with another kind.
    #[error("field `{name}` is declared as {second:?}, but `{first_owner}` declared it as {first:?}")]
    Kind {
        /// The field.
        name: String,
        /// The kind it has.
        first: FieldKind,
        /// The kind that was asked for.
        second: FieldKind,
        /// Who declared it first.
        first_owner: String,
    },
    /// The name is empty, too long or not dotted lower case.
    #[error("`{name}` is no field name: use dotted lower case such as `ssh.client.software`, at most 80 bytes")]
    Name {
        /// The offending name.
        name: String,
    },
    /// There are no ids left.
    #[error("more than {limit} fields are declared")]
    Full {
        /// How many there can be.
        limit: usize,
    },
}

/// All fields of a wired pipeline: name to id, once.
#[derive(Debug, Clone, Default)]
pub struct FieldTable {
    by_name: BTreeMap<String, FieldId>,
    fields: BTreeMap<FieldId, (FieldSpec, String)>,
    declared: u16,
}

impl FieldTable {
    const LIMIT: u16 = 16_384;

    /// A table that knows the typed records.
    pub fn new() -> Self {
        use super::{CertificateInfo, ClientHello, Dns, Record, ServerHello, TlsRecords};
        let mut table = Self::default();
        for (first, specs) in [
            (ClientHello::FIRST, ClientHello::FIELDS),
            (ServerHello::FIRST, ServerHello::FIELDS),
            (CertificateInfo::FIRST, CertificateInfo::FIELDS),
            (TlsRecords::FIRST, TlsRecords::FIELDS),
            (Dns::FIRST, Dns::FIELDS),
        ] {
            for (at, spec) in specs.iter().enumerate() {
                let id = FieldId(first.0 + at as u16);
                table.by_name.insert(spec.name.to_string(), id);
                table.fields.insert(id, (spec.clone(), "core".into()));
            }
        }
        table
    }

    /// A table of known entries: how the other side of a library boundary sees the host's table.
    pub(crate) fn from_entries(entries: impl Iterator<Item = (FieldId, FieldSpec)>) -> Self {
        let mut table = Self::default();
        for (id, spec) in entries {
            table.by_name.insert(spec.name.to_string(), id);
            table.fields.insert(id, (spec, String::new()));
        }
        table
    }

    /// Gives a field its id; two plugins that declare the same name and kind share it.
    pub fn declare(&mut self, spec: FieldSpec, owner: &str) -> Result<FieldId, FieldError> {
        let dotted = spec.name.split('.').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        });
        if !dotted || spec.name.len() > 80 {
            return Err(FieldError::Name { name: spec.name.into_owned() });
        }
        if let Some(&id) = self.by_name.get(spec.name.as_ref()) {
            if let Some((known, first_owner)) = self.fields.get(&id)
                && known.kind != spec.kind
            {
                return Err(FieldError::Kind {
                    name: spec.name.into_owned(),
                    first: known.kind,
                    second: spec.kind,
                    first_owner: first_owner.clone(),
                });
            }
            return Ok(id);
        }
        if self.declared >= Self::LIMIT {
            return Err(FieldError::Full { limit: usize::from(Self::LIMIT) });
        }
        let id = FieldId(FieldId::FIRST_DECLARED.0 + self.declared);
        self.declared += 1;
        self.by_name.insert(spec.name.to_string(), id);
        self.fields.insert(id, (spec, owner.to_owned()));
        Ok(id)
    }

    /// The id of a name, for plugins that read what others write.
    pub fn id(&self, name: &str) -> Option<FieldId> {
        self.by_name.get(name).copied()
    }

    /// What stands behind an id.
    pub fn spec(&self, id: FieldId) -> Option<&FieldSpec> {
        self.fields.get(&id).map(|(spec, _)| spec)
    }

    /// All fields in id order, the typed records first.
    pub fn iter(&self) -> impl Iterator<Item = (FieldId, &FieldSpec)> {
        self.fields.iter().map(|(id, (spec, _))| (*id, spec))
    }

    /// The declared fields only, in id order: what output shows beside the typed records.
    pub fn declared(&self) -> impl Iterator<Item = (FieldId, &FieldSpec)> {
        self.iter().filter(|(id, _)| *id >= FieldId::FIRST_DECLARED)
    }
}

/// One value: the number itself, or where the bytes or the list stand in their arena.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Slot {
    id: FieldId,
    kind: FieldKind,
    len: u32,
    word: u64,
}

/// The fields of one flow: entries in id order over two small arenas.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldStore {
    slots: Vec<Slot>,
    bytes: Vec<u8>,
    words: Vec<u16>,
}

impl FieldStore {
    /// Most bytes one flow's fields may take; what goes past is left out.
    pub const MAX_BYTES: usize = 16 * 1024;
    /// Most fields one flow may have.
    pub const MAX_FIELDS: usize = 1024;

    /// Writes a field; a field that is written again keeps its last value. Returns false where the flow's fields are
    /// full and the value was left out.
    pub fn set(&mut self, id: FieldId, value: Value<'_>) -> bool {
        let at = match self.slots.last() {
            Some(last) if last.id < id => Err(self.slots.len()),
            None => Err(0),
            _ => self.slots.binary_search_by_key(&id, |slot| slot.id),
        };
        if at.is_err() && self.slots.len() >= Self::MAX_FIELDS {
            return false;
        }
        let (len, word) = match value {
            Value::U64(number) => (0, number),
            Value::F64(number) => (0, number.to_bits()),
            // A value that is written again takes the place of the old one where it fits.
            Value::Bytes(bytes) if let Some(start) = self.place(at, FieldKind::Bytes, bytes.len()) => {
                self.bytes[start..][..bytes.len()].copy_from_slice(bytes);
                (bytes.len() as u32, start as u64)
            }
            Value::U16List(list) if let Some(start) = self.place(at, FieldKind::U16List, list.len()) => {
                self.words[start..][..list.len()].copy_from_slice(list);
                (list.len() as u32, start as u64)
            }
            Value::Bytes(bytes) => {
                if self.bytes.len() + self.words.len() * 2 + bytes.len() > Self::MAX_BYTES {
                    return false;
                }
                let start = self.bytes.len() as u64;
                self.bytes.extend_from_slice(bytes);
                (bytes.len() as u32, start)
            }
            Value::U16List(list) => {
                if self.bytes.len() + (self.words.len() + list.len()) * 2 > Self::MAX_BYTES {
                    return false;
                }
                let start = self.words.len() as u64;
                self.words.extend_from_slice(list);
                (list.len() as u32, start)
            }
        };
        let slot = Slot { id, kind: value.kind(), len, word };
        match at {
            Ok(at) => self.slots[at] = slot,
            Err(at) => self.slots.insert(at, slot),
        }
        true
    }

    /// Where the value of a slot begins, if it is of this kind and at least so long.
    fn place(&self, at: Result<usize, usize>, kind: FieldKind, len: usize) -> Option<usize> {
        let slot = self.slots.get(at.ok()?)?;
        (slot.kind == kind && slot.len as usize >= len).then_some(slot.word as usize)
    }

    /// Becomes the same as another, in the memory that it has where that is enough.
    pub fn copy_from(&mut self, other: &Self) {
        self.slots.clone_from(&other.slots);
        self.bytes.clone_from(&other.bytes);
        self.words.clone_from(&other.words);
    }

    /// Makes room for the fields of another, and no more: most flows get none after these.
    pub fn make_room(&mut self, other: &Self) {
        self.slots.reserve_exact(other.slots.len());
        self.bytes.reserve_exact(other.bytes.len());
        self.words.reserve_exact(other.words.len());
    }

    /// Reads a little of each part, so that it is on its way from memory; what it returns means nothing.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        let slot = |slot: Option<&Slot>| slot.map_or(0, |slot| slot.word);
        let byte = self.bytes.first().map_or(0, |byte| u64::from(*byte));
        let word = self.words.first().map_or(0, |word| u64::from(*word));
        slot(self.slots.first()) ^ slot(self.slots.get(self.slots.len() / 2)) ^ slot(self.slots.last()) ^ byte ^ word
    }

    /// Whether it never had a field.
    pub(crate) fn has_no_memory(&self) -> bool {
        self.slots.capacity() == 0
    }

    /// Forgets some fields; the memory of their values is not given back.
    pub fn remove(&mut self, ids: &[FieldId]) {
        self.slots.retain(|slot| !ids.contains(&slot.id));
    }

    /// Forgets all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.bytes.clear();
        self.words.clear();
    }

    /// Reads a field; `None` where the flow has none.
    pub fn get(&self, id: FieldId) -> Option<Value<'_>> {
        let at = self.slots.binary_search_by_key(&id, |slot| slot.id).ok()?;
        Some(self.value(&self.slots[at]))
    }

    /// Reads a typed record; `None` where the flow has none.
    pub fn record<'a, R: Record<'a>>(&'a self) -> Option<R> {
        // The fields of a record stand one after the other, as long as none was left out: only the first is searched for.
        let first = self.slots.partition_point(|slot| slot.id < R::FIRST);
        R::read(|id| match self.slots.get(first + usize::from(id.0.saturating_sub(R::FIRST.0))) {
            Some(slot) if slot.id == id => Some(self.value(slot)),
            _ => self.get(id),
        })
    }

    /// All fields in id order.
    pub fn iter(&self) -> impl Iterator<Item = (FieldId, Value<'_>)> {
        self.slots.iter().map(|slot| (slot.id, self.value(slot)))
    }

    /// Reads a field that probably stands at place `at`; also returns the place behind it, for the next call.
    pub(crate) fn get_from(&self, at: usize, id: FieldId) -> (Option<Value<'_>>, usize) {
        let at = match self.slots.get(at) {
            Some(slot) if slot.id == id => at,
            _ => match self.slots.binary_search_by_key(&id, |slot| slot.id) {
                Ok(at) => at,
                Err(at) => return (None, at),
            },
        };
        (Some(self.value(&self.slots[at])), at + 1)
    }

    fn value(&self, slot: &Slot) -> Value<'_> {
        let (start, len) = (slot.word as usize, slot.len as usize);
        match slot.kind {
            FieldKind::U64 => Value::U64(slot.word),
            FieldKind::F64 => Value::F64(f64::from_bits(slot.word)),
            FieldKind::Bytes => Value::Bytes(&self.bytes[start..][..len]),
            FieldKind::U16List => Value::U16List(&self.words[start..][..len]),
        }
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_value_in_any_order() {
        let mut store = FieldStore::default();
        store.set(FieldId(9), Value::Bytes(b"nine"));
        store.set(FieldId(3), Value::U16List(&[1, 2]));
        store.set(FieldId(9), Value::U64(9));
        assert_eq!(store.get(FieldId(3)), Some(Value::U16List(&[1, 2])));
        assert_eq!(store.get(FieldId(9)), Some(Value::U64(9)));
        assert_eq!(store.get(FieldId(4)), None);
        let all: Vec<_> = store.iter().collect();
        assert_eq!(all, [(FieldId(3), Value::U16List(&[1, 2])), (FieldId(9), Value::U64(9))]);
    }

    #[test]
    fn is_bounded() {
        let mut store = FieldStore::default();
        assert!(!store.set(FieldId(1), Value::Bytes(&vec![0; FieldStore::MAX_BYTES + 1])));
        assert!((0..2000).filter(|id| store.set(FieldId(*id), Value::U64(0))).count() == FieldStore::MAX_FIELDS);
    }

    #[test]
    fn names_become_ids_once() {
        let mut table = FieldTable::new();
        let spec = |kind| FieldSpec { name: "ssh.software".into(), kind, words: "".into() };
        let id = table.declare(spec(FieldKind::Bytes), "a").unwrap();
        assert_eq!(table.declare(spec(FieldKind::Bytes), "b"), Ok(id));
        assert!(matches!(table.declare(spec(FieldKind::U64), "b"), Err(FieldError::Kind { .. })));
        assert!(table.id("tls.client.sni").is_some());
    }
}
