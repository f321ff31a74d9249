//! How long a fit takes: `cargo run --release -p veilwatch-classifier-logistic-regression --example logistic-regression-time`.

use veilwatch_classifier_logistic_regression::LogisticRegressionSettings;
use veilwatch_classifier_shared::testing::time;

fn main() {
    time::<LogisticRegressionSettings>();
}
