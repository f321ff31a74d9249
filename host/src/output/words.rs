//! Reasons in words.

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

fn value_words(value: f32, column: &Column) -> String {
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
