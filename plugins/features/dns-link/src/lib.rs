//! The name that led to a flow: whether there was one, what it looks like, and how the answer was.
//!
//! Names are known where `names` under `[context]` is not 0 and `protocol/dns` reads queries in clear. Without a single
//! query of the host nothing is known of it, and all is empty: a flow without a name means something only where the host
//! is seen to ask.

use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, NameShape, NamesView, RowWriter, RowsMut, ratio};
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};
use veilwatch_core::record::ClientHello;

declare_plugins!(feature "dns-link" "the name that led to a flow, and how it was answered": DnsLink);

/// The extractor; it has no settings.
#[derive(Debug)]
pub struct DnsLink;

const COLUMNS: [(&str, &str, &str); 18] = [
    ("queries", "count", "earlier look-ups of the host"),
    ("failed_share", "ratio", "share of the host's look-ups that found no such name"),
    ("resolved", "flag", "a name led to the server"),
    ("is_server_name", "flag", "the name that led there is the one that the client asks for"),
    ("age", "seconds", "time from the answer to the flow"),
    ("ttl", "seconds", "time to live of the answer"),
    ("expired", "flag", "the answer's time to live had passed"),
    ("answers", "count", "addresses in the answer"),
    ("length", "bytes", "length of the name that led there"),
    ("labels", "count", "labels in the name that led there"),
    ("longest_label", "bytes", "longest label of the name that led there"),
    ("digits", "ratio", "share of digits in the name that led there"),
    ("hyphens", "count", "hyphens in the name that led there"),
    ("vowels", "ratio", "share of vowels among the letters of the name that led there"),
    ("consonant_run", "count", "longest run of consonants in the name that led there"),
    ("entropy", "bits", "entropy of the characters of the name that led there"),
    ("registered_entropy", "bits", "entropy of its label before the top-level domain"),
    ("top_level", "code", "its kind of top-level domain: 1 com net org, 2 country, 3 other, 0 none"),
];

impl DnsLink {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none()?;
        Ok(Self)
    }
}

fn fill(known: &NamesView<'_>, asked: &[u8], row: &mut RowWriter<'_>) {
    row.put(f64::from(known.queries));
    row.put(known.nxdomain_share);
    let resolved = !known.name.is_empty();
    row.flag(resolved);
    if !resolved {
        return;
    }
    let shape = NameShape::of(known.name);
    let share = |part: usize, whole: usize| ratio(part as f64, whole as f64);
    row.maybe((!asked.is_empty()).then(|| f64::from(u8::from(asked.eq_ignore_ascii_case(known.name)))));
    row.put(known.age);
    row.put(f64::from(known.ttl));
    row.flag(known.age > f64::from(known.ttl));
    row.put(f64::from(known.answers));
    row.put(shape.length as f64);
    row.put(shape.labels as f64);
    row.put(shape.longest_label as f64);
    row.maybe(share(shape.digits, shape.length));
    row.put(shape.hyphens as f64);
    row.maybe(share(shape.vowels, shape.letters));
    row.put(shape.consonant_run as f64);
    row.put(shape.entropy);
    row.maybe(shape.registered_length.map(|_| shape.registered_entropy));
    row.put(f64::from(shape.top_level));
    debug_assert_eq!(row.left(), 0);
}

impl FeatureExtractor for DnsLink {
    fn columns(&self) -> Vec<Column> {
        COLUMNS.map(|(name, unit, words)| Column::new(name, unit, words, Evidence::Flow)).to_vec()
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let known = flow.names();
            if known.queries > 0 || !known.name.is_empty() {
                fill(&known, flow.field(Some(ClientHello::SNI)).unwrap_or_default(), &mut rows.writer(at));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilwatch_core::context::{DnsSnapshot, NameLink};
    use veilwatch_core::flow::Templates;
    use veilwatch_core::record::{FieldTable, Value};
    use veilwatch_testkit::conformance::assert_conforms;
    use veilwatch_testkit::flows::{Table, write};
    use veilwatch_testkit::talk::Talk;

    #[test]
    fn links_by_hand() {
        let fields = FieldTable::new();
        let link = |name: &[u8]| NameLink { name: name.into(), age: 90.5, ttl: 60, answers: 2 };
        let known = [
            DnsSnapshot { link: Some(link(b"a1.Example.net")), queries: 4, nxdomain_share: 0.25 },
            DnsSnapshot { link: None, queries: 1, nxdomain_share: 0.0 },
            DnsSnapshot::default(),
        ];
        let flows = known.map(|names| {
            let mut flow = Talk::tcp().open().forward(b"x").flow(&Templates::default());
            write(&mut flow, &fields, &[("tls.client.sni", Value::Bytes(b"a1.example.net"))]).unwrap();
            flow.names = names;
            flow
        });
        let table = Table::new(&declarations()[0], "", &fields, &flows).unwrap();
        let get = |row: usize, name: &str| table.get(row, name).unwrap();
        let names = ["queries", "failed_share", "resolved", "is_server_name", "age", "ttl", "expired", "answers"];
        assert_eq!(names.map(|name| get(0, name)), [4.0, 0.25, 1.0, 1.0, 90.5, 60.0, 1.0, 2.0]);
        assert_eq!((get(0, "length"), get(0, "labels"), get(0, "top_level")), (14.0, 3.0, 1.0));
        assert_eq!((get(1, "queries"), get(1, "resolved"), get(1, "age").is_nan()), (1.0, 0.0, true));
        assert!(table.columns().iter().all(|column| get(2, &column.name).is_nan()));
    }

    #[test]
    fn it_conforms() {
        assert_conforms(declarations());
    }
}
