//! The API over its listener: who may ask, what is answered, the limits, the document.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod answers;
mod faults;
mod server;
