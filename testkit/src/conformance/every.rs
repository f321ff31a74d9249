//! What plugins of all kinds keep to.

use super::Rule;
use super::subject::{Stop, Subject, ensure, no_panic};
use veilwatch_core::abi::export::guard;
use veilwatch_core::plugin::Settings;

pub(super) const RULES: [Rule; 3] =
    [("named plainly", manifest), ("made from its settings", made), ("unknown settings refused", settings)];

fn manifest(subject: &Subject) -> Result<(), Stop> {
    let manifest = &subject.declaration.manifest;
    let name = &manifest.name;
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    ensure(plain && (1..=64).contains(&name.len()), || {
        format!("`{name}`: a name has up to 64 lower-case letters, digits and `-`")
    })?;
    ensure(!manifest.version.is_empty() && !manifest.summary.is_empty(), || "version or summary is empty".into())
}

fn made(subject: &Subject) -> Result<(), Stop> {
    for _ in 0..2 {
        let kind = subject.make()?.kind();
        let declared = subject.declaration.manifest.kind;
        ensure(kind == declared, || format!("declared as {declared}, but made a {kind}"))?;
    }
    Ok(())
}

fn settings(subject: &Subject) -> Result<(), Stop> {
    subject.instance()?;
    let unknown = format!("no_such_key = 1\n{}", subject.how.settings);
    for text in [unknown.as_str(), "= [ no TOML", "\u{0}"] {
        let made = no_panic(guard(|| (subject.declaration.create)(Settings::new(text))))?;
        ensure(made.is_none(), || {
            format!("takes {text:?}; settings are a type with `#[serde(default, deny_unknown_fields)]`, or `none()`")
        })?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "every_tests.rs"]
mod tests;
