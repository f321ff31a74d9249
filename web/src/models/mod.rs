//! Models: which there are, what each says of itself, which one a pipeline is judged by, and how that is changed.
//!
//! | module | story |
//! |---|---|
//! | [`curves`] | pictures of how a model was judged |
//! | [`shadow`] | a challenger beside the model of a pipeline |
//!
//! The registry is the one of `veilwatch model`, and it is changed by the same code. Whether a model fits a pipeline is
//! asked of a worker: weights may be anybody's, and plugins are loaded nowhere else.

pub mod curves;
pub mod shadow;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use thiserror::Error;
use veilwatch::model::{
    Candidate, Card, Model, ModelError, ModelRegistry, ModelSettings, PromoteError, Promoted, RegistryError, Signer,
    Trust, VersionName, promote,
};
use veilwatch::worker::{ModelChoice, WorkerEnd};

use crate::config::{Config, DEFAULT_PIPELINE};
use crate::jobs::{Bench, check, clean};
use crate::pipelines::configured;

/// Models that are listed.
pub const LISTED: usize = 500;
/// Characters of a name that a card gives.
const NAME: usize = 80;

/// Why something about a model was not done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// The registry or the model says no: in words that stand.
    #[error("{0}")]
    Refused(String),
    /// There is no such model here.
    #[error("there is no such model")]
    NotThere,
    /// Something on this side.
    #[error("{0}")]
    Ours(String),
}

impl From<ModelError> for ShelfError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Registry(
                RegistryError::Unknown { .. }
                | RegistryError::NoVersion { .. }
                | RegistryError::Name(_)
                | RegistryError::None,
            ) => Self::NotThere,
            error => Self::Refused(clean(&error.to_string())),
        }
    }
}

impl From<RegistryError> for ShelfError {
    fn from(error: RegistryError) -> Self {
        ModelError::from(error).into()
    }
}

impl From<PromoteError> for ShelfError {
    fn from(error: PromoteError) -> Self {
        match error {
            PromoteError::Model(error) => error.into(),
            error => Self::Refused(clean(&error.to_string())),
        }
    }
}

/// What names a model in addresses: one in the box, or a version of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    /// In the box.
    Box(&'static str),
    /// A version.
    Kept(String, u32),
}

impl Id {
    /// From an address: `default`, `office@3`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(name) = Model::names_in_the_box().find(|name| *name == text) {
            return Some(Self::Box(name));
        }
        let VersionName { name, version } = text.parse().ok()?;
        Some(Self::Kept(name, version?))
    }

    /// As a configuration names it.
    pub fn asked(&self) -> String {
        match self {
            Self::Box(name) => (*name).to_owned(),
            Self::Kept(..) => format!("{}{self}", ModelSettings::REGISTRY),
        }
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Box(name) => f.write_str(name),
            Self::Kept(name, version) => write!(f, "{name}@{version}"),
        }
    }
}

/// One model of the list.
#[derive(Debug)]
pub struct Listed {
    /// What names it.
    pub id: Id,
    /// Whether it is the champion of its name.
    pub champion: bool,
    /// The pipelines that are judged by it.
    pub pipelines: Vec<String>,
    /// What it says of itself and who vouches for it, or why it cannot be used.
    pub said: Result<(Box<Card>, Signer), String>,
}

/// Which model a pipeline is judged by.
#[derive(Clone, Debug)]
pub struct OfPipeline {
    /// The pipeline.
    pub pipeline: String,
    /// What models for it are called in the registry; none where its file names a model that no page changes.
    pub line: Option<String>,
    /// Whether the champion of that name judges, or would, once there is one.
    pub follows: bool,
    /// The model, as a configuration names it.
    pub model: String,
    /// What an order says, where the pipeline's own file does not.
    pub choice: Option<ModelChoice>,
}

impl OfPipeline {
    /// What an order says where a challenger of this registry scores beside the model.
    pub fn beside(&self, settings: &ModelSettings) -> Option<ModelChoice> {
        if self.choice.is_some() || self.model.starts_with(ModelSettings::REGISTRY) {
            return self.choice.clone();
        }
        // The operator's own file vouches for the model that it names.
        let models = ModelSettings { require_signature: false, ..settings.clone() };
        Some(ModelChoice { name: self.model.clone(), models })
    }
}

/// The registry and the pipelines that it serves.
#[derive(Clone)]
pub struct Shelf {
    bench: Bench,
    settings: ModelSettings,
}

impl Shelf {
    /// Over what the operator set.
    pub fn new(bench: Bench) -> Self {
        let settings = settings(&bench.config);
        Self { bench, settings }
    }

    /// Whether there is a registry.
    pub fn has_registry(&self) -> bool {
        !self.settings.folder.as_os_str().is_empty()
    }

    /// Where the registry is, and whose signature counts.
    pub fn settings(&self) -> &ModelSettings {
        &self.settings
    }

    fn registry(&self) -> Result<ModelRegistry, RegistryError> {
        ModelRegistry::open(&self.settings)
    }

    /// Whoever only looks may look at what nobody signed.
    fn lenient(&self) -> Trust {
        Trust { required: false, ..self.settings.trust() }
    }

    /// The folder of a model.
    ///
    /// # Errors
    /// Where there is none.
    pub fn folder_of(&self, id: &Id) -> Result<PathBuf, ShelfError> {
        self.place(id)
    }

    fn place(&self, id: &Id) -> Result<PathBuf, ShelfError> {
        match id {
            Id::Box(name) => Ok(PathBuf::from(name)),
            Id::Kept(name, version) => {
                Ok(self.registry()?.place(&VersionName { name: name.clone(), version: Some(*version) })?)
            }
        }
    }

    /// All models: those in the box, then the registry's; and whether there are more than are listed.
    ///
    /// # Errors
    /// Where the registry cannot be read.
    pub fn list(&self) -> Result<(Vec<Listed>, bool), ShelfError> {
        let mut ids: Vec<(Id, bool, Option<String>)> =
            Model::names_in_the_box().map(|name| (Id::Box(name), false, None)).collect();
        let mut more = false;
        if self.has_registry() {
            let registry = self.registry()?;
            for name in registry.names()? {
                // Where it cannot be told which one it is, nothing takes its place: the newest version says so.
                let champion = registry.champions(&name).map(|mut all| all.pop().map(|it| it.version));
                let unusable = match &champion {
                    Ok(None) => None,
                    _ => registry.champion(&name).err().map(|error| clean(&error.to_string())),
                };
                let champion = champion.unwrap_or_default();
                for (at, version) in registry.versions(&name)?.into_iter().rev().enumerate() {
                    let is_champion = champion == Some(version);
                    let speaks = is_champion || (champion.is_none() && at == 0);
                    let wrong = unusable.clone().filter(|_| speaks);
                    ids.push((Id::Kept(name.clone(), version), is_champion, wrong));
                }
            }
        }
        if ids.len() > LISTED {
            ids.truncate(LISTED);
            more = true;
        }
        let used = self.pipelines();
        let listed = ids.into_iter().map(|(id, champion, wrong)| {
            let place = wrong.map_or_else(|| self.place(&id).map_err(|error| error.to_string()), Err);
            let said = place.and_then(|place| {
                let said = Model::glance(&place.display().to_string(), &self.lenient());
                said.map(|(card, signer)| (Box::new(card), signer)).map_err(|error| clean(&error.to_string()))
            });
            let asked = id.asked();
            let pipelines = used.iter().filter(|one| one.model == asked).map(|one| one.pipeline.clone()).collect();
            Listed { id, champion, pipelines, said }
        });
        Ok((listed.collect(), more))
    }

    /// One model, its hashes checked, and who vouches for it.
    ///
    /// # Errors
    /// Where it is not there or cannot be used.
    pub fn open(&self, id: &Id) -> Result<(Model, Signer), ShelfError> {
        let place = self.place(id)?;
        Ok(Model::open_signed(&place.display().to_string(), &self.lenient())?)
    }

    /// Why a model must not be promoted that one may look at: nobody who is trusted has signed it.
    pub fn not_vouched_for(&self, signer: Signer) -> bool {
        self.settings.require_signature && matches!(signer, Signer::Nobody | Signer::Stranger(_))
    }

    /// Which model judges where the champion of a name does, as a configuration names it; none where there is no champion. One
    /// that cannot be used is named without its version: whoever asks for it hears why, and no other model takes its place.
    pub fn judge(&self, name: &str) -> Option<String> {
        let asked = |version: &VersionName| format!("{}{version}", ModelSettings::REGISTRY);
        match self.registry().map_err(ModelError::from).and_then(|registry| registry.champion(name)) {
            Ok(version) => Some(asked(&version)),
            Err(ModelError::Registry(
                RegistryError::None | RegistryError::Unknown { .. } | RegistryError::NoChampion { .. },
            )) => None,
            Err(error) => {
                tracing::error!(model = name, %error, "the champion cannot be used");
                Some(asked(&VersionName { name: name.to_owned(), version: None }))
            }
        }
    }

    /// The champion of a name, and the version before it.
    pub fn champions(&self, name: &str) -> (Option<u32>, Option<u32>) {
        let all = self.registry().ok().and_then(|registry| registry.champions(name).ok()).unwrap_or_default();
        let mut latest = all.iter().rev().map(|champion| champion.version);
        (latest.next(), latest.next())
    }

    /// All pipelines with the models that they are judged by.
    pub fn pipelines(&self) -> Vec<OfPipeline> {
        let own = self.bench.config.pipeline.iter().map(|choice| choice.name.as_str());
        std::iter::once(DEFAULT_PIPELINE).chain(own).filter_map(|name| self.of_pipeline(name)).collect()
    }

    /// Which model a pipeline is judged by; none where there is no such pipeline, or its file is wrong.
    pub fn of_pipeline(&self, pipeline: &str) -> Option<OfPipeline> {
        let file = configured(&self.bench.config, pipeline)?;
        let config = match &file {
            Some(path) => veilwatch::config::Config::load(path),
            None => veilwatch::config::Config::builtin(),
        };
        let config = config.ok()?;
        let pipeline = pipeline.to_owned();
        if let Some(asked) = config.model.strip_prefix(ModelSettings::REGISTRY) {
            // The file decides; what it names is changed here where both mean the same folder.
            let same = |folder: &Path| folder.canonicalize().ok().zip(self.settings.folder.canonicalize().ok());
            let is_ours = same(&config.models.folder).is_some_and(|(one, other)| one == other);
            let asked: VersionName = asked.parse().ok()?;
            let line = (is_ours && asked.version.is_none()).then_some(asked.name);
            let model = config.models.pinned(&config.model).unwrap_or(config.model);
            return Some(OfPipeline { pipeline, follows: line.is_some(), line, model, choice: None });
        }
        // Names of pipelines may have upper case; names in a registry have none.
        let line = pipeline.to_ascii_lowercase();
        let champion = self.bench.config.models.use_champions.then(|| self.judge(&line)).flatten();
        let choice = champion.map(|name| ModelChoice { name, models: self.settings.clone() });
        let model = choice.as_ref().map_or(config.model, |choice| choice.name.clone());
        Some(OfPipeline { pipeline, line: Some(line), follows: self.bench.config.models.use_champions, model, choice })
    }

    /// The pipelines that the champion of this name judges, or would.
    pub fn served(&self, line: &str) -> Vec<OfPipeline> {
        self.of_line(line).into_iter().filter(|one| one.follows).collect()
    }

    /// The pipelines whose models have this name in the registry, whether or not the champion judges.
    pub fn of_line(&self, line: &str) -> Vec<OfPipeline> {
        self.pipelines().into_iter().filter(|one| one.line.as_deref() == Some(line)).collect()
    }

    /// Whether a worker can load the model of this folder into each of these pipelines.
    ///
    /// # Errors
    /// What the worker says of the first one that it cannot.
    pub fn fits(&self, place: &Path, pipelines: &[OfPipeline]) -> Result<(), ShelfError> {
        let never = AtomicBool::new(false);
        for one in pipelines {
            let file = configured(&self.bench.config, &one.pipeline).flatten();
            let models = ModelSettings { folder: PathBuf::new(), ..self.settings.clone() };
            let model = ModelChoice { name: place.display().to_string(), models };
            let refused = |words: &str| ShelfError::Refused(clean(&format!("{}: {words}", one.pipeline)));
            let described = match check::describe_with(&self.bench, file, Some(model), &never) {
                Ok(described) => described,
                Err(WorkerEnd::Start(error)) => return Err(ShelfError::Ours(error.to_string())),
                Err(end) => return Err(refused(&end.to_string())),
            };
            if let Some(words) = &described.whole.refused {
                return Err(refused(words));
            }
        }
        Ok(())
    }

    /// Makes a version the champion of its name, where the registry lets it and it fits the pipelines that would use it.
    ///
    /// # Errors
    /// Where it is refused, and why.
    pub fn promote(&self, id: &Id, even_if_worse: bool) -> Result<Promoted, ShelfError> {
        let Id::Kept(name, version) = id else {
            return Err(ShelfError::Refused("a model in the box is no version of a registry".to_owned()));
        };
        let pipelines = self.of_line(name);
        let registry = self.registry()?;
        promote(&registry, name, Candidate::Version(*version), even_if_worse, |_, place| self.fits(place, &pipelines))
    }

    /// Makes the former champion the champion again; the versions that went and came.
    ///
    /// # Errors
    /// Where there is none, it cannot be used, or does not fit a pipeline that would use it.
    pub fn roll_back(&self, name: &str) -> Result<(u32, u32), ShelfError> {
        let registry = self.registry()?;
        // A name that there is none of should leave no folder behind.
        registry.champion(name)?;
        // Pipelines may ask for other features than when it was the champion.
        if let [.., former, _] = &*registry.champions(name)? {
            let former = VersionName { name: name.to_owned(), version: Some(former.version) };
            self.fits(&registry.place(&former)?, &self.of_line(name))?;
        }
        Ok(registry.edit(name)?.roll_back()?)
    }

    /// Takes a trained model in as a version that nobody has promoted. Nobody has signed it either: the operator may, later.
    ///
    /// # Errors
    /// Where it is no model, or claims what cannot be.
    pub fn take_in(&self, name: &str, folder: &Path) -> Result<u32, ShelfError> {
        let settings = ModelSettings { require_signature: false, ..self.settings.clone() };
        let registry = ModelRegistry::open(&settings)?;
        let edit = registry.edit(name)?;
        let staged = edit.stage(folder)?;
        if !staged.model.card.report.is_possible() {
            return Err(ShelfError::Refused("the model claims figures that cannot be".to_owned()));
        }
        Ok(edit.take_in(staged)?)
    }
}

/// The registry that the operator named, as the library takes it.
fn settings(config: &Config) -> ModelSettings {
    let models = &config.models;
    ModelSettings {
        folder: models.registry.clone().unwrap_or_default(),
        trusted_keys: models.trusted_keys.clone(),
        require_signature: models.require_signature,
    }
}

/// A name that a card gives, fit for a page.
pub fn shown_name(name: &str) -> String {
    clean(name).chars().take(NAME).collect()
}
