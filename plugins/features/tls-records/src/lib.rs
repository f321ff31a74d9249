//! Lengths and types of TLS records: the outer shape of a connection, which encryption does not hide.

use smallvec::SmallVec;
use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, FlowView, HandshakeEnd, RowWriter, RowsMut, ratio};
use veilwatch_core::flow::Moments;
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};
use veilwatch_core::record::TlsRecords as Records;

declare_plugins!(feature "tls-records" "lengths and types of TLS records": TlsRecords);

/// The extractor.
#[derive(Debug)]
pub struct TlsRecords {
    settings: RecordSettings,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RecordSettings {
    /// Whether only application data behind the handshake counts, and of that the first records of each direction.
    after_handshake: bool,
}

/// Records of any type with columns of their own, each direction.
const ANY: usize = 12;
/// Application-data records with columns of their own, each direction.
const DATA: usize = 12;
/// Records of a direction that the template notes where nothing else is set.
const NOTED: usize = 32;
/// Handshake records with columns of their own, each direction.
const HANDSHAKE: usize = 5;

/// What is told of the application data, behind the handshake as well.
const OF_DATA: [(&str, &str, &str); 8] = [
    ("data_count", "count", "application-data records seen"),
    ("data_min", "bytes", "smallest application-data record"),
    ("data_max", "bytes", "largest application-data record"),
    ("data_mean", "bytes", "mean application-data record"),
    ("data_deviation", "bytes", "spread of the application-data records"),
    ("data_distinct", "ratio", "share of different lengths among the application-data records"),
    ("data_full", "ratio", "share of application-data records that are full"),
    ("data_variation", "ratio", "spread of the application-data records over their mean"),
];

/// What is told of all records.
const OF_ALL: [(&str, &str, &str); 5] = [
    ("records", "count", "TLS records seen"),
    ("alerts", "count", "alerts in clear"),
    ("hidden_alerts", "count", "encrypted alerts"),
    ("cipher_changes", "count", "ChangeCipherSpec records"),
    ("handshakes", "count", "handshake records"),
];

/// Bytes of an alert in clear (RFC 8446 section 6).
const ALERT_BYTES: u16 = 2;

impl TlsRecords {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        Ok(Self { settings: settings.read()? })
    }

    fn fill(records: &Records<'_>, row: &mut RowWriter<'_>) {
        for (lengths, types, alerts) in [
            (records.client, records.client_types, records.client_alerts),
            (records.server, records.server_types, records.server_alerts),
        ] {
            for at in 0..ANY {
                row.maybe(lengths.get(at).map(|length| f64::from(*length)));
            }
            for at in 0..ANY {
                row.maybe(types.get(at).map(|kind| f64::from(*kind)));
            }
            let of = |kind: u8| {
                lengths.iter().zip(types).filter(move |(_, known)| **known == kind).map(|(length, _)| *length)
            };
            for at in 0..HANDSHAKE {
                row.maybe(of(22).nth(at).map(f64::from));
            }
            data(of(23).collect(), row);
            row.put(lengths.len() as f64);
            row.put(f64::from(alerts));
            row.put(of(21).filter(|length| *length != ALERT_BYTES).count() as f64);
            row.put(of(20).count() as f64);
            row.put(of(22).count() as f64);
        }
        row.maybe((records.last_alert > 0).then(|| f64::from(records.last_alert & 0xff)));
    }

    fn fill_after(records: &Records<'_>, end: HandshakeEnd, row: &mut RowWriter<'_>) {
        for (lengths, types, complete, begin) in [
            (records.client, records.client_types, records.client_complete, Some(end.client_records)),
            (records.server, records.server_types, records.server_complete, end.server_records),
        ] {
            let behind = begin.map(|begin| {
                let behind = lengths.iter().zip(types).skip(begin).filter(|(_, kind)| **kind == 23);
                behind.map(|(length, _)| *length).take(DATA).collect::<SmallVec<[u16; 32]>>()
            });
            // How many are noted, and after a retry how far records are followed at all, depends on how long the handshake
            // was: fewer than have columns are all that there were, or nothing is said of them.
            let all = complete && lengths.len() < NOTED;
            match behind.filter(|behind| behind.len() >= DATA || all) {
                Some(behind) => data(behind, row),
                None => (0..DATA + OF_DATA.len()).for_each(|_| row.put(f64::NAN)),
            }
        }
    }
}

/// The application-data records of one direction.
fn data(data: SmallVec<[u16; 32]>, row: &mut RowWriter<'_>) {
    for at in 0..DATA {
        row.maybe(data.get(at).map(|length| f64::from(*length)));
    }
    let mut moments = Moments::default();
    data.iter().for_each(|length| moments.add(f64::from(*length)));
    let some = moments.count > 0;
    row.put(data.len() as f64);
    row.maybe(some.then_some(moments.min));
    row.maybe(some.then_some(moments.max));
    row.maybe(some.then_some(moments.mean));
    row.maybe(some.then(|| moments.deviation()));
    let count = data.len() as f64;
    // A full record: 2^14 bytes of content (RFC 8446 section 5.1).
    let full = data.iter().filter(|length| **length >= 16_384).count() as f64;
    let mut distinct = data;
    distinct.sort_unstable();
    distinct.dedup();
    row.maybe(ratio(distinct.len() as f64, count));
    row.maybe(ratio(full, count));
    row.maybe(ratio(moments.deviation(), moments.mean));
}

impl FeatureExtractor for TlsRecords {
    fn columns(&self) -> Vec<Column> {
        let after = self.settings.after_handshake;
        let mut columns = Vec::new();
        for side in ["client", "server"] {
            let mut add = |name: &str, unit: &'static str, words: &str| {
                let behind = if after { ", behind the handshake" } else { "" };
                let words = format!("{words} of the {side}{behind}");
                columns.push(Column::new(format!("{side}_{name}"), unit, words, Evidence::ApplicationData));
            };
            if !after {
                (1..=ANY).for_each(|at| add(&format!("record_{at}"), "bytes", &format!("length of record {at}")));
                (1..=ANY).for_each(|at| add(&format!("type_{at}"), "code", &format!("content type of record {at}")));
                (1..=HANDSHAKE).for_each(|at| {
                    add(&format!("handshake_{at}"), "bytes", &format!("length of handshake record {at}"))
                });
            }
            for at in 1..=DATA {
                add(&format!("data_{at}"), "bytes", &format!("length of application-data record {at}"));
            }
            let all = if after { &[][..] } else { &OF_ALL };
            OF_DATA.iter().chain(all).for_each(|(name, unit, words)| add(name, unit, words));
        }
        if !after {
            columns.push(Column::new("last_alert", "code", "description of the last alert in clear", Evidence::Flow));
        }
        columns
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let Some(records) = FlowView::record::<Records<'_>>(&flow) else { continue };
            let mut row = rows.writer(at);
            if !self.settings.after_handshake {
                Self::fill(&records, &mut row);
            } else if let Some(end) = HandshakeEnd::of(&flow) {
                Self::fill_after(&records, end, &mut row);
            } else {
                continue;
            }
            debug_assert_eq!(row.left(), 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilwatch_core::flow::Templates;
    use veilwatch_core::record::{FieldTable, Value};
    use veilwatch_testkit::conformance::assert_conforms;
    use veilwatch_testkit::flows::{Table, write};
    use veilwatch_testkit::talk::Talk;

    /// A handshake of so many records, data behind it, and whether the sides were followed to their ends.
    fn long(handshake: usize, data: usize, complete: bool) -> Table {
        let fields = FieldTable::new();
        let mut flow = Talk::tcp().open().forward(b"x").flow(&Templates::default());
        let mut types = vec![22; handshake];
        types.extend([20, 22]);
        types.extend(vec![23; data]);
        types.truncate(NOTED);
        let lengths: Vec<u16> = (0..types.len() as u16).collect();
        let values = [
            ("tls.server.record_version", Value::U64(0x303)),
            ("tls.server.selected_version", Value::U64(0x303)),
            ("tls.records.client", Value::U16List(&lengths)),
            ("tls.records.client_types", Value::Bytes(&types)),
            ("tls.records.client_complete", Value::U64(complete.into())),
            ("tls.records.server", Value::U16List(&lengths)),
            ("tls.records.server_types", Value::Bytes(&types)),
            ("tls.records.server_complete", Value::U64(complete.into())),
        ];
        write(&mut flow, &fields, &values).unwrap();
        Table::new(&declarations()[0], "after_handshake = true", &fields, &[flow]).unwrap()
    }

    #[test]
    fn how_much_is_said_of_data_does_not_tell_how_long_the_handshake_was() {
        let count = |handshake, data, complete| long(handshake, data, complete).get(0, "server_data_count").unwrap();
        assert_eq!([count(2, 5, true), count(20, 5, true), count(2, 5, false)].map(f32::is_nan), [false, false, true]);
        assert_eq!((count(2, 5, true), count(20, 5, true)), (5.0, 5.0));
        // So many records that those behind it were not all noted, and one that was not followed but showed enough.
        assert!(count(25, 20, true).is_nan() && count(30, 0, true).is_nan());
        assert_eq!([count(2, 20, true), count(2, 20, false), count(18, 20, false)], [12.0; 3]);
    }

    fn row(settings: &str) -> Table {
        let fields = FieldTable::new();
        let mut flow = Talk::tcp().open().forward(b"x").flow(&Templates::default());
        let values = [
            ("tls.server.record_version", Value::U64(0x303)),
            ("tls.server.selected_version", Value::U64(0x303)),
            ("tls.records.client", Value::U16List(&[200, 70, 1, 40, 100, 300, 26])),
            ("tls.records.client_types", Value::Bytes(&[22, 22, 20, 22, 23, 23, 21])),
            ("tls.records.server", Value::U16List(&[80, 3000, 1, 40, 16_384])),
            ("tls.records.server_types", Value::Bytes(&[22, 22, 20, 22, 23])),
            ("tls.records.client_complete", Value::U64(1)),
            ("tls.records.server_complete", Value::U64(1)),
        ];
        write(&mut flow, &fields, &values).unwrap();
        Table::new(&declarations()[0], settings, &fields, &[flow]).unwrap()
    }

    #[test]
    fn records_by_hand() {
        let table = row("");
        let get = |name: &str| table.get(0, name).unwrap();
        assert_eq!((get("client_record_2"), get("client_type_3"), get("client_record_8").is_nan()), (70.0, 20.0, true));
        assert_eq!((get("client_handshake_3"), get("client_data_2")), (40.0, 300.0));
        assert_eq!((get("client_data_mean"), get("client_data_deviation")), (200.0, 100.0));
        assert_eq!((get("client_data_variation"), get("client_hidden_alerts")), (0.5, 1.0));
        assert_eq!((get("client_cipher_changes"), get("client_handshakes"), get("client_records")), (1.0, 3.0, 7.0));
        assert_eq!((get("server_data_full"), get("server_data_variation")), (1.0, 0.0));
    }

    #[test]
    fn behind_the_handshake_there_is_data_alone() {
        let table = row("after_handshake = true");
        let get = |name: &str| table.get(0, name).unwrap();
        assert_eq!((get("client_data_1"), get("server_data_1"), get("client_data_count")), (100.0, 16_384.0, 2.0));
        assert!(table.columns().iter().all(|column| column.name.contains("_data_")));
    }

    #[test]
    fn it_conforms() {
        assert_conforms(declarations());
    }
}
