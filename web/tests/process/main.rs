//! The portal as a process of its own: started, killed, restarted, attacked, and busy.
//!
//! | module | story |
//! |---|---|
//! | [`http`] | just enough HTTP, and requests that break off in the middle |
//! | [`portal`] | a portal in a temporary folder, and the people in it |
//! | [`crashes`] | what a `kill -9` leaves, and what the next start makes of it |
//! | [`ending`] | an end that was asked for |
//! | [`hostile`] | analyses that misbehave |
//! | [`dropped_in`] | pipelines with parts of one's own |
//! | [`uploads`] | slow, broken, lying, and many uploads |
//! | [`resumable`] | uploads that are gone on with |
//! | [`live`] | sessions that capture, and what a restart leaves of them |
//! | [`queue`] | turns and limits |
//! | [`operations`] | figures, the access log, whether it is well |
//! | [`backup`] | backups under load, put back; checks |
//! | [`packages`] | the Debian package and the container file |
//! | [`upgrade`] | a data folder of an older version |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod backup;
mod crashes;
mod dropped_in;
mod ending;
mod hostile;
mod http;
mod live;
mod operations;
mod packages;
mod portal;
mod queue;
mod resumable;
#[path = "../common/room.rs"]
mod room;
mod upgrade;
mod uploads;
#[path = "../common/workers.rs"]
mod workers;
