//! Dead letters: a message that could not be stored, with its origin and the reason, stored before the caller
//! passes it.

use std::time::{Duration, Instant};

use crate::config::Config;
use crate::consumer::Message;
use crate::error::{DeliveryError, KafkaError, SendError};
use crate::producer::{Producer, Record};

/// What a dead letter may be larger than the message in it, in bytes.
pub const DEAD_LETTER_OVERHEAD_BYTES_MAX: u32 = 4_096;

/// Longer reasons are cut, in bytes: they are for people.
const REASON_BYTES_MAX: usize = 1_024;

/// A message that could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetter<'a> {
    /// The message as it came, byte for byte.
    pub payload: &'a [u8],
    /// The topic that it came from.
    pub topic: &'a str,
    /// The partition that it came from.
    pub partition: u32,
    /// The offset that it had there.
    pub offset: u64,
    /// Why it is here.
    pub reason: &'a str,
}

impl<'a> DeadLetter<'a> {
    /// Reads a message of the topic `<topic>.dead`; none when its headers are not those of a dead letter.
    pub fn read(message: &'a Message) -> Option<DeadLetter<'a>> {
        let header = |name: &str| {
            let (_, value) = message.headers.iter().find(|(found, _)| found == name)?;
            std::str::from_utf8(value).ok()
        };
        Some(DeadLetter {
            payload: &message.payload,
            topic: header(ORIGIN_TOPIC)?,
            partition: header(ORIGIN_PARTITION)?.parse().ok()?,
            offset: header(ORIGIN_OFFSET)?.parse().ok()?,
            reason: header(REASON)?,
        })
    }
}

const ORIGIN_TOPIC: &str = "origin-topic";
const ORIGIN_PARTITION: &str = "origin-partition";
const ORIGIN_OFFSET: &str = "origin-offset";
const REASON: &str = "reason";

/// Stores dead letters in the topic `<topic>.dead`, each in a partition that follows from its origin, with the
/// headers `origin-topic`, `origin-partition`, `origin-offset` (both decimal) and `reason`.
#[derive(Debug)]
pub struct DeadLetters {
    producer: Producer,
    topic: String,
    partitions: Option<u32>,
    /// The position of the next letter. Never used twice, so that a report that comes after its
    /// [`DeadLetters::write`] gave up is not taken for one of the next.
    next: u64,
}

impl DeadLetters {
    /// For the dead letters of `config.topic`.
    pub fn new(config: &Config) -> Result<DeadLetters, KafkaError> {
        let config = config.dead_letters();
        Ok(DeadLetters { producer: Producer::new(&config)?, topic: config.topic, partitions: None, next: 0 })
    }

    /// Stores the letters, and returns only when all are known to be stored. After an error none is known to
    /// be, though some may: write all of them again, with a new `DeadLetters` if the error was fatal. A letter
    /// that is there twice has the same origin twice.
    pub fn write(&mut self, letters: &[DeadLetter<'_>], wait: Duration) -> Result<(), KafkaError> {
        let deadline = Instant::now() + wait;
        let partitions = match self.partitions {
            Some(partitions) => partitions,
            None => *self.partitions.insert(self.producer.partitions_within(wait)?),
        };
        let mut open = Open { first: self.next, left: letters.len(), failed: None };
        for letter in letters {
            let position = self.next;
            self.next += 1;
            loop {
                match send(&self.producer, letter, letter.partition % partitions, position) {
                    Ok(()) => break,
                    Err(SendError::Full) if Instant::now() < deadline => open.take(&self.producer, deadline),
                    Err(error) => return Err(self.error(error == SendError::Full, &error)),
                }
            }
        }
        while open.left > 0 && Instant::now() < deadline {
            open.take(&self.producer, deadline);
        }
        match open.failed {
            Some(error) => Err(self.error(matches!(error, DeliveryError::Retry(_)), &error)),
            None if open.left > 0 => {
                Err(self.error(true, &format!("{} of {} not stored in time", open.left, letters.len())))
            }
            None => Ok(()),
        }
    }

    fn error(&self, retry: bool, reason: &dyn ToString) -> KafkaError {
        let what = format!("writing dead letters to topic {}", self.topic);
        match retry {
            true => KafkaError::retry(what, reason.to_string()),
            false => KafkaError::fatal(what, reason.to_string()),
        }
    }
}

/// The letters of one write whose fate is not known.
struct Open {
    first: u64,
    left: usize,
    failed: Option<DeliveryError>,
}

impl Open {
    fn take(&mut self, producer: &Producer, deadline: Instant) {
        let wait = deadline.saturating_duration_since(Instant::now());
        producer.deliveries(wait, |delivery| {
            if delivery.position >= self.first {
                self.left -= 1;
                self.failed = delivery.result.err().or(self.failed.take());
            }
        });
    }
}

fn send(
    producer: &Producer,
    letter: &DeadLetter<'_>,
    partition: u32,
    position: u64,
) -> Result<(), SendError> {
    let origin_partition = letter.partition.to_string();
    let origin_offset = letter.offset.to_string();
    let reason = &letter.reason[..letter.reason.floor_char_boundary(REASON_BYTES_MAX)];
    producer.send_record(&Record {
        partition,
        key: None,
        payload: Some(letter.payload),
        headers: &[
            (ORIGIN_TOPIC, letter.topic.as_bytes()),
            (ORIGIN_PARTITION, origin_partition.as_bytes()),
            (ORIGIN_OFFSET, origin_offset.as_bytes()),
            (REASON, reason.as_bytes()),
        ],
        position,
    })
}
