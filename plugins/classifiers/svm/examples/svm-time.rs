//! How long a fit takes: `cargo run --release -p veilwatch-classifier-svm --example svm-time`.

use veilwatch_classifier_shared::testing::time;
use veilwatch_classifier_svm::{LinearSvmSettings, RbfSvmSettings};

fn main() {
    time::<LinearSvmSettings>();
    time::<RbfSvmSettings>();
}
