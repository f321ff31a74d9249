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
//! | [`live`] | sessions that capture, and what a restart leaves of them |
//! | [`queue`] | turns and limits |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod crashes;
mod dropped_in;
mod ending;
mod hostile;
mod http;
mod live;
mod portal;
mod queue;
#[path = "../common/room.rs"]
mod room;
mod uploads;
