//! Analyses in a child process that can hurt nothing but itself.

mod order;

pub use order::*;
