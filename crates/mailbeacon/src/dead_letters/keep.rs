//! Where dead letters are kept: a Kafka topic, or the embedded form's file. Both are read from front to back.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use kafka::DeadLetter;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::settings::Settings;

/// How long Kafka may take for one answer.
const WAIT: Duration = Duration::from_secs(10);
/// A letter is the largest Kafka message at the most; hex doubles it, the rest is around it.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// A message, or an event of one, that could not be stored.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Topic or journal that it comes from.
    pub topic: String,
    /// Partition there.
    pub partition: u32,
    /// Offset there.
    pub offset: u64,
    /// Why it is here.
    pub reason: String,
    /// When it was kept, Unix milliseconds; none in the embedded form, which does not say.
    pub at_ms: Option<i64>,
    /// As it came.
    pub bytes: Vec<u8>,
    /// How often it is here: a crash between keeping and committing leaves it twice.
    pub copies: u64,
}

impl Letter {
    /// Tells letters apart: the same origin and bytes are one letter.
    pub fn key(&self) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update((self.topic.len() as u64).to_le_bytes());
        hash.update(self.topic.as_bytes());
        hash.update(self.partition.to_le_bytes());
        hash.update(self.offset.to_le_bytes());
        hash.update(&self.bytes);
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        key
    }

    /// What people call it: partition and offset of its origin, and enough of [`Letter::key`].
    pub fn id(&self) -> String {
        let [a, b, c, d, ..] = self.key();
        format!("{}-{}-{a:02x}{b:02x}{c:02x}{d:02x}", self.partition, self.offset)
    }
}

/// Where they are.
pub enum Keep {
    /// The topic of this configuration.
    Topic(kafka::Config),
    /// A file of JSON lines.
    File(PathBuf),
}

impl Keep {
    /// Where these settings say that they are: without Kafka, beside the journal.
    pub fn of(settings: &Settings) -> Keep {
        match settings.kafka.brokers.is_empty() {
            true => Keep::File(settings.dead_letters_file()),
            false => Keep::Topic(settings.kafka().dead_letters()),
        }
    }

    /// The topic's or the file's name.
    pub fn name(&self) -> String {
        match self {
            Keep::Topic(config) => format!("topic {}", config.topic),
            Keep::File(path) => path.display().to_string(),
        }
    }

    /// Hands out every copy of every letter, those of one origin partition in their order.
    pub fn each(&self, each: &mut dyn FnMut(Letter) -> anyhow::Result<()>) -> anyhow::Result<()> {
        match self {
            Keep::Topic(config) => each_of_topic(config, each),
            Keep::File(path) => each_of_file(path, each),
        }
    }
}

fn each_of_topic(
    config: &kafka::Config,
    each: &mut dyn FnMut(Letter) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (mut outcome, mut foreign) = (Ok(()), 0);
    let stretches = kafka::whole(config, WAIT)?;
    kafka::scan(config, &stretches, WAIT, |message| {
        let Some(DeadLetter { topic, partition, offset, reason, .. }) = DeadLetter::read(&message) else {
            foreign += 1;
            return ControlFlow::Continue(());
        };
        let letter = Letter {
            topic: printable(topic),
            partition,
            offset,
            reason: printable(reason),
            at_ms: Some(message.timestamp_ms as i64),
            copies: 1,
            bytes: Vec::new(),
        };
        outcome = each(Letter { bytes: message.payload, ..letter });
        if outcome.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if foreign > 0 {
        eprintln!("mailbeacon: {foreign} messages in topic {} are no dead letters", config.topic);
    }
    outcome
}

/// A line of the embedded form's file.
#[derive(Deserialize)]
struct Line {
    origin_topic: String,
    origin_partition: u32,
    origin_offset: u64,
    reason: String,
    bytes: String,
}

fn each_of_file(path: &Path, each: &mut dyn FnMut(Letter) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let shown = path.display();
    let file = match File::open(path) {
        Ok(file) => file,
        // No letter was ever kept; a wrong directory is another matter.
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            return match path.parent().is_some_and(Path::is_dir) {
                true => Ok(()),
                false => Err(cause)
                    .with_context(|| format!("{shown} (is journal.dir right, or kafka.brokers unset?)")),
            };
        }
        Err(cause) => return Err(cause).with_context(|| format!("failed to open {shown}")),
    };
    let (mut reader, mut line, mut broken) = (BufReader::new(file), Vec::new(), 0);
    loop {
        line.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if read.with_context(|| format!("failed to read {shown}"))? == 0 {
            break;
        }
        if line.len() as u64 == LINE_BYTES_MAX {
            bail!("{shown}: a line of more than {LINE_BYTES_MAX} bytes is no dead letter");
        }
        // A crash may have cut a line short: what it held is kept again behind it.
        let parsed = serde_json::from_slice::<Line>(&line).ok();
        let read = parsed.and_then(|parsed| Some((hex::decode(&parsed.bytes).ok()?, parsed)));
        let Some((bytes, parsed)) = read else {
            broken += 1;
            continue;
        };
        each(Letter {
            topic: printable(&parsed.origin_topic),
            partition: parsed.origin_partition,
            offset: parsed.origin_offset,
            reason: printable(&parsed.reason),
            at_ms: None,
            bytes,
            copies: 1,
        })?;
    }
    if broken > 0 {
        eprintln!("mailbeacon: {shown}: {broken} lines cut short by a crash");
    }
    Ok(())
}

/// Whoever can write to the topic must not write to a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
