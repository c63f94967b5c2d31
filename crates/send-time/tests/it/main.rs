//! The estimator's laws.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]
