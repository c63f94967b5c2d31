//! The way onto the path for events that come from no request: replayed dead letters, sends, history.
//!
//! They are marked as replays, so the consumer looks for each in ClickHouse before it stores it: however often one is
//! put in, it is stored once. With Kafka they go on the topic. In the embedded form they go through a directory, from
//! which `up` takes them into a journal of their own, whether it runs already or is started later.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use event::{Batch, Event};
use journal::{Class, Log};
use kafka::{Delivery, Producer, SendError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::settings::Settings;

/// (edge id, number): what names an event for good.
pub type EventId = (u64, u64);

/// Events put in at a time, and their bytes.
pub const EVENTS_AT_ONCE: usize = 1_000;
/// See [`EVENTS_AT_ONCE`].
pub const BYTES_AT_ONCE: usize = 8 << 20;
/// The largest Kafka message, in bytes: as the shipper's.
const MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// How long Kafka may take to acknowledge one round.
const DELIVERY_WAIT: Duration = Duration::from_secs(60);
/// What may wait in the directory, in bytes, and how long its end is waited for.
const WAITING_BYTES_MAX: u64 = 1 << 30;
const WAITING_WAIT: Duration = Duration::from_secs(60);
/// How often the directory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// The events of one frame of the journal, in bytes: one event more may be in it.
const FRAME_BYTES: usize = 32 << 10;
/// What is being written has this at its end.
const UNFINISHED: &str = "next";

/// A way in.
pub enum Inlet {
    /// The topic.
    Topic {
        /// To it.
        producer: Box<Producer>,
        /// How many it has.
        partitions: u32,
    },
    /// The directory that `up` reads.
    Directory(PathBuf),
}

impl Inlet {
    /// The one of these settings.
    pub fn open(settings: &Settings) -> anyhow::Result<Inlet> {
        if settings.kafka.brokers.is_empty() {
            let dir = directory(settings);
            fs::create_dir_all(&dir).with_context(|| format!("failed to create {}", dir.display()))?;
            return Ok(Inlet::Directory(dir));
        }
        let producer = Box::new(Producer::new(&settings.kafka())?);
        let partitions = producer.partitions()?;
        Ok(Inlet::Topic { producer, partitions })
    }

    /// Puts events in; they are safe when this returns.
    pub fn put(&self, events: &[(EventId, Vec<u8>)]) -> anyhow::Result<()> {
        match self {
            Inlet::Topic { producer, partitions } => produce(producer, &messages(events, *partitions)),
            Inlet::Directory(dir) => lay_down(dir, events),
        }
    }
}

/// Where the embedded form's events come in.
pub fn directory(settings: &Settings) -> PathBuf {
    settings.journal.dir.join("inlet")
}

fn marked(bytes: &[u8]) -> Vec<u8> {
    let mut marked = bytes.to_vec();
    event::mark_replay(&mut marked);
    marked
}

/// Messages of one partition each.
fn messages(events: &[(EventId, Vec<u8>)], partitions: u32) -> Vec<(u32, Vec<u8>)> {
    let mut filling: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let mut full = Vec::new();
    for ((edge_id, seq), bytes) in events {
        // Not read from a fixed place as the edge does: who wrote these bytes is not known.
        let recipient = Event::decode(bytes).map_or(0, |event| event.recipient);
        let partition = event::partition(recipient, *edge_id, *seq, partitions);
        let marked = marked(bytes);
        let batch = filling.entry(partition).or_default();
        if !batch.is_empty() && batch.len() + marked.len() > MESSAGE_BYTES_MAX {
            full.push((partition, std::mem::take(batch)));
        }
        Batch::push(batch, &marked);
    }
    full.extend(filling);
    full
}

/// Returns once all are stored. After an error some may be: putting all in again does no harm.
fn produce(producer: &Producer, messages: &[(u32, Vec<u8>)]) -> anyhow::Result<()> {
    let deadline = Instant::now() + DELIVERY_WAIT;
    let (mut sent, mut left) = (0, messages.len());
    let mut failed = None;
    while left > 0 {
        while let Some((partition, payload)) = messages.get(sent) {
            match producer.send(*partition, payload, sent as u64) {
                Ok(()) => sent += 1,
                Err(SendError::Full) => break,
                Err(cause) => return Err(cause).context("failed to put events on the topic"),
            }
        }
        let wait = deadline.saturating_duration_since(Instant::now());
        producer.deliveries(wait, |Delivery { result, .. }| {
            left -= 1;
            failed = result.err().or(failed.take());
        });
        if left > 0 && wait.is_zero() {
            bail!("{left} of {} messages not acknowledged in {} s", messages.len(), DELIVERY_WAIT.as_secs());
        }
    }
    match failed {
        Some(cause) => Err(cause).context("failed to put events on the topic"),
        None => Ok(()),
    }
}

/// Writes a file that is whole or not there.
fn lay_down(dir: &Path, events: &[(EventId, Vec<u8>)]) -> anyhow::Result<()> {
    let deadline = Instant::now() + WAITING_WAIT;
    while waiting(dir)? > WAITING_BYTES_MAX {
        if Instant::now() >= deadline {
            bail!(
                "{}: more than {WAITING_BYTES_MAX} bytes wait for `mailbeacon up` to take them: is it running?",
                dir.display()
            );
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    let mut bytes = Vec::new();
    events.iter().for_each(|(_, event)| Batch::push(&mut bytes, &marked(event)));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let path = dir.join(format!("{now:026}-{}", std::process::id()));
    let next = path.with_extension(UNFINISHED);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&next)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&next, &path)?;
        File::open(dir)?.sync_all()
    };
    write().with_context(|| format!("failed to write {}", path.display()))
}

fn waiting(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("failed to read {}", dir.display()))? {
        // One that `up` takes at this moment waits no more.
        bytes += entry.and_then(|entry| entry.metadata()).map_or(0, |metadata| metadata.len());
    }
    Ok(bytes)
}

/// Takes what comes into the directory into the journal, until told to end. A file goes when all of it is safe there;
/// what a crash leaves in both places comes twice, and is stored once.
pub fn take(dir: &Path, log: &Log, stop: &CancellationToken) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    fs::create_dir_all(dir).with_context(|| format!("failed to create {}", dir.display()))?;
    while !stop.is_cancelled() {
        let mut files: Vec<PathBuf> = fs::read_dir(dir)
            .with_context(|| format!("failed to read {}", dir.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_none())
            .collect();
        files.sort();
        let mut went_well = true;
        for file in files {
            let taken = fs::read(&file).map_err(anyhow::Error::from).and_then(|bytes| {
                let events = append(log, &bytes)?;
                runtime.block_on(log.flush())?;
                fs::remove_file(&file)?;
                Ok(events)
            });
            match taken {
                Ok(events) => info!(events, "taken in"),
                Err(cause) => {
                    warn!(%cause, file = %file.display(), "cannot take events in, trying again");
                    went_well = false;
                    break;
                }
            }
            if stop.is_cancelled() {
                break;
            }
        }
        let wait = if went_well { LOOK_EVERY } else { 10 * LOOK_EVERY };
        runtime.block_on(async { tokio::time::timeout(wait, stop.cancelled()).await }).ok();
    }
    Ok(())
}

fn append(log: &Log, bytes: &[u8]) -> anyhow::Result<u64> {
    let (mut frame, mut events) = (Vec::new(), 0);
    let write = |frame: &mut Vec<u8>| -> anyhow::Result<()> {
        let full = std::mem::take(frame);
        // Nobody asks for these again: they are never shed for others.
        log.append(Class::Sent, |_, _, out| out.extend_from_slice(&full))
            .map_err(|why| anyhow::anyhow!("no room in the journal ({why:?})"))?;
        Ok(())
    };
    for event in Batch::new(bytes) {
        Batch::push(&mut frame, event.context("a file in the inlet is not a batch of events")?);
        events += 1;
        if frame.len() >= FRAME_BYTES {
            write(&mut frame)?;
        }
    }
    if !frame.is_empty() {
        write(&mut frame)?;
    }
    Ok(events)
}
