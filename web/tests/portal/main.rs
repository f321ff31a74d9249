//! The portal as its visitors meet it, without a network.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod access;
mod api;
mod entries;
mod live;
mod login;
mod models;
mod once;
mod packets;
mod pages;
mod people;
mod pipelines;
mod plugins;
mod provider;
mod resumable;
mod retention;
#[path = "../common/room.rs"]
mod room;
mod second_factor;
mod security;
mod stub;
mod support;
mod system;
mod tables;
mod teams;
mod triage;
mod uploads;
mod watch;
mod webhooks;
