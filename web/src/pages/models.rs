//! Models: the list, one with its card and how it was judged, and what administrators do with it.

use std::sync::Arc;

use rocket::http::{ContentType, Status};
use rocket::tokio::task;
use rocket::{FromForm, State, get, post};
use serde_json::{Value, json};
use veilwatch::evaluate::Digest;
use veilwatch::model::{
    AlarmRate, Card, Compared, Figure, Model, ModelSettings, Signer, Standing, compare, same_protocol,
};

use super::looks::place;
use super::render::{Answer, Failure, Page, Reply, told};
use crate::accounts::Role;
use crate::accounts::audit::{self, Action};
use crate::at_once::Place;
use crate::database::DbError;
use crate::forms::Posted;
use crate::models::curves::{CurveKind, curve};
use crate::models::shadow::{self, Tally};
use crate::models::{Id, Listed, Shelf, ShelfError, shown_name};
use crate::portal::Portal;
use crate::results::Ink;
use crate::results::human::{grouped, percent};
use crate::visitor::{Administrator, Analyst};

/// What was done just before, for a line at the top. Other words are ignored.
const DONE: [&str; 4] = ["promoted", "rolled-back", "shadowed", "alone"];
/// Columns of a card that are shown.
const COLUMNS: usize = 2000;
/// Characters of a text of a card.
const TEXT: usize = 400;

impl From<ShelfError> for Failure {
    fn from(error: ShelfError) -> Self {
        match error {
            ShelfError::NotThere => Self(Status::NotFound),
            error => {
                tracing::error!(%error, "a model cannot be shown");
                Self(Status::InternalServerError)
            }
        }
    }
}

/// Does something with the registry on a thread that may block, in a place of whoever asks.
pub(crate) async fn on_shelf<T: Send + 'static>(
    portal: &Portal,
    place: &Arc<Place>,
    work: impl FnOnce(&Shelf) -> Result<T, ShelfError> + Send + 'static,
) -> Result<T, ShelfError> {
    let (shelf, place) = (portal.shelf.clone(), Arc::clone(place));
    let done = task::spawn_blocking(move || {
        // Held to the end of the work, even where whoever waits has gone.
        let _place = place;
        work(&shelf)
    });
    done.await.unwrap_or_else(|error| Err(ShelfError::Ours(error.to_string())))
}

/// The model of an address.
fn named(id: &str) -> Result<Id, Failure> {
    Id::parse(id).ok_or(Failure(Status::NotFound))
}

/// The list.
#[get("/models?<done>")]
pub async fn list(me: Analyst<'_>, portal: &State<Portal>, done: Option<&str>) -> Reply {
    let (listed, more) = on_shelf(portal, &place(portal, me.account.id)?, Shelf::list).await?;
    let rows: Vec<Value> = listed.iter().map(row).collect();
    let data = json!({
        "done": done.filter(|done| DONE.contains(done)).map(|done| format!("models.done-{done}")),
        "models": rows, "more": more, "has_registry": portal.shelf.has_registry(),
        "can_train": portal.config.training.data.is_some() && portal.shelf.has_registry(),
    });
    Ok(Page::new(portal, &me, "models", data)?.into())
}

fn row(listed: &Listed) -> Value {
    let common = json!({
        "id": listed.id.to_string(), "champion": listed.champion, "pipelines": listed.pipelines.join(", "),
        "reason": null, "classifier": null, "average_precision": null, "recall": null, "fpr": null, "signer": null,
    });
    let more = match &listed.said {
        Err(reason) => json!({ "reason": reason }),
        Ok((card, signer)) => json!({
            "classifier": shown_name(card.classifier.trim_start_matches("classifier/")),
            "average_precision": figure(Some(card.report.average_precision)),
            "recall": figure(Some(card.report.recall_at_threshold)),
            "fpr": figure(Some(card.report.fpr_at_threshold)),
            "signer": signed(*signer),
        }),
    };
    merged(common, more)
}

fn merged(mut one: Value, other: Value) -> Value {
    if let (Some(one), Value::Object(other)) = (one.as_object_mut(), other) {
        one.extend(other);
    }
    one
}

/// The message that says who vouches for a model.
fn signed(signer: Signer) -> String {
    let state = match signer {
        Signer::Box => "box",
        Signer::Nobody => "nobody",
        Signer::Trusted(_) => "trusted",
        Signer::Stranger(_) => "stranger",
    };
    format!("models.signed-{state}")
}

/// `0.935 [0.884 – 0.974]`.
pub(super) fn figure(figure: Option<Figure>) -> Option<String> {
    figure.map(|Figure { value, low, high }| format!("{value:.3} [{low:.3} – {high:.3}]"))
}

/// A text of a card, on one line and not too long.
fn text(text: &str) -> String {
    crate::jobs::clean(text).chars().take(TEXT).collect()
}

/// One model.
#[get("/models/<id>?<done>")]
pub async fn show(me: Analyst<'_>, portal: &State<Portal>, id: &str, done: Option<&str>) -> Reply {
    let done = done.filter(|done| DONE.contains(done)).map(|done| format!("models.done-{done}"));
    Ok(page(me, portal, &named(id)?, done).await?.into())
}

async fn page(me: Analyst<'_>, portal: &Portal, id: &Id, done: Option<String>) -> Result<Page, Failure> {
    let (own, place) = (id.clone(), place(portal, me.account.id)?);
    let opened = on_shelf(portal, &place, move |shelf| {
        let opened = match shelf.open(&own) {
            Err(ShelfError::Refused(words)) => Err(words),
            outcome => Ok(outcome?),
        };
        let (champion, former) = match &own {
            Id::Kept(name, _) => shelf.champions(name),
            Id::Box(_) => (None, None),
        };
        let used: Vec<String> =
            shelf.pipelines().into_iter().filter(|one| one.model == own.asked()).map(|one| one.pipeline).collect();
        Ok((opened, champion, former, used))
    });
    let (opened, champion, former, used) = opened.await?;
    let asked = id.asked();
    let (beside, tallies) = portal
        .db
        .run(move |connection| -> Result<_, DbError> {
            Ok((shadow::pipelines_of(connection, &asked)?, shadow::tallies(connection, &asked)?))
        })
        .await?;
    let version = if let Id::Kept(_, version) = id { Some(*version) } else { None };
    let is_champion = version.is_some() && champion == version;
    let administrator = me.account.role == Role::Administrator && version.is_some();
    let common = json!({
        "title": "models.one", "done": done, "id": id.to_string(), "champion": is_champion, "used": used.join(", "),
        "reason": null, "card": null, "evaluation": null, "signer": null, "key": null,
        "can_promote": administrator && !is_champion && opened.is_ok(),
        "can_roll_back": administrator && is_champion && former.is_some(),
        "can_shadow": administrator && !is_champion && beside.is_empty() && opened.is_ok(),
        "beside": (!beside.is_empty()).then(|| beside.join(", ")), "can_end_shadow": administrator && !beside.is_empty(),
        "tallies": tallies.iter().map(tallied).collect::<Vec<_>>(),
    });
    let more = match opened {
        Err(reason) => json!({ "reason": reason }),
        Ok((model, signer)) => json!({
            "card": card(&model.card, portal, me.language)?, "signer": signed(signer),
            "key": signer.key().map(|key| key.to_string()),
            "evaluation": match &model.evaluation {
                Some(digest) => Some(evaluation(digest, &model.card, portal, me.language)?),
                None => None,
            },
        }),
    };
    Ok(Page::new(portal, &me, "model", merged(common, more))?)
}

fn tallied((champion, tally): &(String, Tally)) -> Value {
    let share = |part: u64, whole: u64| if whole == 0 { 1.0 } else { part as f64 / whole as f64 };
    json!({
        "champion": champion.trim_start_matches(ModelSettings::REGISTRY), "runs": grouped(tally.runs),
        "flows": grouped(tally.flows), "same": percent(share(tally.same_verdict, tally.flows)),
        "differ": grouped(tally.flows.saturating_sub(tally.same_verdict)),
        "champion_alerts": grouped(tally.champion_alerts), "challenger_alerts": grouped(tally.challenger_alerts),
        "both": grouped(tally.both_alert), "failed": grouped(tally.failed),
    })
}

/// All that a card says, for a page.
fn card(card: &Card, portal: &Portal, language: super::Language) -> Result<Value, Failure> {
    let say = |key: &str, values: Value| portal.templates.message(language, &format!("models.{key}"), &values);
    let training = &card.training;
    let recipe = serde_json::to_string(&training.recipe()).unwrap_or_default();
    let count = |count: usize| grouped(count as u64);
    let flows = json!({
        "malicious": count(training.malicious_flows), "benign": count(training.benign_flows),
        "background": count(training.background_flows), "unlabelled": count(training.unlabelled_flows),
    });
    let report = &card.report;
    let pairs = json!({
        "malicious": count(report.malicious_pairs), "benign": count(report.benign_pairs),
        "background": count(report.background_pairs),
    });
    let facts = [
        ("fact-name", text(&card.name)),
        ("fact-made-by", text(&card.made_by)),
        ("fact-classifier", text(&card.classifier)),
        ("fact-settings", text(&card.settings.lines().collect::<Vec<_>>().join(", "))),
        ("fact-scored", card.scored.word().to_owned()),
        ("fact-captures", count(training.captures)),
        ("fact-flows", say("flows", flows)?),
        ("fact-pairs", say("pairs", pairs)?),
        ("fact-split", text(&training.split)),
        ("fact-recipe", text(&recipe)),
        ("fact-seed", training.seed.to_string()),
        ("fact-data", text(&training.data_sha256)),
        ("fact-schema", text(&card.schema_sha256)),
        ("fact-weights", text(&card.weights_sha256)),
        ("fact-memory", card.memory_sha256.as_deref().map(text).unwrap_or_default()),
        ("fact-novelty", card.novelty_limit.map(|limit| limit.to_string()).unwrap_or_default()),
        ("fact-calibration", format!("slope {:.4}, offset {:.4}", card.calibration.slope, card.calibration.offset)),
        ("fact-suspicious", format!("{:.4}", card.thresholds.suspicious)),
        ("fact-malicious", format!("{:.4}", card.thresholds.malicious)),
        ("fact-budget", card.false_alert_budget.to_string()),
    ];
    let facts: Vec<Value> = facts
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| json!({ "name": format!("models.{name}"), "text": text }))
        .collect();
    let figures: Vec<Value> = report
        .figures()
        .map(|(name, value)| json!({ "name": name, "value": figure(value).unwrap_or_else(|| "–".to_owned()) }))
        .collect();
    let rates = card
        .alarm_rates
        .iter()
        .map(|AlarmRate { rate, score }| json!({ "rate": short(rate * 1e5), "score": format!("{score:.4}") }));
    let value = |value: Option<f32>| value.map_or_else(|| "–".to_owned(), |value| format!("{value}"));
    let columns = card
        .columns
        .iter()
        .take(COLUMNS)
        .map(|column| json!([text(&column.name), value(column.p5), value(column.p50), value(column.p95)]));
    Ok(json!({
        "facts": facts, "figures": figures, "rates": rates.collect::<Vec<_>>(),
        "columns": columns.collect::<Vec<_>>(), "column_count": count(card.columns.len()),
        "few": report.malicious_pairs < 30, "old": card.memory_sha256.is_none(),
        "impossible": !report.is_possible(),
        "marks": training.recipe.feedback.as_ref().map(|marks| count(marks.learnt)),
    }))
}

/// A number with at most three digits behind the point.
fn short(number: f64) -> String {
    format!("{}", (number * 1e3).round() / 1e3)
}

/// How a model was judged, for a page.
fn evaluation(digest: &Digest, card: &Card, portal: &Portal, language: super::Language) -> Result<Value, Failure> {
    let messages = portal.templates.messages(language)?;
    let named = |one: &veilwatch::evaluate::NamedFigure| json!([text(&one.name), figure(Some(one.figure))]);
    let classifiers = digest.classifiers.iter().map(|row| {
        let cell = |value| figure(value).unwrap_or_else(|| "–".to_owned());
        json!({
            "name": text(&row.name), "failed": row.failed.as_deref().map(text),
            "cells": [cell(row.average_precision), cell(row.f1), cell(row.precision), cell(row.recall), cell(row.weighted_f1)],
        })
    });
    let checks = digest.checks.iter().map(|check| {
        json!({
            "id": text(&check.id), "ending": format!("models.check-{}", check.ending), "question": text(&check.question),
            "found": text(&check.found), "class": match check.ending.as_str() {
                "passed" => "benign",
                "failed" => "malicious",
                _ => "",
            },
        })
    });
    let mut pictures = Vec::new();
    for kind in CurveKind::ALL {
        let Some(picture) = curve(kind, digest, messages, Ink::OnLight)? else { continue };
        let rows: Vec<Vec<String>> =
            picture.rows.into_iter().map(|(name, cells)| std::iter::once(name).chain(cells).collect()).collect();
        pictures.push(json!({
            "kind": kind.name(), "title": picture.title, "alternative": picture.alternative, "head": picture.columns,
            "rows": rows,
        }));
    }
    let baseline = digest
        .baseline
        .iter()
        .map(|row| json!([text(&row.figure), figure(Some(row.ours)), format!("{:.3}", row.baseline)]));
    Ok(json!({
        "is_of": digest.is_of(card), "quick": digest.quick, "made_by": text(&digest.made_by), "folds": digest.folds,
        "classifier": text(&digest.classifier),
        "figures": digest.figures.iter().map(named).collect::<Vec<_>>(),
        "protocols": digest.protocols.iter().map(named).collect::<Vec<_>>(),
        "withheld": digest.withheld.iter().map(|words| text(words)).collect::<Vec<_>>(),
        "audit": digest.audit_passed.map(|passed| if passed { "models.audit-passed" } else { "models.audit-failed" }),
        "checks": checks.collect::<Vec<_>>(), "classifiers": classifiers.collect::<Vec<_>>(),
        "baseline": baseline.collect::<Vec<_>>(), "pictures": pictures,
    }))
}

/// A picture of how it was judged.
#[get("/models/<id>/pictures/<file>?<dark>")]
pub async fn picture(
    me: Analyst<'_>,
    portal: &State<Portal>,
    id: &str,
    file: &str,
    dark: Option<bool>,
) -> Result<(ContentType, String), Failure> {
    let kind = file.strip_suffix(".svg").and_then(CurveKind::from_name).ok_or(Failure(Status::NotFound))?;
    let id = named(id)?;
    let place = place(portal, me.account.id)?;
    let opened = on_shelf(portal, &place, move |shelf| shelf.open(&id)).await;
    let (model, _) = opened.map_err(|_| Failure(Status::NotFound))?;
    let ink = if dark == Some(true) { Ink::OnDark } else { Ink::OnLight };
    let digest = model.evaluation.ok_or(Failure(Status::NotFound))?;
    let picture = curve(kind, &digest, portal.templates.messages(me.language)?, ink)?;
    Ok((ContentType::SVG, picture.ok_or(Failure(Status::NotFound))?.svg))
}

/// A model and the one that it would take the place of.
struct Pair {
    asked: (Model, Signer),
    other: Option<(Id, Card)>,
    pipelines: Vec<String>,
}

/// What both ask before they do it.
async fn confirmation(
    me: Administrator<'_>,
    portal: &Portal,
    place: &Arc<Place>,
    id: &Id,
    what: &'static str,
    error: Option<String>,
) -> Result<Page, Failure> {
    let Id::Kept(name, version) = id.clone() else { return Err(Failure(Status::NotFound)) };
    let is_back = what == "roll-back";
    let pair = on_shelf(portal, place, move |shelf| {
        let (champion, former) = shelf.champions(&name);
        let pipelines = shelf.served(&name).into_iter().map(|one| one.pipeline).collect();
        let kept = |version: u32| Id::Kept(name.clone(), version);
        // Going back, the former one is what will judge; else the one that was asked for.
        let (next, now) =
            if is_back { (former.ok_or(ShelfError::NotThere)?, Some(version)) } else { (version, champion) };
        let now = now.filter(|now| *now != next).map(kept);
        let other = now.and_then(|now| shelf.open(&now).ok().map(|(model, _)| (now, model.card)));
        Ok((kept(next), Pair { asked: shelf.open(&kept(next))?, other, pipelines }))
    });
    let (next, Pair { asked: (model, signer), other, pipelines }) = match pair.await {
        // What is wrong with it, its own page says.
        Err(ShelfError::Refused(_)) => return Err(Failure(Status::UnprocessableEntity)),
        outcome => outcome?,
    };
    let rows: Vec<Value> = match &other {
        Some((_, card)) => compare(card, &model.card).into_iter().map(compared).collect(),
        None => Vec::new(),
    };
    let worse = other
        .as_ref()
        .is_some_and(|(_, card)| compare(card, &model.card).iter().any(|row| row.standing == Some(Standing::Worse)));
    let data = json!({
        "title": format!("models.{what}-title"), "what": what, "id": id.to_string(), "next": next.to_string(),
        "words": format!("models.{what}-words"), "do": format!("models.{what}-do"), "error": error,
        "other": other.as_ref().map(|(id, _)| id.to_string()), "rows": rows, "worse": worse && !is_back,
        "same": other.as_ref().is_none_or(|(_, card)| same_protocol(card, &model.card)),
        "signer": signed(signer), "key": signer.key().map(|key| key.to_string()),
        "unsigned": portal.shelf.not_vouched_for(signer), "pipelines": pipelines.join(", "),
        "audit": model.evaluation.as_ref().and_then(|digest| digest.audit_passed)
            .map(|passed| if passed { "models.audit-passed" } else { "models.audit-failed" }),
    });
    Ok(Page::new(portal, &me, "promote", data)?)
}

/// One figure of two models.
pub(super) fn compared(row: Compared) -> Value {
    json!([
        row.figure,
        figure(row.one).unwrap_or_else(|| "–".into()),
        figure(row.other).unwrap_or_else(|| "–".into()),
        standing(row.standing)
    ])
}

/// The message that says how the second stands to the first.
pub(super) fn standing(standing: Option<Standing>) -> &'static str {
    match standing {
        Some(Standing::Better) => "models.better",
        Some(Standing::Worse) => "models.worse",
        Some(Standing::Within) => "models.within",
        None => "models.not-comparable",
    }
}

/// Asks whether to make it the champion.
#[get("/models/<id>/promote")]
pub async fn ask_promote(me: Administrator<'_>, portal: &State<Portal>, id: &str) -> Reply {
    let place = place(portal, me.account.id)?;
    Ok(confirmation(me, portal, &place, &named(id)?, "promote", None).await?.into())
}

/// Whether even a worse one becomes the champion.
#[derive(Debug, FromForm)]
pub struct Promotion {
    even_if_worse: bool,
}

/// Makes it the champion of its name.
#[post("/models/<id>/promote", data = "<form>")]
pub async fn promote(me: Administrator<'_>, portal: &State<Portal>, id: &str, form: Posted<Promotion>) -> Reply {
    let (id, place) = (named(id)?, place(portal, me.account.id)?);
    match promoted(portal, &place, &id, form.0.even_if_worse, me.actor()).await {
        Ok(()) => Ok(Answer::to(&format!("/models/{id}?done=promoted"))),
        Err(ShelfError::Refused(words)) => {
            let page = confirmation(me, portal, &place, &id, "promote", Some(words)).await?;
            Ok(page.with_status(Status::UnprocessableEntity).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The same for pages and programs.
pub(crate) async fn promoted(
    portal: &Portal,
    place: &Arc<Place>,
    id: &Id,
    even_if_worse: bool,
    actor: crate::accounts::Actor,
) -> Result<(), ShelfError> {
    let own = id.clone();
    let done = on_shelf(portal, place, move |shelf| shelf.promote(&own, even_if_worse)).await?;
    let former = done.former.map_or_else(String::new, |former| format!(", before it {former}"));
    // The other one judges from now on, whether or not the audit log can be written.
    let grown_old = match id {
        Id::Kept(name, _) => another_judges(portal, place, name).await,
        Id::Box(_) => Ok(()),
    };
    noted(portal, actor, Action::Promoted, format!("{id}{former}")).await?;
    grown_old
}

/// What was said of the pipelines that a model of this name judges holds no more.
async fn another_judges(portal: &Portal, place: &Arc<Place>, name: &str) -> Result<(), ShelfError> {
    let own = name.to_owned();
    let served = on_shelf(portal, place, move |shelf| Ok(shelf.served(&own))).await?;
    served.iter().for_each(|one| portal.descriptions.grow_old(&one.pipeline));
    Ok(())
}

/// Writes into the audit log what has happened.
async fn noted(
    portal: &Portal,
    actor: crate::accounts::Actor,
    action: Action,
    subject: String,
) -> Result<(), ShelfError> {
    let now = portal.now();
    let noted = portal.db.run(move |connection| audit::record(connection, &actor, action, Some(&subject), now)).await;
    noted.map_err(|error| ShelfError::Ours(error.to_string()))
}

/// Asks whether to go back to the former champion.
#[get("/models/<id>/roll-back")]
pub async fn ask_roll_back(me: Administrator<'_>, portal: &State<Portal>, id: &str) -> Reply {
    let id = named(id)?;
    let Id::Kept(name, version) = id.clone() else { return Err(Failure(Status::NotFound)) };
    let place = place(portal, me.account.id)?;
    // Of any other version there is nothing to go back from.
    if on_shelf(portal, &place, move |shelf| Ok(shelf.champions(&name).0)).await? != Some(version) {
        return Err(Failure(Status::NotFound));
    }
    Ok(confirmation(me, portal, &place, &id, "roll-back", None).await?.into())
}

/// Goes back to the former champion.
#[post("/models/<id>/roll-back", data = "<_form>")]
pub async fn roll_back(
    me: Administrator<'_>,
    portal: &State<Portal>,
    id: &str,
    _form: Posted<super::login::Nothing>,
) -> Reply {
    let id = named(id)?;
    let Id::Kept(name, version) = id.clone() else { return Err(Failure(Status::NotFound)) };
    let (own, place) = (name.clone(), place(portal, me.account.id)?);
    let done = on_shelf(portal, &place, move |shelf| match shelf.champions(&own).0 {
        // Somebody else may have been faster: then this page speaks of another champion.
        Some(champion) if champion == version => shelf.roll_back(&own),
        _ => Err(ShelfError::NotThere),
    });
    match done.await {
        Ok((gone, back)) => {
            let grown_old = another_judges(portal, &place, &name).await;
            noted(portal, me.actor(), Action::RolledBack, format!("{name}: from {gone} to {back}")).await?;
            grown_old?;
            Ok(Answer::to(&format!("/models/{name}@{back}?done=rolled-back")))
        }
        Err(ShelfError::Refused(words)) => {
            let page = confirmation(me, portal, &place, &id, "roll-back", Some(words)).await?;
            Ok(page.with_status(Status::UnprocessableEntity).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a model scores beside those of its pipelines.
#[derive(Debug, FromForm)]
pub struct Beside {
    on: bool,
}

/// Has it score beside the models of the pipelines that it fits, or no more.
#[post("/models/<id>/shadow", data = "<form>")]
pub async fn set_shadow(me: Administrator<'_>, portal: &State<Portal>, id: &str, form: Posted<Beside>) -> Reply {
    let id = named(id)?;
    let (asked, on, own) = (id.asked(), form.0.on, id.clone());
    let Id::Kept(name, _) = id.clone() else { return Err(Failure(Status::NotFound)) };
    let pipelines = if on {
        let place = place(portal, me.account.id)?;
        let fitting = on_shelf(portal, &place, move |shelf| {
            shelf.open(&own)?;
            let folder = shelf.folder_of(&own)?;
            let fitting =
                shelf.of_line(&name).into_iter().filter(|one| shelf.fits(&folder, std::slice::from_ref(one)).is_ok());
            Ok(fitting.map(|one| one.pipeline).collect::<Vec<_>>())
        });
        fitting.await.map_err(|error| match error {
            ShelfError::Refused(_) => Failure(Status::UnprocessableEntity),
            error => error.into(),
        })?
    } else {
        let asked = asked.clone();
        portal.db.run(move |connection| shadow::pipelines_of(connection, &asked)).await?
    };
    if pipelines.is_empty() {
        return Err(Failure(Status::UnprocessableEntity));
    }
    let (actor, now) = (me.actor(), portal.now());
    let set = portal
        .db
        .run(move |connection| shadow::set(connection, &pipelines, on.then_some(asked.as_str()), &actor, now))
        .await;
    told(set)?.map_err(|_| Failure(Status::UnprocessableEntity))?;
    Ok(Answer::to(&format!("/models/{id}?done={}", if on { "shadowed" } else { "alone" })))
}
