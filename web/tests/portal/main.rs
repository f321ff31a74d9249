//! The portal as its visitors meet it, without a network.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod access;
mod api;
mod entries;
mod live;
mod login;
mod packets;
mod pages;
mod people;
#[path = "../common/room.rs"]
mod room;
mod security;
mod support;
mod uploads;
