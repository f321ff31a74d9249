//! Entries of protocol tables that administrators add over those in the box.
//!
//! The database has them with who added each; one file in the data folder has them for whoever reads tables: workers that
//! analyse, and readers of packets. They are checked by the code that reads that file.
//!
//! | module | story |
//! |---|---|
//! | [`entry`] | one entry: its fields, and the line that they make |
//! | [`store`] | added, corrected, removed |

pub mod entry;
pub mod store;

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::Connection;
use veilwatch::tables::{Loader, TableErrors};
use veilwatch_core::tables::{Place, Tables};

use crate::accounts::Refused;
use crate::uploads::{FileError, Folders};
use entry::Added;

/// What the file is called in places and messages.
pub const FILE: &str = "added";

/// All tables as they are now, and the added entries in them.
#[derive(Debug, Default)]
pub struct Shelf {
    /// Those in the box, and what was added.
    pub tables: Tables,
    /// What was added and is used, line by line of the file.
    pub added: Vec<Added>,
    /// What was added and cannot be used (any more), and why, in English.
    pub unused: Vec<(Added, String)>,
}

/// The shelf of a portal; copies share it.
#[derive(Clone, Debug, Default)]
pub struct Shelves(Arc<RwLock<Arc<Shelf>>>);

impl Shelves {
    /// As it is now.
    pub fn now(&self) -> Arc<Shelf> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the database anew and writes the file: at the start and after each change.
    ///
    /// # Errors
    /// Where the database or the file fails.
    pub fn renew(&self, connection: &Connection, folders: &Folders) -> Result<(), Refused> {
        // Two changes at once write their files one after the other.
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let shelf = Shelf::of(store::list(connection)?);
        for (added, words) in &shelf.unused {
            tracing::warn!(table = added.table.name(), words, "an added entry of a table cannot be used");
        }
        write(&text(&shelf.added), folders)?;
        *place = Arc::new(shelf);
        Ok(())
    }
}

impl Shelf {
    /// Tables with as many of these entries as can be used.
    pub fn of(mut added: Vec<Added>) -> Self {
        let mut unused = Vec::new();
        loop {
            match load(&added) {
                Ok(tables) => return Self { tables, added, unused },
                Err(errors) => {
                    let wrong = errors.errors.iter().filter_map(|error| Some((line_of(error.line?)?, error)));
                    let mut wrong: Vec<(usize, String)> = wrong
                        .map(|(at, error)| (at, error.message.clone()))
                        .filter(|(at, _)| *at < added.len())
                        .collect();
                    wrong.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
                    wrong.dedup_by_key(|(at, _)| *at);
                    if wrong.is_empty() {
                        // What no line is to blame for leaves all of them out.
                        let words = errors.to_string();
                        unused.extend(added.drain(..).map(|entry| (entry, words.clone())));
                    }
                    unused.extend(wrong.into_iter().map(|(at, words)| (added.remove(at), words)));
                }
            }
        }
    }

    /// The added entry that was written at this place.
    pub fn added_at(&self, place: &Place) -> Option<&Added> {
        if &*place.file == FILE { self.added.get(line_of(place.line)?) } else { None }
    }
}

/// Tables in the box with these entries over them.
///
/// # Errors
/// What is wrong with the entries, by line.
pub fn load(added: &[Added]) -> Result<Tables, TableErrors> {
    let mut loader = Loader::new();
    loader.builtin();
    loader.text(FILE, &text(added));
    loader.finish()
}

/// The line of the first entry: each has two, its table and itself.
fn line_of(line: u32) -> Option<usize> {
    usize::try_from(line.checked_sub(1)? / 2).ok()
}

/// The file with these entries. A table can be opened once only, so each entry stands under a name in full.
fn text(added: &[Added]) -> String {
    added.iter().map(|entry| format!("# {}\n{}\n", entry.id, entry.line())).collect()
}

fn write(text: &str, folders: &Folders) -> Result<(), FileError> {
    let failed = |path: &PathBuf| {
        let path = path.clone();
        move |source| FileError { what: "written", path, source }
    };
    let (mut file, path) = folders.new_work_file()?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed(&path))?;
    folders.place(&path, &folders.tables().join("added.toml"))
}

#[cfg(test)]
mod tests {
    use super::entry::tests::added;
    use super::*;
    use veilwatch_core::tables::{Table, Transport};

    #[test]
    fn added_entries_are_found_by_their_place_and_bad_ones_are_left_out() {
        let good = added(1, Table::Tcp, "443", &[("name", "our-portal"), ("words", "Ours")]);
        let bad = added(2, Table::Udp, "99999", &[("name", "x")]);
        let warning = [("severity", "low"), ("words", "w"), ("look", "l"), ("ports", "8021\n8100-8110")];
        let warning = added(3, Table::Warn, "our-old-server", &warning);
        let shelf = Shelf::of(vec![good.clone(), bad.clone(), warning.clone()]);
        assert_eq!((shelf.added.clone(), shelf.unused.len()), (vec![good.clone(), warning.clone()], 1));
        assert_eq!(shelf.unused[0].0, bad);
        assert_eq!(shelf.tables.service_name(Transport::Tcp, 443), Some("our-portal"));
        let place = &shelf.tables.number(Table::Tcp, 443).unwrap().place;
        assert_eq!(shelf.added_at(place), Some(&good));
        let warn = shelf.tables.warn().iter().find(|entry| &*entry.id == "our-old-server").unwrap();
        assert_eq!(shelf.added_at(&warn.place), Some(&warning));
        assert_eq!(shelf.added_at(&shelf.tables.number(Table::Tcp, 80).unwrap().place), None);
        assert!(Shelf::of(Vec::new()).unused.is_empty());
    }
}
