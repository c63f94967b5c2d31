//! The HTTP API: mint a link, instrument a message, tell what was sent, ask when to write.
//!
//! Owns requests and answers, who may ask, the limits, and the OpenAPI document, which is made from the code. Does no
//! I/O but its listener's: where sends go and where recommendations come from is passed in as [`Backing`]. Never
//! repeats a key, a recipient or an address in an error, a log or a metric.

mod access;
mod body;
mod config;
mod document;
mod fault;
mod guard;
mod links;
mod metrics;
mod send_times;
mod sends;
mod serve;

pub use access::{Access, AccessError, NewKey, new_key};
pub use config::Config;
pub use document::document;
pub use fault::{Code, Unavailable};
pub use metrics::METRICS;
pub use send_times::{Advice, Ask, Asked, Days, Plan, RECIPIENTS_MAX, Refused, Wanted, Window};
pub use sends::{Problem, Record, SENDS_MAX, Send, Sent};
pub use serve::{Backing, serve};
