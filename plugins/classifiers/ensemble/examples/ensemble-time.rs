//! How long a fit takes: `cargo run --release -p veilwatch-classifier-ensemble --example ensemble-time`.

use veilwatch_classifier_ensemble::EnsembleSettings;
use veilwatch_classifier_shared::testing::{time, time_of};

fn main() {
    time::<EnsembleSettings>();
    // As much as a site would learn from.
    time_of::<EnsembleSettings>(100_000, 150);
}
