use super::super::testing::{declare, fails_only};
use super::super::{Options, assert_conforms, check};
use std::sync::Arc;
use veilwatch_core::feature::{Column, FlowBatch, RowsMut};
use veilwatch_core::plugin::{Create, FeatureExtractor, Instance, PluginError, PluginKind};

struct Nothing;

impl FeatureExtractor for Nothing {
    fn columns(&self) -> Vec<Column> {
        vec![Column::new("nothing", "count", "nothing", veilwatch_core::feature::Evidence::Flow)]
    }
    fn extract(&self, _: &FlowBatch<'_>, _: &mut RowsMut<'_>) -> Result<(), PluginError> {
        Ok(())
    }
}

#[test]
fn bad_names_are_found() {
    let create = |settings: veilwatch_core::plugin::Settings<'_>| {
        settings.none()?;
        Ok(Instance::Feature(Box::new(Nothing)))
    };
    let good = declare(PluginKind::Feature, Arc::new(create));
    let mut odd = good.clone();
    odd.manifest.name = "Nothing at all".into();
    fails_only("named plainly", &odd, &Options::default());
    odd = good.clone();
    odd.manifest.summary.clear();
    fails_only("named plainly", &odd, &Options::default());
    // What is made is no classifier.
    odd = good.clone();
    odd.manifest.kind = PluginKind::Classifier;
    fails_only("made from its settings", &odd, &Options::default());
}

#[test]
fn what_cannot_be_made_is_not_looked_at_further() {
    let refuses: Create = Arc::new(|_| Err(PluginError::settings("no settings will ever do")));
    let panics: Create = Arc::new(|_| panic!("not even settings will help"));
    for create in [refuses, panics] {
        for kind in [PluginKind::Protocol, PluginKind::Feature, PluginKind::Classifier] {
            fails_only("made from its settings", &declare(kind, Arc::clone(&create)), &Options::default());
        }
    }
}

#[test]
fn every_rule_has_a_name_of_its_own() {
    for kind in [PluginKind::Protocol, PluginKind::Feature, PluginKind::Classifier] {
        let report = check(&declare(kind, Arc::new(|_| Err(PluginError::settings("no")))), &Options::default());
        let mut names: Vec<_> = report.checks.iter().map(|check| check.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert!(names.len() == all && all > 10, "{names:?}");
        assert_eq!(report.to_string().lines().count(), all + 1, "one line a check");
    }
}

#[test]
#[should_panic(expected = "failed   made from its settings: no")]
fn tests_end_with_the_report() {
    assert_conforms(vec![declare(PluginKind::Feature, Arc::new(|_| Err(PluginError::settings("no"))))]);
}

#[test]
#[should_panic(expected = "no plugin was given")]
fn no_plugins_are_no_success() {
    assert_conforms(Vec::new());
}
