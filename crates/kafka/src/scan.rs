//! What lies in a topic between two offsets, read once and outside any group: for those who look, not for those
//! who consume.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError as Native;
use rdkafka::{Offset, TopicPartitionList};

use crate::config::{self, Config};
use crate::consumer::{Message, owned};
use crate::error::KafkaError;
use crate::probe;

/// librdkafka hands out messages only to a client with a group's name. Nothing joins it and nothing is committed.
const GROUP: &str = "mailbeacon-scan";
/// How often a wait looks at the clock.
const POLL_SLICE: Duration = Duration::from_millis(100);

/// Offsets `from..to` of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The partition.
    pub partition: u32,
    /// The first offset.
    pub from: u64,
    /// The offset after the last one.
    pub to: u64,
}

/// All that the topic holds now, by partition. An error when it does not exist.
pub fn whole(config: &Config, wait: Duration) -> Result<Vec<Stretch>, KafkaError> {
    let info = probe::probe(config, wait)?;
    let partitions = info.partitions.ok_or_else(|| {
        KafkaError::fatal(
            format!("reading topic {}", config.topic),
            "it is not there (run `mailbeacon migrate`)",
        )
    })?;
    let stretch =
        |p: &probe::PartitionInfo| Stretch { partition: p.partition, from: p.offsets.0, to: p.offsets.1 };
    Ok(partitions.iter().map(stretch).collect())
}

/// What the group has not committed yet, by partition: from the committed offset, or from the oldest message of a
/// partition that it never committed, to the end. Asks the coordinator without joining the group.
pub fn uncommitted(config: &Config, group: &str, wait: Duration) -> Result<Vec<Stretch>, KafkaError> {
    config::check(config)?;
    let what = format!("asking for the offsets of group {group} in topic {}", config.topic);
    let client: BaseConsumer<Context> = config::consumer(config, group, None)
        .create_with_context(Context)
        .map_err(|e| config::native_error(config, &e))?;
    let count = probe::partition_count(client.client(), &config.topic, wait)?;
    let mut all = TopicPartitionList::new();
    all.add_partition_range(&config.topic, 0, count as i32 - 1);
    // Before the ends are asked for: what is consumed in between is then found behind a commit, not lost sight of.
    let committed = client.committed_offsets(all, wait).map_err(|e| KafkaError::sort(&what, &e))?;
    let mut stretches = Vec::with_capacity(count as usize);
    for partition in 0..count {
        let (low, high) = client
            .fetch_watermarks(&config.topic, partition as i32, wait)
            .map_err(|e| KafkaError::sort(format!("{what}, partition {partition}"), &e))?;
        let (low, to) = (low.max(0) as u64, high.max(0) as u64);
        let from = match committed.find_partition(&config.topic, partition as i32).map(|found| found.offset())
        {
            Some(Offset::Offset(offset)) => offset.max(0) as u64,
            _ => low,
        };
        stretches.push(Stretch { partition, from, to: to.max(from) });
    }
    Ok(stretches)
}

/// Hands out the messages of these stretches, those of a partition in order, until `each` breaks off.
///
/// # Errors
/// When nothing comes for `wait`, or reading cannot go on.
pub fn scan(
    config: &Config,
    stretches: &[Stretch],
    wait: Duration,
    mut each: impl FnMut(Message) -> ControlFlow<()>,
) -> Result<(), KafkaError> {
    config::check(config)?;
    let mut open: BTreeMap<u32, u64> =
        stretches.iter().filter(|s| s.from < s.to).map(|s| (s.partition, s.to)).collect();
    if open.is_empty() {
        return Ok(());
    }
    let what = || format!("reading topic {}", config.topic);
    let client: BaseConsumer<Context> = config::consumer(config, GROUP, None)
        .set("enable.partition.eof", "true")
        // What retention took meanwhile is gone for the caller, too.
        .set("auto.offset.reset", "earliest")
        .create_with_context(Context)
        .map_err(|e| config::native_error(config, &e))?;
    let mut assigned = TopicPartitionList::new();
    for stretch in stretches.iter().filter(|s| s.from < s.to) {
        assigned
            .add_partition_offset(
                &config.topic,
                stretch.partition as i32,
                Offset::Offset(stretch.from as i64),
            )
            .map_err(|e| KafkaError::fatal(what(), e))?;
    }
    client.assign(&assigned).map_err(|e| KafkaError::fatal(what(), e))?;
    let mut heard_at = Instant::now();
    while !open.is_empty() {
        match client.poll(POLL_SLICE) {
            None if heard_at.elapsed() >= wait => {
                return Err(KafkaError::retry(what(), format!("nothing came for {} s", wait.as_secs())));
            }
            None => continue,
            Some(Ok(message)) => {
                let message = owned(&message);
                let Some(&to) = open.get(&message.partition) else { continue };
                if message.offset + 1 >= to {
                    open.remove(&message.partition);
                }
                if message.offset < to && each(message).is_break() {
                    return Ok(());
                }
            }
            Some(Err(Native::PartitionEOF(partition))) => _ = open.remove(&(partition as u32)),
            Some(Err(error)) => {
                let error = KafkaError::sort(what(), &error);
                if !error.is_retry() || heard_at.elapsed() >= wait {
                    return Err(error);
                }
                continue;
            }
        }
        heard_at = Instant::now();
    }
    Ok(())
}

struct Context;

crate::log::log_to_tracing!(Context);

impl ConsumerContext for Context {}
