//! Runs the real parts.

#![allow(clippy::unwrap_used)]

mod engine;
mod kafka;
mod parent;
