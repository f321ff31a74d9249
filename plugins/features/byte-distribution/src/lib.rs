//! How the values of a flow's first bytes are spread: padding, text and chance leave different marks.
//!
//! The bytes themselves are gone when a flow has ended. `protocol/tls` counts them while it reads, where its setting
//! `histogram_bytes` says how many; without it, or without TLS, all is empty.

use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, RowWriter, RowsMut, ratio};
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};
use veilwatch_core::record::{FieldId, FieldTable};

declare_plugins!(feature "byte-distribution" "how the values of a flow's first bytes are spread": ByteDistribution);

/// The extractor; it has no settings.
#[derive(Debug)]
pub struct ByteDistribution {
    /// Counts of the client's bytes and of the server's.
    sides: [Option<FieldId>; 2],
}

const SIDES: [&str; 2] = ["client", "server"];

/// Bins: one for each value of the high four bits. Behind them a list has the zeros and the number of different values.
const BINS: usize = 16;

const SUMMARY: [(&str, &str, &str); 4] = [
    ("entropy", "bits", "entropy of the high four bits among the first bytes"),
    ("zeros", "ratio", "share of zeros among the first bytes"),
    ("printable", "ratio", "share of bytes from 0x20 to 0x7f among the first"),
    ("distinct", "ratio", "different values among the first bytes, for each byte"),
];

impl ByteDistribution {
    fn create(settings: Settings<'_>) -> Result<Self, PluginError> {
        settings.none()?;
        Ok(Self { sides: [None; 2] })
    }
}

fn fill(counts: &[u16], row: &mut RowWriter<'_>) {
    let bins = counts.get(..BINS).unwrap_or_default();
    let total: f64 = bins.iter().map(|count| f64::from(*count)).sum();
    let share = |count: u16| ratio(f64::from(count), total);
    for at in 0..BINS {
        row.maybe(bins.get(at).and_then(|count| share(*count)));
    }
    let entropy = bins.iter().filter_map(|count| share(*count)).filter(|share| *share > 0.0);
    row.maybe((total > 0.0).then(|| entropy.map(|share| -share * share.log2()).sum()));
    row.maybe(counts.get(BINS).and_then(|zeros| share(*zeros)));
    let printable: f64 = bins.iter().take(8).skip(2).map(|count| f64::from(*count)).sum();
    row.maybe(ratio(printable, total));
    row.maybe(counts.get(BINS + 1).and_then(|distinct| share(*distinct)));
}

impl FeatureExtractor for ByteDistribution {
    fn columns(&self) -> Vec<Column> {
        let evidence = [Evidence::ClientHello, Evidence::ServerHello];
        let sides = SIDES.into_iter().zip(evidence);
        let of_side = |(side, evidence): (&str, Evidence)| -> Vec<Column> {
            let bin = |at: usize| {
                let words = format!("share of bytes from 0x{at:x}0 to 0x{at:x}f among the {side}'s first");
                Column::new(format!("{side}_{at:x}"), "ratio", words, evidence)
            };
            let summary = SUMMARY.map(|(name, unit, words)| {
                Column::new(format!("{side}_{name}"), unit, format!("{words} of the {side}"), evidence)
            });
            (0..BINS).map(bin).chain(summary).collect()
        };
        sides.flat_map(of_side).collect()
    }

    fn wire(&mut self, fields: &FieldTable) -> Result<(), PluginError> {
        self.sides = SIDES.map(|side| fields.id(&format!("tls.bytes.{side}")));
        Ok(())
    }

    fn extract(&self, batch: &FlowBatch<'_>, rows: &mut RowsMut<'_>) -> Result<(), PluginError> {
        for (at, flow) in batch.iter().enumerate() {
            let mut row = rows.writer(at);
            for side in self.sides {
                fill(flow.field::<&[u16]>(side).unwrap_or_default(), &mut row);
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
    use veilwatch_core::record::{FieldKind, FieldSpec, Value};
    use veilwatch_testkit::conformance::assert_conforms;
    use veilwatch_testkit::flows::{Table, write};
    use veilwatch_testkit::talk::Talk;

    #[test]
    fn shares_by_hand() {
        let mut fields = FieldTable::new();
        for side in SIDES {
            let spec = FieldSpec::new(format!("tls.bytes.{side}"), FieldKind::U16List, "counts");
            fields.declare(spec, "tls").unwrap();
        }
        let counts = [4, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 5];
        let mut flow = Talk::tcp().open().forward(b"x").flow(&Templates::default());
        write(&mut flow, &fields, &[("tls.bytes.client", Value::U16List(&counts))]).unwrap();
        let table = Table::new(&declarations()[0], "", &fields, &[flow]).unwrap();
        let get = |name: &str| table.get(0, name).unwrap();
        assert_eq!(["client_0", "client_1", "client_6", "client_f"].map(get), [0.5, 0.0, 0.25, 0.25]);
        assert_eq!(["client_entropy", "client_zeros", "client_printable"].map(get), [1.5, 0.375, 0.25]);
        assert_eq!(get("client_distinct"), 0.625);
        assert!(table.columns()[20..].iter().all(|column| get(&column.name).is_nan()), "the server said nothing");
    }

    #[test]
    fn lists_of_any_length_do_no_harm() {
        for len in [0, 1, 15, 16, 17, 40] {
            let mut row = [0.0; 20];
            fill(&vec![u16::MAX; len], &mut RowWriter::new(&mut row));
            assert!(row.iter().all(|value| !value.is_infinite()), "{len}");
        }
        let mut row = [0.0; 20];
        fill(&[0; 18], &mut RowWriter::new(&mut row));
        assert!(row.iter().all(|value| value.is_nan()));
    }

    #[test]
    fn it_conforms() {
        assert_conforms(declarations());
    }
}
