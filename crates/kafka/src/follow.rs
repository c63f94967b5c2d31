//! A whole topic, read from its first message by each reader for itself: the withdrawals, the dead letters.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError as Native;
use rdkafka::{Offset, TopicPartitionList};

use crate::close;
use crate::config::{self, Config};
use crate::consumer::{Message, owned};
use crate::error::KafkaError;
use crate::poll::whole_ms;

/// librdkafka hands out messages only to a client with a group's name. Nothing joins it and nothing is committed.
const GROUP: &str = "mailbeacon-follow";

/// A reader of all partitions of a topic, from their first messages on, outside any group.
pub struct Follower {
    /// Taken when dropped.
    inner: Option<Arc<BaseConsumer<Context>>>,
    topic: String,
    /// Whose end was not reached yet.
    behind: BTreeSet<u32>,
    caught_up: bool,
}

/// What a poll of a follower hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The next message of a partition. A compacted topic has gaps in its offsets, and a tombstone no payload.
    Message(Message),
    /// All that was there is read, once: from here on messages come as they are sent.
    CaughtUp,
    /// It may pass (`Retry`: poll again) or not (`Fatal`: build a new one, which starts again).
    Error(KafkaError),
}

impl Follower {
    /// Starts reading `config.topic`. Blocks for up to `wait` to learn the topic's partitions.
    pub fn new(config: &Config, wait: Duration) -> Result<Follower, KafkaError> {
        config::check(config)?;
        let inner: BaseConsumer<Context> = config::consumer(config, GROUP, None)
            .set("enable.partition.eof", "true")
            // Whatever is gone need not be read: nothing counts on every offset here.
            .set("auto.offset.reset", "earliest")
            .create_with_context(Context)
            .map_err(|e| config::native_error(config, &e))?;
        let count = crate::probe::partition_count(inner.client(), &config.topic, wait)?;
        let mut all = TopicPartitionList::new();
        all.add_partition_range(&config.topic, 0, count as i32 - 1);
        all.set_all_offsets(Offset::Beginning)
            .and_then(|()| inner.assign(&all))
            .map_err(|e| KafkaError::fatal(format!("following topic {}", config.topic), e))?;
        Ok(Follower {
            inner: Some(Arc::new(inner)),
            topic: config.topic.clone(),
            behind: (0..count).collect(),
            caught_up: false,
        })
    }

    /// The next thing that happened, waiting for it for up to `wait`.
    pub fn poll(&mut self, wait: Duration) -> Option<Followed> {
        let deadline = Instant::now() + wait;
        loop {
            let slice = deadline.saturating_duration_since(Instant::now());
            match self.inner.as_ref()?.poll(whole_ms(slice)) {
                None if slice.is_zero() => return None,
                None => {}
                Some(Ok(message)) => return Some(Followed::Message(owned(&message))),
                Some(Err(Native::PartitionEOF(partition))) => {
                    self.behind.remove(&(partition as u32));
                    if self.behind.is_empty() && !self.caught_up {
                        self.caught_up = true;
                        return Some(Followed::CaughtUp);
                    }
                }
                Some(Err(error)) => {
                    let what = format!("following topic {}", self.topic);
                    return Some(Followed::Error(KafkaError::sort(what, &error)));
                }
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            close::within(inner, close::DROP_WAIT, |_| {});
        }
    }
}

struct Context;

crate::log::log_to_tracing!(Context);

impl ConsumerContext for Context {}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("topic", &self.topic)
            .field("caught_up", &self.caught_up)
            .finish_non_exhaustive()
    }
}
