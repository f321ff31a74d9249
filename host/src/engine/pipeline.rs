//! A pipeline: plugins created, wired and checked against each other, ready to run.

use super::RunError;
use crate::config::Config;
use crate::model::{Card, Model, ModelError};
use crate::plugins::{Registry, RegistryError};
use veilwatch_core::detect::{Reason, Verdict, top_reasons};
use veilwatch_core::feature::{FeatureSchema, FlowBatch, Rows, RowsMut, SchemaError};
use veilwatch_core::flow::{FlowRecord, Templates};
use veilwatch_core::plugin::{Classifier, FeatureExtractor, Instance, PluginError, ProtocolTemplate, Settings};
use veilwatch_core::record::{ClientHello, FieldError, FieldTable, Record};

/// Why plugins make no pipeline.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A plugin cannot be had.
    #[error("plugin `{id}`: {error}")]
    Registry {
        /// The instance.
        id: String,
        /// Why.
        error: RegistryError,
    },
    /// A plugin refused to be wired.
    #[error("plugin `{id}`: {error}")]
    Wire {
        /// The instance.
        id: String,
        /// What it said.
        error: PluginError,
    },
    /// A declared field clashes with another.
    #[error("plugin `{id}`: {error}")]
    Field {
        /// The instance.
        id: String,
        /// Why.
        error: FieldError,
    },
    /// A library does not hold exactly the plugin that was chosen.
    #[error("plugin `{id}`: the library holds {names}; choose one of them with `use = \"…\"`")]
    Choose {
        /// The instance.
        id: String,
        /// What there is.
        names: String,
    },
    /// Columns clash.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// More than one classifier.
    #[error("plugins `{first}` and `{second}` are both classifiers; a pipeline has one")]
    TwoClassifiers {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// More templates than a flow can probe.
    #[error("{found} protocol templates are more than the limit of 64")]
    TooManyTemplates {
        /// How many there are.
        found: usize,
    },
    /// The model does not fit.
    #[error(transparent)]
    Model(#[from] ModelError),
}

struct Extractor {
    id: String,
    plugin: Box<dyn FeatureExtractor>,
    first: usize,
    width: usize,
}

/// The classifier of a pipeline, before a model is loaded into it.
struct ClassifierSlot {
    id: String,
    path: String,
    settings: String,
    plugin: Box<dyn Classifier>,
}

/// Plugins, wired.
pub struct Pipeline {
    config: Config,
    fields: FieldTable,
    templates: Vec<Box<dyn ProtocolTemplate>>,
    template_ids: Vec<String>,
    extractors: Vec<Extractor>,
    schema: FeatureSchema,
    classifier: Option<ClassifierSlot>,
    card: Option<Card>,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline").field("templates", &self.template_ids).finish_non_exhaustive()
    }
}

/// What the pipeline makes of one flow.
#[derive(Debug, Clone)]
pub struct Scored<'a> {
    /// Its features, in schema order.
    pub row: &'a [f32],
    /// The classifier's raw number; NaN without a model.
    pub raw: f64,
    /// The calibrated score, where there is a model.
    pub score: Option<f64>,
    /// The verdict, where there is a model.
    pub verdict: Option<Verdict>,
    /// Why, for alerts.
    pub reasons: Vec<Reason>,
}

/// Scored flows with the rows they borrow.
pub struct ScoredBatch {
    rows: Vec<f32>,
    width: usize,
    raw: Vec<f64>,
    verdicts: Vec<(Option<f64>, Option<Verdict>, Vec<Reason>)>,
}

impl ScoredBatch {
    /// The flows in order.
    pub fn iter(&self) -> impl Iterator<Item = Scored<'_>> {
        self.raw.iter().zip(&self.verdicts).enumerate().map(|(at, (raw, (score, verdict, reasons)))| Scored {
            row: &self.rows[at * self.width..(at + 1) * self.width],
            raw: *raw,
            score: *score,
            verdict: *verdict,
            reasons: reasons.clone(),
        })
    }
}

impl Pipeline {
    /// Wires the plugins of a configuration and loads its model.
    pub fn new(config: Config, registry: &mut Registry) -> Result<Self, PipelineError> {
        let model = Model::open(&config.model)?;
        let mut pipeline = Self::untrained(config, registry)?;
        pipeline.use_model(&model)?;
        Ok(pipeline)
    }

    /// Wires the plugins of a configuration without a model: flows get rows, but no scores.
    pub fn untrained(config: Config, registry: &mut Registry) -> Result<Self, PipelineError> {
        let mut fields = FieldTable::new();
        let (mut templates, mut template_ids) = (Vec::new(), Vec::new());
        let (mut extractors, mut classifier) = (Vec::new(), None);
        let mut parts = Vec::new();
        for entry in &config.plugin {
            let id = &entry.id;
            let failed = |error| PipelineError::Registry { id: id.clone(), error };
            let wiring = |error| PipelineError::Wire { id: id.clone(), error };
            let brought = match &entry.path {
                Some(path) => registry.load(path).map_err(failed)?,
                None => Vec::new(),
            };
            let names = || brought.iter().map(|manifest| manifest.path()).collect::<Vec<_>>().join(", ");
            let path = match (&entry.plugin, brought.as_slice()) {
                (Some(path), []) => path.clone(),
                (Some(path), known) if known.iter().any(|manifest| manifest.path() == *path) => path.clone(),
                (None, [only]) => only.path(),
                _ => return Err(PipelineError::Choose { id: id.clone(), names: names() }),
            };
            let settings =
                toml::to_string(&entry.settings).map_err(|error| wiring(PluginError::settings(error.to_string())))?;
            match registry.create(&path, Settings::new(&settings)).map_err(failed)? {
                Instance::Protocol(mut plugin) => {
                    let mut ids = Vec::new();
                    for spec in plugin.fields() {
                        let declared = fields.declare(spec, id);
                        ids.push(declared.map_err(|error| PipelineError::Field { id: id.clone(), error })?);
                    }
                    plugin.wire(&ids).map_err(wiring)?;
                    templates.push(plugin);
                    template_ids.push(id.clone());
                }
                Instance::Feature(plugin) => parts.push((id.clone(), plugin)),
                Instance::Classifier(plugin) => {
                    let slot = ClassifierSlot { id: id.clone(), path, settings, plugin };
                    if let Some(ClassifierSlot { id: first, .. }) = classifier.replace(slot) {
                        return Err(PipelineError::TwoClassifiers { first, second: id.clone() });
                    }
                }
            }
        }
        if templates.len() > 64 {
            return Err(PipelineError::TooManyTemplates { found: templates.len() });
        }
        // Extractors are wired last, when every field has its id.
        let mut columns = Vec::new();
        let mut first = 0;
        for (id, mut plugin) in parts {
            plugin.wire(&fields).map_err(|error| PipelineError::Wire { id: id.clone(), error })?;
            let own = plugin.columns();
            let width = own.len();
            columns.push((id.clone(), own));
            extractors.push(Extractor { id, plugin, first, width });
            first += width;
        }
        let schema = FeatureSchema::join(columns.iter().map(|(id, own)| (id.as_str(), own.clone())))?;
        Ok(Self { config, fields, templates, template_ids, extractors, schema, classifier, card: None })
    }

    /// Loads a model into the pipeline's classifier.
    pub fn use_model(&mut self, model: &Model) -> Result<(), PipelineError> {
        let name = || model.card.name.clone();
        let other = |found: &str| ModelError::OtherClassifier {
            name: name(),
            wanted: model.card.classifier.clone(),
            found: found.to_owned(),
        };
        let slot = self.classifier.as_mut().ok_or_else(|| other("no classifier"))?;
        if slot.path != model.card.classifier {
            return Err(other(&slot.path).into());
        }
        if self.schema.hash() != model.card.schema_sha256 || self.schema.width() != model.card.columns.len() {
            return Err(ModelError::OtherSchema { name: name() }.into());
        }
        slot.plugin.load(&model.weights).map_err(|error| PipelineError::Wire { id: slot.id.clone(), error })?;
        self.card = Some(model.card.clone());
        Ok(())
    }

    /// The configuration it was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The templates in order.
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// The templates' ids in order.
    pub fn template_ids(&self) -> &[String] {
        &self.template_ids
    }

    /// All fields of the pipeline.
    pub fn fields(&self) -> &FieldTable {
        &self.fields
    }

    /// The columns of its rows.
    pub fn schema(&self) -> &FeatureSchema {
        &self.schema
    }

    /// The card of its model, where it has one.
    pub fn card(&self) -> Option<&Card> {
        self.card.as_ref()
    }

    /// The classifier's `kind/name` and settings.
    pub fn classifier(&self) -> Option<(&str, &str)> {
        self.classifier.as_ref().map(|slot| (slot.path.as_str(), slot.settings.as_str()))
    }

    /// Whether a flow gets a row and a score: those whose ClientHello was read, which is what models are trained on.
    pub fn scores(&self, flow: &FlowRecord) -> bool {
        flow.fields.get(ClientHello::FIRST).is_some()
    }

    /// Rows of some flows, one after the other.
    pub fn extract(&self, flows: &[&FlowRecord]) -> Result<Vec<f32>, RunError> {
        let width = self.schema.width();
        let mut rows = vec![f32::NAN; flows.len() * width];
        let batch = FlowBatch::new(&flows);
        for extractor in &self.extractors {
            let mut target = RowsMut::new(&mut rows, width, extractor.first, extractor.width);
            extractor
                .plugin
                .extract(&batch, &mut target)
                .map_err(|error| RunError::Plugin { id: extractor.id.clone(), error })?;
        }
        Ok(rows)
    }

    /// Rows, scores and verdicts of some flows.
    pub fn score(&self, flows: &[&FlowRecord]) -> Result<ScoredBatch, RunError> {
        let rows = self.extract(flows)?;
        let width = self.schema.width();
        let mut raw = vec![f64::NAN; flows.len()];
        let mut verdicts = vec![(None, None, Vec::new()); flows.len()];
        if let (Some(slot), Some(card)) = (&self.classifier, &self.card) {
            let failed = |error| RunError::Plugin { id: slot.id.clone(), error };
            slot.plugin.predict(&Rows::new(&rows, width), &mut raw).map_err(failed)?;
            let mut contributions = vec![0.0; width];
            for (at, (raw, outcome)) in raw.iter().zip(&mut verdicts).enumerate() {
                let score = card.calibration.score(*raw);
                let verdict = card.thresholds.verdict(score);
                let mut reasons = Vec::new();
                if verdict.is_alert() {
                    let row = &rows[at * width..(at + 1) * width];
                    slot.plugin.explain(row, &mut contributions).map_err(failed)?;
                    reasons = top_reasons(row, &contributions, self.config.output.reasons as usize);
                }
                *outcome = ((!score.is_nan()).then_some(score), Some(verdict), reasons);
            }
        }
        Ok(ScoredBatch { rows, width, raw, verdicts })
    }
}
