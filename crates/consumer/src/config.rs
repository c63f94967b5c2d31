//! What an operator may set about the consumer.

use enrich::AddressPolicy;
use serde::{Deserialize, Serialize};
use telemetry::SettingError;

/// The `[consumer]` section. Times in milliseconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The Kafka consumer group.
    pub group: String,
    /// This member's name in the group, stable over restarts: a restart then moves no partitions. Empty for none, which
    /// is the safer choice: a named member that is killed in the middle of a cooperative rebalance and comes back before
    /// its session ends gets its old share, and nobody is told that the partitions it was to pass on have no owner.
    pub instance: String,
    /// Where a group without commits begins: true takes the topic from its start, as the first deployment must;
    /// false refuses to start, so that lost offsets are seen instead of skipped.
    pub first_deploy: bool,
    /// A batch is written when it is this old, or later while others are being written, and those of all other partitions
    /// go with it. An insert costs ClickHouse 30 ms of CPU time however small it is; at p99 a row is visible some 130 ms
    /// later than this after its request.
    pub linger_ms: u64,
    /// A batch is written when it has this many rows.
    pub batch_rows_max: usize,
    /// Memory for batches, over all partitions, both those that fill and those that are being written.
    pub memory_bytes_max: usize,
    /// At shutdown: how long batches may take to be written.
    pub drain_ms: u64,
    /// What is stored of addresses. Not set here: it may hold a secret, which comes from a file of its own.
    #[serde(skip)]
    pub address: AddressPolicy,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            group: "mailbeacon".to_owned(),
            instance: String::new(),
            first_deploy: true,
            linger_ms: 750,
            batch_rows_max: 100_000,
            memory_bytes_max: 256 << 20,
            drain_ms: 20_000,
            address: AddressPolicy::default(),
        }
    }
}

impl Config {
    /// Looks for values that parse but cannot work.
    ///
    /// # Errors
    /// The first one found.
    pub fn check(&self) -> Result<(), SettingError> {
        if self.group.is_empty() {
            let expected = "a name".to_owned();
            return Err(SettingError { key: "consumer.group", value: "\"\"".to_owned(), expected });
        }
        let check = SettingError::check;
        check("consumer.linger_ms", self.linger_ms, 10..=60_000)?;
        check("consumer.batch_rows_max", self.batch_rows_max as u64, 1..=1_000_000)?;
        check("consumer.memory_bytes_max", self.memory_bytes_max as u64, 16 << 20..=1 << 40)?;
        check("consumer.drain_ms", self.drain_ms, 0..=600_000)
    }
}
