//! A [`Classifier`] made of its two halves: settings that learn, and the model that they leave.

use crate::codec::{Reader, Writer};
use crate::training;
use serde::de::DeserializeOwned;
use veilwatch_core::feature::Rows;
use veilwatch_core::plugin::{Classifier, PluginError, Settings, TrainingSet};

/// The settings of a classifier, and how it learns by them.
pub trait Learner: DeserializeOwned + Send + Sync {
    /// What it learns.
    type Model: Model;
    /// First bytes of its weights.
    const MAGIC: [u8; 4];
    /// Version of their format.
    const VERSION: u8;
    /// Whose weights they are, for messages.
    const NAME: &'static str;

    /// Refuses settings outside of their ranges.
    ///
    /// # Errors
    /// For each, saying what the range is.
    fn check(&self) -> Result<(), PluginError>;

    /// Learns from a set that [`training::check`] has passed.
    ///
    /// # Errors
    /// Where nothing can be learnt.
    fn learn(&self, data: &TrainingSet<'_>) -> Result<Self::Model, PluginError>;
}

/// What was learnt. Rows given to it have its width.
pub trait Model: Send + Sync + Sized {
    /// Columns of the rows it scores.
    fn width(&self) -> usize;

    /// Scores rows, one score a row.
    fn score(&self, rows: &Rows<'_>, scores: &mut [f64]);

    /// Writes each column's part of the score of one row; the parts and a constant of the model are its score.
    fn explain(&self, row: &[f32], parts: &mut [f64]);

    /// Writes it.
    ///
    /// # Errors
    /// Where a number cannot be written.
    fn write(&self, to: &mut Writer) -> Result<(), PluginError>;

    /// Reads it from bytes that may be anybody's.
    ///
    /// # Errors
    /// Where a count, an index or a number cannot be.
    fn read(from: &mut Reader<'_>) -> Result<Self, PluginError>;
}

/// The classifier: its settings, and the model once there is one.
#[derive(Debug)]
pub struct Learning<L: Learner> {
    settings: L,
    model: Option<L::Model>,
}

impl<L: Learner> Learning<L> {
    /// A classifier that has learnt nothing yet.
    ///
    /// # Errors
    /// Where the settings cannot be used.
    pub fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let settings: L = settings.read()?;
        settings.check()?;
        Ok(Self { settings, model: None })
    }

    /// What was learnt.
    ///
    /// # Errors
    /// Where nothing was.
    pub fn model(&self) -> Result<&L::Model, PluginError> {
        self.model.as_ref().ok_or_else(|| PluginError::failed("there is no model yet: train or load one first"))
    }

    /// The model, if it was learnt from rows of this width.
    fn model_for(&self, width: usize) -> Result<&L::Model, PluginError> {
        let model = self.model()?;
        if width == model.width() {
            return Ok(model);
        }
        Err(PluginError::data(format!(
            "the model was trained on rows of {} columns, these have {width}: use the feature extractors and settings it \
             was trained with, or train again",
            model.width()
        )))
    }
}

impl<L: Learner> Classifier for Learning<L> {
    fn fit(&mut self, data: &TrainingSet<'_>) -> Result<(), PluginError> {
        self.model = None;
        training::check(data)?;
        self.model = Some(self.settings.learn(data)?);
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, PluginError> {
        let mut writer = Writer::new(L::MAGIC, L::VERSION);
        self.model()?.write(&mut writer)?;
        Ok(writer.finish())
    }

    fn load(&mut self, weights: &[u8]) -> Result<(), PluginError> {
        let mut reader = Reader::new(weights, L::MAGIC, L::VERSION, L::NAME)?;
        let model = L::Model::read(&mut reader)?;
        reader.finish()?;
        self.model = Some(model);
        Ok(())
    }

    fn predict(&self, rows: &Rows<'_>, scores: &mut [f64]) -> Result<(), PluginError> {
        let model = self.model_for(rows.width())?;
        if scores.len() != rows.len() {
            return Err(PluginError::data(format!("{} rows, but room for {} scores", rows.len(), scores.len())));
        }
        model.score(rows, scores);
        Ok(())
    }

    fn explain(&self, row: &[f32], contributions: &mut [f64]) -> Result<(), PluginError> {
        let model = self.model_for(row.len())?;
        if contributions.len() != row.len() {
            return Err(PluginError::data(format!(
                "{} columns, but room for {} contributions",
                row.len(),
                contributions.len()
            )));
        }
        model.explain(row, contributions);
        Ok(())
    }
}
