//! Reasons in words.

use super::text::plain;
use crate::engine::{Pipeline, Scored};
use crate::model::memory::{Kind, Neighbour};
use crate::model::{Card, ColumnProfile};
use veilwatch_core::detect::Reason;
use veilwatch_core::feature::{Column, FeatureSchema};

/// One reason as a person reads it: what, the flow's value, and what is normal in benign training flows.
pub fn reason_words(reason: &Reason, schema: &FeatureSchema, card: Option<&Card>) -> String {
    let Some(column) = schema.columns().get(reason.column) else { return String::new() };
    let value = value_words(reason.value, column);
    let profile = card.and_then(|card| card.columns.get(reason.column)).filter(|profile| profile.name == column.name);
    let profile = profile.filter(|profile| {
        let within = |low: f32, high: f32| (low..=high).contains(&reason.value);
        !profile.p5.zip(profile.p95).is_some_and(|(low, high)| within(low, high))
    });
    match profile.and_then(|profile| normal_words(profile, column)) {
        Some(normal) => format!("{}: {value}; normal: {normal}", column.words),
        // The value alone is not unusual: it is what it comes with.
        None => format!("{}: {value}", column.words),
    }
}

/// What an alert is nearest to in training, as a person reads it; nothing where the model remembers nothing, and of what
/// is no alert.
pub fn nearest_words(scored: &Scored<'_>, pipeline: &Pipeline) -> Option<String> {
    let told: Vec<String> = scored.nearest.iter().map(neighbour_words).collect();
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

fn normal_words(profile: &ColumnProfile, column: &Column) -> Option<String> {
    let (low, middle, high) = (profile.p5?, profile.p50?, profile.p95?);
    // Codes are names in disguise: a span between two of them says nothing.
    let single = low == high || column.unit == "code";
    Some(match column.unit.as_ref() {
        "flag" if !single => "either".into(),
        _ if single => value_words(middle, column),
        _ => format!("{} to {}", value_words(low, column), value_words(high, column)),
    })
}

/// A value of a column with its unit.
pub(crate) fn value_words(value: f32, column: &Column) -> String {
    if value.is_nan() {
        return "none".into();
    }
    match column.unit.as_ref() {
        "flag" => if value == 0.0 { "no" } else { "yes" }.into(),
        "ratio" | "count" | "code" => digits(value),
        unit => format!("{} {unit}", digits(value)),
    }
}

/// Whole numbers as they are, others with three significant digits.
fn digits(value: f32) -> String {
    let value = f64::from(value);
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

    #[test]
    fn numbers_are_short() {
        assert_eq!(digits(3.0), "3");
        assert_eq!(digits(0.012_345), "0.0123");
        assert_eq!(digits(1234.567), "1235");
        assert_eq!(digits(0.5), "0.5");
    }
}
