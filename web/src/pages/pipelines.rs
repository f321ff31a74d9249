//! Pipelines: read by analysts, written by administrators.

use rocket::http::Status;
use rocket::tokio::task;
use rocket::{FromForm, State, get, post};
use serde_json::{Value, json};

use super::login::Nothing;
use super::render::{Answer, Failure, Page, Reply, told};
use crate::accounts::{Reason, Refused, Role};
use crate::clock::readable;
use crate::config::DEFAULT_PIPELINE;
use crate::database::DbError;
use crate::forms::{Posted, PostedText};
use crate::jobs::tasks::LookError;
use crate::pipelines::described::Described;
use crate::pipelines::difference::difference;
use crate::pipelines::store::{self, Made, New, Version};
use crate::pipelines::text::{self, Mistake, What};
use crate::pipelines::written;
use crate::portal::Portal;
use crate::results::human::grouped;
use crate::visitor::{Administrator, Analyst};

/// What was done just before, for a line at the top. Other words are ignored.
const DONE: [&str; 3] = ["saved", "retired", "restored"];
/// Characters of a line that is shown beside its mistake.
const EXCERPT: usize = 160;

fn done_key(done: Option<&str>) -> Option<String> {
    done.filter(|done| DONE.contains(done)).map(|done| format!("pipelines.done-{done}"))
}

/// All pipelines.
#[get("/pipelines")]
pub async fn list(me: Analyst<'_>, portal: &State<Portal>) -> Reply {
    let made = portal.db.run(|connection| store::list(connection)).await?;
    let fixed = std::iter::once((DEFAULT_PIPELINE, "pipelines.kind-box"));
    let own = portal.config.pipeline.iter().map(|choice| (choice.name.as_str(), "pipelines.kind-own"));
    let mut rows: Vec<Value> = fixed
        .chain(own)
        .map(|(name, kind)| json!({ "name": name, "kind": kind, "version": null, "retired": false }))
        .collect();
    rows.extend(made.into_iter().map(|made| {
        json!({
            "name": made.name, "kind": "pipelines.kind-made", "retired": made.retired,
            "version": made.newest.version, "words": made.newest.words, "by": made.newest.by,
            "at": readable(made.newest.at),
        })
    }));
    let can_write = me.account.role == Role::Administrator;
    Ok(Page::new(portal, &me, "pipelines", json!({ "pipelines": rows, "can_write": can_write }))?.into())
}

/// What of a pipeline is asked for.
#[derive(Debug, Default, FromForm)]
pub struct Wanted {
    version: Option<i64>,
    against: Option<i64>,
    done: Option<String>,
}

/// One pipeline: its text, its versions, what differs between two of them.
#[get("/pipelines/<name>?<wanted..>")]
pub async fn show(me: Analyst<'_>, portal: &State<Portal>, name: &str, wanted: Wanted) -> Reply {
    let can_write = me.account.role == Role::Administrator;
    let fixed = |kind: &str, text: Option<String>| {
        let data = json!({
            "title": "pipelines.one", "name": name, "kind": kind, "text": text, "made": null, "done": null, "form": null,
            "can_write": can_write,
        });
        Page::new(portal, &me, "pipeline", data)
    };
    if name == DEFAULT_PIPELINE {
        return Ok(fixed("pipelines.kind-box", Some(veilwatch::config::EXAMPLE.to_owned()))?.into());
    }
    if let Some(choice) = portal.config.pipeline.iter().find(|choice| choice.name == name) {
        // Where things lie on this computer is for those alone who look after it.
        let (path, most) = (choice.file.clone(), portal.config.framework.pipeline_bytes);
        let text =
            if can_write { task::spawn_blocking(move || text_of(&path, most)).await.ok().flatten() } else { None };
        return Ok(fixed("pipelines.kind-own", text)?.into());
    }
    let draft = None;
    Ok(made_page(&me, portal, name, wanted, draft).await?.into())
}

/// The text of an operator's file, where it is not too long.
fn text_of(path: &std::path::Path, most: u64) -> Option<String> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(path).ok()?.take(most.saturating_add(1)).read_to_string(&mut text).ok()?;
    (read as u64 <= most).then_some(text)
}

/// A form that was typed into, and what is to be said of it.
#[derive(Default)]
struct Draft {
    name: String,
    text: String,
    words: String,
    base: Option<i64>,
    /// What is wrong with the text.
    mistakes: Vec<Mistake>,
    /// What was found, where nothing is wrong.
    good: Option<Value>,
    /// Why it was not saved.
    error: Option<Reason>,
}

impl Draft {
    fn form(&self, action: &str) -> Value {
        let mistakes: Vec<Value> = self.mistakes.iter().map(|mistake| mistake_row(mistake, &self.text)).collect();
        json!({
            "action": action, "is_new": self.base.is_none(), "name": self.name, "text": self.text, "words": self.words,
            "base": self.base, "mistakes": mistakes, "good": self.good,
            "error": self.error.map(|reason| reason.to_string()),
        })
    }
}

fn mistake_row(mistake: &Mistake, text: &str) -> Value {
    let (key, what) = match &mistake.what {
        What::Words(words) => (None, words),
        What::Message(key, what) => (Some(format!("pipelines.{key}")), what),
    };
    let line = mistake.place.and_then(|(line, column)| {
        let whole = text.lines().nth(line.checked_sub(1)?)?;
        let (before, rest): (String, String) =
            (whole.chars().take(column - 1).collect(), whole.chars().skip(column - 1).take(EXCERPT).collect());
        let word = rest.chars().take_while(|c| !c.is_whitespace() && !"=,]}#".contains(*c)).count().max(1);
        let tail =
            |text: &str| text.chars().rev().take(EXCERPT).collect::<Vec<_>>().into_iter().rev().collect::<String>();
        let (marked, after): (String, String) = (rest.chars().take(word).collect(), rest.chars().skip(word).collect());
        Some(json!({ "line": line, "column": column, "before": tail(&before), "marked": marked, "after": after }))
    });
    json!({ "key": key, "what": what, "place": line })
}

async fn made_page(
    me: &Analyst<'_>,
    portal: &Portal,
    name: &str,
    wanted: Wanted,
    draft: Option<Draft>,
) -> Result<Page, Failure> {
    let Wanted { version, against, done } = wanted;
    let own = name.to_owned();
    let found = portal.db.run(move |connection| -> Result<_, DbError> {
        let Some(made) = store::list(connection)?.into_iter().find(|made| made.name == own) else { return Ok(None) };
        let shown = store::version(connection, &own, version.unwrap_or(made.newest.version))?;
        let other = against.map(|against| store::version(connection, &own, against)).transpose()?.flatten();
        let versions = store::versions(connection, made.id)?;
        let uses = store::uses(connection, &own)?;
        Ok(Some((made, shown, other, versions, uses)))
    });
    let Some((made, Some(shown), other, versions, uses)) = found.await? else { return Err(Failure(Status::NotFound)) };
    let Made { newest, retired, .. } = made;
    let used = |version: i64| uses.iter().find(|(of, _)| *of == version).map_or(0, |(_, count)| *count);
    let rows: Vec<Value> = versions
        .iter()
        .map(|facts| {
            json!({
                "version": facts.version, "words": facts.words, "by": facts.by, "at": readable(facts.at),
                "uses": grouped(u64::try_from(used(facts.version)).unwrap_or_default()),
                "is_shown": facts.version == shown.facts.version, "is_newest": facts.version == newest.version,
            })
        })
        .collect();
    let can_write = me.account.role == Role::Administrator;
    let is_newest = shown.facts.version == newest.version;
    let edited = match draft {
        Some(draft) => Some(draft),
        None if can_write && is_newest && !retired => {
            let (text, base) = (shown.text.clone(), Some(newest.version));
            Some(Draft { name: name.to_owned(), text, base, ..Draft::default() })
        }
        None => None,
    };
    let action = format!("/pipelines/{name}");
    let data = json!({
        "title": "pipelines.one", "name": name, "kind": "pipelines.kind-made", "done": done_key(done.as_deref()),
        "form": edited.map(|draft| draft.form(&action)), "text": shown.text, "can_write": can_write,
        "made": {
            "version": shown.facts.version, "newest": newest.version, "is_newest": is_newest, "retired": retired,
            "versions": rows, "difference": other.map(|other| difference_of(&other, &shown)),
        },
    });
    Ok(Page::new(portal, me, "pipeline", data)?)
}

fn difference_of(old: &Version, new: &Version) -> Value {
    let parts: Vec<Vec<Value>> = difference(&old.text, &new.text)
        .into_iter()
        .map(|part| {
            let line = |line: crate::pipelines::difference::Line| {
                let (class, sign) = match (line.old, line.new) {
                    (Some(_), Some(_)) => ("", " "),
                    (Some(_), None) => ("bad", "−"),
                    (None, _) => ("good", "+"),
                };
                json!({ "class": class, "sign": sign, "old": line.old, "new": line.new, "text": line.text })
            };
            part.into_iter().map(line).collect()
        })
        .collect();
    json!({ "old": old.facts.version, "new": new.facts.version, "parts": parts })
}

/// The form of a new pipeline, with the text of another one where that is asked for.
#[get("/pipelines/new?<from>")]
pub async fn begin(me: Administrator<'_>, portal: &State<Portal>, from: Option<String>) -> Reply {
    let from = match from.filter(|from| from != DEFAULT_PIPELINE) {
        None => None,
        Some(name) => {
            let read = move |connection: &mut rusqlite::Connection| -> Result<_, DbError> {
                let newest = store::list(connection)?.into_iter().find(|made| made.name == name);
                newest.map(|made| store::version(connection, &name, made.newest.version)).transpose()
            };
            portal.db.run(read).await?.flatten()
        }
    };
    let text = from.map_or_else(|| veilwatch::config::EXAMPLE.to_owned(), |version| version.text);
    Ok(new_page(me, portal, &Draft { text, ..Draft::default() })?.into())
}

fn new_page(me: Administrator<'_>, portal: &Portal, draft: &Draft) -> Result<Page, Failure> {
    Ok(Page::new(portal, &me, "pipeline-new", json!({ "form": draft.form("/pipelines") }))?)
}

/// A pipeline as it was typed.
#[derive(Debug, FromForm)]
pub struct Typed {
    name: Option<String>,
    text: String,
    words: String,
    base: Option<i64>,
    #[field(name = "do")]
    wish: String,
}

/// Checks or saves a new pipeline.
#[post("/pipelines", data = "<form>")]
pub async fn create(me: Administrator<'_>, portal: &State<Portal>, form: PostedText<Typed>) -> Reply {
    let name = form.0.name.clone().unwrap_or_default().trim().to_owned();
    match take(me, portal, &name, None, form.0).await? {
        Taken::Saved => Ok(Answer::to(&format!("/pipelines/{name}?done=saved"))),
        Taken::Kept(draft, status) => Ok(new_page(me, portal, &draft)?.with_status(status).into()),
    }
}

/// Checks or saves another version.
#[post("/pipelines/<name>", data = "<form>")]
pub async fn save(me: Administrator<'_>, portal: &State<Portal>, name: &str, form: PostedText<Typed>) -> Reply {
    let base = Some(form.0.base.unwrap_or_default());
    match take(me, portal, name, base, form.0).await? {
        Taken::Saved => Ok(Answer::to(&format!("/pipelines/{name}?done=saved"))),
        Taken::Kept(draft, status) => {
            let page = made_page(&me.into(), portal, name, Wanted::default(), Some(draft)).await?;
            Ok(page.with_status(status).into())
        }
    }
}

/// Makes a new version with the text of an old one.
#[derive(Debug, FromForm)]
pub struct Back {
    version: i64,
    base: i64,
}

/// Rolls back.
#[post("/pipelines/<name>/back", data = "<form>")]
pub async fn back(me: Administrator<'_>, portal: &State<Portal>, name: &str, form: Posted<Back>) -> Reply {
    let (own, Back { version, base }) = (name.to_owned(), form.0);
    let old = portal.db.run(move |connection| store::version(connection, &own, version)).await?;
    let Some(old) = old else { return Err(Failure(Status::NotFound)) };
    let words = portal.templates.message(me.language, "pipelines.back-words", &json!({ "n": version }))?;
    let typed = Typed { name: None, text: old.text, words, base: Some(base), wish: "save".to_owned() };
    match take(me, portal, name, Some(base), typed).await? {
        Taken::Saved => Ok(Answer::to(&format!("/pipelines/{name}?done=saved"))),
        Taken::Kept(draft, status) => {
            let page = made_page(&me.into(), portal, name, Wanted::default(), Some(draft)).await?;
            Ok(page.with_status(status).into())
        }
    }
}

/// Offers one no longer.
#[post("/pipelines/<name>/retire", data = "<_form>")]
pub async fn retire(me: Administrator<'_>, portal: &State<Portal>, name: &str, _form: Posted<Nothing>) -> Reply {
    set_retired(me, portal, name, true).await
}

/// Offers one again.
#[post("/pipelines/<name>/restore", data = "<_form>")]
pub async fn restore(me: Administrator<'_>, portal: &State<Portal>, name: &str, _form: Posted<Nothing>) -> Reply {
    set_retired(me, portal, name, false).await
}

async fn set_retired(me: Administrator<'_>, portal: &Portal, name: &str, retired: bool) -> Reply {
    let (actor, now, own, made) = (me.actor(), portal.now(), name.to_owned(), portal.made.clone());
    let done = portal.db.run(move |connection| -> Result<(), Refused> {
        store::set_retired(connection, &own, retired, &actor, now)?;
        Ok(made.renew(connection)?)
    });
    match told(done.await)? {
        Ok(()) => {
            let done = if retired { "retired" } else { "restored" };
            Ok(Answer::to(&format!("/pipelines/{name}?done={done}")))
        }
        Err(_) => Err(Failure(Status::NotFound)),
    }
}

/// What became of a form.
enum Taken {
    /// It is a version now.
    Saved,
    /// It is shown again with what is to be said.
    Kept(Draft, Status),
}

/// Checks a text, and saves it where that is asked for and nothing is wrong.
async fn take(
    me: Administrator<'_>,
    portal: &Portal,
    name: &str,
    base: Option<i64>,
    typed: Typed,
) -> Result<Taken, Failure> {
    // Browsers send lines as they do on the wire.
    let text = typed.text.replace("\r\n", "\n");
    let mut draft = Draft { name: name.to_owned(), text, words: typed.words, base, ..Draft::default() };
    let generation = portal.descriptions.generation(name);
    let described = match check(portal, me.account.id, &draft.text).await? {
        Ok(described) => described,
        Err(mistakes) => {
            draft.mistakes = mistakes;
            let status = if typed.wish == "save" { Status::UnprocessableEntity } else { Status::Ok };
            return Ok(Taken::Kept(draft, status));
        }
    };
    if typed.wish != "save" {
        let (plugins, columns) = (described.whole.plugins, described.whole.columns);
        draft.good = Some(json!({
            "plugins": grouped(plugins), "columns": grouped(columns), "model": described.whole.model,
        }));
        return Ok(Taken::Kept(draft, Status::Ok));
    }
    let new = New { name: draft.name.clone(), text: draft.text.clone(), words: draft.words.clone(), base };
    let taken: Vec<String> = portal.config.pipeline.iter().map(|choice| choice.name.clone()).collect();
    let (actor, now, limits, made) = (me.actor(), portal.now(), portal.config.framework.clone(), portal.made.clone());
    let saved = portal.db.run(move |connection| -> Result<i64, Refused> {
        let version = store::save(connection, &new, &taken, &limits, &actor, now)?;
        made.renew(connection)?;
        Ok(version)
    });
    match told(saved.await)? {
        Ok(version) => {
            portal.descriptions.keep(name, Some(version), generation, described);
            Ok(Taken::Saved)
        }
        Err(reason) => {
            draft.error = Some(reason);
            Ok(Taken::Kept(draft, Status::UnprocessableEntity))
        }
    }
}

/// Reads a text, and has a confined worker load it.
async fn check(portal: &Portal, account: i64, text: &str) -> Result<Result<Described, Vec<Mistake>>, Failure> {
    let (own, bench) = (text.to_owned(), portal.bench.clone());
    let broken = |words: String| {
        tracing::error!(words, "a pipeline cannot be checked");
        Failure(Status::InternalServerError)
    };
    let read = task::spawn_blocking(move || {
        text::read(&own, &bench.config.framework).map(|read| written(&bench, &read.written))
    });
    let chosen = match read.await.map_err(|error| broken(error.to_string()))? {
        Ok(chosen) => chosen.map_err(broken)?,
        Err(mistakes) => return Ok(Err(mistakes)),
    };
    let wrong = |words: &str| Ok(Err(vec![text::refused(text, &without_folders(portal, words))]));
    match portal.looks.describe(account, chosen).await {
        Ok(described) => match &described.whole.refused {
            None => Ok(Ok(described)),
            Some(words) => wrong(&crate::jobs::clean(words)),
        },
        Err(LookError::Capture(_, words) | LookError::Died(words)) => wrong(&words),
        Err(LookError::Ours(words)) => Err(broken(words)),
    }
}

/// Where the operator's folders lie is the operator's business.
fn without_folders(portal: &Portal, words: &str) -> String {
    let framework = &portal.config.framework;
    let work = Some(portal.config.data.join("work"));
    let folders = [&framework.plugins, &framework.models, &work].into_iter().flatten();
    let whole = folders.flat_map(|folder| [Some(folder.clone()), folder.canonicalize().ok()]).flatten();
    whole.fold(words.to_owned(), |words, folder| words.replace(&format!("{}/", folder.display()), ""))
}
