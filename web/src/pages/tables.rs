//! Protocol tables: read by analysts, added to by administrators.

use rocket::http::Status;
use rocket::{FromForm, State, get, post};
use serde_json::{Value, json};
use veilwatch::tables::{Row, number, of_number, rows};
use veilwatch_core::tables::{ConflictKind, Table};

use super::home::encoded;
use super::login::Nothing;
use super::render::{Answer, Failure, Page, Reply, told};
use crate::accounts::{Reason, Refused, Role};
use crate::clock::readable;
use crate::forms::Posted;
use crate::portal::Portal;
use crate::results::human::grouped;
use crate::tables::entry::{Added, Kind, fields, filled};
use crate::tables::store::{self, New, Saved};
use crate::tables::{FILE, Shelf};
use crate::visitor::{Administrator, Analyst};

/// What was done just before, for a line at the top. Other words are ignored.
const DONE: [&str; 2] = ["saved", "removed"];
/// Characters of a search.
const SEARCH: usize = 100;
/// Conflicts that are shown.
const CONFLICTS: usize = 100;

/// What is asked for.
#[derive(Clone, Debug, Default, FromForm)]
pub struct Wanted {
    table: Option<String>,
    search: Option<String>,
    offset: Option<u32>,
    /// An added entry that is to be corrected.
    edit: Option<i64>,
    done: Option<String>,
}

/// A table, or what is found in all of them.
#[get("/tables?<wanted..>")]
pub async fn show(me: Analyst<'_>, portal: &State<Portal>, wanted: Wanted) -> Reply {
    Ok(page(me, portal, wanted, None)?.into())
}

/// An entry as it was typed.
#[derive(Clone, Debug, Default, FromForm)]
pub struct Typed {
    id: Option<i64>,
    table: String,
    key: String,
    name: Option<String>,
    words: Option<String>,
    media: Option<String>,
    extensions: Option<String>,
    bytes: Option<String>,
    severity: Option<String>,
    look: Option<String>,
    category: Option<String>,
    strength: Option<String>,
    transport: Option<String>,
    ports: Option<String>,
    names: Option<String>,
    agents: Option<String>,
}

impl Typed {
    fn fields(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("name", &self.name),
            ("words", &self.words),
            ("media", &self.media),
            ("extensions", &self.extensions),
            ("bytes", &self.bytes),
            ("severity", &self.severity),
            ("look", &self.look),
            ("category", &self.category),
            ("strength", &self.strength),
            ("transport", &self.transport),
            ("ports", &self.ports),
            ("names", &self.names),
            ("agents", &self.agents),
        ];
        all.into_iter().filter_map(|(name, text)| Some((name, text.clone()?))).collect()
    }
}

/// A form that was typed into, and why it was not taken.
struct Draft {
    typed: Typed,
    error: Option<Reason>,
    mistakes: Vec<String>,
}

/// Adds an entry or corrects one.
#[post("/tables", data = "<form>")]
pub async fn save(me: Administrator<'_>, portal: &State<Portal>, form: Posted<Typed>) -> Reply {
    let typed = form.0;
    let Some(table) = Table::from_name(&typed.table) else { return Err(Failure(Status::UnprocessableEntity)) };
    let refused = match filled(table, &typed.key, &typed.fields()) {
        Err(reason) => (Some(reason), Vec::new()),
        Ok((key, fields)) => {
            let new = New { id: typed.id, table, key, fields };
            let most = portal.config.framework.table_entries;
            let (actor, now, shelves, folders) =
                (me.actor(), portal.now(), portal.shelves.clone(), portal.folders.clone());
            let saved = portal.db.run(move |connection| -> Result<Saved, Refused> {
                let saved = store::save(connection, &new, most, &actor, now)?;
                if saved == Saved::Yes {
                    shelves.renew(connection, &folders)?;
                }
                Ok(saved)
            });
            match told(saved.await)? {
                Ok(Saved::Yes) => {
                    portal.readers.renew();
                    let search = encoded(typed.key.trim());
                    return Ok(Answer::to(&format!("/tables?table={}&search={search}&done=saved", table.name())));
                }
                Ok(Saved::Wrong(mistakes)) => (None, mistakes),
                Err(reason) => (Some(reason), Vec::new()),
            }
        }
    };
    let (error, mistakes) = refused;
    let wanted = Wanted { table: Some(table.name().to_owned()), ..Wanted::default() };
    let draft = Draft { typed, error, mistakes };
    Ok(page(me.into(), portal, wanted, Some(&draft))?.with_status(Status::UnprocessableEntity).into())
}

/// Removes an added entry.
#[post("/tables/<id>/remove", data = "<_form>")]
pub async fn remove(me: Administrator<'_>, portal: &State<Portal>, id: i64, _form: Posted<Nothing>) -> Reply {
    let (actor, now, shelves, folders) = (me.actor(), portal.now(), portal.shelves.clone(), portal.folders.clone());
    let removed = portal.db.run(move |connection| -> Result<(), Refused> {
        store::remove(connection, id, &actor, now)?;
        shelves.renew(connection, &folders)
    });
    match told(removed.await)? {
        Ok(()) => {
            portal.readers.renew();
            Ok(Answer::to("/tables?done=removed"))
        }
        Err(_) => Err(Failure(Status::NotFound)),
    }
}

fn page(me: Analyst<'_>, portal: &Portal, wanted: Wanted, draft: Option<&Draft>) -> Result<Page, Failure> {
    let shelf = portal.shelves.now();
    let can_write = me.account.role == Role::Administrator;
    let search: String = wanted.search.as_deref().unwrap_or_default().trim().chars().take(SEARCH).collect();
    let edited = wanted.edit.and_then(|id| all_added(&shelf).find(|added| added.id == id)).filter(|_| can_write);
    let asked = wanted.table.as_deref().and_then(Table::from_name).or(edited.map(|added| added.table));
    // Without a search a table is chosen: all of them together are a long list.
    let table = asked.or(search.is_empty().then_some(Table::Tcp));
    let found: Vec<Row<'_>> = found(&shelf, table, &search);
    let (offset, size) = (wanted.offset.unwrap_or(0), portal.config.limits.page_rows);
    let shown =
        found.iter().skip(offset as usize).take(size as usize).map(|row| shown(row, &shelf)).collect::<Vec<_>>();
    let link = |offset: u32| {
        let table = table.map(Table::name).unwrap_or_default();
        format!("/tables?table={table}&search={}&offset={offset}", encoded(&search))
    };
    let next = u64::from(offset) + u64::from(size);
    let tables: Vec<Value> = Table::ALL
        .into_iter()
        .map(|one| json!({ "name": one.name(), "label": one.name().to_uppercase(), "is_current": Some(one) == table }))
        .collect();
    let unused: Vec<Value> = shelf
        .unused
        .iter()
        .map(|(added, words)| json!({ "id": added.id, "table": added.table.name(), "key": added.key, "words": words }))
        .collect();
    let done = wanted.done.as_deref().filter(|done| DONE.contains(done)).map(|done| format!("tables.done-{done}"));
    let data = json!({
        "done": done, "tables": tables, "search": search, "rows": shown, "total": grouped(found.len() as u64),
        "table": table.map(|table| table.name().to_uppercase()),
        "previous": (offset > 0).then(|| link(offset.saturating_sub(size))),
        "next": (next < found.len() as u64).then(|| link(offset.saturating_add(size))),
        "can_write": can_write, "conflicts": conflicts(&shelf), "unused": unused,
        "form": can_write.then(|| form(table.unwrap_or(Table::Tcp), edited, draft)),
    });
    Ok(Page::new(portal, &me, "tables", data)?)
}

fn all_added(shelf: &Shelf) -> impl Iterator<Item = &Added> {
    shelf.added.iter().chain(shelf.unused.iter().map(|(added, _)| added))
}

/// The entries of a table, or of all; those that a number or words find.
fn found<'s>(shelf: &'s Shelf, table: Option<Table>, search: &str) -> Vec<Row<'s>> {
    let of_table = |row: &Row<'s>| table.is_none_or(|table| row.table == table);
    if let Some(number) = number(search) {
        let found: Vec<Row<'s>> = of_number(&shelf.tables, number).into_iter().filter(of_table).collect();
        if !found.is_empty() {
            return found;
        }
    }
    let words = search.to_lowercase();
    let has =
        |row: &Row<'s>| words.is_empty() || row.cells().iter().take(3).any(|cell| cell.to_lowercase().contains(&words));
    rows(&shelf.tables).filter(of_table).filter(has).collect()
}

fn shown(row: &Row<'_>, shelf: &Shelf) -> Value {
    let [key, name, words, _] = row.cells();
    let added = shelf.added_at(row.place());
    json!({
        "table": row.table.name().to_uppercase(), "key": key.split('\n').collect::<Vec<_>>(), "name": name, "words": words,
        "added": added.map(|added| json!({ "id": added.id, "by": added.by, "at": readable(added.at) })),
    })
}

/// What added entries do to those in the box, and to one another.
fn conflicts(shelf: &Shelf) -> Vec<Value> {
    let ours = shelf.tables.conflicts().iter().filter(|one| &*one.after.file == FILE || &*one.before.file == FILE);
    ours.take(CONFLICTS)
        .map(|one| {
            let key = match one.kind {
                ConflictKind::Replaces => "tables.conflict-replaces",
                ConflictKind::Removes => "tables.conflict-removes",
                ConflictKind::Overlaps => "tables.conflict-overlaps",
                ConflictKind::Hides => "tables.conflict-hides",
                ConflictKind::SameBytes => "tables.conflict-same-bytes",
            };
            json!({ "message": key, "table": one.table.name().to_uppercase(), "key": one.key, "other": one.other })
        })
        .collect()
}

/// The form of an entry of a table: empty, with the entry that is corrected, or as it was typed.
fn form(table: Table, edited: Option<&Added>, draft: Option<&Draft>) -> Value {
    let typed = draft.map(|draft| draft.typed.fields());
    let value = |name: &str| match (&typed, edited) {
        (Some(typed), _) => typed.iter().find(|(of, _)| *of == name).map(|(_, text)| text.clone()).unwrap_or_default(),
        (None, Some(added)) => added.fields.get(name).cloned().unwrap_or_default(),
        (None, None) => String::new(),
    };
    let rows: Vec<Value> = fields(table)
        .iter()
        .map(|field| {
            let value = value(field.name);
            let choices = match field.kind {
                Kind::Choice(names) => Some(
                    names.iter().map(|name| json!({ "name": name, "is_current": *name == value })).collect::<Vec<_>>(),
                ),
                _ => None,
            };
            json!({
                "name": field.name, "label": format!("tables.field-{}", field.name), "value": value,
                "required": field.required, "lines": field.kind == Kind::Lines, "choices": choices,
            })
        })
        .collect();
    let id = draft.map_or(edited.map(|added| added.id), |draft| draft.typed.id);
    let key = match (draft, edited) {
        (Some(draft), _) => draft.typed.key.clone(),
        (None, Some(added)) => added.key.clone(),
        (None, None) => String::new(),
    };
    json!({
        "table": table.name(), "label": table.name().to_uppercase(), "id": id, "key": key, "fields": rows,
        "is_number": Table::NUMBERS.contains(&table),
        "error": draft.and_then(|draft| draft.error).map(|reason| reason.to_string()),
        "mistakes": draft.map(|draft| draft.mistakes.clone()).unwrap_or_default(),
    })
}
