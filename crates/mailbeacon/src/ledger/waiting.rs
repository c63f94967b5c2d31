//! What lies in Kafka and is not consumed: how much, and which events.

use std::ops::ControlFlow;
use std::time::Duration;

use event::{Batch, Event};
use serde::Serialize;

use super::find::Evidence;
use crate::settings::Settings;

/// How long Kafka may take for one answer.
const WAIT: Duration = Duration::from_secs(10);
/// What is read at the most: a longer backlog is counted in messages and not looked into.
const EVENTS_MAX: usize = 2_000_000;
const BYTES_MAX: usize = 512 << 20;

/// What waits for the consumer.
#[derive(Debug, Serialize)]
pub struct Waiting {
    pub partitions: Vec<Partition>,
    /// Events that were read there.
    pub events: u64,
    /// Whether all of it was looked at.
    pub complete: bool,
}

/// One partition.
#[derive(Debug, Serialize)]
pub struct Partition {
    pub partition: u32,
    pub committed: u64,
    pub end: u64,
    /// Messages that retention took before they were consumed.
    pub expired: u64,
}

impl Waiting {
    /// What an operator has to know of it.
    pub fn notes(&self) -> Vec<String> {
        let expired = self.partitions.iter().filter(|p| p.expired > 0).map(|p| {
            let Partition { partition, committed, expired, .. } = p;
            format!("kafka deleted {expired} messages of partition {partition} from offset {committed} on before they were consumed")
        });
        let partial = (!self.complete).then(|| {
            format!(
                "kafka holds more than the {} events that were looked at: the rest is not checked",
                self.events
            )
        });
        expired.chain(partial).collect()
    }
}

/// Reads what the consumer's group has not committed. What it is just writing is among it.
pub fn look(settings: &Settings) -> anyhow::Result<(Evidence, Waiting)> {
    let config = settings.kafka();
    let stretches = kafka::uncommitted(&config, &settings.consumer.group, WAIT)?;
    let whole = kafka::whole(&config, WAIT)?;
    let partitions = stretches
        .iter()
        .map(|s| {
            let oldest = whole.iter().find(|w| w.partition == s.partition).map_or(s.from, |w| w.from);
            let expired = oldest.saturating_sub(s.from);
            Partition { partition: s.partition, committed: s.from, end: s.to, expired }
        })
        .collect();
    let mut evidence = Evidence { complete: true, ..Evidence::default() };
    let (mut events, mut bytes) = (0, 0);
    kafka::scan(&config, &stretches, WAIT, |message| {
        bytes += message.payload.len();
        for event in Batch::new(&message.payload).flatten().filter_map(|bytes| Event::decode(bytes).ok()) {
            events += 1;
            evidence.in_kafka.insert((event.edge_id, event.seq), message.partition);
        }
        if evidence.in_kafka.len() >= EVENTS_MAX || bytes >= BYTES_MAX {
            evidence.complete = false;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    let complete = evidence.complete;
    Ok((evidence, Waiting { partitions, events, complete }))
}
