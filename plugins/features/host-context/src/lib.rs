//! What the originator did before: flows, failures, services, kinds of ClientHello. Never who it is.
//!
//! Known where `hosts` under `[context]` is not 0. Hosts that were never seen before have counts of 0 and no shares.

use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, RowsMut, ratio};
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};

declare_plugins!(feature "host-context" "what the originator did before": HostContext);

/// The extractor; it has no settings.
#[derive(Debug)]
pub struct HostContext;

const COLUMNS: [(&str, &str, &str); 8] = [
    ("earlier", "count", "earlier flows of the host"),
    ("failed_share", "ratio", "share of the host's earlier flows that got no answer"),
    ("tls_share", "ratio", "share of TLS among the host's earlier flows"),
    ("services", "count", "services that the host's earlier flows led to, about"),
    ("service_share", "ratio", "different services for each of the host's earlier flows, about"),
    ("hellos", "count", "kinds of ClientHello that the host has sent, about"),
    ("hello_share", "ratio", "kinds of ClientHello for each of the host's earlier TLS flows, about"),
    ("recent", "1/min", "flows of the host of late: each that began counts the less, 1/e after a minute"),
];

impl HostContext {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none()?;
        Ok(Self)
    }
}

impl FeatureExtractor for HostContext {
    fn columns(&self) -> Vec<Column> {
        COLUMNS.map(|(name, unit, words)| Column::new(name, unit, words, Evidence::Conversation)).to_vec()
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let known = flow.host();
            let (earlier, tls) = (f64::from(known.earlier), f64::from(known.tls));
            let (services, hellos) = (f64::from(known.services), f64::from(known.hellos));
            let mut row = rows.writer(at);
            row.put(earlier);
            row.maybe(ratio(f64::from(known.failed), earlier));
            row.maybe(ratio(tls, earlier));
            row.put(services);
            row.maybe(ratio(services, earlier));
            row.put(hellos);
            row.maybe(ratio(hellos, tls));
            row.put(f64::from(known.recent));
            debug_assert_eq!(row.left(), 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilwatch_core::context::HostSnapshot;
    use veilwatch_core::flow::Templates;
    use veilwatch_core::record::FieldTable;
    use veilwatch_testkit::conformance::assert_conforms;
    use veilwatch_testkit::flows::Table;
    use veilwatch_testkit::talk::Talk;

    #[test]
    fn shares_by_hand() {
        let mut flow = Talk::tcp().open().flow(&Templates::default());
        flow.host = HostSnapshot { earlier: 8, failed: 2, tls: 4, services: 6.0, hellos: 1.0, recent: 2.5 };
        let first = Talk::tcp().open().flow(&Templates::default());
        let table = Table::new(&declarations()[0], "", &FieldTable::new(), &[flow, first]).unwrap();
        let names: Vec<_> = table.columns().iter().map(|column| column.name.to_string()).collect();
        let row = |row: usize| names.iter().map(|name| table.get(row, name).unwrap()).collect::<Vec<_>>();
        assert_eq!(row(0), [8.0, 0.25, 0.5, 6.0, 0.75, 1.0, 0.25, 2.5]);
        assert_eq!((row(1)[0], row(1)[1].is_nan(), row(1)[6].is_nan()), (0.0, true, true));
    }

    #[test]
    fn it_conforms() {
        assert_conforms(declarations());
    }
}
