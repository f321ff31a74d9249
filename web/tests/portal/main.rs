//! The portal as its visitors meet it, without a network.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests count as tests")]

mod access;
mod api;
mod entries;
mod login;
mod models;
mod packets;
mod pages;
mod people;
mod security;
mod support;
mod uploads;
