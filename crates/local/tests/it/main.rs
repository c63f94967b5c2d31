//! Runs the real parts.

mod engine;
