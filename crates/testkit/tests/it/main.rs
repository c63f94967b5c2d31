//! The parts of the kit that have behaviour of their own.
#![allow(clippy::unwrap_used, reason = "a test may end with a panic")]

mod proxy;
