//! How long a fit takes: `cargo run --release -p veilwatch-classifier-naive-bayes --example naive-bayes-time`.

use veilwatch_classifier_naive_bayes::{BernoulliSettings, GaussianSettings, MultinomialSettings};
use veilwatch_classifier_shared::testing::time;

fn main() {
    time::<BernoulliSettings>();
    time::<GaussianSettings>();
    time::<MultinomialSettings>();
}
