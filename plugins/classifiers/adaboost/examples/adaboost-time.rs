//! How long a fit takes: `cargo run --release -p veilwatch-classifier-adaboost --example adaboost-time`.

use veilwatch_classifier_adaboost::AdaBoostSettings;
use veilwatch_classifier_shared::testing::time;

fn main() {
    time::<AdaBoostSettings>();
}
