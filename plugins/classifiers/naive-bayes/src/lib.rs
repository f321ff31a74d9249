//! The classifiers `bernoulli-bayes`, `multinomial-bayes` and `gaussian-bayes`: what each column says of malice by
//! itself, added up.
//!
//! Bernoulli and Gaussian are learnt by `linfa-bayes`, to which rows are given as often as they weigh. Its multinomial
//! prints all that it learns on standard error at every fit, so that one is counted here, by the weights themselves; a
//! test holds it equal to the library's.

mod bernoulli;
mod gaussian;
mod multinomial;
#[cfg(test)]
mod tests;

pub use bernoulli::BernoulliSettings;
pub use gaussian::GaussianSettings;
pub use multinomial::MultinomialSettings;

use linfa_bayes::NaiveBayes;
use ndarray::Array2;
use veilwatch_classifier_shared::learner::Learning;
use veilwatch_core::plugin::PluginError;

/// Yes or no for each column: does its value reach the cut?
pub type BernoulliBayes = Learning<BernoulliSettings>;
/// A flow as a text with one word for each column: the bin of its value.
pub type MultinomialBayes = Learning<MultinomialSettings>;
/// A mean and a variance of each column in either class.
pub type GaussianBayes = Learning<GaussianSettings>;

/// By how much the log-likelihood of malice exceeds that of the benign, for each row.
fn log_odds<'a>(model: &'a impl NaiveBayes<'a, f64, bool>, rows: &Array2<f64>) -> Result<Vec<f64>, PluginError> {
    // The model keeps what it learnt to itself, but answers for any row.
    let mut likelihoods = model.joint_log_likelihood(rows.view());
    match (likelihoods.remove(&true), likelihoods.remove(&false)) {
        (Some(malicious), Some(benign)) => {
            Ok(malicious.into_iter().zip(benign).map(|(bad, good)| bad - good).collect())
        }
        _ => Err(PluginError::failed("linfa-bayes lost a class")),
    }
}

/// Rows as the library wants them.
fn matrix(height: usize, width: usize, values: Vec<f64>) -> Result<Array2<f64>, PluginError> {
    Array2::from_shape_vec((height, width), values).map_err(|error| PluginError::failed(error.to_string()))
}

veilwatch_core::declare_plugins!(
    classifier "bernoulli-bayes" "naive Bayes: does each value reach its cut?": BernoulliBayes,
    classifier "multinomial-bayes" "naive Bayes: the bin of each value as a word": MultinomialBayes,
    classifier "gaussian-bayes" "naive Bayes: a mean and a variance of each column": GaussianBayes
);
