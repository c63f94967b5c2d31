//! A Kafka topic as a source: one part for each partition that the group gives us.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka::{Consumer, DeadLetters, FirstStart};

use super::{CommitError, DeadLetter, Part, Payload, Polled, Source, SourceError, Taken};

/// Messages and bytes handed over in one poll at most: results of writes are looked at in between.
const MESSAGES_PER_POLL: usize = 1_000;
const BYTES_PER_POLL: usize = 4 << 20;
/// How long dead letters may take to be acknowledged.
const DEAD_LETTER_WAIT: Duration = Duration::from_secs(10);

/// The events topic, read as a member of a consumer group.
pub struct KafkaSource {
    config: kafka::Config,
    consumer: Consumer,
    topic: Arc<str>,
    parts: BTreeMap<u32, Part>,
    dead_letters: Option<DeadLetters>,
}

impl KafkaSource {
    /// Joins the group with the first polls. `instance` empty means dynamic membership.
    ///
    /// # Errors
    /// A configuration that librdkafka refuses.
    pub fn new(
        config: &kafka::Config,
        group: &str,
        instance: &str,
        first_start: FirstStart,
    ) -> Result<Self, SourceError> {
        let instance = (!instance.is_empty()).then_some(instance);
        let consumer = Consumer::new(config, group, instance, first_start)?;
        let topic = Arc::from(config.topic.as_str());
        Ok(KafkaSource {
            config: config.clone(),
            consumer,
            topic,
            parts: BTreeMap::new(),
            dead_letters: None,
        })
    }

    fn part(&self, partition: u32) -> Part {
        Part { topic: self.topic.clone(), number: partition }
    }

    fn hand_over(
        &mut self,
        polled: kafka::Polled,
        take: &mut dyn FnMut(Polled<'_>) -> Taken,
    ) -> Result<Taken, SourceError> {
        match polled {
            kafka::Polled::Message(message) => {
                let Some(part) = self.parts.get(&message.partition) else { return Ok(Taken::Room) };
                let payload = Payload::Batch(&message.payload);
                return Ok(take(Polled::Message { part, offset: message.offset, payload }));
            }
            kafka::Polled::Assigned(assigned) => {
                for kafka::Assignment { partition, committed, metadata } in assigned {
                    let part = self.part(partition);
                    self.parts.insert(partition, part.clone());
                    take(Polled::Assigned { part, committed, note: metadata });
                }
            }
            kafka::Polled::Revoked(partitions) => {
                take(Polled::Revoked(partitions.iter().map(|&partition| self.part(partition)).collect()));
            }
            kafka::Polled::Lost(partitions) => {
                partitions.iter().for_each(|partition| _ = self.parts.remove(partition));
                take(Polled::Lost(partitions.iter().map(|&partition| self.part(partition)).collect()));
            }
            kafka::Polled::Error(error) => return Err(error.into()),
        }
        Ok(Taken::Room)
    }
}

impl Source for KafkaSource {
    fn poll(&mut self, wait: Duration, take: &mut dyn FnMut(Polled<'_>) -> Taken) -> Result<(), SourceError> {
        let (mut wait, mut bytes) = (wait, 0);
        for _ in 0..MESSAGES_PER_POLL {
            let Some(polled) = self.consumer.poll(wait) else { break };
            wait = Duration::ZERO;
            if let kafka::Polled::Message(message) = &polled {
                bytes += message.payload.len();
            }
            // Revoked parts are answered before anything else is taken.
            let answer_first = matches!(polled, kafka::Polled::Revoked(_));
            let taken = self.hand_over(polled, take)?;
            if answer_first || taken == Taken::Full || bytes >= BYTES_PER_POLL {
                break;
            }
        }
        Ok(())
    }

    fn commit(&mut self, part: &Part, offset: u64, note: &str) -> Result<(), CommitError> {
        self.consumer.commit(part.number, offset, note).map_err(|error| match error {
            kafka::CommitError::Fenced { .. } => CommitError::Fenced(error.to_string()),
            kafka::CommitError::Retry { .. } => CommitError::Retry(error.to_string()),
            kafka::CommitError::Fatal { .. } => CommitError::Fatal(error.to_string()),
        })
    }

    fn pause(&mut self, part: &Part, paused: bool) {
        let done = if paused { self.consumer.pause(part.number) } else { self.consumer.resume(part.number) };
        if let Err(cause) = done {
            tracing::warn!(%cause, paused, "failed to pause or resume");
        }
    }

    fn rewind(&mut self, part: &Part, offset: u64) -> Result<(), SourceError> {
        Ok(self.consumer.seek(part.number, offset)?)
    }

    fn release(&mut self, parts: &[Part]) {
        let partitions: Vec<u32> = parts.iter().map(|part| part.number).collect();
        partitions.iter().for_each(|partition| _ = self.parts.remove(partition));
        if let Err(cause) = self.consumer.release(&partitions) {
            tracing::warn!(%cause, "failed to give partitions back");
        }
    }

    fn dead_letters(&mut self, letters: &[DeadLetter]) -> Result<(), SourceError> {
        let mut dead_letters = match self.dead_letters.take() {
            Some(dead_letters) => dead_letters,
            None => DeadLetters::new(&self.config)?,
        };
        let letters: Vec<kafka::DeadLetter<'_>> = letters
            .iter()
            .map(|DeadLetter { part, offset, reason, bytes }| kafka::DeadLetter {
                payload: bytes,
                topic: &part.topic,
                partition: part.number,
                offset: *offset,
                reason,
            })
            .collect();
        // After an error the next try has a new producer.
        dead_letters.write(&letters, DEAD_LETTER_WAIT)?;
        self.dead_letters = Some(dead_letters);
        Ok(())
    }

    fn drains(&self) -> bool {
        false
    }
}

impl From<kafka::KafkaError> for SourceError {
    fn from(error: kafka::KafkaError) -> Self {
        SourceError { retry: error.is_retry(), what: error.to_string() }
    }
}
