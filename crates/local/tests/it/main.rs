//! Runs the real parts.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod engine;
mod geo;
mod kafka;
mod parent;
mod program;
