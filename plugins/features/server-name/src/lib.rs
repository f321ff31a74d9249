//! The shape of the server name: length, letters, digits, but never the name itself.

use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, FlowView, NameShape, RowsMut, ratio};
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};
use veilwatch_core::record::ClientHello;

declare_plugins!(feature "server-name" "the shape of the server name": ServerName);

/// The extractor; it has no settings.
#[derive(Debug)]
pub struct ServerName;

const COLUMNS: [(&str, &str, &str); 21] = [
    ("present", "flag", "the client names the server"),
    ("address", "flag", "the server name is an address"),
    ("length", "bytes", "length of the server name"),
    ("labels", "count", "labels in the server name"),
    ("longest_label", "bytes", "longest label of the server name"),
    ("first_label", "bytes", "first label of the server name"),
    ("digits", "ratio", "share of digits in the server name"),
    ("hyphens", "count", "hyphens in the server name"),
    ("vowels", "ratio", "share of vowels among the letters of the server name"),
    ("consonant_run", "count", "longest run of consonants in the server name"),
    ("entropy", "bits", "entropy of the server name's characters"),
    ("registered_entropy", "bits", "entropy of the label before the top-level domain"),
    ("top_level", "code", "kind of top-level domain: 1 com net org, 2 country, 3 other, 0 none"),
    ("www", "flag", "the server name begins with www"),
    ("digit_run", "count", "longest run of digits in the server name"),
    ("switches", "count", "changes between letters and digits in the server name"),
    ("distinct", "ratio", "share of different characters in the server name"),
    ("registered_length", "bytes", "length of the label before the top-level domain"),
    ("registered_digits", "ratio", "share of digits in the label before the top-level domain"),
    ("top_length", "bytes", "length of the top-level domain"),
    ("punycode", "flag", "the server name is an internationalised one"),
];

impl ServerName {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none()?;
        Ok(Self)
    }
}

impl FeatureExtractor for ServerName {
    fn columns(&self) -> Vec<Column> {
        COLUMNS.map(|(name, unit, words)| Column::new(name, unit, words, Evidence::ClientHello)).to_vec()
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let Some(hello) = FlowView::record::<ClientHello<'_>>(&flow) else { continue };
            let mut row = rows.writer(at);
            row.flag(!hello.sni.is_empty());
            if hello.sni.is_empty() {
                continue;
            }
            let shape = NameShape::of(hello.sni);
            let share = |part: usize, whole: usize| ratio(part as f64, whole as f64);
            let registered = shape.registered_length;
            row.flag(shape.address);
            row.put(shape.length as f64);
            row.put(shape.labels as f64);
            row.put(shape.longest_label as f64);
            row.put(shape.first_label as f64);
            row.maybe(share(shape.digits, shape.length));
            row.put(shape.hyphens as f64);
            row.maybe(share(shape.vowels, shape.letters));
            row.put(shape.consonant_run as f64);
            row.put(shape.entropy);
            row.maybe(registered.map(|_| shape.registered_entropy));
            row.put(f64::from(shape.top_level));
            row.flag(shape.www);
            row.put(shape.digit_run as f64);
            row.put(shape.switches as f64);
            row.maybe(share(shape.distinct, shape.length));
            row.maybe(registered.map(|length| length as f64));
            row.maybe(registered.and_then(|length| share(shape.registered_digits, length)));
            row.put(shape.top_length as f64);
            row.flag(shape.punycode);
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

    #[test]
    fn shapes_by_hand() {
        let fields = FieldTable::new();
        let flows = [&b"mail.x7q9.example"[..], b"192.0.2.7", b"", b"localhost"].map(|name| {
            let mut flow = Talk::tcp().open().forward(b"x").flow(&Templates::default());
            let hello = [("tls.client.record_version", Value::U64(0x301)), ("tls.client.sni", Value::Bytes(name))];
            write(&mut flow, &fields, &hello).unwrap();
            flow
        });
        let table = Table::new(&declarations()[0], "", &fields, &flows).unwrap();
        let get = |row: usize, name: &str| table.get(row, name).unwrap();
        assert_eq!((get(0, "length"), get(0, "labels"), get(0, "registered_length")), (17.0, 3.0, 4.0));
        assert_eq!((get(0, "switches"), get(0, "registered_digits"), get(0, "top_level")), (3.0, 0.5, 3.0));
        assert_eq!((get(1, "address"), get(1, "top_level")), (1.0, 0.0));
        assert_eq!((get(2, "present"), get(2, "length").is_nan()), (0.0, true));
        assert!(get(3, "registered_length").is_nan() && get(3, "registered_entropy").is_nan());
    }

    #[test]
    fn it_conforms() {
        assert_conforms(declarations());
    }
}
