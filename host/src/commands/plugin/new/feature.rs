//! A feature extractor with one column: how long a flow was silent at most.

use serde::Deserialize;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, RowsMut};
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};

// What pipelines call it, and what it is for. The second line makes a library of this crate.
veilwatch_core::declare_plugins!(feature "{{name}}" "longest silence at the beginning of a flow": Plugin);
veilwatch_core::export_plugins!(declarations);

/// The settings, which are all that this plugin keeps. A key that is not among them is refused.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plugin {
    /// How many of a flow's first packets with payload are looked at.
    packets: usize,
}

impl Default for Plugin {
    fn default() -> Self {
        Self { packets: 16 }
    }
}

impl Plugin {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        let plugin: Self = settings.read()?;
        // A flow remembers 32.
        if !(2..=32).contains(&plugin.packets) {
            return Err(PluginError::settings(format!("`packets` is {}; give 2 to 32", plugin.packets)));
        }
        Ok(plugin)
    }
}

impl FeatureExtractor for Plugin {
    // The same columns for the same settings. People read the words where a column is a reason for an alert.
    fn columns(&self) -> Vec<Column> {
        vec![Column::new("longest_silence", "seconds", "longest silence among the first packets", Evidence::Flow)]
    }

    // One row a flow, NaN for what is not there: one packet alone knows no silence.
    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let times = flow.splt().times_us.iter().take(self.packets);
            let silences = times.clone().zip(times.skip(1)).map(|(one, next)| next.saturating_sub(*one));
            rows.writer(at).maybe(silences.max().map(|longest| f64::from(longest) / 1e6));
        }
        Ok(())
    }
}
