//! What whoever runs the portal sees of it.
//!
//! | module | story |
//! |---|---|
//! | [`requests`] | every request gets a name, is timed, counted, and written down |
//! | [`access`] | the access log: lines of JSON that never hold a request up |
//! | [`figures`] | what is counted while the portal runs |
//! | [`metrics`] | all figures for Prometheus, on a port of their own |
//! | [`health`] | whether a portal answers, asked from outside |

pub mod access;
pub mod figures;
pub mod health;
pub mod metrics;
pub mod requests;

pub use access::AccessLog;
pub use figures::Figures;
