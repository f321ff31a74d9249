//! One added entry: what a form has of it, and the line of TOML that it makes.

use std::collections::BTreeMap;

use veilwatch_core::detect::Category;
use veilwatch_core::tables::Table;

use crate::accounts::{Reason, shown_text_of};

/// The most characters of one field.
pub const MAX_FIELD: usize = 4000;
/// The most characters of a key.
pub const MAX_KEY: usize = 64;

/// How a field is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One line.
    Text,
    /// Several texts, one a line.
    Lines,
    /// One of these; none of them where it may be left out.
    Choice(&'static [&'static str]),
}

/// One field of the entries of a table. Its message is `tables.field-<name>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in the file.
    pub name: &'static str,
    /// How it is filled in.
    pub kind: Kind,
    /// Whether it must be there.
    pub required: bool,
}

const fn field(name: &'static str, kind: Kind, required: bool) -> Field {
    Field { name, kind, required }
}

const NAME: Field = field("name", Kind::Text, true);
const TRANSPORT: Field = field("transport", Kind::Choice(&["tcp", "udp"]), false);
const PORTS: Field = field("ports", Kind::Lines, false);
const NAMES: Field = field("names", Kind::Lines, false);
const SEVERITY: Kind = Kind::Choice(&["low", "medium", "high"]);
const STRENGTH: Kind = Kind::Choice(&["strong", "weak"]);
const CATEGORY: Kind =
    Kind::Choice(&["c2-direct", "connectivity-check", "parent-process", "trusted-relay", "worm-propagation", "other"]);

/// The fields that entries of a table have.
pub fn fields(table: Table) -> &'static [Field] {
    const NUMBER: &[Field] = &[NAME, field("words", Kind::Text, false)];
    const FILES: &[Field] = &[
        NAME,
        field("media", Kind::Text, true),
        field("extensions", Kind::Lines, false),
        field("bytes", Kind::Lines, true),
    ];
    const WARN: &[Field] = &[
        field("severity", SEVERITY, true),
        field("words", Kind::Text, true),
        field("look", Kind::Text, true),
        TRANSPORT,
        PORTS,
        NAMES,
        field("bytes", Kind::Lines, false),
        field("category", CATEGORY, false),
    ];
    const PURPOSE: &[Field] = &[
        field("category", CATEGORY, true),
        field("words", Kind::Text, true),
        field("strength", STRENGTH, false),
        TRANSPORT,
        PORTS,
        NAMES,
        field("agents", Kind::Lines, false),
    ];
    match table {
        Table::Files => FILES,
        Table::Warn => WARN,
        Table::Purpose => PURPOSE,
        _ => NUMBER,
    }
}

/// An entry that an administrator added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its number.
    pub id: i64,
    /// Its table.
    pub table: Table,
    /// Its number, range or id.
    pub key: String,
    /// Its fields by name; those that are left out are not there.
    pub fields: BTreeMap<String, String>,
    /// Who added or corrected it last.
    pub by: String,
    /// When.
    pub at: i64,
}

impl Added {
    /// The entry as a line of a file of tables. Whatever its texts hold, it is one line.
    pub fn line(&self) -> String {
        let quoted = |text: &str| {
            let mut out = String::from("\"");
            for c in text.chars() {
                match c {
                    '"' | '\\' => out.extend(['\\', c]),
                    c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
                    c => out.push(c),
                }
            }
            out.push('"');
            out
        };
        let known = fields(self.table).iter().filter_map(|field| Some((field, self.fields.get(field.name)?)));
        let pairs: Vec<String> = known
            .map(|(field, text)| match field.kind {
                Kind::Lines => {
                    let items: Vec<String> = items(text).map(quoted).collect();
                    format!("{} = [{}]", field.name, items.join(", "))
                }
                _ => format!("{} = {}", field.name, quoted(text)),
            })
            .collect();
        format!("{}.{} = {{ {} }}", self.table.name(), quoted(&self.key), pairs.join(", "))
    }
}

/// The texts of a field that has one a line.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// The fields of a form, trimmed, without those that are empty or that the table has not.
///
/// # Errors
/// Where the key or a text is too long or steers.
pub fn filled(table: Table, key: &str, given: &[(&str, String)]) -> Result<(String, BTreeMap<String, String>), Reason> {
    let key = shown_text_of(key, MAX_KEY).filter(|key| !key.is_empty()).ok_or(Reason::TableEntry)?;
    let mut filled = BTreeMap::new();
    for field in fields(table) {
        let Some((_, text)) = given.iter().find(|(name, _)| *name == field.name) else { continue };
        let text = match field.kind {
            Kind::Lines => {
                let lines: Option<Vec<String>> = items(text).map(|item| shown_text_of(item, MAX_FIELD)).collect();
                lines.ok_or(Reason::TableEntry)?.join("\n")
            }
            _ => shown_text_of(text, MAX_FIELD).ok_or(Reason::TableEntry)?,
        };
        if text.chars().count() > MAX_FIELD {
            return Err(Reason::TableEntry);
        }
        if !text.is_empty() {
            filled.insert(field.name.to_owned(), text);
        }
    }
    Ok((key, filled))
}

/// Whether these are all categories that a table may name: a test holds the two lists together.
pub fn knows_category(category: Category) -> bool {
    matches!(CATEGORY, Kind::Choice(names) if names.contains(&category.name()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn added(id: i64, table: Table, key: &str, fields: &[(&str, &str)]) -> Added {
        let fields = fields.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Added { id, table, key: key.to_owned(), fields, by: "ada".to_owned(), at: 7 }
    }

    #[test]
    fn the_choices_are_those_of_the_tables() {
        assert!(Category::ALL.into_iter().all(knows_category));
        for table in Table::ALL {
            let names: Vec<&str> = fields(table).iter().map(|field| field.name).collect();
            let unique: std::collections::BTreeSet<_> = names.iter().collect();
            assert_eq!(unique.len(), names.len(), "{table:?}");
        }
    }

    #[test]
    fn whatever_a_text_holds_an_entry_is_one_line_that_says_it() {
        for odd in ["a\"b", "a\\", "x = 1 } #", "\u{1}\u{7f}", "\"\"\"", "'", "é中"] {
            let entry = added(1, Table::Tcp, "80", &[("name", odd)]);
            let line = entry.line();
            assert_eq!(line.lines().count(), 1, "{line}");
            let table: toml::Table = line.parse().unwrap();
            assert_eq!(table["tcp"]["80"]["name"].as_str(), Some(odd), "{line}");
        }
        let entry =
            added(1, Table::Warn, "x\"y", &[("ports", "80\n 90-99 \n\n"), ("severity", "low"), ("media", "no field")]);
        assert_eq!(entry.line(), "warn.\"x\\\"y\" = { severity = \"low\", ports = [\"80\", \"90-99\"] }");
    }

    #[test]
    fn a_form_is_trimmed_and_bounded() {
        let given = [("name", " web ".to_owned()), ("words", " ".to_owned()), ("bytes", "x".to_owned())];
        let (key, fields) = filled(Table::Tcp, " 80 ", &given).unwrap();
        assert_eq!((key.as_str(), fields.len(), fields["name"].as_str()), ("80", 1, "web"));
        for (key, name) in [("", "x"), ("8\u{202e}0", "x"), ("80", "a\u{1}b"), ("80", &*"x".repeat(MAX_FIELD + 1))] {
            let given = [("name", name.to_owned())];
            assert!(filled(Table::Tcp, key, &given).is_err(), "{key:?} {name:.20?}");
        }
        let many = [("bytes", "0: 'a'\n".repeat(2000))];
        assert!(filled(Table::Files, "x", &many).is_err());
    }
}
