//! The store against a real ClickHouse.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod cluster;
mod contract;
mod crash;
mod engine;
mod insert;
mod last_opens;
mod memory;
mod retention;
mod schema;
mod send_times;
mod size;
mod views;
