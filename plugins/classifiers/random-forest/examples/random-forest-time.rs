//! How long a fit takes: `cargo run --release -p veilwatch-classifier-random-forest --example random-forest-time`.

use veilwatch_classifier_random_forest::RandomForestSettings;
use veilwatch_classifier_shared::testing::time;

fn main() {
    time::<RandomForestSettings>();
}
