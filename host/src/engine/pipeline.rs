//! A pipeline: plugins created, wired and checked against each other, ready to run.

use super::health::{Health, infinite};
use super::judgement::Judgement;
use super::shadow::{Challenger, ShadowScore};
use super::{PluginTime, RunError};
use crate::config::{Config, PluginEntry, nearest};
use crate::explain::{Explanation, Topics, by_topic, without};
use crate::filter::{Filter, FilterError};
use crate::hash::sha256_hex;
use crate::model::memory::Memory;
use crate::model::{Card, Model, ModelError, by_rarity, term_columns};
use crate::plugins::{
    Meter, OnOverdue, Origin, PluginReport, PluginState, Registry, RegistryError, Watchdog, finite, steady_columns,
};
use crate::tables::TableErrors;
use std::sync::Arc;
use std::time::Duration;
use veilwatch_core::detect::{
    Categorised, Category, CategoryEvidence, NameKind, Named, Thresholds, Trust, Verdict, categorise,
};
use veilwatch_core::feature::{Column, FeatureSchema, FlowBatch, Rows, RowsMut, SchemaError};
use veilwatch_core::flow::{FlowRecord, Templates};
use veilwatch_core::plugin::{Carrier, Classifier, FeatureExtractor, Instance, PluginError, Settings};
use veilwatch_core::record::{CertificateInfo, ClientHello, Dns, FieldError, FieldId, FieldTable, Value};
use veilwatch_core::tables::{Asked, Facts, Tables, Transport, Warning};

/// How the `kind/name` of every classifier begins.
pub(super) const CLASSIFIER: &str = "classifier/";

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
    /// `columns` names none of a plugin's.
    #[error("plugin `{id}`: it has no column `{name}`{}", hint.as_ref().map(|h| format!("; did you mean `{h}`?")).unwrap_or_default())]
    Column {
        /// The instance.
        id: String,
        /// What was asked for.
        name: String,
        /// The nearest that there is.
        hint: Option<String>,
    },
    /// `columns` stands at a plugin that has none.
    #[error("plugin `{id}`: only feature extractors have `columns`; leave the key out")]
    ColumnsOfOther {
        /// The instance.
        id: String,
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
    /// The capture filter cannot be used.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A plugin folder cannot be used.
    #[error(transparent)]
    Folder(RegistryError),
    /// A table cannot be used.
    #[error(transparent)]
    Tables(#[from] TableErrors),
    /// The model does not fit.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The challenger cannot be used.
    #[error("[shadow]: {error}")]
    Shadow {
        /// Why.
        error: Box<PipelineError>,
    },
    /// The model does not fit a pipeline that goes on without some of its plugins.
    #[error("{error}; plugin `{id}` is missing in this pipeline: {reason}")]
    ModelWithout {
        /// Why the model does not fit.
        error: Box<PipelineError>,
        /// The first of them.
        id: String,
        /// Why it is not there.
        reason: String,
    },
}

struct Extractor {
    /// Its place among the pipeline's entries.
    place: usize,
    id: String,
    plugin: Box<dyn FeatureExtractor>,
    /// All that it fills.
    columns: Vec<Column>,
    /// Those that the pipeline uses, by their places among all; none where it uses all.
    used: Option<Vec<usize>>,
    first: usize,
}

/// The classifier of a pipeline, before a model is loaded into it.
struct ClassifierSlot {
    place: usize,
    id: String,
    path: String,
    settings: String,
    plugin: Box<dyn Classifier>,
}

/// Plugins, wired.
pub struct Pipeline {
    config: Config,
    filter: Option<Filter>,
    fields: FieldTable,
    tables: Arc<Tables>,
    /// What HTTP calls the host that it asks, and the program that asks, where a template reads HTTP.
    host_field: Option<FieldId>,
    agent_field: Option<FieldId>,
    /// Fields of flows that go over to TLS on the way.
    upgrade_fields: Vec<FieldId>,
    templates: Templates,
    template_ids: Vec<String>,
    /// Their places among the pipeline's entries.
    template_places: Vec<usize>,
    extractors: Vec<Extractor>,
    schema: FeatureSchema,
    /// What its columns speak of.
    topics: Topics,
    classifier: Option<ClassifierSlot>,
    card: Option<Card>,
    challenger: Option<Challenger>,
    memory: Option<Arc<Memory>>,
    reports: Vec<PluginReport>,
    /// One for each entry.
    meters: Vec<Arc<Meter>>,
    on_overdue: Option<OnOverdue>,
}

/// The plugins of a pipeline while it is put together.
#[derive(Default)]
struct Parts {
    fields: FieldTable,
    templates: Templates,
    template_ids: Vec<String>,
    template_places: Vec<usize>,
    extractors: Vec<(usize, Box<dyn FeatureExtractor>)>,
    classifier: Option<ClassifierSlot>,
}

impl Parts {
    /// Makes the instance of one entry and takes it in: wholly, or not at all.
    fn add(
        &mut self,
        place: usize,
        entry: &PluginEntry,
        registry: &mut Registry,
        probe_time: Duration,
        meter: &Arc<Meter>,
        report: &mut PluginReport,
    ) -> Result<(), PipelineError> {
        let id = &entry.id;
        let failed = |error| PipelineError::Registry { id: id.clone(), error };
        let wiring = |error| PipelineError::Wire { id: id.clone(), error };
        let brought = match &entry.path {
            Some(path) => {
                let reach = &mut |state| report.reach(state);
                registry.bring(path, entry.sha256.as_deref(), probe_time, reach).map_err(failed)?
            }
            None => Vec::new(),
        };
        let names = || brought.iter().map(|manifest| manifest.path()).collect::<Vec<_>>().join(", ");
        let path = match (&entry.plugin, brought.as_slice()) {
            (Some(path), []) => path.clone(),
            (Some(path), known) if known.iter().any(|manifest| manifest.path() == *path) => path.clone(),
            (None, [only]) => only.path(),
            _ => return Err(PipelineError::Choose { id: id.clone(), names: names() }),
        };
        report.plugin.clone_from(&path);
        if let Some((declaration, origin)) = registry.find(&path) {
            report.version.clone_from(&declaration.manifest.version);
            report.contract = registry.contract(origin);
            report.origin = origin.clone();
            report.reach(PluginState::Verified);
            report.reach(PluginState::Loaded);
        }
        let settings =
            toml::to_string(&entry.settings).map_err(|error| wiring(PluginError::settings(error.to_string())))?;
        match registry.create_metered(&path, Settings::new(&settings), meter).map_err(failed)? {
            Instance::Feature(plugin) => self.extractors.push((place, plugin)),
            _ if entry.columns.is_some() => return Err(PipelineError::ColumnsOfOther { id: id.clone() }),
            Instance::Protocol(mut plugin) => {
                let mut fields = self.fields.clone();
                let mut ids = Vec::new();
                let declared = plugin.fields();
                meter.trouble().map_err(wiring)?;
                for spec in declared {
                    let declared = fields.declare(spec, id);
                    ids.push(declared.map_err(|error| PipelineError::Field { id: id.clone(), error })?);
                }
                plugin.wire(&ids).map_err(wiring)?;
                // Asked once before, so that one that fails over it leaves nothing behind.
                for carrier in [Carrier::Tcp, Carrier::Udp] {
                    let _ = plugin.openings(carrier);
                }
                meter.trouble().map_err(wiring)?;
                self.fields = fields;
                self.templates.push(plugin);
                self.template_ids.push(id.clone());
                self.template_places.push(place);
                report.reach(PluginState::Started);
            }
            Instance::Classifier(plugin) => {
                if let Some(ClassifierSlot { id: first, .. }) = &self.classifier {
                    return Err(PipelineError::TwoClassifiers { first: first.clone(), second: id.clone() });
                }
                self.classifier = Some(ClassifierSlot { place, id: id.clone(), path, settings, plugin });
                report.reach(PluginState::Started);
            }
        }
        Ok(())
    }
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
    /// Why, for the alerts that are explained.
    pub explanation: Explanation,
    /// Whether it is an alert that is not explained because too many came before it. Where an explanation failed it is not.
    pub no_room: bool,
    /// What the challenger says, where there is one.
    pub shadow: Option<ShadowScore>,
    /// How new it is to the model: the share of held-out training flows that were nearer to what was learnt from; none
    /// where there is no score, or the model remembers nothing.
    pub novelty: Option<f64>,
}

/// Scored flows with the rows they borrow.
pub(super) struct ScoredBatch {
    rows: Vec<f32>,
    width: usize,
    raw: Vec<f64>,
    judged: Vec<Judged>,
    /// What the challenger says; nothing where there is none.
    shadow: Vec<ShadowScore>,
}

/// What is made of one row beside its raw number.
#[derive(Clone, Default)]
struct Judged {
    score: Option<f64>,
    verdict: Option<Verdict>,
    novelty: Option<f64>,
}

/// Flows of training, of different families, that an alert is told to be near to.
const NEAREST: usize = 3;

impl ScoredBatch {
    /// The flows in order; none is explained yet.
    pub(super) fn iter(&self) -> impl Iterator<Item = Scored<'_>> {
        self.raw.iter().zip(&self.judged).enumerate().map(|(at, (raw, judged))| Scored {
            row: &self.rows[at * self.width..(at + 1) * self.width],
            raw: *raw,
            score: judged.score,
            verdict: judged.verdict,
            explanation: Explanation::default(),
            no_room: false,
            shadow: self.shadow.get(at).cloned(),
            novelty: judged.novelty,
        })
    }
}

impl Pipeline {
    /// Wires the plugins of a configuration and loads its model, and that of its challenger.
    pub fn new(config: Config, registry: &mut Registry) -> Result<Self, PipelineError> {
        let mut pipeline = Self::untrained(config, registry)?;
        pipeline.load_models(registry)?;
        Ok(pipeline)
    }

    /// Loads the model that its configuration names, and that of its challenger.
    pub fn load_models(&mut self, registry: &Registry) -> Result<(), PipelineError> {
        let (model, _) = Model::find(&self.config.model, &self.config.models)?;
        if !self.goes_without_classifier() {
            self.use_model(&model)?;
        }
        if !self.config.shadow.model.is_empty() {
            let shadow = |error: PipelineError| PipelineError::Shadow { error: Box::new(error) };
            let found = Model::find(&self.config.shadow.model, &self.config.models);
            let (model, _) = found.map_err(|error| shadow(error.into()))?;
            self.challenge(&model, registry).map_err(shadow)?;
        }
        Ok(())
    }

    /// Has a second model score beside the first, with a classifier of its own. It decides nothing.
    pub fn challenge(&mut self, model: &Model, registry: &Registry) -> Result<(), PipelineError> {
        self.fits(model)?;
        let Card { classifier, settings, name, .. } = &model.card;
        let other = |found: &str| ModelError::OtherClassifier {
            name: name.clone(),
            wanted: classifier.clone(),
            found: found.to_owned(),
        };
        if !classifier.starts_with(CLASSIFIER) {
            return Err(other("no such kind of classifiers").into());
        }
        let id = "shadow";
        let meter = Meter::new(id, Duration::from_millis(self.config.plugins.batch_milliseconds.into()));
        let made = registry.create_metered(classifier, Settings::new(settings), &meter);
        let failed = |error| PipelineError::Registry { id: id.into(), error };
        let Instance::Classifier(plugin) = made.map_err(failed)? else {
            return Err(other("no such classifier").into());
        };
        let mut plugin = by_rarity(plugin, &term_columns(self.schema.columns()));
        let _watchdog = Watchdog::start(vec![Arc::clone(&meter)], self.on_overdue.as_ref());
        plugin.load(&model.weights).map_err(|error| ModelError::Weights {
            name: name.clone(),
            plugin: id.into(),
            error,
        })?;
        self.challenger = Some(Challenger {
            card: self.as_asked(model)?,
            memory: model.memory.clone(),
            abstains: self.config.detection.unknown,
            plugin,
            meter,
        });
        Ok(())
    }

    /// The model that scores beside the first.
    pub(super) fn challenger(&self) -> Option<&Challenger> {
        self.challenger.as_ref()
    }

    /// The capture filter, where the configuration has one.
    pub fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }

    /// Whether its classifier cannot be had and is not required: then nothing is scored, and every result says so.
    fn goes_without_classifier(&self) -> bool {
        let classifier = |report: &PluginReport| report.plugin.starts_with(CLASSIFIER);
        self.classifier.is_none() && self.disabled().any(classifier)
    }

    /// Wires the plugins of a configuration without a model: flows get rows, but no scores.
    ///
    /// A plugin that cannot be had is an error, unless its entry says `required = false`: then the pipeline goes on without
    /// it, and [`reports`](Self::reports) and the summary of each run say so.
    pub fn untrained(config: Config, registry: &mut Registry) -> Result<Self, PipelineError> {
        let filter = Filter::new(&config.input.filter)?;
        let limits = &config.plugins;
        let probe_time = Duration::from_millis(limits.probe_milliseconds.into());
        let call_time = Duration::from_millis(limits.batch_milliseconds.into());
        let meters: Vec<Arc<Meter>> = config.plugin.iter().map(|entry| Meter::new(&entry.id, call_time)).collect();
        let on_overdue = registry.overdue_handler().cloned();
        let _watchdog = Watchdog::start(meters.clone(), on_overdue.as_ref());
        let mut from_folders = Vec::new();
        for folder in &limits.folders {
            from_folders.extend(registry.load_folder(folder, probe_time).map_err(PipelineError::Folder)?);
        }
        let mut reports = Vec::new();
        let mut parts = Parts { fields: FieldTable::new(), ..Parts::default() };
        for (place, (entry, meter)) in config.plugin.iter().zip(&meters).enumerate() {
            let origin = entry.path.clone().map_or(Origin::Builtin, Origin::Library);
            let mut report = PluginReport::declared(&entry.id, entry.plugin.clone().unwrap_or_default(), origin);
            match parts.add(place, entry, registry, probe_time, meter, &mut report) {
                Err(error) if entry.required => return Err(error),
                Err(error) => disable(&mut report, &error),
                Ok(()) => {}
            }
            reports.push(report);
        }
        let Parts { fields, templates, template_ids, template_places, extractors: wanted, classifier } = parts;
        if templates.len() > Templates::MOST {
            return Err(PipelineError::TooManyTemplates { found: templates.len() });
        }
        // Extractors are wired last, when every field has its id.
        let mut extractors = Vec::new();
        let mut first = 0;
        for (place, mut plugin) in wanted {
            let (entry, report) = (&config.plugin[place], &mut reports[place]);
            let wired = plugin.wire(&fields).and_then(|()| steady_columns(&*plugin, &meters[place]));
            match wired {
                Ok(columns) => {
                    let used = match &entry.columns {
                        Some(names) => Some(places(&entry.id, names, &columns)?),
                        None => None,
                    };
                    let width = used.as_ref().map_or(columns.len(), Vec::len);
                    report.columns = width;
                    report.reach(PluginState::Started);
                    extractors.push(Extractor { place, id: entry.id.clone(), plugin, columns, used, first });
                    first += width;
                }
                Err(error) => {
                    let error = PipelineError::Wire { id: entry.id.clone(), error };
                    if entry.required {
                        return Err(error);
                    }
                    disable(report, &error);
                }
            }
        }
        let schema = FeatureSchema::join(extractors.iter().map(|part| (part.id.as_str(), part.used_columns())))?;
        let plugin = |part: &Extractor| reports[part.place].plugin.as_str();
        let topics = Topics::new(extractors.iter().map(|part| (plugin(part), part.id.as_str(), part.used_columns())));
        let classifier = classifier.map(|slot| {
            let terms = term_columns(schema.columns());
            ClassifierSlot { plugin: by_rarity(slot.plugin, &terms), ..slot }
        });
        // Of what folders brought, only what no entry uses needs a word of its own.
        from_folders.retain(|brought: &PluginReport| {
            brought.state() == PluginState::Disabled || reports.iter().all(|report| report.plugin != brought.plugin)
        });
        reports.extend(from_folders);
        let tables = Arc::new(crate::tables::load(&config.tables)?);
        let upgrades = fields.declared().filter(|(_, spec)| is_upgrade(&spec.name)).map(|(id, _)| id);
        Ok(Self {
            host_field: fields.id("http.hostname"),
            agent_field: fields.id("http.http_user_agent"),
            upgrade_fields: upgrades.collect(),
            templates: if config.tables.look { templates.with_tables(Arc::clone(&tables)) } else { templates },
            tables,
            config,
            filter,
            fields,
            template_ids,
            template_places,
            extractors,
            schema,
            topics,
            classifier,
            card: None,
            challenger: None,
            memory: None,
            reports,
            meters,
            on_overdue,
        })
    }

    /// What became of every plugin: each entry of the configuration in order, then what folders brought beside.
    pub fn reports(&self) -> &[PluginReport] {
        &self.reports
    }

    /// The plugins that are not used.
    pub(super) fn disabled(&self) -> impl Iterator<Item = &PluginReport> {
        self.reports.iter().filter(|report| report.state() == PluginState::Disabled)
    }

    /// What became of an entry.
    pub(super) fn report(&self, id: &str) -> Option<&PluginReport> {
        self.reports.iter().find(|report| report.id == id)
    }

    /// A template's place among the entries.
    pub(super) fn template_place(&self, template: u8) -> Option<usize> {
        self.template_places.get(usize::from(template)).copied()
    }

    /// Watches all calls until what it returns is dropped.
    pub(crate) fn watch(&self) -> Option<Watchdog> {
        let challenger = self.challenger.iter().map(|challenger| Arc::clone(&challenger.meter));
        Watchdog::start(self.meters.iter().cloned().chain(challenger).collect(), self.on_overdue.as_ref())
    }

    /// An error if a call came back too late.
    pub(crate) fn late(&self) -> Result<(), RunError> {
        self.meters.iter().find_map(|meter| meter.late()).map_or(Ok(()), |overdue| Err(overdue.into()))
    }

    /// What the instances took since the pipeline was made.
    pub(super) fn times(&self) -> Vec<PluginTime> {
        let time = |meter: &Arc<Meter>| {
            let (id, calls, total) = meter.reading();
            PluginTime { id: id.to_owned(), calls, total }
        };
        self.meters.iter().chain(self.challenger.as_ref().map(|challenger| &challenger.meter)).map(time).collect()
    }

    /// Loads a model into the pipeline's classifier.
    pub fn use_model(&mut self, model: &Model) -> Result<(), PipelineError> {
        let _watchdog = self.watch();
        let outcome = self.load_model(model);
        let missing = self.reports.iter().find(|report| report.state() == PluginState::Disabled);
        outcome.map_err(|error| match missing {
            Some(PluginReport { id, reason, .. }) => PipelineError::ModelWithout {
                error: Box::new(error),
                id: id.clone(),
                reason: reason.clone().unwrap_or_default(),
            },
            None => error,
        })
    }

    fn load_model(&mut self, model: &Model) -> Result<(), PipelineError> {
        let name = || model.card.name.clone();
        let other = |found: &str| ModelError::OtherClassifier {
            name: name(),
            wanted: model.card.classifier.clone(),
            found: found.to_owned(),
        };
        let slot = self.classifier.as_ref().ok_or_else(|| other("no classifier"))?;
        if slot.path != model.card.classifier {
            return Err(other(&slot.path).into());
        }
        self.fits(model)?;
        let slot = self.classifier.as_mut().ok_or_else(|| other("no classifier"))?;
        slot.plugin.load(&model.weights).map_err(|error| ModelError::Weights {
            name: name(),
            plugin: slot.id.clone(),
            error,
        })?;
        self.card = Some(self.as_asked(model)?);
        self.memory.clone_from(&model.memory);
        Ok(())
    }

    /// A model's card with the thresholds that the configuration asks for.
    fn as_asked(&self, model: &Model) -> Result<Card, ModelError> {
        let mut card = model.card.clone();
        let settings = &self.config.detection;
        if let Some(budget) = settings.budget {
            let failed = |what| ModelError::Budget { name: card.name.clone(), what };
            card.thresholds = card.thresholds_for(budget).map_err(failed)?;
            card.false_alert_budget = budget;
        }
        if let Some(threshold) = settings.threshold {
            let suspicious = card.thresholds.suspicious.min(threshold);
            card.thresholds = Thresholds { suspicious, malicious: threshold };
        }
        Ok(card)
    }

    /// Whether a model was trained on the rows that this pipeline computes, of the flows that it scores.
    fn fits(&self, model: &Model) -> Result<(), ModelError> {
        let name = || model.card.name.clone();
        if self.schema.hash() != model.card.schema_sha256 || self.schema.width() != model.card.columns.len() {
            return Err(ModelError::OtherSchema { name: name() });
        }
        let (trained, scored) = (model.card.scored, self.config.detection.scored);
        if trained != scored {
            let (trained, scored) = (trained.word(), scored.word());
            return Err(ModelError::OtherFlows { name: name(), trained, scored });
        }
        Ok(())
    }

    /// The configuration it was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The tables of numbers, files and warnings.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Everything that WARN says of a flow, worst first: of its port, the names in it, and its bytes. Each with the packet
    /// to look at: that of the bytes, else the flow's first.
    pub fn warnings(&self, flow: &FlowRecord) -> Vec<(&Warning, u64)> {
        if !self.config.tables.look {
            return Vec::new();
        }
        let text = |id| match flow.fields.get(id) {
            Some(Value::Bytes(name)) => name,
            _ => &[],
        };
        let names = [text(ClientHello::SNI), text(Dns::RRNAME), self.host_field.map_or(&[][..], text)];
        let transport = Transport::of_protocol(flow.protocol);
        let facts = Facts { transport, port: flow.responder.port, name: &[], bytes: &[] };
        let places = self.tables.warnings_of(&facts, &names, flow.warned().iter().map(|seen| seen.warning));
        let told = |place: u16| {
            let seen = flow.warned().iter().find(|seen| seen.warning == place);
            Some((self.tables.warn().get(usize::from(place))?, seen.map_or(flow.first_packet, |seen| seen.packet)))
        };
        places.into_iter().filter_map(told).collect()
    }

    /// The service through which malware spreads whose port the flow goes to, as its place in PURPOSE.
    pub(super) fn spread_service(&self, flow: &FlowRecord) -> Option<u16> {
        let (place, purpose) =
            self.tables.purpose_of_port(Transport::of_protocol(flow.protocol), flow.responder.port)?;
        (purpose.category == Category::WormPropagation).then_some(place)
    }

    /// What a flow is for, if it is an alert or something else is known of it that is worth a person's time. `warnings` are
    /// those that [`warnings`](Self::warnings) gives of it.
    pub fn categorise(&self, flow: &FlowRecord, is_alert: bool, warnings: &[(&Warning, u64)]) -> Option<Categorised> {
        // Most flows are no alerts, were not tried with others, and nobody warns of them.
        if !is_alert && warnings.is_empty() && flow.spread.targets < self.config.context.spread_targets {
            return None;
        }
        let (transport, port) = (Transport::of_protocol(flow.protocol), flow.responder.port);
        let warnings: Vec<&Warning> = warnings.iter().map(|(warning, _)| *warning).collect();
        let certificate = flow.fields.record::<CertificateInfo<'_>>();
        let responder = flow.responder.ip();
        let is_broadcast = matches!(responder, std::net::IpAddr::V4(address) if address.is_broadcast());
        let agent = match self.agent_field.and_then(|id| flow.fields.get(id)) {
            Some(Value::Bytes(agent)) => agent,
            _ => &[],
        };
        let is_upgraded =
            !flow.handed.is_empty() && self.upgrade_fields.iter().any(|id| flow.fields.get(*id).is_some());
        categorise(&CategoryEvidence {
            is_alert,
            name: self.name(flow, certificate.as_ref()).map(|(kind, name, trust)| Named {
                kind,
                name,
                trust,
                purpose: self.tables.purpose_of_name(&Asked { transport, port, name, agent }),
            }),
            port: self.tables.purpose_of_port(transport, port).map(|(_, purpose)| purpose),
            warnings: &warnings,
            spread: flow.spread,
            spread_targets: self.config.context.spread_targets,
            conversation: flow.conversation,
            is_self_signed: certificate.is_some_and(|certificate| certificate.parsed && certificate.self_signed),
            is_tls: !is_upgraded && flow.fields.record::<ClientHello<'_>>().is_some(),
            is_upgraded,
            is_asking: self.config.context.names > 0 && flow.names.queries > 0,
            is_unicast: !responder.is_multicast() && !is_broadcast,
            has_payload: flow.stats.iter().any(|stats| stats.payload_bytes > 0),
        })
    }

    /// The name of a flow, if it has one: its own, else the one that led there. An address written as text is none, and a
    /// server name that is denied gives way to the name that led there.
    fn name<'f>(
        &self,
        flow: &'f FlowRecord,
        certificate: Option<&CertificateInfo<'_>>,
    ) -> Option<(NameKind, &'f [u8], Trust)> {
        let text = |id| match flow.fields.get(id) {
            Some(Value::Bytes(name)) if !name.is_empty() => Some(name),
            _ => None,
        };
        let own = [
            (NameKind::Sni, text(ClientHello::SNI)),
            (NameKind::Host, self.host_field.and_then(text).map(without_port)),
            (NameKind::Query, text(Dns::RRNAME)),
        ];
        let answer = flow.names.link.as_ref().map(|link| &*link.name).filter(|name| !is_address(name));
        let own = own.into_iter().find_map(|(kind, name)| Some((kind, name.filter(|name| !is_address(name))?)));
        let Some((kind, name)) = own else { return Some((NameKind::Answer, answer?, Trust::Confirmed)) };
        match trust(kind, name, answer, certificate) {
            Trust::Denied if answer.is_some() => Some((NameKind::Answer, answer?, Trust::Confirmed)),
            trust => Some((kind, name, trust)),
        }
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

    /// The fields by which templates say that one of their settings bounded what was read, with the limits' names.
    pub(super) fn limit_fields(&self) -> Vec<(FieldId, String)> {
        self.fields.declared().filter_map(|(id, spec)| Some((id, spec.limit_name()?))).collect()
    }

    /// The columns of its rows.
    pub fn schema(&self) -> &FeatureSchema {
        &self.schema
    }

    /// What its columns speak of.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The card of its model, where it has one, with the thresholds that the configuration asks for.
    pub fn card(&self) -> Option<&Card> {
        self.card.as_ref()
    }

    /// What tells it from another one of the same configuration: its model, that of its challenger, and what tables say.
    pub fn identity(&self) -> String {
        let challenger = self.challenger.as_ref().map(|challenger| &challenger.card);
        let cards = serde_json::to_string(&(&self.card, challenger)).unwrap_or_default();
        sha256_hex(format!("{cards}{:?}", self.tables).as_bytes())
    }

    /// Whether its thresholds are those of the model's card: what the card says of recall and false alarms is said of these
    /// alone.
    pub fn has_own_thresholds(&self) -> bool {
        let settings = &self.config.detection;
        settings.budget.is_none() && settings.threshold.is_none()
    }

    /// False alerts per 100,000 benign pairs that the upper threshold is chosen for; not known where the configuration names
    /// the threshold itself.
    pub fn false_alert_budget(&self) -> Option<f64> {
        self.card.as_ref().filter(|_| self.config.detection.threshold.is_none()).map(|card| card.false_alert_budget)
    }

    /// What its model remembers of its training, where it has a model that does.
    pub fn memory(&self) -> Option<&Memory> {
        self.memory.as_deref()
    }

    /// Whether a flow of this novelty is like nothing that the model was trained on.
    pub fn is_novel(&self, novelty: Option<f64>) -> bool {
        self.card.as_ref().is_some_and(|card| card.is_novel(novelty))
    }

    /// The classifier's `kind/name` and settings.
    pub fn classifier(&self) -> Option<(&str, &str)> {
        self.classifier.as_ref().map(|slot| (slot.path.as_str(), slot.settings.as_str()))
    }

    /// Whether a flow gets a row and a score, as `scored` under `[detection]` says.
    pub fn scores(&self, flow: &FlowRecord) -> bool {
        self.config.detection.scored.has(flow)
    }

    /// Rows of some flows, one after the other; the first failure is an error.
    pub fn extract(&self, flows: &[&FlowRecord]) -> Result<Vec<f32>, RunError> {
        let mut rows = vec![f32::NAN; flows.len() * self.schema.width()];
        let mut scratch = Vec::new();
        for extractor in &self.extractors {
            extractor
                .fill(flows, &mut scratch)
                .map_err(|error| RunError::Plugin { id: extractor.id.clone(), error })?;
            extractor.copy(&scratch, &mut rows, self.schema.width());
        }
        Ok(rows)
    }

    /// The same, but failures are counted and cost their records the extractor's columns.
    fn extract_in_health(
        &self,
        flows: &[&FlowRecord],
        records: &[u64],
        health: &mut Health<'_>,
    ) -> Result<Vec<f32>, RunError> {
        let width = self.schema.width();
        let mut rows = vec![f32::NAN; flows.len() * width];
        let mut scratch = Vec::new();
        for extractor in self.extractors.iter().filter(|_| !flows.is_empty()) {
            if !health.works(extractor.place) {
                continue;
            }
            if extractor.fill(flows, &mut scratch).is_ok() {
                extractor.copy(&scratch, &mut rows, width);
                continue;
            }
            // Some record is to blame: each by itself.
            for (at, (flow, record)) in flows.iter().zip(records).enumerate() {
                match extractor.fill(&[flow], &mut scratch) {
                    Ok(()) => extractor.copy(&scratch, &mut rows[at * width..(at + 1) * width], width),
                    Err(error) => health.fail(extractor.place, *record, &error)?,
                }
                if !health.works(extractor.place) {
                    break;
                }
            }
        }
        Ok(rows)
    }

    /// Raw scores, NaN where there is none.
    fn predict(
        &self,
        slot: &ClassifierSlot,
        rows: &[f32],
        records: &[u64],
        health: &mut Health<'_>,
    ) -> Result<Vec<f64>, RunError> {
        let width = self.schema.width();
        let mut raw = vec![f64::NAN; records.len()];
        if records.is_empty() || !health.works(slot.place) {
            return Ok(raw);
        }
        let good = |raw: &[f64]| raw.iter().all(|raw| !raw.is_infinite());
        if slot.plugin.predict(&Rows::new(rows, width), &mut raw).is_ok() && good(&raw) {
            return Ok(raw);
        }
        raw.fill(f64::NAN);
        for (at, record) in records.iter().enumerate() {
            let mut one = [f64::NAN];
            let outcome = slot.plugin.predict(&Rows::new(&rows[at * width..(at + 1) * width], width), &mut one);
            match outcome.and_then(|()| if good(&one) { Ok(one[0]) } else { Err(infinite("score")) }) {
                Ok(score) => raw[at] = score,
                Err(error) => health.fail(slot.place, *record, &error)?,
            }
            if !health.works(slot.place) {
                break;
            }
        }
        Ok(raw)
    }

    /// Rows, scores and verdicts of some flows; `records` are their numbers in the order of output.
    pub(super) fn score(
        &self,
        flows: &[&FlowRecord],
        records: &[u64],
        health: &mut Health<'_>,
    ) -> Result<ScoredBatch, RunError> {
        let rows = self.extract_in_health(flows, records, health)?;
        let width = self.schema.width();
        let mut raw = vec![f64::NAN; flows.len()];
        let mut judged = vec![Judged::default(); flows.len()];
        if let (Some(slot), Some(card)) = (&self.classifier, &self.card) {
            raw = self.predict(slot, &rows, records, health)?;
            for ((raw, row), outcome) in raw.iter().zip(rows.chunks_exact(width.max(1))).zip(&mut judged) {
                *outcome = self.judge(card, *raw, row);
            }
        }
        let shadow = self.challenger.as_ref().map(|challenger| challenger.score(&rows, width)).unwrap_or_default();
        Ok(ScoredBatch { rows, width, raw, judged, shadow })
    }

    /// Score, verdict and novelty of a row from its raw number.
    fn judge(&self, card: &Card, raw: f64, row: &[f32]) -> Judged {
        let Judgement { score, verdict, novelty } =
            Judgement::of(card, self.memory.as_deref(), self.config.detection.unknown, raw, row);
        Judged { score, verdict: Some(verdict), novelty }
    }

    /// Score and verdict of rows of features, one after the other, as its model gives them.
    ///
    /// # Errors
    /// Where the classifier fails, or there is no model.
    pub(crate) fn judge_rows(&self, rows: &[f32]) -> Result<Vec<(Option<f64>, Verdict)>, PluginError> {
        let (Some(slot), Some(card)) = (&self.classifier, &self.card) else {
            return Err(PluginError::data("there is no model"));
        };
        let width = self.schema.width();
        let mut raw = vec![f64::NAN; rows.len().checked_div(width).unwrap_or(0)];
        slot.plugin.predict(&Rows::new(rows, width), &mut raw)?;
        let of = |(raw, row): (&f64, &[f32])| {
            let Judgement { score, verdict, .. } =
                Judgement::of(card, self.memory.as_deref(), self.config.detection.unknown, *raw, row);
            (score, verdict)
        };
        Ok(raw.iter().zip(rows.chunks_exact(width.max(1))).map(of).collect())
    }

    /// Why a flow got its score. It takes much longer than the score did: who asks bounds how often.
    ///
    /// # Errors
    /// Where the classifier fails.
    pub(crate) fn explain(&self, scored: &Scored<'_>) -> Result<Explanation, PluginError> {
        let (Some(slot), Some(card)) = (&self.classifier, &self.card) else { return Ok(Explanation::default()) };
        let mut contributions = vec![0.0; scored.row.len()];
        slot.plugin.explain(scored.row, &mut contributions)?;
        let mut reasons = by_topic(scored.row, &contributions, &self.topics);
        let predict = |rows: &Rows<'_>, scores: &mut [f64]| slot.plugin.predict(rows, scores);
        let counterfactual = without(scored.row, scored.raw, &reasons, &self.topics, card, predict)?;
        reasons.truncate(self.config.output.reasons as usize);
        let nearest = self.memory.as_ref().map(|memory| memory.nearest(scored.row, NEAREST)).unwrap_or_default();
        Ok(Explanation { reasons, counterfactual, nearest })
    }

    /// The same, but a failure is counted; the verdict stands, only its reasons are missing.
    pub(super) fn explain_in_health(
        &self,
        scored: &Scored<'_>,
        record: u64,
        health: &mut Health<'_>,
    ) -> Result<Explanation, RunError> {
        let Some(slot) = self.classifier.as_ref().filter(|slot| health.works(slot.place)) else {
            return Ok(Explanation::default());
        };
        match self.explain(scored) {
            Ok(explanation) => Ok(explanation),
            Err(error) => health.fail(slot.place, record, &error).map(|()| Explanation::default()),
        }
    }
}

/// Whether a field is one of a template that hands its flow over to TLS on the way.
fn is_upgrade(field: &str) -> bool {
    field.ends_with(".starttls") || field == "rdp.selected_protocol"
}

/// What a flow's own name is worth, beside the name that DNS says led there and the certificate.
fn trust(kind: NameKind, name: &[u8], answer: Option<&[u8]>, certificate: Option<&CertificateInfo<'_>>) -> Trust {
    let same = answer.map(|answer| answer.eq_ignore_ascii_case(name.strip_suffix(b".").unwrap_or(name)));
    let covered = certificate.filter(|it| it.parsed).map(|it| it.matches_sni && !it.self_signed);
    match (kind, same, covered) {
        // A flow that asks for a name, or was led by it, has it for certain.
        (NameKind::Query | NameKind::Answer, ..) | (_, Some(true), _) | (NameKind::Sni, _, Some(true)) => {
            Trust::Confirmed
        }
        (NameKind::Sni, Some(false), _) | (NameKind::Sni, _, Some(false)) => Trust::Denied,
        // What HTTP asks of a proxy is not the proxy's name.
        (NameKind::Sni | NameKind::Host, ..) => Trust::Claimed,
    }
}

/// A host as HTTP names it, without its port.
fn without_port(host: &[u8]) -> &[u8] {
    let Some(at) = host.iter().rposition(|byte| *byte == b':') else { return host };
    let (name, port) = host.split_at(at);
    // An address of version 6 has colons of its own, in brackets.
    if port[1..].iter().all(u8::is_ascii_digit) && (name.ends_with(b"]") || !name.contains(&b':')) {
        name
    } else {
        host
    }
}

/// Whether a text is an address and no name.
fn is_address(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")).unwrap_or(text);
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<std::net::IpAddr>().is_ok())
}

/// Where the columns stand that an entry names.
fn places(id: &str, names: &[String], columns: &[Column]) -> Result<Vec<usize>, PipelineError> {
    let place = |name: &String| columns.iter().position(|column| column.name == *name);
    let known = || columns.iter().map(|column| column.name.as_ref());
    let missing = |name: &String| PipelineError::Column {
        id: id.to_owned(),
        name: name.clone(),
        hint: nearest(name, known()).map(str::to_owned),
    };
    names.iter().map(|name| place(name).ok_or_else(|| missing(name))).collect()
}

/// Notes why a plugin is not used; whose report it is, it says itself.
fn disable(report: &mut PluginReport, error: &PipelineError) {
    let words = error.to_string();
    let own = format!("plugin `{}`: ", report.id);
    report.disable(&words.strip_prefix(&own).unwrap_or(&words));
}

impl Extractor {
    /// Its columns of some flows, into a table of its own: what others wrote is out of its reach.
    fn fill(&self, flows: &[&FlowRecord], scratch: &mut Vec<f32>) -> Result<(), PluginError> {
        let width = self.columns.len();
        scratch.clear();
        scratch.resize(flows.len() * width, f32::NAN);
        self.plugin.extract(&FlowBatch::new(&flows), &mut RowsMut::new(scratch, width, 0, width))?;
        finite(scratch, &self.columns)
    }

    /// Takes those that are used over into rows that are `stride` wide.
    fn copy(&self, own: &[f32], rows: &mut [f32], stride: usize) {
        let width = self.columns.len();
        if width == 0 || stride == 0 {
            return;
        }
        for (row, own) in rows.chunks_exact_mut(stride).zip(own.chunks_exact(width)) {
            match &self.used {
                None => row[self.first..self.first + width].copy_from_slice(own),
                Some(places) => {
                    row[self.first..].iter_mut().zip(places).for_each(|(cell, place)| *cell = own[*place]);
                }
            }
        }
    }

    /// The columns that are used, in their order.
    fn used_columns(&self) -> Vec<Column> {
        match &self.used {
            None => self.columns.clone(),
            Some(places) => places.iter().map(|place| self.columns[*place].clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_without_ports() {
        for (host, name) in [
            ("a.example:8080", "a.example"),
            ("a.example", "a.example"),
            ("a.example:", "a.example"),
            ("a.example:x", "a.example:x"),
            ("[2001:db8::1]:80", "[2001:db8::1]"),
            ("2001:db8::1", "2001:db8::1"),
            (":", ""),
            ("", ""),
        ] {
            assert_eq!(without_port(host.as_bytes()), name.as_bytes(), "{host}");
        }
        let addresses = ["192.0.2.1", "2001:db8::1", "[2001:db8::1]"];
        assert!(addresses.iter().all(|text| is_address(text.as_bytes())));
        assert!([&b"192.0.2.1.example"[..], b"", b"[]", b"\xff"].iter().all(|text| !is_address(text)));
    }
}
