//! What can be learnt from.

use crate::MAX_WIDTH;
use std::panic::{AssertUnwindSafe, catch_unwind};
use veilwatch_core::plugin::{PluginError, TrainingSet};

/// Refuses a training set that nothing can be learnt from, or that would break a library.
///
/// # Errors
/// Without rows, with rows too wide, labels or weights that do not fit the rows, only one class, a weight that is not
/// positive, an infinite value.
pub fn check(data: &TrainingSet<'_>) -> Result<(), PluginError> {
    let rows = data.rows.len();
    if rows == 0 {
        return Err(PluginError::data("there are no rows to train on"));
    }
    if data.rows.width() > MAX_WIDTH {
        return Err(PluginError::data(format!("rows of {} columns; at most {MAX_WIDTH}", data.rows.width())));
    }
    if data.labels.len() != rows || data.weights.len() != rows {
        return Err(PluginError::data(format!(
            "{rows} rows, {} labels and {} weights: there must be one label and one weight a row",
            data.labels.len(),
            data.weights.len()
        )));
    }
    let malicious = data.labels.iter().filter(|&&label| label).count();
    if malicious == 0 || malicious == rows {
        let missing = if malicious == 0 { "malicious" } else { "benign" };
        return Err(PluginError::data(format!(
            "no row to train on is {missing}: training needs both kinds, also of what is left when a part of the captures \
             is held out; more {missing} captures help"
        )));
    }
    if let Some(at) = data.weights.iter().position(|weight| !(weight.is_finite() && *weight > 0.0)) {
        return Err(PluginError::data(format!(
            "row {at} has the weight {}: weights are positive numbers",
            data.weights[at]
        )));
    }
    // An infinity would break bins, which end at the largest finite number, and means.
    if let Some(at) = data.rows.data().iter().position(|value| value.is_infinite()) {
        return Err(PluginError::data(format!(
            "row {} has an infinite value in column {}: extractors write finite numbers, or NaN for missing values",
            at / data.rows.width(),
            at % data.rows.width()
        )));
    }
    Ok(())
}

/// Calls a library that asserts where it could return an error: what it asserts must not end the host.
///
/// # Errors
/// Its own, or that it panicked.
pub fn guarded<T, E: std::fmt::Display>(library: &str, call: impl FnOnce() -> Result<T, E>) -> Result<T, PluginError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(learnt)) => Ok(learnt),
        Ok(Err(error)) => Err(PluginError::failed(format!("training failed in {library}: {error}"))),
        Err(_) => Err(PluginError::failed(format!("training failed inside {library}"))),
    }
}
