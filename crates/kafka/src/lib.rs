//! Kafka for the rest of the workspace: finished bytes go out to a partition, messages come in from one.
//!
//! Owns every use of rdkafka: topics, the producer, the group's consumer, the follower of a whole
//! topic, dead letters, the probe of a cluster, a look into a topic. Never decides anything: what a message means, which partition it belongs to, when to commit, when
//! to try again or give up is the caller's. Errors only say which of those is left to do.
//!
//! Every call blocks for a bounded time and none needs an async runtime: a program gives the producer and the
//! consumer a thread each.

mod admin;
mod close;
mod commit;
mod config;
mod consumer;
mod dead;
mod error;
mod follow;
mod log;
mod poll;
mod probe;
mod producer;
mod rebalance;
mod scan;

pub use admin::{
    DEAD_SUFFIX, Difference, RETENTION_MIN_MS, TopicOutcome, TopicSpec, WITHDRAWALS_SUFFIX, create_topics,
};
pub use config::{Compression, Config, check};
pub use consumer::{Assignment, Consumer, FirstStart, METADATA_BYTES_MAX, Message, Polled};
pub use dead::{DEAD_LETTER_OVERHEAD_BYTES_MAX, DeadLetter, DeadLetters};
pub use error::{CommitError, ConfigError, DeliveryError, KafkaError, SendError};
pub use follow::{Followed, Follower};
pub use probe::{ClusterInfo, PartitionInfo, probe};
pub use producer::{Delivery, Producer, Record};
pub use scan::{Stretch, scan, uncommitted, whole};
