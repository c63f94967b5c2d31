//! The generator against small servers with known faults.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod drill;
mod grow;
mod parts;
mod report;
mod rows;
mod self_check;
mod sending;
mod server;
mod whole;
