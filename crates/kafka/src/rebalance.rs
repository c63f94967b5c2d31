//! What the group's coordinator gives and takes, collected until the caller's poll can answer it.
//!
//! librdkafka reports a rebalance inside a poll and then waits, without a limit of its own and with every
//! partition of this consumer paused, for an `incremental_assign` or `incremental_unassign`. Nothing says that
//! they must come from inside the callback. So the callback only notes what is wanted, and
//! [`crate::Consumer`] answers when it has read the committed offsets, or when the caller has released what is
//! taken. There is never more than one unanswered: the next rebalance starts with the answer.

use std::collections::VecDeque;
use std::sync::Mutex;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

/// What the coordinator wants, and has not been answered.
pub(crate) enum Wanted {
    Assign(TopicPartitionList),
    Revoke(TopicPartitionList),
}

/// The context of the consumer's client.
#[derive(Default)]
pub(crate) struct Context {
    wanted: Mutex<VecDeque<Wanted>>,
    reason: Mutex<String>,
}

impl Context {
    /// The oldest of what is wanted.
    pub(crate) fn take(&self) -> Option<Wanted> {
        self.wanted.lock().expect("nothing panics while it holds the queue").pop_front()
    }

    /// librdkafka's words about the error that a poll returned.
    pub(crate) fn reason(&self) -> String {
        std::mem::take(&mut self.reason.lock().expect("nothing panics while it holds the reason"))
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        crate::log::line(level, facility, message);
    }

    fn stats_raw(&self, _: &[u8]) {}

    // Comes just before the poll returns the bare error code, which names no partition and no offset.
    fn error(&self, _: KafkaError, reason: &str) {
        reason.clone_into(&mut self.reason.lock().expect("nothing panics while it holds the reason"));
    }
}

impl ConsumerContext for Context {
    // In place of the default, which answers at once.
    fn rebalance(&self, _: &BaseConsumer<Self>, error: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let wanted = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Wanted::Assign(partitions.clone()),
            _ => Wanted::Revoke(partitions.clone()),
        };
        self.wanted.lock().expect("nothing panics while it holds the queue").push_back(wanted);
    }
}
