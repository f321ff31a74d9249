//! Entries of all tables alike, for whoever lists them.

use crate::output::plain;
use serde_json::{Value, json};
use veilwatch_core::detect::Category;
use veilwatch_core::tables::{FileType, NumberEntry, Place, PortRange, Purpose, Table, Tables, Transport, Warning};

/// An entry of any table.
#[derive(Debug, Clone, Copy)]
pub struct Row<'t> {
    /// Its table.
    pub table: Table,
    /// The entry.
    pub entry: Entry<'t>,
}

/// What it is.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'t> {
    /// A number or a range of them.
    Number(&'t NumberEntry),
    /// A type of file.
    File(&'t FileType),
    /// A warning.
    Warning(&'t Warning),
    /// What a server is for.
    Purpose(&'t Purpose),
}

/// All entries, table by table.
pub fn rows(tables: &Tables) -> impl Iterator<Item = Row<'_>> {
    let numbers = Table::NUMBERS
        .into_iter()
        .flat_map(|table| tables.numbers(table).iter().map(move |entry| Row { table, entry: Entry::Number(entry) }));
    let files = tables.files().iter().map(|entry| Row { table: Table::Files, entry: Entry::File(entry) });
    let warn = tables.warn().iter().map(|entry| Row { table: Table::Warn, entry: Entry::Warning(entry) });
    let purpose = tables.purposes().iter().map(|entry| Row { table: Table::Purpose, entry: Entry::Purpose(entry) });
    numbers.chain(files).chain(warn).chain(purpose)
}

/// What the tables of numbers say, and the warnings and purposes that name the port.
pub fn of_number(tables: &Tables, number: u16) -> Vec<Row<'_>> {
    // Below the first EtherType every number would be a length.
    let own = Table::NUMBERS
        .into_iter()
        .filter(|table| *table != Table::Ether || number >= 0x0600)
        .filter_map(|table| Some(Row { table, entry: Entry::Number(tables.number(table, number)?) }));
    let named = tables.warn().iter().filter(|warning| warning.ports.iter().any(|range| range.holds(number)));
    let named = named.map(|entry| Row { table: Table::Warn, entry: Entry::Warning(entry) });
    let meant = tables.purposes().iter().filter(|purpose| purpose.ports.iter().any(|range| range.holds(number)));
    let meant = meant.map(|entry| Row { table: Table::Purpose, entry: Entry::Purpose(entry) });
    own.chain(named).chain(meant).collect()
}

/// A number as one types it, decimal or after `0x`.
pub fn number(text: &str) -> Option<u16> {
    match text.strip_prefix("0x") {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => u16::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

impl Row<'_> {
    /// Where it was written.
    pub fn place(&self) -> &Place {
        match self.entry {
            Entry::Number(entry) => &entry.place,
            Entry::File(entry) => &entry.place,
            Entry::Warning(entry) => &entry.place,
            Entry::Purpose(entry) => &entry.place,
        }
    }

    /// Whether this is its name or its id, in any case.
    pub fn is_called(&self, name: &str) -> bool {
        match self.entry {
            Entry::Number(entry) => entry.name.eq_ignore_ascii_case(name),
            Entry::File(entry) => entry.id.eq_ignore_ascii_case(name) || entry.name.eq_ignore_ascii_case(name),
            Entry::Warning(entry) => entry.id.eq_ignore_ascii_case(name),
            Entry::Purpose(entry) => entry.id.eq_ignore_ascii_case(name),
        }
    }

    /// The number, the signatures, or what a warning is found by.
    pub fn key(&self) -> String {
        match self.entry {
            Entry::Number(entry) if self.table == Table::Ether && entry.first == entry.last => {
                format!("0x{:04x}", entry.first)
            }
            Entry::Number(entry) if self.table == Table::Ether => format!("0x{:04x}-0x{:04x}", entry.first, entry.last),
            Entry::Number(entry) => PortRange { first: entry.first, last: entry.last }.to_string(),
            Entry::File(entry) => lines(&entry.signatures),
            Entry::Warning(entry) => {
                all_of(entry.transport, &[lines(&entry.ports), lines(&entry.names), lines(&entry.bytes)])
            }
            Entry::Purpose(entry) => {
                all_of(entry.transport, &[lines(&entry.ports), lines(&entry.names), lines(&entry.agents)])
            }
        }
    }

    /// What it is found by, its name or id, words, and where it was written.
    pub fn cells(&self) -> [String; 4] {
        let (name, words) = match self.entry {
            Entry::Number(entry) => (entry.name.to_string(), entry.words.to_string()),
            Entry::File(entry) => (entry.id.to_string(), format!("{} ({})", entry.name, entry.media)),
            Entry::Warning(entry) => {
                (entry.id.to_string(), format!("{}: {} {}", entry.severity.name(), entry.words, entry.look))
            }
            Entry::Purpose(entry) => {
                (entry.id.to_string(), format!("{} ({}): {}", entry.category, entry.strength.name(), entry.words))
            }
        };
        // Lines of a key are ours; control characters inside of them are not.
        let key: Vec<String> = self.key().split('\n').map(plain).collect();
        [key.join("\n"), plain(&name), plain(&words), plain(&self.place().to_string())]
    }

    /// All of it.
    pub fn json(&self) -> Value {
        let list = |items: &[Box<str>]| items.iter().map(|item| plain(item)).collect::<Vec<_>>();
        let mut line = match self.entry {
            Entry::Number(entry) => {
                json!({ "first": entry.first, "last": entry.last, "name": plain(&entry.name), "words": plain(&entry.words) })
            }
            Entry::File(entry) => json!({
                "id": entry.id, "name": plain(&entry.name), "media": plain(&entry.media),
                "extensions": list(&entry.extensions), "bytes": strings(&entry.signatures),
            }),
            Entry::Warning(entry) => json!({
                "id": entry.id, "severity": entry.severity.name(), "words": plain(&entry.words),
                "look": plain(&entry.look), "category": entry.category.map(Category::name),
                "transport": entry.transport.map(transport_name),
                "ports": strings(&entry.ports), "names": strings(&entry.names), "bytes": strings(&entry.bytes),
            }),
            Entry::Purpose(entry) => json!({
                "id": entry.id, "category": entry.category.name(), "strength": entry.strength.name(),
                "words": plain(&entry.words), "transport": entry.transport.map(transport_name),
                "ports": strings(&entry.ports), "names": strings(&entry.names), "agents": list(&entry.agents),
            }),
        };
        line["table"] = self.table.name().into();
        line["file"] = plain(&self.place().file).into();
        line["line"] = self.place().line.into();
        line
    }
}

/// What an entry is found by: one of each of these kinds.
fn all_of(transport: Option<Transport>, kinds: &[String]) -> String {
    let transport = transport.map(|transport| format!("{} ", transport_name(transport)));
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).filter(|kind| !kind.is_empty()).collect();
    format!("{}{}", transport.unwrap_or_default(), kinds.join("\nand\n"))
}

fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
        Transport::Other => "other",
    }
}

fn strings<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(|item| plain(&item.to_string())).collect()
}

fn lines<T: ToString>(items: &[T]) -> String {
    strings(items).join("\n")
}
