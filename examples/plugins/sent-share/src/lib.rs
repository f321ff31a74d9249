//! The smallest drop-in: one feature, the share of the payload that the originator sent.

use veilwatch_core::feature::{Column, Evidence, FlowBatch, RowsMut, ratio};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};

veilwatch_core::declare_plugins!(feature "sent-share" "share of the payload that the originator sent": SentShare);
veilwatch_core::export_plugins!(declarations);

/// The extractor; it has no settings.
#[derive(Debug)]
pub struct SentShare;

impl SentShare {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none()?;
        Ok(Self)
    }
}

impl FeatureExtractor for SentShare {
    fn columns(&self) -> Vec<Column> {
        vec![Column::new("sent_share", "ratio", "share of the payload that the originator sent", Evidence::Flow)]
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let sent = flow.direction(Direction::Forward).payload_bytes as f64;
            let received = flow.direction(Direction::Backward).payload_bytes as f64;
            rows.writer(at).maybe(ratio(sent, sent + received));
        }
        Ok(())
    }
}
