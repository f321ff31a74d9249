//! Earlier flows to the same service: how often, how regular, how alike.

use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, RowsMut, ratio};
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};

declare_plugins!(feature "conversation" "earlier flows of the same host to the same service": Conversation);

/// The extractor; it has no settings.
#[derive(Debug)]
pub struct Conversation;

const COLUMNS: [(&str, &str, &str); 6] = [
    ("earlier", "count", "earlier flows of the same host to the same service"),
    ("failed_share", "ratio", "share of those earlier flows that got no answer"),
    ("gap", "seconds", "time since the latest earlier flow to the same service"),
    ("gap_mean", "seconds", "mean time between flows to the same service"),
    ("gap_variation", "ratio", "irregularity of the times between flows to the same service"),
    ("sent_variation", "ratio", "irregularity of the bytes sent to the same service"),
];

impl Conversation {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none()?;
        Ok(Self)
    }
}

impl FeatureExtractor for Conversation {
    fn columns(&self) -> Vec<Column> {
        COLUMNS.map(|(name, unit, words)| Column::new(name, unit, words, Evidence::Conversation)).to_vec()
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let known = flow.conversation();
            let mut row = rows.writer(at);
            row.put(f64::from(known.earlier));
            row.maybe(ratio(f64::from(known.failed), f64::from(known.earlier)));
            row.put(known.gap);
            row.put(known.gap_mean);
            row.put(known.gap_variation);
            row.put(known.sent_variation);
            debug_assert_eq!(row.left(), 0);
        }
        Ok(())
    }
}
