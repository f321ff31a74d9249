//! Lengths and types of TLS records: the outer shape of a connection, which encryption does not hide.

use smallvec::SmallVec;
use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, FlowView, RowWriter, RowsMut, ratio};
use veilwatch_core::flow::Moments;
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};
use veilwatch_core::record::TlsRecords as Records;

declare_plugins!(feature "tls-records" "lengths and types of TLS records": TlsRecords);

/// The extractor; it has no settings.
#[derive(Debug)]
pub struct TlsRecords;

/// Application-data records with columns of their own, each direction.
const DATA: usize = 10;
/// Handshake records with columns of their own, each direction.
const HANDSHAKE: usize = 5;

const OF_DIRECTION: [(&str, &str, &str); 9] = [
    ("records", "count", "TLS records seen"),
    ("data_count", "count", "application-data records seen"),
    ("data_min", "bytes", "smallest application-data record"),
    ("data_max", "bytes", "largest application-data record"),
    ("data_mean", "bytes", "mean application-data record"),
    ("data_deviation", "bytes", "spread of the application-data records"),
    ("data_distinct", "ratio", "share of different lengths among the application-data records"),
    ("data_full", "ratio", "share of application-data records that are full"),
    ("alerts", "count", "alerts in clear"),
];

impl TlsRecords {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none()?;
        Ok(Self)
    }

    fn fill(records: &Records<'_>, row: &mut RowWriter<'_>) {
        for (lengths, types, alerts) in [
            (records.client, records.client_types, records.client_alerts),
            (records.server, records.server_types, records.server_alerts),
        ] {
            let of = |kind: u8| {
                lengths.iter().zip(types).filter(move |(_, known)| **known == kind).map(|(length, _)| *length)
            };
            let data: SmallVec<[u16; 32]> = of(23).collect();
            for at in 0..DATA {
                row.maybe(data.get(at).map(|length| f64::from(*length)));
            }
            let handshake: SmallVec<[u16; 32]> = of(22).collect();
            for at in 0..HANDSHAKE {
                row.maybe(handshake.get(at).map(|length| f64::from(*length)));
            }
            let mut moments = Moments::default();
            data.iter().for_each(|length| moments.add(f64::from(*length)));
            let some = moments.count > 0;
            row.put(lengths.len() as f64);
            row.put(data.len() as f64);
            row.maybe(some.then_some(moments.min));
            row.maybe(some.then_some(moments.max));
            row.maybe(some.then_some(moments.mean));
            row.maybe(some.then(|| moments.deviation()));
            let mut distinct = data.clone();
            distinct.sort_unstable();
            distinct.dedup();
            row.maybe(ratio(distinct.len() as f64, data.len() as f64));
            // A full record: 2^14 bytes of content (RFC 8446 section 5.1).
            row.maybe(ratio(data.iter().filter(|length| **length >= 16_384).count() as f64, data.len() as f64));
            row.put(f64::from(alerts));
        }
        row.maybe((records.last_alert > 0).then(|| f64::from(records.last_alert & 0xff)));
    }
}

impl FeatureExtractor for TlsRecords {
    fn columns(&self) -> Vec<Column> {
        let mut columns = Vec::new();
        for (prefix, who) in [("client", "client"), ("server", "server")] {
            for (kind, words, count) in
                [("data", "application-data record", DATA), ("handshake", "handshake record", HANDSHAKE)]
            {
                columns.extend((1..=count).map(|at| {
                    let words = format!("length of {words} {at} of the {who}");
                    Column::new(format!("{prefix}_{kind}_{at}"), "bytes", words, Evidence::ApplicationData)
                }));
            }
            columns.extend(OF_DIRECTION.map(|(name, unit, words)| {
                Column::new(
                    format!("{prefix}_{name}"),
                    unit,
                    format!("{words} of the {who}"),
                    Evidence::ApplicationData,
                )
            }));
        }
        columns.push(Column::new("last_alert", "code", "description of the last alert in clear", Evidence::Flow));
        columns
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let Some(records) = FlowView::record::<Records<'_>>(&flow) else { continue };
            let mut row = rows.writer(at);
            Self::fill(&records, &mut row);
            debug_assert_eq!(row.left(), 0);
        }
        Ok(())
    }
}
