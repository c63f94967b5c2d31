//! The consumer: takes events from a source, finds out what can be known of them, and stores each exactly once.
//!
//! [`pipeline`] is the path on one page. A source is a journal or Kafka; the store is ClickHouse. This crate knows
//! neither's protocol.

mod aside;
mod batch;
mod config;
mod intent;
mod lane;
mod metrics;
#[cfg(test)]
mod model;
mod past;
pub mod pipeline;
mod row;
mod source;
pub mod tables;
mod task;
mod turns;
mod writer;

pub use batch::{BROKEN_BATCH, readable};
pub use config::Config;
pub use metrics::METRICS;
pub use pipeline::run;
pub use source::{
    CommitError, DeadLetter, JournalSource, KafkaSource, Part, Payload, Polled, Source, SourceError, Taken,
};
