//! The crate as a program uses it: a real listener on port 0, a raw client, real signals.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod admin;
mod signals;
