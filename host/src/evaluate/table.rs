//! All classifiers on the same folds.

use super::ablation::Short;
use super::{Bench, Steps};
use crate::learn::{Dataset, Folds};
use crate::plugins::Registry;
use veilwatch_core::plugin::PluginKind;

/// A set of features by name, with the data as it sees them.
#[derive(Debug)]
pub struct FeatureSet {
    /// Its name, such as `full` or `blind`.
    pub name: String,
    /// The data.
    pub data: Dataset,
}

/// Every classifier that there is, on each set of features: the pipeline's own with its settings, the others with their
/// defaults; all learn from the rows alone, without altered copies or weak labels.
pub(super) fn table(bench: &Bench<'_>, sets: &[(&str, &Dataset)], folds: usize, steps: &mut Steps<'_>) -> Vec<Short> {
    let mut judged = Vec::new();
    for (set, data) in sets {
        let data = &data.without_additions();
        let folds = Folds::by_family(data, bench.plan.seed, folds);
        for path in classifiers(bench.registry) {
            let settings = if path == bench.classifier.0 { bench.classifier.1 } else { "" };
            let name = format!("{} on {set}", path.trim_start_matches("classifier/"));
            judged.push(Short::judge(bench, (&path, settings), name, data, &folds, steps));
        }
    }
    judged
}

fn classifiers(registry: &Registry) -> Vec<String> {
    let classifier = |kind: PluginKind| kind == PluginKind::Classifier;
    registry
        .manifests()
        .filter(|(manifest, _)| classifier(manifest.kind))
        .map(|(manifest, _)| manifest.path())
        .collect()
}
