//! A model from labelled rows: cross-validate, calibrate, choose thresholds, then learn from everything.

use super::chosen::Chosen;
use super::validate::{self, MALICIOUS_RATE, SPLIT};
use super::{Dataset, Evaluation, LearnError, Truth, remember, search};
use crate::config::ScoredFlows;
use crate::engine::Pipeline;
use crate::hash::sha256_hex;
use crate::model::{Card, ColumnProfile, Model, Training};
use crate::plugins::Registry;
use std::sync::Arc;
use veilwatch_core::feature::{FeatureSchema, quantiles};

/// A model and the evaluation that stands in its card.
#[derive(Debug)]
pub struct Trained {
    /// The model.
    pub model: Model,
    /// How it did on folds it had not seen.
    pub evaluation: Evaluation,
}

/// Trains a pipeline's classifier; `progress` hears of every fold that is done.
pub fn train(
    registry: &Registry,
    pipeline: &Pipeline,
    data: &Dataset,
    name: &str,
    seed: u64,
    progress: impl FnMut(usize, usize),
) -> Result<Trained, LearnError> {
    let (_, settings) = pipeline.classifier().ok_or(LearnError::NoClassifier)?;
    train_as(registry, pipeline, settings, data, name, seed, progress)
}

/// The same with other settings of the classifier, in TOML.
pub fn train_as(
    registry: &Registry,
    pipeline: &Pipeline,
    settings: &str,
    data: &Dataset,
    name: &str,
    seed: u64,
    progress: impl FnMut(usize, usize),
) -> Result<Trained, LearnError> {
    let classifier = (pipeline.classifier().ok_or(LearnError::NoClassifier)?.0, settings);
    fit_all(registry, classifier, (pipeline.schema(), pipeline.config().detection.scored), data, name, seed, progress)
}

/// The same for what was imported, which has a schema of its own: the pipeline gives only its classifier.
pub fn train_imported(
    registry: &Registry,
    classifier: (&str, &str),
    data: &Dataset,
    name: &str,
    seed: u64,
    progress: impl FnMut(usize, usize),
) -> Result<Trained, LearnError> {
    let schema = super::import_schema()?;
    fit_all(registry, classifier, (&schema, ScoredFlows::All), data, name, seed, progress)
}

fn fit_all(
    registry: &Registry,
    classifier: (&str, &str),
    (schema, scored): (&FeatureSchema, ScoredFlows),
    data: &Dataset,
    name: &str,
    seed: u64,
    progress: impl FnMut(usize, usize),
) -> Result<Trained, LearnError> {
    let evaluation = validate::evaluate(registry, classifier, data, seed, progress)?;
    let labelled: Vec<usize> = (0..data.rows.len()).filter(|row| data.rows[*row].truth != Truth::Unlabelled).collect();
    let raw: Vec<f64> = labelled.iter().map(|row| evaluation.raw[*row]).collect();
    let chosen = Chosen::of(data, &labelled, &raw);
    // Rows that are not scored may be learnt from all the same, as the recipe says.
    let all: Vec<usize> = (0..data.rows.len()).collect();
    let settings = search::choose(registry, classifier, data, &all, seed)?;
    let fitted = validate::fit_as(registry, (classifier.0, &settings), data, &all, seed)?;
    let weights = fitted.save().map_err(|error| LearnError::Classifier { path: classifier.0.to_owned(), error })?;
    let remember::Remembered { memory, novelty_limit } =
        remember::remember(data, fitted.as_ref(), &evaluation.raw, seed);
    let mut captures: Vec<usize> = labelled.iter().map(|row| data.rows[*row].capture).collect();
    captures.dedup();
    let card = Card {
        format: Card::FORMAT,
        name: name.to_owned(),
        made_by: env!("CARGO_PKG_VERSION").to_owned(),
        classifier: classifier.0.to_owned(),
        settings: settings.into_owned(),
        weights_sha256: sha256_hex(&weights),
        memory_sha256: Some(sha256_hex(&memory.to_bytes())),
        novelty_limit,
        schema_sha256: schema.hash().to_owned(),
        scored,
        calibration: chosen.calibration,
        thresholds: chosen.thresholds(),
        false_alert_budget: MALICIOUS_RATE * Card::BUDGET_PAIRS,
        alarm_rates: chosen.alarm_rates(),
        training: Training {
            data_sha256: data.sha256.clone(),
            seed,
            captures: captures.len(),
            benign_flows: data.count(Truth::Benign),
            background_flows: data.count(Truth::Background),
            malicious_flows: data.count(Truth::Malicious),
            malicious_pairs: evaluation.report.malicious_pairs,
            unlabelled_flows: data.count(Truth::Unlabelled),
            pair_weight: data.recipe.pair_weight,
            recipe: data.recipe.clone(),
            split: format!("{SPLIT}{}", data.caution),
        },
        report: evaluation.report.clone(),
        columns: profiles(schema, data),
    };
    Ok(Trained { model: Model { card, weights, memory: Some(Arc::new(memory)), evaluation: None }, evaluation })
}

/// What each column looks like in benign rows.
fn profiles(schema: &FeatureSchema, data: &Dataset) -> Vec<ColumnProfile> {
    let benign: Vec<usize> =
        (0..data.rows.len()).filter(|row| matches!(data.rows[*row].truth, Truth::Benign | Truth::Background)).collect();
    let columns = schema.columns().iter().enumerate();
    columns
        .map(|(at, column)| {
            let mut values: Vec<f64> =
                benign.iter().map(|row| f64::from(data.row(*row)[at])).filter(|value| !value.is_nan()).collect();
            let [p5, p50, p95] = quantiles(&mut values, [0.05, 0.5, 0.95]);
            let known = |value: f64| (!value.is_nan()).then_some(value as f32);
            ColumnProfile { name: column.name.to_string(), p5: known(p5), p50: known(p50), p95: known(p95) }
        })
        .collect()
}
