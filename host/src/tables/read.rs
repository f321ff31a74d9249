//! One file of tables: every key is known or an error, with its line and the nearest known key.

use super::{FILE_BYTES, TableError};
use crate::config::nearest;
use std::collections::BTreeSet;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use veilwatch_core::detect::Category;
use veilwatch_core::tables::{
    FileType, NamePattern, NumberEntry, Place, PortRange, Purpose, Severity, Signature, Strength, Table, TablesBuilder,
    Transport, Warning,
};

/// Entries of a table of numbers.
pub const NUMBER_ENTRIES: usize = 16_384;
/// Entries of FILES.
pub const FILES_ENTRIES: usize = 4096;
/// Entries of WARN.
pub const WARN_ENTRIES: usize = 4096;
/// Entries of PURPOSE.
pub const PURPOSE_ENTRIES: usize = 4096;
/// Bytes of a name.
pub const NAME_BYTES: usize = 64;
/// Bytes of words that explain.
pub const WORDS_BYTES: usize = 400;
/// Bytes of an id.
pub const ID_BYTES: usize = 48;
/// Items of a list: ports, names, signatures, endings of file names.
pub const LIST_ITEMS: usize = 64;
/// Signatures of WARN with a part that may stand anywhere: each is searched for.
pub const FLOATING_SIGNATURES: usize = 256;

/// Reads one file into the builder: entries taken, and mistakes.
pub(super) fn read(builder: &mut TablesBuilder, file: &str, text: &str) -> (usize, Vec<TableError>) {
    let lines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
    let mut reader =
        Reader { builder, file: file.into(), lines, errors: Vec::new(), entries: 0, gone: BTreeSet::new() };
    if text.len() > FILE_BYTES {
        reader.tell(0, format!("is larger than {FILE_BYTES} bytes; spread it over several files"), None);
        return (0, reader.errors);
    }
    match DeTable::parse(text) {
        Ok(file) => reader.file(file.get_ref()),
        Err(error) => reader.tell(error.span().map_or(0, |span| span.start), error.message().to_owned(), None),
    }
    (reader.entries, reader.errors)
}

struct Reader<'a> {
    builder: &'a mut TablesBuilder,
    file: Arc<str>,
    /// Where lines end.
    lines: Vec<usize>,
    errors: Vec<TableError>,
    entries: usize,
    /// Numbers that this file took out: it may not name them twice either.
    gone: BTreeSet<(Table, PortRange)>,
}

type Value<'i> = Spanned<DeValue<'i>>;

/// Fields of an entry, with where it stands.
struct Fields<'f, 'i> {
    at: usize,
    what: String,
    table: &'f DeTable<'i>,
}

impl Reader<'_> {
    fn file(&mut self, file: &DeTable<'_>) {
        for (key, value) in in_order(file) {
            let Some(table) = Table::from_name(key.get_ref()) else {
                let all = Table::ALL.map(Table::name).join(", ");
                let message = format!("there is no table `{}`; the tables are {all}", shown(key.get_ref()));
                let hint = nearest(key.get_ref(), Table::ALL.into_iter().map(Table::name));
                self.tell(key.span().start, message, hint.map(str::to_owned));
                continue;
            };
            let Some(entries) = value.get_ref().as_table() else {
                self.tell(key.span().start, format!("`{}` must be a table: write `[{0}]`", table.name()), None);
                continue;
            };
            for (key, value) in in_order(entries) {
                let (name, at) = (key.get_ref().as_ref(), key.span().start);
                let taken = match table {
                    Table::Files => self.file_type(name, at, value),
                    Table::Warn => self.warning(name, at, value),
                    Table::Purpose => self.purpose(name, at, value),
                    numbers => self.number(numbers, name, at, value),
                };
                if taken.is_some() {
                    self.entries += 1;
                }
            }
        }
    }

    fn number(&mut self, table: Table, name: &str, at: usize, value: &Value<'_>) -> Option<()> {
        let Some(key) = range(name, table.largest()) else {
            let message = format!(
                "`{}` is no number for [{}]: write one from 0 to {}, or two with `-` between, the lower one first",
                shown(name),
                table.name(),
                table.largest()
            );
            return self.wrong(at, message);
        };
        let place = self.place(at);
        let earlier = self.builder.number_place(table, key).filter(|earlier| Arc::ptr_eq(&earlier.file, &self.file));
        let twice = earlier.map(|earlier| format!("in line {}", earlier.line));
        if let Some(line) = twice.or_else(|| self.gone.contains(&(table, key)).then(|| "taken out".into())) {
            return self.wrong(at, format!("`{}` stands twice in this file: also {line}", shown(name)));
        }
        if value.get_ref().as_bool() == Some(false) {
            self.gone.insert((table, key));
            return if self.builder.remove_number(table, key, place) {
                Some(())
            } else {
                self.wrong(at, format!("`{} = false`: [{}] has no such entry to take out", shown(name), table.name()))
            };
        }
        let (label, words) = if let Some(label) = value.get_ref().as_str() {
            (self.bounded("name", label, NAME_BYTES, value.span().start)?, Box::default())
        } else {
            let fields = self.fields(name, at, value, &["name", "words"])?;
            let label = self.text(&fields, "name", NAME_BYTES)?;
            let words =
                if fields.get("words").is_some() { self.text(&fields, "words", WORDS_BYTES)? } else { Box::default() };
            (label, words)
        };
        self.room(table, NUMBER_ENTRIES, at)?;
        self.builder.number(table, NumberEntry { first: key.first, last: key.last, name: label, words, place });
        Some(())
    }

    fn file_type(&mut self, id: &str, at: usize, value: &Value<'_>) -> Option<()> {
        let id = self.id(Table::Files, id, at)?;
        if value.get_ref().as_bool() == Some(false) {
            return self.remove(Table::Files, &id, at);
        }
        let fields = self.fields(&id, at, value, &["name", "media", "extensions", "bytes"])?;
        let name = self.text(&fields, "name", NAME_BYTES)?;
        let media = self.text(&fields, "media", NAME_BYTES)?;
        if !media.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()) {
            let message = format!("`media = \"{}\"` is no media type, such as `image/png`", shown(&media));
            return self.wrong(fields.start("media"), message);
        }
        let extensions = self.list(&fields, "extensions", |ending| {
            let good = (1..=16).contains(&ending.len())
                && ending.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-+.".contains(&b))
                && !ending.starts_with('.');
            if good { Ok(ending.into()) } else { Err("write it in lower case and without the dot: `png`".into()) }
        })?;
        let signatures = self.signatures(&fields, true)?;
        if signatures.is_empty() {
            return self.wrong(at, format!("`{}` has no `bytes` to know it by", shown(&id)));
        }
        self.room(Table::Files, FILES_ENTRIES, at)?;
        let place = self.place(at);
        self.builder.file(FileType { id, name, media, extensions, signatures, place });
        Some(())
    }

    fn warning(&mut self, id: &str, at: usize, value: &Value<'_>) -> Option<()> {
        let id = self.id(Table::Warn, id, at)?;
        if value.get_ref().as_bool() == Some(false) {
            return self.remove(Table::Warn, &id, at);
        }
        let known = ["severity", "words", "look", "category", "transport", "ports", "names", "bytes"];
        let fields = self.fields(&id, at, value, &known)?;
        let severity = self.text(&fields, "severity", NAME_BYTES)?;
        let Some(severity) = Severity::from_name(&severity) else {
            let hint = nearest(&severity, Severity::ALL.into_iter().map(Severity::name)).map(str::to_owned);
            let message = format!("`severity = \"{}\"`: say `low`, `medium` or `high`", shown(&severity));
            self.tell(fields.start("severity"), message, hint);
            return None;
        };
        let words = self.text(&fields, "words", WORDS_BYTES)?;
        let look = self.text(&fields, "look", WORDS_BYTES)?;
        let category = if fields.get("category").is_some() { Some(self.category(&fields)?) } else { None };
        let (transport, ports, names) = self.around(&fields)?;
        let bytes = self.signatures(&fields, false)?;
        if ports.is_empty() && names.is_empty() && bytes.is_empty() {
            return self.wrong(at, format!("`{}` needs `ports`, `names` or `bytes` to be found by", shown(&id)));
        }
        let floating = bytes.iter().filter(|signature| signature.has_floating_part()).count();
        if floating > 0 && self.builder.floating() + floating > FLOATING_SIGNATURES {
            return self.wrong(at, format!("more than {FLOATING_SIGNATURES} signatures with `any`; give offsets"));
        }
        self.room(Table::Warn, WARN_ENTRIES, at)?;
        let place = self.place(at);
        self.builder.warning(Warning { id, severity, words, look, category, transport, ports, names, bytes, place });
        Some(())
    }

    fn purpose(&mut self, id: &str, at: usize, value: &Value<'_>) -> Option<()> {
        let id = self.id(Table::Purpose, id, at)?;
        if value.get_ref().as_bool() == Some(false) {
            return self.remove(Table::Purpose, &id, at);
        }
        let fields =
            self.fields(&id, at, value, &["category", "strength", "words", "transport", "ports", "names", "agents"])?;
        let category = self.category(&fields)?;
        let words = self.text(&fields, "words", WORDS_BYTES)?;
        let (transport, ports, names) = self.around(&fields)?;
        let strength = match fields.get("strength").is_some() {
            true if names.is_empty() => {
                return self
                    .wrong(at, format!("`{}`: a port is weak by itself; `strength` is for `names`", shown(&id)));
            }
            true => self.word(&fields, "strength", &Strength::ALL, Strength::name)?,
            false if names.is_empty() => Strength::Weak,
            false => Strength::Strong,
        };
        let agents = self.list(&fields, "agents", |agent| {
            let good = (1..=NAME_BYTES).contains(&agent.len());
            good.then(|| agent.into()).ok_or(format!("give 1 to {NAME_BYTES} bytes with which a program's name begins"))
        })?;
        if names.is_empty() && (ports.is_empty() || !agents.is_empty()) {
            let needs = if agents.is_empty() { "`ports` or `names`" } else { "`names` beside `agents`" };
            return self.wrong(at, format!("`{}` needs {needs} to be found by", shown(&id)));
        }
        self.room(Table::Purpose, PURPOSE_ENTRIES, at)?;
        let place = self.place(at);
        self.builder.purpose(Purpose { id, category, strength, words, transport, ports, names, agents, place });
        Some(())
    }

    fn category(&mut self, fields: &Fields<'_, '_>) -> Option<Category> {
        self.word(fields, "category", &Category::ALL, Category::name)
    }

    /// The one of several things that a word names.
    fn word<T: Copy>(
        &mut self,
        fields: &Fields<'_, '_>,
        key: &str,
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        let word = self.text(fields, key, NAME_BYTES)?;
        if let Some(found) = all.iter().find(|one| name(**one) == &*word) {
            return Some(*found);
        }
        let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        let hint = nearest(&word, names.iter().copied()).map(str::to_owned);
        let message = format!("`{key} = \"{}\"`: say one of {}", shown(&word), names.join(", "));
        self.tell(fields.start(key), message, hint);
        None
    }

    /// The transport, ports and names that an entry asks for.
    fn around(&mut self, fields: &Fields<'_, '_>) -> Option<(Option<Transport>, Vec<PortRange>, Vec<NamePattern>)> {
        let transport = match fields.get("transport").map(|value| value.get_ref().as_str()) {
            None => None,
            Some(Some("tcp")) => Some(Transport::Tcp),
            Some(Some("udp")) => Some(Transport::Udp),
            Some(_) => return self.wrong(fields.start("transport"), "`transport` is `\"tcp\"` or `\"udp\"`".into()),
        };
        let ports = self.list(fields, "ports", |port| {
            range(port, u16::MAX).ok_or("give a port from 0 to 65535, or two with `-` between".into())
        })?;
        let names = self.list(fields, "names", |name| {
            NamePattern::parse(name).ok_or("give a host's name, or `*.` and a name for all names under it".into())
        })?;
        Some((transport, ports, names))
    }

    /// Signatures; those of FILES need a place, since files begin somewhere.
    fn signatures(&mut self, fields: &Fields<'_, '_>, placed: bool) -> Option<Vec<Signature>> {
        self.list(fields, "bytes", |text| {
            let signature = Signature::parse(text).map_err(|error| error.to_string())?;
            if placed && signature.has_floating_part() {
                return Err("`any` is for warnings; bytes of a file type need an offset".into());
            }
            Ok(signature)
        })
    }

    fn remove(&mut self, table: Table, id: &str, at: usize) -> Option<()> {
        let place = self.place(at);
        if self.builder.remove_id(table, id, place) {
            return Some(());
        }
        let hint = nearest(id, self.builder.ids(table)).map(str::to_owned);
        self.tell(at, format!("`{} = false`: [{}] has no such entry to take out", shown(id), table.name()), hint);
        None
    }

    fn id(&mut self, table: Table, id: &str, at: usize) -> Option<Box<str>> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        if (1..=ID_BYTES).contains(&id.len()) && id.bytes().all(plain) {
            return Some(id.into());
        }
        let table = table.name();
        let message = format!(
            "`{}` is no id for [{table}]: use up to {ID_BYTES} lower-case letters, digits, `-` and `_`",
            shown(id)
        );
        self.wrong(at, message)
    }

    /// The fields of an entry; unknown ones are told, and the entry is not taken.
    fn fields<'f, 'i>(
        &mut self,
        name: &str,
        at: usize,
        value: &'f Value<'i>,
        known: &[&str],
    ) -> Option<Fields<'f, 'i>> {
        let name = shown(name);
        let Some(table) = value.get_ref().as_table() else {
            return self.wrong(at, format!("`{name}` must be `{{ {} = … }}`", known.join(" = …, ")));
        };
        let mut good = true;
        for (key, _) in in_order(table) {
            if !known.contains(&key.get_ref().as_ref()) {
                let hint = nearest(key.get_ref(), known.iter().copied()).map(str::to_owned);
                let message = format!("`{name}` has an unknown key `{}`", shown(key.get_ref()));
                self.tell(key.span().start, message, hint);
                good = false;
            }
        }
        good.then_some(Fields { at, what: name, table })
    }

    /// A text that must be there.
    fn text(&mut self, fields: &Fields<'_, '_>, key: &str, limit: usize) -> Option<Box<str>> {
        let Some(value) = fields.get(key) else {
            return self.wrong(fields.at, format!("`{}` has no `{key}`", fields.what));
        };
        match value.get_ref().as_str() {
            Some(text) => self.bounded(key, text, limit, value.span().start),
            None => self.wrong(value.span().start, format!("`{key}` must be a text")),
        }
    }

    fn bounded(&mut self, key: &str, text: &str, limit: usize, at: usize) -> Option<Box<str>> {
        if text.trim().is_empty() {
            return self.wrong(at, format!("`{key}` is empty"));
        }
        if text.len() > limit {
            return self.wrong(at, format!("`{key}` has {} bytes; at most {limit} are allowed", text.len()));
        }
        Some(text.into())
    }

    /// One item or a list of them, each a text or a number; empty where the key is absent.
    fn list<T>(
        &mut self,
        fields: &Fields<'_, '_>,
        key: &str,
        item: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let Some(value) = fields.get(key) else { return Some(Vec::new()) };
        let items = value.get_ref().as_array().map_or(std::slice::from_ref(value), |array| &array[..]);
        if items.is_empty() {
            return self.wrong(value.span().start, format!("`{key}` is an empty list; leave it out"));
        }
        if items.len() > LIST_ITEMS {
            let message = format!("`{key}` has {} items; at most {LIST_ITEMS} are allowed", items.len());
            return self.wrong(value.span().start, message);
        }
        let mut found = Vec::with_capacity(items.len());
        for value in items {
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
                _ => return self.wrong(value.span().start, format!("`{key}` holds something that is no text")),
            };
            match item(&text) {
                Ok(item) => found.push(item),
                Err(message) => {
                    let message = format!("`{key}`: `{}`: {message}", shown(&text));
                    return self.wrong(value.span().start, message);
                }
            }
        }
        Some(found)
    }

    /// Whether the table still takes an entry.
    fn room(&mut self, table: Table, limit: usize, at: usize) -> Option<()> {
        if self.builder.len(table) < limit {
            return Some(());
        }
        self.wrong(at, format!("[{}] has {limit} entries; no more are allowed", table.name()))
    }

    fn line(&self, at: usize) -> u32 {
        u32::try_from(self.lines.partition_point(|end| *end < at) + 1).unwrap_or(u32::MAX)
    }

    fn place(&self, at: usize) -> Place {
        Place { file: Arc::clone(&self.file), line: self.line(at) }
    }

    /// Notes a mistake, for which the entry is not taken.
    fn wrong<T>(&mut self, at: usize, message: String) -> Option<T> {
        self.tell(at, message, None);
        None
    }

    fn tell(&mut self, at: usize, message: String, hint: Option<String>) {
        let line = Some(self.line(at));
        self.errors.push(TableError { file: self.file.to_string(), line, message, hint });
    }
}

impl<'f, 'i> Fields<'f, 'i> {
    fn get(&self, key: &str) -> Option<&'f Value<'i>> {
        self.table.get(key)
    }

    /// Where a field's value stands.
    fn start(&self, key: &str) -> usize {
        self.get(key).map_or(self.at, |value| value.span().start)
    }
}

/// A table's keys in the order of the file.
fn in_order<'f, 'i>(table: &'f DeTable<'i>) -> Vec<(&'f Spanned<std::borrow::Cow<'i, str>>, &'f Value<'i>)> {
    let mut all: Vec<_> = table.iter().collect();
    all.sort_by_key(|(key, _)| key.span().start);
    all
}

/// `443`, `0x0800` or `6000-6063`, the lower one first, up to `largest`.
fn range(text: &str, largest: u16) -> Option<PortRange> {
    let number = |text: &str| {
        let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
        // `from_str_radix` would take a sign.
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        plain.then(|| u16::from_str_radix(digits, radix).ok()).flatten().filter(|number| *number <= largest)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first.trim())?, number(last.trim())?);
    (first <= last).then_some(PortRange { first, last })
}

/// A key or text in a message: not too long.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(48).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
