//! The plugins of a pipeline, as a confined worker loaded them. None of them runs in this process.

use std::sync::Arc;

use rocket::tokio::task;
use rocket::{State, get};
use serde_json::{Value, json};
use veilwatch::config::settings_in_the_box;
use veilwatch::worker::PluginDescription;

use super::render::{Failure, Page, Reply};
use crate::accounts::Role;
use crate::config::DEFAULT_PIPELINE;
use crate::database::DbError;
use crate::jobs::tasks::LookError;
use crate::pipelines::described::Described;
use crate::pipelines::troubles::{self, Count};
use crate::pipelines::{choose, store};
use crate::portal::Portal;
use crate::results::human::grouped;
use crate::visitor::Analyst;

/// The plugins of one pipeline.
#[get("/plugins?<pipeline>")]
pub async fn show(me: Analyst<'_>, portal: &State<Portal>, pipeline: Option<&str>) -> Reply {
    let names = portal.pipelines();
    let name = pipeline.filter(|asked| names.iter().any(|name| name == asked)).unwrap_or(DEFAULT_PIPELINE).to_owned();
    let (own, last) = (name.clone(), portal.config.framework.counted_analyses);
    let account = (me.account.role != Role::Administrator).then_some(me.account.id);
    let (version, (analyses, counts)) = portal
        .db
        .run(move |connection| -> Result<_, DbError> {
            Ok((store::newest(connection, &own)?, troubles::counts(connection, &own, account, last)?))
        })
        .await?;
    let described = describe(portal, me.account.id, &name, version).await?;
    let (plugins, whole, failed) = match &described {
        Ok(described) => {
            let rows: Vec<Value> = described.plugins.iter().map(|plugin| row(plugin, described, &counts)).collect();
            (rows, Some(described.whole.clone()), None)
        }
        Err(words) => (Vec::new(), None, Some(words)),
    };
    let choices: Vec<Value> = names.iter().map(|one| json!({ "name": one, "is_current": *one == name })).collect();
    let data = json!({
        "choices": choices, "name": name, "version": version, "plugins": plugins, "failed": failed,
        "refused": whole.as_ref().and_then(|whole| whole.refused.clone()),
        "model": whole.as_ref().and_then(|whole| whole.model.clone()),
        "columns": whole.as_ref().map(|whole| grouped(whole.columns)),
        "confined": whole.as_ref().is_some_and(|whole| whole.landlock.is_some()),
        "analyses": grouped(u64::try_from(analyses).unwrap_or_default()), "are_all": account.is_none(),
        "others": described.as_ref().map_or_else(|_| Vec::new(), |described| others(&described.plugins)),
    });
    Ok(Page::new(portal, &me, "plugins", data)?.into())
}

/// What a worker says of a pipeline, or why none could say it.
async fn describe(
    portal: &Portal,
    account: i64,
    name: &str,
    version: Option<i64>,
) -> Result<Result<Arc<Described>, String>, Failure> {
    // Asked for first: where another model comes to judge meanwhile, what is told here is not remembered as if it held.
    let generation = portal.descriptions.generation(name);
    if let Some(described) = portal.descriptions.find(name, version) {
        return Ok(Ok(described));
    }
    let (bench, own) = (portal.bench.clone(), name.to_owned());
    let chosen = task::spawn_blocking(move || choose(&bench, &own, version)).await;
    let chosen = match chosen.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(Some(chosen)) => chosen,
        Ok(None) => return Err(Failure(rocket::http::Status::NotFound)),
        Err(words) => return Ok(Err(words)),
    };
    Ok(match portal.looks.describe(account, chosen).await {
        Ok(described) => Ok(portal.descriptions.keep(name, version, generation, described)),
        Err(LookError::Capture(_, words) | LookError::Died(words)) => Err(words),
        Err(LookError::Ours(words)) => {
            tracing::error!(words, "a pipeline cannot be described");
            return Err(Failure(rocket::http::Status::InternalServerError));
        }
    })
}

/// The message of a kind of plugins.
fn kind_key(plugin: &str) -> &'static str {
    match plugin.split('/').next() {
        Some("protocol") => "plugins.kind-protocol",
        Some("feature") => "plugins.kind-feature",
        Some("classifier") => "plugins.kind-classifier",
        _ => "plugins.kind-unknown",
    }
}

fn row(plugin: &PluginDescription, described: &Described, counts: &[Count]) -> Value {
    let known = settings_in_the_box(&plugin.plugin);
    let settings: Vec<Value> = plugin
        .settings
        .iter()
        .map(|setting| {
            let known = known.iter().find(|known| known.name == setting.name).filter(|_| plugin.library.is_none());
            json!({
                "name": setting.name, "value": setting.value,
                "default": known.map(|known| known.value), "words": known.map(|known| known.words),
            })
        })
        .collect();
    let library = plugin.library.as_ref().map(|file| {
        let sha256 = described.libraries.iter().find(|(name, _)| name == file).map(|(_, sha256)| sha256);
        json!({ "file": file, "sha256": sha256 })
    });
    let count = counts.iter().find(|count| count.plugin == plugin.id).map(|count| {
        let number = |number: i64| grouped(u64::try_from(number).unwrap_or_default());
        json!({
            "analyses": number(count.analyses), "records": number(count.records), "disabled": number(count.disabled),
        })
    });
    let class = match plugin.state.as_str() {
        "started" => "clean",
        "disabled" => "failed",
        _ => "",
    };
    json!({
        "id": plugin.id, "plugin": plugin.plugin, "kind": kind_key(&plugin.plugin), "version": plugin.version,
        "contract": plugin.contract, "summary": plugin.summary, "library": library, "class": class,
        "state": format!("plugins.state-{}", plugin.state), "reason": plugin.reason, "required": plugin.required,
        "settings": settings, "columns": plugin.columns, "column_count": grouped(plugin.column_count),
        "columns_left_out": plugin.column_count > plugin.columns.len() as u64,
        "fields": plugin.fields, "field_count": grouped(plugin.field_count),
        "fields_left_out": plugin.field_count > plugin.fields.len() as u64, "count": count,
    })
}

/// What is in the box and not in this pipeline. They are linked into this program, and only their names are asked for.
fn others(used: &[PluginDescription]) -> Vec<Value> {
    let all = veilwatch::builtin::declarations();
    let beside = all.iter().filter(|one| used.iter().all(|plugin| plugin.plugin != one.manifest.path()));
    beside
        .map(|one| {
            let manifest = &one.manifest;
            json!({
                "plugin": manifest.path(), "version": manifest.version, "summary": manifest.summary,
                "kind": kind_key(&manifest.path()),
            })
        })
        .collect()
}
