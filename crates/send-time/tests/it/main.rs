//! The estimator's laws, and the clock's.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod clock;
mod estimator;
mod habits;
mod policy;
