//! What columns speak of.

use veilwatch_core::feature::Column;

/// What some columns speak of together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name in output: one of those in the box, or `ID.*` for all columns of an extractor of the user's own.
    pub key: String,
    /// In words that can follow "without".
    pub words: String,
}

/// The topics of a pipeline, and which of its columns belongs to which.
#[derive(Debug, Clone, Default)]
pub struct Topics {
    list: Vec<Topic>,
    of_column: Vec<usize>,
}

/// A rule of an extractor: the parts between the underscores of a column's name of which one must be there (none: any
/// column), the topic's key, its words.
type Rule = (&'static [&'static str], &'static str, &'static str);

const TIMING: Rule = (
    &["gap", "duration", "second", "tail", "think", "pause", "handshake"],
    "timing",
    "the times between the flow's packets",
);
const AMOUNTS: Rule = (&[], "amounts", "the amounts sent");

/// The rules of the extractors in the box; of each column the first that fits. Topics of the same key are one, whatever
/// extractor they come from.
const RULES: [(&str, &[Rule]); 11] = [
    ("feature/flow-statistics", &[TIMING, (&["port"], "port", "the server's port"), AMOUNTS]),
    ("feature/splt", &[TIMING, AMOUNTS]),
    (
        "feature/tls-records",
        &[
            (&["alert", "alerts"], "alerts", "the alerts of TLS"),
            (&[], "records", "the lengths of the encrypted records"),
        ],
    ),
    (
        "feature/tls-handshake",
        &[
            (&["server"], "server-hello", "the server's choices in the handshake"),
            (&[], "client-hello", "the client's offers in the handshake"),
        ],
    ),
    (
        "feature/certificate",
        &[
            (&["validity", "age", "left", "expired", "midnight"], "certificate-validity", "the certificate's validity"),
            (
                &[
                    "self",
                    "issuer",
                    "same",
                    "authority",
                    "chain",
                    "transparency",
                    "policies",
                    "revocation",
                    "extensions",
                ],
                "certificate-issuer",
                "the certificate's issuer",
            ),
            (
                &["key", "signature", "serial", "version", "leaf"],
                "certificate-key",
                "the certificate's key and signature",
            ),
            (&[], "certificate-subject", "the certificate's names"),
        ],
    ),
    ("feature/server-name", &[(&[], "server-name", "the server name")]),
    ("feature/byte-distribution", &[(&[], "bytes", "the bytes of the payload")]),
    ("feature/dns-link", &[(&[], "dns", "the way from DNS to the server")]),
    ("feature/term-frequency", &[(&[], "terms", "the terms of the handshake")]),
    (
        "feature/conversation",
        &[
            (&["size", "sent"], "conversation-amounts", "the amounts sent from flow to flow"),
            (&[], "rhythm", "the rhythm of the flows to this server"),
        ],
    ),
    ("feature/host-context", &[(&[], "host", "the computer's other flows")]),
];

impl Topics {
    /// The topics of some extractors' columns in the order of the schema: the plugin of each (`kind/name`), its instance's
    /// id, and its columns by their own names.
    pub(crate) fn new<'a>(parts: impl IntoIterator<Item = (&'a str, &'a str, Vec<Column>)>) -> Self {
        let mut topics = Self::default();
        for (plugin, id, columns) in parts {
            let rules = RULES.iter().find(|(known, _)| *known == plugin).map_or(&[][..], |(_, rules)| *rules);
            for column in columns {
                let fits =
                    |(parts, ..): &&Rule| parts.is_empty() || column.name.split('_').any(|part| parts.contains(&part));
                let topic = match rules.iter().find(fits) {
                    Some((_, key, words)) => Topic { key: (*key).into(), words: (*words).into() },
                    None => Topic { key: format!("{id}.*"), words: format!("what `{id}` says") },
                };
                let known = topics.list.iter().position(|known| known.key == topic.key);
                topics.of_column.push(known.unwrap_or(topics.list.len()));
                if known.is_none() {
                    topics.list.push(topic);
                }
            }
        }
        topics
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// One of them.
    pub fn get(&self, topic: usize) -> Option<&Topic> {
        self.list.get(topic)
    }

    /// The topic of a column of the schema; of one that there is not, a place that there is not.
    pub fn of_column(&self, column: usize) -> usize {
        self.of_column.get(column).copied().unwrap_or(self.list.len())
    }

    /// The keys of the topics in the box, for whoever has words of its own for them.
    pub fn keys_in_the_box() -> impl Iterator<Item = &'static str> {
        RULES.iter().flat_map(|(_, rules)| rules.iter().map(|(_, key, _)| *key))
    }

    /// Topics by the place of each column's.
    #[cfg(test)]
    pub(super) fn of_places(places: &[usize]) -> Self {
        let count = places.iter().max().map_or(0, |most| most + 1);
        let topic = |at: usize| Topic { key: format!("t{at}"), words: format!("topic {at}") };
        Self { list: (0..count).map(topic).collect(), of_column: places.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilwatch_core::feature::Evidence;

    fn columns(names: &[&'static str]) -> Vec<Column> {
        names.iter().map(|name| Column::new(*name, "count", "something", Evidence::Flow)).collect()
    }

    #[test]
    fn columns_find_their_topics() {
        let topics = Topics::new([
            ("feature/flow-statistics", "flow", columns(&["forward_gap_max", "bytes_per_second", "port_https", "syn"])),
            ("feature/certificate", "cert", columns(&["validity_rest", "self_signed", "key_bits", "subject_length"])),
            ("feature/splt", "splt", columns(&["gap_3", "size_1"])),
            ("feature/mine", "keep", columns(&["alive", "gap"])),
            ("feature/mine", "other", columns(&["alive"])),
        ]);
        let told: Vec<&str> =
            (0..13).map(|column| topics.get(topics.of_column(column)).map_or("", |topic| &*topic.key)).collect();
        let wanted = [
            "timing",
            "timing",
            "port",
            "amounts",
            "certificate-validity",
            "certificate-issuer",
            "certificate-key",
            "certificate-subject",
            "timing",
            "amounts",
            "keep.*",
            "keep.*",
            "other.*",
        ];
        assert_eq!(told, wanted);
        assert_eq!((topics.len(), topics.get(topics.of_column(13))), (9, None));
    }

    #[test]
    fn every_extractor_in_the_box_has_rules_and_one_that_takes_the_rest() {
        let registry = crate::plugins::Registry::with_builtins().unwrap();
        let known: Vec<String> = registry.manifests().map(|(manifest, _)| manifest.path()).collect();
        for path in known.iter().filter(|path| path.starts_with("feature/")) {
            let rules = RULES.iter().find(|(plugin, _)| plugin == path);
            assert!(rules.is_some_and(|(_, rules)| rules.last().is_some_and(|rule| rule.0.is_empty())), "{path}");
        }
        assert!(RULES.iter().all(|(plugin, _)| known.iter().any(|path| path == plugin)));
    }
}
