//! The shape of the server name: length, letters, digits, but never the name itself.

use smallvec::SmallVec;
use std::net::IpAddr;
use veilwatch_core::declare_plugins;
use veilwatch_core::feature::{Column, Evidence, FlowBatch, FlowView, RowsMut, entropy, ratio};
use veilwatch_core::plugin::{FeatureExtractor, PluginError, Settings};
use veilwatch_core::record::ClientHello;

declare_plugins!(feature "server-name" "the shape of the server name": ServerName);

/// The extractor; it has no settings.
#[derive(Debug)]
pub struct ServerName;

const COLUMNS: [(&str, &str, &str); 14] = [
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
            let name: SmallVec<[u8; 64]> = hello.sni.iter().map(u8::to_ascii_lowercase).collect();
            let mut row = rows.writer(at);
            row.flag(!name.is_empty());
            if name.is_empty() {
                continue;
            }
            let labels: SmallVec<[&[u8]; 8]> = name.split(|byte| *byte == b'.').collect();
            let count = |test: fn(&u8) -> bool| name.iter().filter(|byte| test(byte)).count() as f64;
            let vowel = |byte: &u8| b"aeiouy".contains(byte);
            let letters = count(u8::is_ascii_alphabetic);
            row.flag(is_address(&name));
            row.put(name.len() as f64);
            row.put(labels.len() as f64);
            row.put(labels.iter().map(|label| label.len()).max().unwrap_or_default() as f64);
            row.put(labels[0].len() as f64);
            row.maybe(ratio(count(u8::is_ascii_digit), name.len() as f64));
            row.put(count(|byte| *byte == b'-'));
            row.maybe(ratio(count(|byte| b"aeiouy".contains(byte)), letters));
            let runs = name.split(|byte| !byte.is_ascii_alphabetic() || vowel(byte)).map(<[u8]>::len);
            row.put(runs.max().unwrap_or_default() as f64);
            row.put(entropy(&name));
            row.put(if labels.len() < 2 { f64::NAN } else { entropy(labels[labels.len() - 2]) });
            row.put(match labels.last() {
                Some(&(b"com" | b"net" | b"org")) => 1.0,
                Some(top) if top.len() == 2 && top.iter().all(u8::is_ascii_alphabetic) => 2.0,
                Some(_) if labels.len() > 1 && !is_address(&name) => 3.0,
                _ => 0.0,
            });
            row.flag(name.starts_with(b"www."));
            debug_assert_eq!(row.left(), 0);
        }
        Ok(())
    }
}

fn is_address(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|text| text.parse::<IpAddr>().is_ok())
}
