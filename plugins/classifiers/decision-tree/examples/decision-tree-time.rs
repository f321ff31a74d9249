//! How long a fit takes: `cargo run --release -p veilwatch-classifier-decision-tree --example decision-tree-time`.

use veilwatch_classifier_decision_tree::DecisionTreeSettings;
use veilwatch_classifier_shared::testing::time;

fn main() {
    time::<DecisionTreeSettings>();
}
