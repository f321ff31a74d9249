//! Reasons in words.

use super::jsonl::version_name;
use super::text::plain;
use crate::engine::{Pipeline, Scored};
use crate::explain::{Counterfactual, Explanation, TopicReason, Topics};
use crate::model::memory::{Kind, Neighbour};
use crate::model::{Card, ColumnProfile};
use veilwatch_core::detect::Reason;
use veilwatch_core::feature::{Column, FeatureSchema};

/// One reason as a person reads it: what, the flow's value, and what is normal in benign training flows; where a second
/// column of the topic has pushed as well, the same of that one.
pub fn reason_words(reason: &TopicReason, schema: &FeatureSchema, card: Option<&Card>) -> String {
    let told = |reason: &Reason| column_words(reason, schema, card);
    let words: Vec<String> =
        [Some(&reason.lead), reason.also.as_ref()].into_iter().flatten().filter_map(told).collect();
    words.join(" · ")
}

/// What would be without some topics, as a person reads it.
pub fn counterfactual_words(counterfactual: &Counterfactual, topics: &Topics) -> String {
    let names: Vec<&str> =
        counterfactual.without.iter().filter_map(|topic| topics.get(*topic)).map(|topic| &*topic.words).collect();
    let names = match names.as_slice() {
        [one, and, more] => format!("{one}, {and} and {more}"),
        some => some.join(" and "),
    };
    let Counterfactual { score, verdict, .. } = counterfactual;
    let even = if verdict.is_alert() { "even " } else { "" };
    format!("{even}without {names} this would score {score:.2}: {verdict}")
}

/// What an alert is nearest to in training, as a person reads it; nothing where the model remembers nothing, and of what
/// is no alert.
pub fn nearest_words(explanation: &Explanation, scored: &Scored<'_>, pipeline: &Pipeline) -> Option<String> {
    let told: Vec<String> = explanation.nearest.iter().map(neighbour_words).collect();
    let nearest = (!told.is_empty()).then(|| told.join(", "))?;
    Some(match pipeline.is_novel(scored.novelty) {
        true => format!("training held nothing like it; the least unlike: {nearest}"),
        false => format!("nearest in training: {nearest}"),
    })
}

/// A neighbour with how far it is, in percent of the farthest that there can be.
fn neighbour_words(neighbour: &Neighbour) -> String {
    let percent = (neighbour.distance * 100.0).round();
    let what = match (neighbour.label, neighbour.family.as_str()) {
        (Kind::Malicious, "") => "malware of no named family".to_owned(),
        (Kind::Malicious, family) => plain(family),
        (label, _) => label.name().to_owned(),
    };
    format!("{what} ({percent} % apart)")
}

fn column_words(reason: &Reason, schema: &FeatureSchema, card: Option<&Card>) -> Option<String> {
    let column = schema.columns().get(reason.column)?;
    let (what, legend) = legend(column);
    let profile = card.and_then(|card| card.columns.get(reason.column)).filter(|profile| profile.name == column.name);
    let range = profile.and_then(|profile| profile.p5.zip(profile.p95));
    let value = reason.value;
    let normal = match (profile, range) {
        (None, _) => String::new(),
        (_, None) => "; benign flows have none".into(),
        // The value alone is not unusual: it is what it comes with.
        (_, Some((low, high))) if (low..=high).contains(&value) => match column.unit.as_ref() {
            "flag" | "code" => "; usual by itself".into(),
            _ if low == high => "; usual by itself".into(),
            _ => format!("; within the normal {}", span_words(low, high, column)),
        },
        (Some(profile), Some(range)) => format!("; {}", normal_words(value, profile, range, column, &legend)),
    };
    Some(match column.unit.as_ref() {
        "flag" if value == 0.0 => format!("{what}: no{normal}"),
        "flag" if !value.is_nan() => format!("{what}{normal}"),
        _ => format!("{what}: {}{normal}", value_words(value, column, &legend)),
    })
}

fn normal_words(
    value: f32,
    profile: &ColumnProfile,
    (low, high): (f32, f32),
    column: &Column,
    legend: &[(f32, &str)],
) -> String {
    let words = |value| value_words(value, column, legend);
    // Codes are names in disguise: a span between two of them says nothing.
    let single = low == high || column.unit == "code";
    let normal = match column.unit.as_ref() {
        "flag" if !single => "either".into(),
        "flag" if !value.is_nan() => return if low == 0.0 { "normally not".into() } else { "normally so".into() },
        _ if single => words(profile.p50.unwrap_or(low)),
        _ => span_words(low, high, column),
    };
    if value.is_nan() { format!("normal where there is one: {normal}") } else { format!("normal: {normal}") }
}

/// A span of values that have no names; the unit stands once where it is the same.
fn span_words(low: f32, high: f32, column: &Column) -> String {
    let (low, high) = (value_words(low, column, &[]), value_words(high, column, &[]));
    match (low.split_once(' '), high.split_once(' ')) {
        (Some((low, unit)), Some((_, other))) if unit == other => format!("{low} to {high}"),
        _ => format!("{low} to {high}"),
    }
}

/// What a column measures without the names of its codes, and these: a column of codes may end in `: 1 RSA, 2 DSA`.
fn legend(column: &Column) -> (&str, Vec<(f32, &str)>) {
    let entry = |entry: &'_ str| -> Option<(f32, usize)> {
        let (code, name) = entry.split_once(' ')?;
        Some((f32::from(code.parse::<u16>().ok()?), name.len()))
    };
    if column.unit == "code"
        && let Some((what, list)) = column.words.split_once(": ")
    {
        let names: Option<Vec<(f32, &str)>> = list
            .split(", ")
            .map(|part| entry(part).and_then(|(code, length)| Some((code, part.get(part.len() - length..)?))))
            .collect();
        if let Some(names) = names {
            return (what, names);
        }
    }
    (&column.words, Vec::new())
}

/// A value of a column with its unit, or with its name where the column's codes have names.
pub(crate) fn plain_value(value: f32, column: &Column) -> String {
    value_words(value, column, &legend(column).1)
}

fn value_words(value: f32, column: &Column, legend: &[(f32, &str)]) -> String {
    if value.is_nan() {
        return "none".into();
    }
    let number = f64::from(value);
    match column.unit.as_ref() {
        "flag" => if value == 0.0 { "no" } else { "yes" }.into(),
        "ratio" => format!("{} %", digits(number * 100.0)),
        "code" => code_words(value, column, legend),
        "count" => digits(number),
        "seconds" => time_words(number),
        "days" => time_words(number * 86_400.0),
        "bytes" => amount_words(number, "bytes", "B"),
        "bytes/s" => amount_words(number, "bytes a second", "B/s"),
        "1/s" => format!("{} a second", digits(number)),
        unit => format!("{} {unit}", digits(number)),
    }
}

/// A code by its name: the column's own, that of a version of TLS, or as registries write numbers of 16 bits.
fn code_words(value: f32, column: &Column, legend: &[(f32, &str)]) -> String {
    if let Some((_, name)) = legend.iter().find(|(code, _)| *code == value) {
        return (*name).to_owned();
    }
    let whole = (0.0..65_536.0).contains(&value) && value.fract() == 0.0;
    let is_of = |part: &str| column.name.split(['_', '.']).any(|known| known == part);
    match value as u16 {
        version @ 0x0200.. if whole && is_of("version") => version_name(version),
        number if whole && ["cipher", "extension", "group", "signature"].into_iter().any(is_of) => {
            format!("0x{number:04x}")
        }
        _ => digits(f64::from(value)),
    }
}

/// A time in the unit that fits it.
fn time_words(seconds: f64) -> String {
    const UNITS: [(f64, f64, &str); 6] = [
        (730.0 * 86_400.0, 365.0 * 86_400.0, "years"),
        (2.0 * 86_400.0, 86_400.0, "days"),
        (2.0 * 3600.0, 3600.0, "hours"),
        (120.0, 60.0, "minutes"),
        (1.0, 1.0, "s"),
        (0.0, 0.001, "ms"),
    ];
    if seconds == 0.0 {
        return "0 s".into();
    }
    let unit = UNITS.iter().find(|(least, ..)| seconds.abs() >= *least);
    unit.map_or_else(|| digits(seconds), |(_, one, name)| format!("{} {name}", digits(seconds / one)))
}

/// An amount in the unit that fits it, in steps of a thousand.
fn amount_words(amount: f64, plain: &str, unit: &str) -> String {
    match amount.abs() {
        10e6.. => format!("{} M{unit}", digits(amount / 1e6)),
        10e3.. => format!("{} k{unit}", digits(amount / 1e3)),
        _ => format!("{} {plain}", digits(amount)),
    }
}

/// Whole numbers as they are, others with three significant digits.
fn digits(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e15 {
        return format!("{value}");
    }
    let places = (2.0 - value.abs().log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use veilwatch_core::detect::Verdict;
    use veilwatch_core::feature::Evidence;

    #[test]
    fn numbers_are_short() {
        assert_eq!(digits(3.0), "3");
        assert_eq!(digits(0.012_345), "0.0123");
        assert_eq!(digits(1234.567), "1235");
        assert_eq!(digits(0.5), "0.5");
    }

    #[test]
    fn values_have_fitting_units() {
        let words = |unit: &'static str, name: &'static str, value| {
            value_words(value, &Column::new(name, unit, "something", Evidence::Flow), &[])
        };
        let told = [
            words("seconds", "gap", 0.0035),
            words("seconds", "gap", 60.26),
            words("seconds", "gap", 1800.0),
            words("seconds", "gap", -10_000.0),
            words("days", "age", 0.25),
            words("days", "age", 3.0),
            words("days", "validity", 3650.0),
            words("ratio", "jitter", 0.0123),
            words("bytes", "sent", -1200.0),
            words("bytes", "sent", 1_234_567.0),
            words("bytes/s", "rate", 25e6),
            words("code", "client_version", 771.0),
            words("code", "certificate.version", 3.0),
            words("code", "server_cipher", 49_199.0),
            words("code", "last_alert", 48.0),
            words("bits", "entropy", 3.4567),
            words("seconds", "gap", f32::NAN),
        ];
        let wanted = [
            "3.5 ms",
            "60.3 s",
            "30 minutes",
            "-2.78 hours",
            "6 hours",
            "3 days",
            "10 years",
            "1.23 %",
            "-1200 bytes",
            "1235 kB",
            "25 MB/s",
            "TLS 1.2",
            "3",
            "0xc02f",
            "48",
            "3.46 bits",
            "none",
        ];
        assert_eq!(told, wanted);
    }

    /// The words of a column for a value, with this profile of benign flows.
    fn told(column: Column, value: f32, profile: [Option<f32>; 3]) -> String {
        let mut card = Model::builtin().unwrap().card;
        let schema = FeatureSchema::join([("x", vec![column])]).unwrap();
        let [p5, p50, p95] = profile;
        card.columns = vec![ColumnProfile { name: schema.columns()[0].name.to_string(), p5, p50, p95 }];
        let lead = Reason { column: 0, value, contribution: 1.0 };
        let reason = TopicReason { topic: 0, contribution: 1.0, lead, also: None };
        reason_words(&reason, &schema, Some(&card))
    }

    #[test]
    fn reasons_read_like_sentences() {
        let flag = || Column::new("signed", "flag", "the certificate is self-signed", Evidence::Certificate);
        let age = || Column::new("age", "days", "age of the certificate", Evidence::Certificate);
        let kind = || Column::new("kind", "code", "kind of the key: 1 RSA, 2 elliptic curve", Evidence::Certificate);
        let (no, some) = ([Some(0.0); 3], [Some(30.0), Some(90.0), Some(398.0)]);
        let words = [
            told(flag(), 1.0, no),
            told(flag(), 0.0, [Some(1.0); 3]),
            told(flag(), 1.0, [Some(0.0), Some(0.0), Some(1.0)]),
            told(flag(), f32::NAN, no),
            told(age(), 3.0, some),
            told(age(), 60.0, some),
            told(age(), f32::NAN, some),
            told(age(), 3.0, [None; 3]),
            told(kind(), 2.0, [Some(1.0); 3]),
            told(kind(), 7.0, [Some(1.0), Some(1.0), Some(2.0)]),
        ];
        let wanted = [
            "the certificate is self-signed; normally not",
            "the certificate is self-signed: no; normally so",
            "the certificate is self-signed; usual by itself",
            "the certificate is self-signed: none; normal where there is one: no",
            "age of the certificate: 3 days; normal: 30 to 398 days",
            "age of the certificate: 60 days; within the normal 30 to 398 days",
            "age of the certificate: none; normal where there is one: 30 to 398 days",
            "age of the certificate: 3 days; benign flows have none",
            "kind of the key: elliptic curve; normal: RSA",
            "kind of the key: 7; normal: RSA",
        ];
        assert_eq!(words, wanted);
    }

    #[test]
    fn what_would_be_is_a_sentence() {
        let columns = |id: &'static str| vec![Column::new("gap", "count", id, Evidence::Flow)];
        let topics = Topics::new(["a", "b", "c"].map(|id| ("feature/mine", id, columns(id))));
        let words = |without: &[usize], verdict| {
            counterfactual_words(&Counterfactual { without: without.to_vec(), score: 0.306, verdict }, &topics)
        };
        assert_eq!(words(&[1], Verdict::Benign), "without what `b` says this would score 0.31: benign");
        assert_eq!(
            words(&[0, 2, 1], Verdict::Suspicious),
            "even without what `a` says, what `c` says and what `b` says this would score 0.31: suspicious"
        );
    }
}
