//! Models and trainings, for programs.

use std::sync::Arc;

use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{State, get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::body::Body;
use super::entries::refused;
use super::{Address, Answer, Caller, Writer};
use crate::accounts::Role;
use crate::at_once::Place;
use crate::config::DEFAULT_PIPELINE;
use crate::database::DbError;
use crate::models::{Id, Listed, Shelf, ShelfError};
use crate::pages::errors::{Problem, ProblemDocument};
use crate::pages::looks::place;
use crate::pages::models::{on_shelf, promoted};
use crate::pages::training as page;
use crate::portal::Portal;
use crate::training::{State as TrainingState, Training, seen_report};

/// A model in short.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelView {
    /// What names it: `default`, `office@3`.
    id: String,
    /// Whether it is the champion of its name.
    champion: bool,
    /// The pipelines that are judged by it.
    pipelines: Vec<String>,
    /// Who vouches for it: `box`, `none`, `trusted`, `not trusted`; nothing where it cannot be used.
    signature: Option<&'static str>,
    /// `kind/name` of its classifier.
    classifier: Option<String>,
    /// Why it cannot be used.
    reason: Option<String>,
}

/// A model in full.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelCard {
    /// What names it.
    id: String,
    /// Who vouches for it.
    signature: &'static str,
    /// Its card, as it lies in the model's folder.
    #[schema(value_type = Object)]
    card: Value,
    /// How it was judged, in short, where that lies beside the card.
    #[schema(value_type = Option<Object>)]
    evaluation: Option<Value>,
}

fn refusal(error: ShelfError) -> Problem {
    match error {
        ShelfError::NotThere => Status::NotFound.into(),
        ShelfError::Refused(words) => Problem::new(Status::UnprocessableEntity, words),
        ShelfError::Ours(error) => {
            tracing::error!(error, "an API request failed");
            Status::InternalServerError.into()
        }
    }
}

fn analyst(caller: &Caller) -> Result<(), Problem> {
    if caller.account.role >= Role::Analyst { Ok(()) } else { Err(Status::Forbidden.into()) }
}

/// The models in the box, and those of the registry.
#[utoipa::path(get, path = "/api/v1/models", tag = "models", responses((status = 200, body = Vec<ModelView>)))]
#[get("/models")]
pub async fn list(caller: Caller, portal: &State<Portal>) -> Answer<Vec<ModelView>> {
    analyst(&caller)?;
    let place = place(portal, caller.account.id)?;
    let (listed, _) = on_shelf(portal, &place, Shelf::list).await.map_err(refusal)?;
    let view = |Listed { id, champion, pipelines, said }: Listed| {
        let (said, reason) = match said {
            Ok((card, signer)) => (Some((signer.word(), card.classifier)), None),
            Err(reason) => (None, Some(reason)),
        };
        let (signature, classifier) = said.unzip();
        ModelView { id: id.to_string(), champion, pipelines, signature, classifier, reason }
    };
    Ok(Json(listed.into_iter().map(view).collect()))
}

/// One model with its card.
#[utoipa::path(
    get, path = "/api/v1/models/{id}", tag = "models", params(("id" = String, Path, description = "The model.")),
    responses((status = 200, body = ModelCard), (status = 404, body = ProblemDocument), (status = 422, body = ProblemDocument)),
)]
#[get("/models/<id>")]
pub async fn show(caller: Caller, portal: &State<Portal>, id: &str) -> Answer<ModelCard> {
    analyst(&caller)?;
    let id = Id::parse(id).ok_or(Status::NotFound)?;
    opened(portal, &place(portal, caller.account.id)?, id).await
}

async fn opened(portal: &Portal, place: &Arc<Place>, id: Id) -> Answer<ModelCard> {
    let own = id.clone();
    let (model, signer) = on_shelf(portal, place, move |shelf| shelf.open(&own)).await.map_err(refusal)?;
    Ok(Json(ModelCard {
        id: id.to_string(),
        signature: signer.word(),
        card: json!(model.card),
        evaluation: model.evaluation.as_ref().map(|digest| json!(**digest)),
    }))
}

/// How to promote.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Promotion {
    /// Even where its figures are worse than the champion's by more than chance would make them.
    even_if_worse: bool,
}

/// Make a version the champion of its name: for administrators.
#[utoipa::path(
    post, path = "/api/v1/models/{id}/promote", tag = "models",
    params(("id" = String, Path, description = "The model.")), request_body = Promotion,
    responses((status = 200, body = ModelCard), (status = 404, body = ProblemDocument), (status = 422, body = ProblemDocument)),
)]
#[post("/models/<id>/promote", data = "<promotion>")]
pub async fn promote(
    caller: Writer,
    address: Address,
    portal: &State<Portal>,
    id: &str,
    promotion: Body<Promotion>,
) -> Answer<ModelCard> {
    if !caller.0.administers() {
        return Err(Status::Forbidden.into());
    }
    let id = Id::parse(id).ok_or(Status::NotFound)?;
    // One place for both: what was done must not be answered as if it had been refused.
    let place = place(portal, caller.0.account.id)?;
    let actor = caller.0.actor(&address);
    promoted(portal, &place, &id, promotion.0.even_if_worse, actor).await.map_err(refusal)?;
    opened(portal, &place, id).await
}

/// What to train.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTraining {
    /// The pipeline; `default` where none is named.
    #[serde(default)]
    pipeline: Option<String>,
    /// Names in the folder of labelled data; an empty name is the folder itself.
    sources: Vec<String>,
    /// SHA-256 of captures of one's own whose marks are learnt from.
    #[serde(default)]
    captures: Vec<String>,
    /// What a mark weighs, in flows.
    #[serde(default = "one")]
    weight: f64,
    /// `refuse`, `label` or `mark`: who is right where a mark contradicts a label.
    #[serde(default = "refuse")]
    on_conflict: String,
    /// Seed of whatever is random.
    #[serde(default = "first")]
    seed: u32,
}

fn one() -> f64 {
    1.0
}

fn first() -> u32 {
    1
}

fn refuse() -> String {
    "refuse".to_owned()
}

/// A training.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrainingView {
    /// What names it in addresses.
    key: String,
    /// How far it has come.
    state: TrainingState,
    /// The pipeline.
    pipeline: String,
    /// Marked flows that were copied for it.
    marks: u64,
    /// The model that came of it.
    model: Option<String>,
    /// Why there is none: the kind, and the words for it.
    why: Option<String>,
    /// The words.
    words: Option<String>,
    /// How far it has come, while it runs.
    #[schema(value_type = Option<Object>)]
    progress: Option<Value>,
    /// What came of it: data, marks, champion and challenger. Without what it says of flows that the account does not see.
    #[schema(value_type = Option<Object>)]
    report: Option<Value>,
}

async fn view(portal: &Portal, account: i64, training: Training) -> Result<TrainingView, DbError> {
    let report = seen_report(&portal.db, account, &training).await?.map(|(report, _)| json!(report));
    Ok(TrainingView {
        key: training.key.to_string(),
        state: training.state,
        pipeline: training.asked.pipeline,
        marks: training.asked.marks,
        model: training.version.map(|version| format!("{}@{version}", training.asked.model)),
        why: training.why,
        words: training.words,
        progress: portal.trainer.progress(training.id).map(|progress| json!(progress)),
        report,
    })
}

/// Train a model: it becomes a version in the registry that judges nothing.
#[utoipa::path(
    post, path = "/api/v1/trainings", tag = "models", request_body = NewTraining,
    responses((status = 200, body = TrainingView), (status = 422, body = ProblemDocument)),
)]
#[post("/trainings", data = "<wanted>")]
pub async fn train(
    caller: Writer,
    address: Address,
    portal: &State<Portal>,
    wanted: Body<NewTraining>,
) -> Answer<TrainingView> {
    let NewTraining { pipeline, sources, captures, weight, on_conflict, seed } = wanted.0;
    let pipeline = pipeline.unwrap_or_else(|| DEFAULT_PIPELINE.to_owned());
    let wanted = page::Wanted::new(pipeline, sources, captures, weight, on_conflict, seed);
    // One place for both, as where a model is promoted.
    let place = place(portal, caller.0.account.id)?;
    let begun = page::begun(portal, &place, caller.0.account.id, wanted, caller.0.actor(&address)).await;
    let key = begun.map_err(|error| refused(portal, error))?;
    asked(&caller.0, portal, key.as_str()).await
}

/// How far a training has come, or what came of it.
#[utoipa::path(
    get, path = "/api/v1/trainings/{key}", tag = "models", params(("key" = String, Path, description = "The training.")),
    responses((status = 200, body = TrainingView), (status = 404, body = ProblemDocument)),
)]
#[get("/trainings/<key>")]
pub async fn training(caller: Caller, portal: &State<Portal>, key: &str) -> Answer<TrainingView> {
    analyst(&caller)?;
    let _place = place(portal, caller.account.id)?;
    asked(&caller, portal, key).await
}

async fn asked(caller: &Caller, portal: &Portal, key: &str) -> Answer<TrainingView> {
    let found = page::find(portal, &caller.account, key).await?;
    Ok(Json(view(portal, caller.account.id, found).await.map_err(|error| refused(portal, error.into()))?))
}
