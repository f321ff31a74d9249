//! The verdict on a capture in one sentence, and what must be said beside it.

use super::facts::{Found, ResultSummary, Spread};
use super::human::grouped;
use super::read::category_message;
use crate::pages::language::{Messages, fill};

/// What a sentence is made from: a whole result, or the few numbers that a list of entries has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Flows.
    pub flows: u64,
    /// Flows that were scored.
    pub scored: u64,
    /// Those of them that the model does not judge, because its training held nothing like them.
    pub unknown: u64,
    /// Flows called malicious.
    pub malicious: u64,
    /// Flows called suspicious.
    pub suspicious: u64,
    /// How bad it is taken together, where that is known.
    pub together: Option<Tone>,
    /// Who talks to whom, where it is known.
    pub found: Option<Found>,
    /// Whether there was no model to judge by.
    pub without_model: bool,
    /// Whether not one packet could be looked into because of its link type.
    pub blind: bool,
    /// Why this covers less than the capture, where it does.
    pub gap: Option<Gap>,
}

/// Why a result covers less than the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The capture is damaged.
    Damaged,
    /// Somebody stopped the analysis.
    Stopped,
    /// It was to stop after so many packets.
    Limited,
    /// Some packets are of a link type that is not decoded.
    Links,
    /// It is not known which of these.
    Partial,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Something malicious.
    Malicious,
    /// Something suspicious.
    Suspicious,
    /// Nothing, as far as was looked.
    Nothing,
    /// Nothing could be judged.
    Unclear,
}

impl Tone {
    /// Its name, for style sheets.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malicious => "malicious",
            Self::Suspicious => "suspicious",
            Self::Nothing => "nothing",
            Self::Unclear => "unclear",
        }
    }
}

/// The verdict on a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// How bad it is.
    pub tone: Tone,
    /// Its messages, one after the other.
    pub parts: Vec<Part>,
}

/// One message with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The message.
    pub key: &'static str,
    /// The values of its placeholders.
    pub values: Vec<(&'static str, Number)>,
}

/// A number in a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// How many.
    pub n: u64,
    /// The message for one of these and for several; the bare number where there is none.
    pub words: Option<(&'static str, &'static str)>,
}

impl Number {
    fn bare(n: u64) -> Self {
        Self { n, words: None }
    }

    fn servers(n: u64) -> Self {
        Self { n, words: Some(("result.server", "result.servers")) }
    }

    fn flows(n: u64) -> Self {
        Self { n, words: Some(("result.flow", "result.flows")) }
    }

    fn malicious(n: u64) -> Self {
        Self { n, words: Some(("result.malicious-flow", "result.malicious-flows")) }
    }

    fn suspicious(n: u64) -> Self {
        Self { n, words: Some(("result.suspicious-flow", "result.suspicious-flows")) }
    }

    fn text(self, messages: &Messages) -> String {
        let n = grouped(self.n);
        match self.words {
            None => n,
            Some((one, many)) => said(messages, if self.n == 1 { one } else { many }, |_| Some(n.clone())),
        }
    }
}

/// A message with its values; its key where there is none, which a test would find.
pub(crate) fn said(messages: &Messages, key: &str, value: impl Fn(&str) -> Option<String>) -> String {
    messages.get(key).map_or_else(|| key.to_owned(), |message| fill(message, value))
}

impl Sentence {
    /// The sentence in the language of these messages.
    pub fn text(&self, messages: &Messages) -> String {
        let parts = self.parts.iter().map(|part| {
            said(messages, part.key, |name| {
                part.values.iter().find(|(of, _)| *of == name).map(|(_, number)| number.text(messages))
            })
        });
        parts.collect::<Vec<_>>().join(" ")
    }
}

impl From<&ResultSummary> for Counts {
    fn from(summary: &ResultSummary) -> Self {
        let gap = if summary.damage.is_some() {
            Some(Gap::Damaged)
        } else if summary.interrupted {
            Some(Gap::Stopped)
        } else if !summary.unknown_links.is_empty() {
            Some(Gap::Links)
        } else if summary.stopped {
            Some(Gap::Limited)
        } else {
            summary.partial.then_some(Gap::Partial)
        };
        Self {
            flows: summary.flows,
            scored: summary.scored,
            unknown: summary.unknown,
            malicious: summary.malicious,
            suspicious: summary.suspicious,
            together: summary.conclusion.map(|conclusion| conclusion.tone),
            found: Some(summary.found),
            without_model: summary.pipeline.model.is_none(),
            blind: summary.blind,
            gap,
        }
    }
}

/// The verdict on a capture: that of all flows together, where it is known, else that of the worst.
///
/// Where the two differ the sentence says so: flows that nothing bears out, and such that are what they are only together.
pub fn sentence(counts: &Counts) -> Sentence {
    let part = |key, values: &[_]| Part { key, values: values.to_vec() };
    let mut parts = Vec::new();
    let mut found = |spread: Option<Spread>, flows: Number, [alone, one, many]: [&'static str; 3]| {
        parts.push(match spread {
            Some(Spread { computers: 1, servers }) => {
                part(one, &[("servers", Number::servers(servers)), ("flows", flows)])
            }
            Some(Spread { computers, servers }) if computers > 1 => part(
                many,
                &[("computers", Number::bare(computers)), ("servers", Number::servers(servers)), ("flows", flows)],
            ),
            _ => part(alone, &[("flows", flows)]),
        });
    };
    let worst = match (counts.malicious, counts.suspicious) {
        (1.., _) => Tone::Malicious,
        (0, 1..) => Tone::Suspicious,
        (0, 0) => Tone::Nothing,
    };
    let together = counts.together.filter(|tone| *tone != worst && worst != Tone::Nothing);
    let tone = if let Some(tone) = together {
        let key = match tone {
            Tone::Malicious => "result.together",
            Tone::Suspicious => "result.alone",
            Tone::Nothing | Tone::Unclear => "result.odd",
        };
        let (bad, all) = (Number::malicious(counts.malicious), Number::suspicious(counts.suspicious));
        parts.push(part(key, &[("flows", if worst == Tone::Malicious { bad } else { all })]));
        if worst == Tone::Malicious && counts.suspicious > 0 {
            parts.push(part("result.also", &[("flows", all)]));
        }
        tone
    } else if counts.malicious > 0 {
        let spread = counts.found.map(|found| found.malicious);
        let keys = ["result.malicious", "result.malicious-one", "result.malicious-many"];
        found(spread, Number::malicious(counts.malicious), keys);
        if counts.suspicious > 0 {
            parts.push(part("result.also", &[("flows", Number::suspicious(counts.suspicious))]));
        }
        Tone::Malicious
    } else if counts.suspicious > 0 {
        let spread = counts.found.map(|found| found.suspicious);
        let keys = ["result.suspicious", "result.suspicious-one", "result.suspicious-many"];
        found(spread, Number::suspicious(counts.suspicious), keys);
        Tone::Suspicious
    } else {
        // What the model abstains from is nothing that it vouches for.
        let judged = counts.scored.saturating_sub(counts.unknown);
        let (key, tone) = if counts.blind {
            ("result.blind", Tone::Unclear)
        } else if counts.flows == 0 {
            ("result.no-flows", Tone::Unclear)
        } else if counts.scored == 0 {
            ("result.none-judged", Tone::Unclear)
        } else if counts.without_model {
            ("result.without-model", Tone::Unclear)
        } else if judged == 0 {
            ("result.none-known", Tone::Unclear)
        } else if judged == 1 {
            ("result.nothing-one", Tone::Nothing)
        } else {
            ("result.nothing", Tone::Nothing)
        };
        parts.push(part(key, &[("flows", Number::flows(counts.flows)), ("scored", Number::bare(judged))]));
        tone
    };
    if let Some(gap) = counts.gap.filter(|_| !counts.blind) {
        let key = match gap {
            Gap::Damaged => "result.gap-damaged",
            Gap::Stopped => "result.gap-stopped",
            Gap::Limited => "result.gap-limited",
            Gap::Links => "result.gap-links",
            Gap::Partial => "result.gap-partial",
        };
        parts.push(part(key, &[]));
    }
    Sentence { tone, parts }
}

/// Flows that are worth a look though they are no alerts, beside the sentence, which knows alerts alone; nothing where
/// there are none.
pub fn beside(summary: &ResultSummary, messages: &Messages) -> Option<String> {
    let alerts = summary.malicious.saturating_add(summary.suspicious);
    let all = summary.categories.iter().fold(0, |all: u64, (_, count)| all.saturating_add(*count));
    // Every alert has a category.
    let more = all.checked_sub(alerts).filter(|more| *more > 0)?;
    let name = |name: &str| {
        let key = category_message(name);
        key.and_then(|key| messages.get(&key).cloned()).unwrap_or_else(|| name.to_owned())
    };
    let list = summary.categories.iter().map(|(of, count)| format!("{}: {}", name(of), grouped(*count)));
    let list = list.collect::<Vec<_>>().join("; ");
    Some(said(messages, "result.beside", |value| match value {
        "n" => Some(grouped(more)),
        "list" => Some(list.clone()),
        _ => None,
    }))
}

/// What was not looked at, and why, a line each; nothing where all was.
pub fn warnings(summary: &ResultSummary, messages: &Messages) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |key: &str, values: &[(&str, String)]| {
        lines.push(said(messages, key, |name| {
            values.iter().find(|(of, _)| *of == name).map(|(_, value)| value.clone())
        }));
    };
    for (link, count) in &summary.unknown_links {
        line("result.warn-link", &[("link", link.clone()), ("n", grouped(*count)), ("all", grouped(summary.packets))]);
    }
    for (limit, count) in &summary.limits {
        line("result.warn-limit", &[("limit", limit.clone()), ("n", grouped(*count))]);
    }
    if summary.template_errors > 0 {
        line("result.warn-template", &[("n", grouped(summary.template_errors))]);
    }
    if summary.unknown > 0 {
        line("result.warn-unknown", &[("n", grouped(summary.unknown))]);
    }
    for (plugin, count) in &summary.plugin_errors {
        line("result.warn-plugin", &[("plugin", plugin.clone()), ("n", grouped(*count))]);
    }
    for (plugin, record, why) in &summary.disabled {
        let values = [("plugin", plugin.clone()), ("n", record.map(grouped).unwrap_or_default()), ("why", why.clone())];
        line(if record.is_some() { "result.warn-disabled-at" } else { "result.warn-disabled" }, &values);
    }
    if summary.interrupted {
        line("result.warn-interrupted", &[]);
    }
    if summary.stopped {
        line("result.warn-stopped", &[("n", grouped(summary.packets))]);
    }
    if let Some((offset, what)) = &summary.damage {
        line("result.warn-damage", &[("what", what.clone()), ("offset", grouped(*offset))]);
    }
    if summary.not_listed > 0 {
        line("result.warn-not-listed", &[("n", grouped(summary.not_listed)), ("listed", grouped(summary.listed))]);
    }
    if summary.hosts_not_listed > 0 {
        line("result.warn-hosts", &[("n", grouped(summary.hosts_not_listed))]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::Language;

    fn english(counts: &Counts) -> String {
        sentence(counts).text(&Language::English.messages().unwrap())
    }

    #[test]
    fn one_sentence_says_it() {
        let spread = |computers, servers| Spread { computers, servers };
        let found = |malicious, suspicious| Some(Found { malicious, suspicious });
        let bad = Counts { flows: 90, scored: 50, malicious: 26, ..Counts::default() };
        let two = Counts { found: found(spread(2, 2), spread(0, 0)), ..bad };
        assert_eq!(english(&two), "2 computers talk to 2 servers as malware does: 26 malicious flows.");
        let one = Counts { malicious: 1, suspicious: 3, found: found(spread(1, 1), spread(1, 1)), ..bad };
        assert_eq!(
            english(&one),
            "1 computer talks to 1 server as malware does: 1 malicious flow. Beside that, 3 suspicious flows."
        );
        assert_eq!(sentence(&bad).tone, Tone::Malicious);
        assert!(english(&bad).contains("26 malicious flows"));
        let unsure = Counts {
            suspicious: 1,
            found: found(spread(0, 0), spread(1, 1)),
            scored: 50,
            flows: 90,
            ..Counts::default()
        };
        assert_eq!(sentence(&unsure).tone, Tone::Suspicious);
        let clean = Counts { scored: 1234, flows: 4000, ..Counts::default() };
        assert_eq!(sentence(&clean).tone, Tone::Nothing);
        assert!(english(&clean).contains("1,234"));
        for unclear in [
            Counts { flows: 12, ..Counts::default() },
            Counts::default(),
            Counts { blind: true, gap: Some(Gap::Links), ..Counts::default() },
            Counts { without_model: true, ..clean },
            Counts { unknown: 1234, ..clean },
        ] {
            assert_eq!(sentence(&unclear).tone, Tone::Unclear);
        }
        // The model vouches for none that its training held nothing like.
        for (unknown, words) in
            [(1000, "none of the 234 TLS flows"), (1233, "the one TLS flow"), (1234, "nothing like")]
        {
            let counts = Counts { unknown, ..clean };
            assert!(english(&counts).contains(words), "{}", english(&counts));
        }
        // What all flows come to decides, and where that is another thing than the worst of them, the sentence says so.
        for (counts, together, words) in [
            (one, Tone::Malicious, "as malware does: 1 malicious flow."),
            (one, Tone::Suspicious, "1 malicious flow, which nothing else bears out. Beside that, 3 suspicious flows."),
            (one, Tone::Nothing, "On the whole nothing here looks like malware."),
            (Counts { suspicious: 9, ..unsure }, Tone::Malicious, "Taken together, 9 suspicious flows"),
            (unsure, Tone::Nothing, "nothing else bears them out: 1 suspicious flow."),
        ] {
            let counts = Counts { together: Some(together), ..counts };
            assert_eq!(sentence(&counts).tone, together);
            assert!(english(&counts).contains(words), "{}", english(&counts));
        }
        let quiet = Counts { together: Some(Tone::Nothing), ..clean };
        assert_eq!(sentence(&quiet), sentence(&clean));
        let cut = Counts { gap: Some(Gap::Damaged), ..two };
        assert!(english(&cut).contains("damaged"));
    }

    #[test]
    fn every_message_is_there() {
        for language in Language::ALL {
            let messages = language.messages().unwrap();
            for n in [0, 1, 2] {
                for gap in [Gap::Damaged, Gap::Stopped, Gap::Limited, Gap::Links, Gap::Partial] {
                    for (malicious, suspicious, scored, flows) in
                        [(n, 0, 9, 9), (0, n, 9, 9), (n, n, 9, 9), (0, 0, n, 9), (0, 0, 0, n)]
                    {
                        for (blind, together) in [
                            (true, None),
                            (false, None),
                            (false, Some(Tone::Malicious)),
                            (false, Some(Tone::Suspicious)),
                            (false, Some(Tone::Nothing)),
                        ] {
                            let spread = Spread { computers: n, servers: n };
                            let found = Some(Found { malicious: spread, suspicious: spread });
                            let counts = Counts {
                                malicious,
                                suspicious,
                                scored,
                                unknown: n,
                                flows,
                                blind,
                                together,
                                found,
                                gap: Some(gap),
                                without_model: n == 2,
                            };
                            let text = sentence(&counts).text(&messages);
                            assert!(!text.contains("result.") && !text.contains(['{', '}']), "{text}");
                        }
                    }
                }
            }
            let counts = || vec![("x".to_owned(), 1)];
            let all = ResultSummary {
                malicious: 1,
                categories: vec![("c2-direct".into(), 1), ("worm-propagation".into(), 3)],
                unknown_links: counts(),
                limits: counts(),
                template_errors: 1,
                unknown: 1,
                plugin_errors: counts(),
                disabled: vec![("x".into(), Some(1), "x".into()), ("x".into(), None, "x".into())],
                interrupted: true,
                stopped: true,
                damage: Some((1, "x".into())),
                not_listed: 1,
                hosts_not_listed: 1,
                ..ResultSummary::default()
            };
            let lines = warnings(&all, &messages);
            assert_eq!(lines.len(), 12);
            let told = beside(&all, &messages).unwrap();
            assert!(told.contains('3') && told.contains(messages.get("for.c2-direct").unwrap().as_str()), "{told}");
            assert!(!told.contains("result.") && !told.contains(['{', '}']), "{told}");
            assert!(lines.iter().all(|line| !line.contains("result.") && !line.contains(['{', '}'])), "{lines:?}");
            assert!(warnings(&ResultSummary::default(), &messages).is_empty());
            // Alerts alone are told of elsewhere.
            let alerts = ResultSummary { malicious: 4, categories: all.categories, ..ResultSummary::default() };
            assert_eq!(beside(&alerts, &messages), None);
        }
    }
}
