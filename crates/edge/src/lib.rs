//! The edge: answers pixels, links and downloads, and journals what they say.
//!
//! [`answer`] decides what a request means; everything else here serves it. The journal is the only output: the
//! shipper reads it and knows nothing of requests. No look-up, no Kafka and no ClickHouse stands between a
//! request and its reply.

pub mod address;
pub mod answer;
mod config;
mod connections;
mod fill;
mod gather;
mod metrics;
mod mode;
pub mod reply;
mod serve;
mod ship;
mod socket;
mod stream;
mod worker;

pub use config::Config;
pub use metrics::METRICS;
pub use mode::{Policy, Wish};
pub use serve::serve;
pub use ship::{Pace, ship};
pub use socket::bind;
