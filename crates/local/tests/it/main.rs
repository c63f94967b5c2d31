//! Runs the real parts.

mod engine;
mod kafka;
