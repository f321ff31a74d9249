//! Plugins that keep to all but one rule: the suite finds that one, and nothing else.

use super::{Options, Outcome, Report, check};
use std::sync::Arc;
use veilwatch_core::plugin::{Create, Declaration, Manifest, PluginKind};

/// A declaration of a made-up plugin.
pub(super) fn declare(kind: PluginKind, create: Create) -> Declaration {
    let manifest = Manifest { kind, name: "made-up".into(), version: "1.0.0".into(), summary: "for tests".into() };
    Declaration { manifest, create: Arc::clone(&create) }
}

/// The names of the checks that failed.
fn failures(report: &Report) -> Vec<&'static str> {
    report.failures().map(|check| check.name).collect()
}

/// Holds that one check fails, and no other.
pub(super) fn fails_only(name: &str, declaration: &Declaration, how: &Options) {
    let report = check(declaration, how);
    assert_eq!(failures(&report), [name], "{report}");
    let words = report.failures().next().map(ToString::to_string).unwrap_or_default();
    assert!(words.len() > name.len() + 20, "it says why: {words}");
}

/// Holds that all checks pass, and that none but these is skipped.
pub(super) fn passes(declaration: &Declaration, how: &Options, skipped: &[&str]) {
    let report = check(declaration, how);
    assert!(report.passed(), "{report}");
    let left = report.checks.iter().filter(|check| check.outcome != Outcome::Passed).map(|check| check.name);
    assert_eq!(left.collect::<Vec<_>>(), skipped, "{report}");
}
