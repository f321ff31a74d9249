//! Earlier flows to the same service: how often, how regular, how alike, and whether they are a beacon's.

use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, RowsMut, ratio};
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};

declare_plugins!(feature "conversation" "earlier flows of the same host to the same service": Conversation);

/// The extractor; it has no settings.
#[derive(Debug)]
pub struct Conversation;

const COLUMNS: [(&str, &str, &str); 16] = [
    ("earlier", "count", "earlier flows of the same host to the same service"),
    ("failed_share", "ratio", "share of those earlier flows that got no answer"),
    ("gap", "seconds", "time since the latest earlier flow to the same service"),
    ("gap_mean", "seconds", "mean time between flows to the same service"),
    ("gap_variation", "ratio", "irregularity of the times between flows to the same service"),
    ("sent_variation", "ratio", "irregularity of the bytes sent to the same service"),
    ("period", "seconds", "usual time between the latest flows to the same service"),
    ("jitter", "ratio", "how far the times between the latest flows lie from their usual one"),
    ("skew", "ratio", "how lopsided the times between the latest flows are"),
    ("missed", "ratio", "share of flows that the usual time lets expect and that did not come"),
    ("size_jitter", "ratio", "how far the bytes sent in the latest flows lie from their usual number"),
    ("size_skew", "ratio", "how lopsided the bytes sent in the latest flows are"),
    ("coverage", "ratio", "how evenly the latest flows lie over their time"),
    ("rhythm", "ratio", "likeness of the latest flows' times to a beacon's"),
    ("beacon", "ratio", "likeness of the latest flows' times and bytes to a beacon's"),
    ("confidence", "ratio", "what the likeness to a beacon is worth, by the number of flows"),
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
            known.beacon.values().into_iter().for_each(|value| row.put(f64::from(value)));
            debug_assert_eq!(row.left(), 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilwatch_core::context::BeaconSnapshot;
    use veilwatch_core::flow::Templates;
    use veilwatch_core::record::FieldTable;
    use veilwatch_testkit::conformance::assert_conforms;
    use veilwatch_testkit::flows::Table;
    use veilwatch_testkit::talk::Talk;

    #[test]
    fn each_number_of_a_beacon_has_its_column() {
        let mut flow = Talk::tcp().open().flow(&Templates::default());
        flow.conversation.earlier = 4;
        flow.conversation.failed = 1;
        flow.conversation.beacon = BeaconSnapshot {
            period: 60.0,
            jitter: 0.1,
            skew: 0.2,
            missed: 0.3,
            size_jitter: 0.4,
            size_skew: 0.5,
            coverage: 0.6,
            rhythm: 0.7,
            score: 0.8,
            confidence: 0.9,
        };
        let alone = Talk::tcp().open().flow(&Templates::default());
        let table = Table::new(&declarations()[0], "", &FieldTable::new(), &[flow, alone]).unwrap();
        let names = ["earlier", "failed_share", "period", "jitter", "skew", "missed", "size_jitter", "size_skew"];
        assert_eq!(names.map(|name| table.get(0, name).unwrap()), [4.0, 0.25, 60.0, 0.1, 0.2, 0.3, 0.4, 0.5]);
        let names = ["coverage", "rhythm", "beacon", "confidence"];
        assert_eq!(names.map(|name| table.get(0, name).unwrap()), [0.6, 0.7, 0.8, 0.9]);
        assert!(names.iter().all(|name| table.get(1, name).unwrap().is_nan()));
    }

    #[test]
    fn it_conforms() {
        assert_conforms(declarations());
    }
}
