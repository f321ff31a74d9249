//! What the classifiers in the box share, because the libraries that learn lack it: checks of training sets, weights of
//! rows, missing values, scales, flat forests, and learnt numbers as bytes that may come from anybody.

pub mod bins;
pub mod codec;
pub mod columns;
pub mod forest;
pub mod learner;
mod lookup;
pub mod sample;
pub mod sums;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod training;

/// Columns of a row, at most.
pub const MAX_WIDTH: usize = 1 << 16;
