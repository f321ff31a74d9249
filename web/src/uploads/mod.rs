//! Captures arrive and are kept.
//!
//! | module | story |
//! |---|---|
//! | [`folders`] | where files live, and the sweep that mends what a crash left |
//! | [`under_way`] | how much one account may have on its way at the same time |
//! | [`receive`](mod@receive) | bytes become a private file, within limits |
//! | [`store`] | the file becomes a kept capture with an entry, and goes with its last entry |
//! | [`intake`] | all of that in one, for a form, a program, or a folder that is watched |
//! | [`resumable`] | uploads that go on after they were broken off |
//! | [`name`] | what is kept of a file's name |
//!
//! The order is always: [`store::room`], [`under_way::UnderWay::begin`], [`receive::receive`], a look at the file by a
//! worker, `store::keep`. Whatever is dropped on the way leaves nothing behind.

pub mod folders;
pub mod intake;
pub mod name;
pub mod receive;
pub mod resumable;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;
pub mod under_way;

pub use folders::{FileError, Folders, Key, Sha256Hex, Swept};
pub use intake::{Intake, Outcome, Refusal};
pub use name::shown_name;
pub use receive::{ReceiveLimits, Received, UploadError, receive};
pub use store::{NewUpload, drop_index, goes_beyond, keep_index, kept_bytes, quota_of, remove, remove_capture, room};
pub use under_way::{UnderWay, Upload};

/// That an entry needs the file of a row of `captures`: a timer may have taken it, and left the result.
pub(crate) const KEPT: &str = "sha256 IN (SELECT sha256 FROM entries WHERE capture_gone_at IS NULL)";
