//! Trainings: what there is to learn from, one that runs, and what came of it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use rocket::http::Status;
use rocket::response::stream::{Event, EventStream};
use rocket::tokio::task;
use rocket::tokio::time::{Duration, Instant, sleep};
use rocket::{FromForm, Shutdown, State, get, post};
use serde_json::{Value, json};
use veilwatch::learn::{MARK_WEIGHTS, OnConflict};
use veilwatch::worker::{LearnProgress, LearnStage, Said, TrainReport};

use super::Language;
use super::login::Nothing;
use super::looks::place;
use super::models::{figure, standing};
use super::render::{Answer, Failure, Page, Reply, told};
use crate::accounts::{Account, Actor, Reason, Refused, Role};
use crate::at_once::Place;
use crate::clock::readable;
use crate::database::DbError;
use crate::entries::marks;
use crate::forms::Posted;
use crate::models::shown_name;
use crate::portal::Portal;
use crate::results::human::{grouped, score};
use crate::training::store::{self, NewTraining, State as TrainingState, Training};
use crate::training::{SeenCaptures, data, folder, seen_report};
use crate::uploads::{FileError, Key, Sha256Hex};
use crate::visitor::Analyst;

/// Trainings of the list.
const LISTED: u32 = 50;
/// Things of the folder that one training learns from: its order is one line.
const SOURCES: usize = 50;
/// Time between two events.
const PAUSE: Duration = Duration::from_millis(300);
/// How long one stream lasts; the browser then asks for the next.
const LONGEST: Duration = Duration::from_secs(600);
/// Seconds after which a page without script loads itself again.
const REFRESH: u32 = 3;

/// Whose trainings somebody sees: administrators everybody's, since models are for all.
fn whose(account: &Account) -> Option<i64> {
    (account.role < Role::Administrator).then_some(account.id)
}

/// The list, and what to begin one with.
#[get("/training")]
pub async fn list(me: Analyst<'_>, portal: &State<Portal>) -> Reply {
    let place = place(portal, me.account.id)?;
    Ok(page(me, portal, &place, None).await?.into())
}

/// In a place of whoever asks, which also what blocks holds to its end, even where whoever waits has gone.
async fn page(me: Analyst<'_>, portal: &Portal, place: &Arc<Place>, error: Option<Reason>) -> Result<Page, Failure> {
    let (account, whose, most) = (me.account.id, whose(me.account), portal.config.training.captures);
    let held = Arc::clone(place);
    let (trainings, captures) = portal
        .db
        .read(move |connection| -> Result<_, DbError> {
            let _held = held;
            Ok((store::list(connection, whose, LISTED)?, marks::labels::marked_captures(connection, account, most)?))
        })
        .await?;
    let (sources, pipelines) = offered(portal, place).await?;
    let rows = trainings.iter().map(|one| {
        json!({
            "key": one.key.as_str(), "state": format!("training.state-{}", one.state), "name": one.state.name(),
            "by": one.by, "at": readable(one.created_at), "pipeline": one.asked.pipeline,
            "marks": grouped(one.asked.marks), "model": one.asked.model,
            "version": one.version.map(|version| format!("{}@{version}", one.asked.model)),
        })
    });
    let captures: Vec<Value> = captures
        .iter()
        .map(|one| json!({ "sha256": one.sha256.as_str(), "name": one.name, "flows": grouped(one.flows) }))
        .collect();
    let sources: Vec<Value> = sources.iter().map(|name| json!({ "name": name, "whole": name.is_empty() })).collect();
    let data = json!({
        "error": error.map(|reason| reason.to_string()), "trainings": rows.collect::<Vec<_>>(),
        "has_data": portal.config.training.data.is_some(), "has_registry": portal.shelf.has_registry(),
        // Of long lists only a part is shown, which is said.
        "sources_cut": (sources.len() == data::OFFERED).then_some(data::OFFERED),
        "captures_cut": (captures.len() == most as usize).then_some(most),
        "trainings_cut": (trainings.len() == LISTED as usize).then_some(LISTED),
        "sources": sources, "captures": captures, "pipelines": pipelines,
        "least": MARK_WEIGHTS.start(), "most": MARK_WEIGHTS.end(),
    });
    Ok(Page::new(portal, &me, "training", data)?)
}

/// What the folder of labelled data offers, and the pipelines whose models the registry takes.
async fn offered(portal: &Portal, place: &Arc<Place>) -> Result<(Vec<String>, Vec<String>), Failure> {
    let (folder, shelf, held) = (portal.config.training.data.clone(), portal.shelf.clone(), Arc::clone(place));
    let looked = task::spawn_blocking(move || {
        let _held = held;
        let sources = folder.as_deref().map(data::sources).unwrap_or_default();
        let lines = shelf.pipelines().into_iter().filter(|one| one.line.is_some()).map(|one| one.pipeline);
        (sources, lines.collect())
    });
    looked.await.map_err(|error| DbError::Broken(error.to_string()).into())
}

/// What to train.
#[derive(Debug, Default, FromForm)]
pub struct Wanted {
    pipeline: String,
    source: Vec<String>,
    capture: Vec<String>,
    weight: String,
    conflict: String,
    seed: String,
}

/// Begins one.
#[post("/training", data = "<form>")]
pub async fn begin(me: Analyst<'_>, portal: &State<Portal>, form: Posted<Wanted>) -> Reply {
    let place = place(portal, me.account.id)?;
    match told(begun(portal, &place, me.account.id, form.0, me.actor()).await)? {
        Ok(key) => Ok(Answer::to(&format!("/training/{key}"))),
        Err(reason) => {
            Ok(page(me, portal, &place, Some(reason)).await?.with_status(Status::UnprocessableEntity).into())
        }
    }
}

/// The same for pages and programs, in a place of the account.
pub(crate) async fn begun(
    portal: &Portal,
    place: &Arc<Place>,
    account: i64,
    wanted: Wanted,
    actor: Actor,
) -> Result<Key, Refused> {
    if !portal.shelf.has_registry() {
        return Err(Reason::NoRegistry.into());
    }
    let (shelf, name, held) = (portal.shelf.clone(), wanted.pipeline.clone(), Arc::clone(place));
    let of_pipeline = task::spawn_blocking(move || {
        let _held = held;
        shelf.of_pipeline(&name)
    });
    let of_pipeline = of_pipeline.await.map_err(|error| DbError::Broken(error.to_string()))?.ok_or(Reason::Pipeline)?;
    let model = of_pipeline.line.ok_or(Reason::Pipeline)?;
    let labelled = portal.config.training.data.clone().ok_or(Reason::TrainingData)?;
    let held = Arc::clone(place);
    let there = task::spawn_blocking(move || {
        let _held = held;
        data::sources(&labelled)
    });
    let there = there.await.map_err(|error| DbError::Broken(error.to_string()))?;
    let mut sources = wanted.source;
    sources.dedup();
    if sources.is_empty() || sources.len() > SOURCES || !sources.iter().all(|name| there.contains(name)) {
        return Err(Reason::TrainingData.into());
    }
    if wanted.capture.len() > portal.config.training.captures as usize {
        return Err(Reason::TrainingCaptures.into());
    }
    let captures: Vec<Sha256Hex> = wanted.capture.iter().map(|one| one.parse()).collect::<Result<_, Reason>>()?;
    let weight: f64 = wanted.weight.trim().parse().map_err(|_| Reason::Form)?;
    if !MARK_WEIGHTS.contains(&weight) {
        return Err(Reason::Form.into());
    }
    let on_conflict: OnConflict = wanted.conflict.parse().map_err(|_| Reason::Form)?;
    let seed: u32 = wanted.seed.trim().parse().map_err(|_| Reason::Form)?;
    let key = Key::random().map_err(DbError::from)?;
    let (files, limits, now, own) =
        (folder(&portal.config.data, &key), portal.config.training.clone(), portal.now(), key.clone());
    let (whole, folder, held) = (files.clone(), files.join("marks"), Arc::clone(place));
    let (captures, marks) = portal
        .db
        .read(move |connection| -> Result<_, Refused> {
            let _held = held;
            // Only captures that one works with: of any other it is refused.
            let (labels, marks) = marks::labels::labels_of(connection, account, &captures)?;
            let failed = |path: &std::path::Path| {
                let path = path.to_owned();
                move |source| FileError { what: "written", path, source }
            };
            let write = || -> Result<(), FileError> {
                DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed(&folder))?;
                for (name, text) in [("captures.csv", labels.captures_csv()), ("flows.csv", labels.flows_csv())] {
                    let path = folder.join(name);
                    std::fs::write(&path, text).map_err(failed(&path))?;
                }
                Ok(())
            };
            let written = write().inspect_err(|_| {
                let _ = std::fs::remove_dir_all(&whole);
            });
            written?;
            Ok((if marks == 0 { Vec::new() } else { captures }, marks))
        })
        .await?;
    let queued = portal.db.run(move |connection| -> Result<(), Refused> {
        let new = NewTraining { pipeline: wanted.pipeline, model, sources, captures, marks, weight, on_conflict, seed };
        let made = store::create(connection, account, &own, &new, &limits, &actor, now);
        if made.is_err() {
            let _ = std::fs::remove_dir_all(&files);
        }
        made
    });
    queued.await?;
    portal.trainer.wake();
    Ok(key)
}

/// A training that somebody may see, or "not found".
pub(crate) async fn find(portal: &Portal, account: &Account, key: &str) -> Result<Training, Failure> {
    let (whose, key) = (whose(account), key.to_owned());
    let found = portal.db.run(move |connection| store::find(connection, whose, &key)).await?;
    found.ok_or(Failure(Status::NotFound))
}

/// One that waits, runs, or is over.
#[get("/training/<key>")]
pub async fn show(me: Analyst<'_>, portal: &State<Portal>, key: &str) -> Reply {
    let training = find(portal, me.account, key).await?;
    let is_queued = training.state == TrainingState::Queued;
    let id = training.id;
    let ahead = if is_queued { portal.db.run(move |connection| store::ahead(connection, id)).await? } else { 0 };
    let live = shown(portal, me.language, portal.trainer.progress(training.id))?;
    let _place = place(portal, me.account.id)?;
    let report = seen_report(&portal.db, me.account.id, &training).await?;
    let asked = &training.asked;
    let sources: Vec<&str> = asked.sources.iter().map(|name| if name.is_empty() { "." } else { name }).collect();
    let data = json!({
        "title": "training.one", "key": training.key.as_str(), "state": format!("training.state-{}", training.state), "is_over": training.is_over(),
        "is_queued": is_queued, "ahead": ahead, "percent": live["percent"], "words": live["words"],
        "refresh": (!training.is_over()).then_some(REFRESH), "stopping": training.stop_asked,
        "by": training.by, "at": readable(training.created_at), "ended": training.ended_at.map(readable),
        "pipeline": asked.pipeline, "sources": sources.join(", "), "marks": grouped(asked.marks),
        "weight": asked.weight, "conflict": format!("training.conflict-{}", asked.on_conflict), "seed": asked.seed,
        "version": training.version.map(|version| format!("{}@{version}", asked.model)),
        "why": training.why.as_ref().filter(|_| training.state == TrainingState::Failed).map(|why| format!("failure.{why}")),
        "do": training.why.as_ref().filter(|_| training.state == TrainingState::Failed).map(|why| format!("failure.{why}-do")),
        "failure": training.words,
        "report": report.map(|(report, captures)| report_of(&report, &captures)),
    });
    Ok(Page::new(portal, &me, "trained", data)?.into())
}

/// How far one has come, in words.
fn shown(portal: &Portal, language: Language, progress: Option<LearnProgress>) -> Result<Value, Failure> {
    let Some(LearnProgress { stage, done, of }) = progress else {
        let words = portal.templates.message(language, "training.preparing", &json!({}))?;
        return Ok(json!({ "words": words, "percent": 0 }));
    };
    let stage = match stage {
        LearnStage::Reading => "reading",
        LearnStage::Learning => "learning",
        LearnStage::Judging => "judging",
        LearnStage::Comparing => "comparing",
        LearnStage::Writing => "writing",
    };
    let values = json!({ "done": grouped(done), "of": grouped(of) });
    let words = portal.templates.message(language, &format!("training.{stage}"), &values)?;
    Ok(json!({ "words": words, "percent": (done.saturating_mul(100)).checked_div(of).unwrap_or_default().min(100) }))
}

/// What may be shown of what came of it, with links to captures.
fn report_of(report: &TrainReport, captures: &SeenCaptures) -> Value {
    let figures = report.figures.iter().map(|row| {
        let cell = |value| figure(value).unwrap_or_else(|| "–".to_owned());
        json!([shown_name(&row.figure), cell(row.one), cell(row.other), standing(row.standing)])
    });
    let said = |said: &Said| json!({ "verdict": format!("verdict.{}", said.verdict), "class": said.verdict, "score": said.score.map(score) });
    let changed = report.changed.iter().filter_map(|one| {
        let (key, name) = captures.get(&one.sha256)?;
        Some(json!({
            "link": format!("/entries/{key}/packets?at={}", one.packet), "name": name, "packet": grouped(one.packet),
            "mark": if one.malicious { "mark.true" } else { "mark.false" }, "before": said(&one.before),
            "after": said(&one.after), "held_out": one.held_out.as_ref().map(said),
        }))
    });
    let conflicts = report.conflicts.iter().map(|one| {
        json!({
            "capture": one.capture, "flow": one.flow, "label": one.label,
            "mark": if one.malicious { "mark.true" } else { "mark.false" }, "by": one.by, "words": one.words,
        })
    });
    let [malicious, benign, background, unlabelled] = report.flows.map(grouped);
    json!({
        "captures": grouped(report.captures), "malicious": malicious, "benign": benign, "background": background,
        "unlabelled": unlabelled, "learnt": grouped(report.marks_learnt), "agreed": grouped(report.marks_agreed),
        "conflict_count": grouped(report.conflict_count), "conflicts": conflicts.collect::<Vec<_>>(),
        "lost": report.marks_lost.iter().sum::<u64>(),
        "said": report.said, "folds": report.folds,
        "figures": figures.collect::<Vec<_>>(), "alone": report.alone, "changed_count": grouped(report.changed_count),
        "changed": changed.collect::<Vec<_>>(), "not_judged": report.not_judged,
        "has_both": report.figures.iter().any(|row| row.one.is_some()),
    })
}

/// Ends one that waits or runs.
#[post("/training/<key>/stop", data = "<_form>")]
pub async fn stop(me: Analyst<'_>, portal: &State<Portal>, key: &str, _form: Posted<Nothing>) -> Reply {
    let (whose, own, actor, now) = (whose(me.account), key.to_owned(), me.actor(), portal.now());
    let asked = portal.db.run(move |connection| store::ask_stop(connection, whose, &own, &actor, now)).await;
    match told(asked)? {
        Ok(running) => {
            if let Some(id) = running {
                portal.trainer.stop(id);
            } else if let Ok(key) = key.parse() {
                let place = folder(&portal.config.data, &key);
                // What stays behind goes at the next start.
                let _ = task::spawn_blocking(move || std::fs::remove_dir_all(place)).await;
            }
            Ok(Answer::to(&format!("/training/{key}")))
        }
        Err(Reason::NotThere) => Err(Failure(Status::NotFound)),
        // It was over already: its page says how.
        Err(_) => Ok(Answer::to(&format!("/training/{key}"))),
    }
}

/// How it goes on, as events.
#[get("/training/<key>/events")]
pub async fn events<'r>(
    me: Analyst<'r>,
    portal: &'r State<Portal>,
    key: &'r str,
    mut shutdown: Shutdown,
) -> Result<EventStream![Event + 'r], Failure> {
    let language = me.language;
    find(portal, me.account, key).await?;
    let place = portal.streams.enter(me.account.id).ok_or(Failure(Status::TooManyRequests))?;
    let until = Instant::now() + LONGEST;
    Ok(EventStream! {
        let _place = place;
        while Instant::now() < until {
            let Ok(training) = find(portal, me.account, key).await else { break };
            if training.is_over() || !me.goes_on(portal).await {
                yield Event::data("").event("end");
                break;
            }
            if training.state == TrainingState::Running
                && let Ok(now) = shown(portal, language, portal.trainer.progress(training.id))
            {
                yield Event::json(&now).event("learning");
            }
            rocket::tokio::select! {
                () = sleep(PAUSE) => {}
                () = &mut shutdown => break,
            }
        }
    })
}

impl Wanted {
    /// What a program asks for.
    pub(crate) fn new(
        pipeline: String,
        sources: Vec<String>,
        captures: Vec<String>,
        weight: f64,
        conflict: String,
        seed: u32,
    ) -> Self {
        let (weight, seed) = (weight.to_string(), seed.to_string());
        Self { pipeline, source: sources, capture: captures, weight, conflict, seed }
    }
}
