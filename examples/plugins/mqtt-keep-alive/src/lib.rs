//! A feature over what a template read: how long an MQTT client may be silent, and how much of that it uses.

use veilwatch_core::feature::{Column, Evidence, FlowBatch, RowsMut, ratio};
use veilwatch_core::flow::Direction;
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};
use veilwatch_core::record::{FieldId, FieldTable};

veilwatch_core::declare_plugins!(feature "mqtt-keep-alive" "how an MQTT client keeps its connection": KeepAlive);
veilwatch_core::export_plugins!(declarations);

/// The extractor, with the id of the field that it reads, where the pipeline has a template that writes it.
#[derive(Default)]
pub struct KeepAlive(Option<FieldId>);

impl KeepAlive {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none().map(|()| Self::default())
    }
}

impl FeatureExtractor for KeepAlive {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::new("keep_alive", "seconds", "how long the MQTT client may be silent", Evidence::Flow),
            Column::new("used", "ratio", "mean gap between the client's packets over that", Evidence::Flow),
        ]
    }

    fn wire(&mut self, fields: &FieldTable) -> Result<(), PluginError> {
        self.0 = fields.id("mqtt.kalive");
        Ok(())
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            // A flow that is no MQTT has no such field, and its row stays NaN.
            if let Some(seconds) = flow.field::<u16>(self.0).map(f64::from) {
                let gaps = flow.direction(Direction::Forward).gaps;
                let mut row = rows.writer(at);
                row.put(seconds);
                row.maybe(ratio(gaps.mean, seconds).filter(|_| gaps.count > 0));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
