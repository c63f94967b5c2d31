//! `dead-letters replay`: what can be read now goes back on the path.
//!
//! Each event is marked as a replay, so that the consumer looks for it in ClickHouse before it stores it: however
//! often it is put back, it is stored once. Looking here first only saves the way.
//!
//! With Kafka they go back on the topic. In the embedded form they go into a journal of their own, which the next
//! `up` reads.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use event::{Batch, Event};
use kafka::{Delivery, Producer, SendError};

use super::{Contents, EventId, Keep, Letter, Which};
use crate::programs;
use crate::settings::Settings;
use crate::stdout::say;

/// Events that are looked up and sent at a time, and their bytes.
const EVENTS_AT_ONCE: usize = 1_000;
const BYTES_AT_ONCE: usize = 8 << 20;
/// The largest Kafka message, in bytes: as the shipper's.
const MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// How long Kafka may take to acknowledge one round.
const DELIVERY_WAIT: Duration = Duration::from_secs(60);
/// Letters with something unreadable in them that are named one by one.
const NAMED_MAX: usize = 100;

/// Puts back what can be read of the letters chosen, and says what was done.
pub fn run(settings: &Settings, keep: &Keep, which: &Which, ids: &[String], dry: bool) -> anyhow::Result<()> {
    let mut replay = Replay::new(settings, keep, dry);
    let mut missing: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let mut seen = HashSet::new();
    keep.each(&mut |letter| {
        let chosen = ids.is_empty() || ids.contains(&letter.id());
        if chosen && which.takes(&letter) && seen.insert(letter.key()) {
            missing.remove(letter.id().as_str());
            replay.take(&letter)?;
        }
        Ok(())
    })?;
    replay.flush()?;
    say(|out| replay.report(out))?;
    match missing.is_empty() {
        true => Ok(()),
        false => {
            let missing: Vec<&str> = missing.into_iter().collect();
            bail!("no dead letter {} in {}", missing.join(", "), keep.name())
        }
    }
}

/// Which of these events are stored.
pub fn stored(settings: &Settings, ids: &[EventId]) -> anyhow::Result<HashSet<EventId>> {
    if settings.clickhouse.url.is_empty() {
        bail!("clickhouse.url is empty");
    }
    let store = settings.store()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut found = HashSet::new();
    for ids in ids.chunks(EVENTS_AT_ONCE) {
        let list: Vec<String> = ids.iter().map(|(edge_id, seq)| format!("({edge_id},{seq})")).collect();
        let sql =
            format!("SELECT DISTINCT edge_id, seq FROM events WHERE (edge_id, seq) IN ({})", list.join(","));
        for line in runtime.block_on(store.query(&sql))?.lines() {
            let id = line.split_once('\t').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            found.insert(id.with_context(|| format!("clickhouse answered {line:?}: expected two numbers"))?);
        }
    }
    Ok(found)
}

struct Replay<'a> {
    settings: &'a Settings,
    keep: &'a Keep,
    dry: bool,
    producer: Option<(Producer, u32)>,
    journal: Option<journal::Log>,
    /// Readable, and not yet put back.
    round: Vec<(EventId, Vec<u8>)>,
    round_bytes: usize,
    /// Whether ClickHouse answers: it is asked once in vain.
    can_ask: bool,
    letters: u64,
    put_back: u64,
    stored: u64,
    /// Letters with parts that cannot be read: what is wrong with the first one.
    left: u64,
    named: Vec<String>,
}

impl<'a> Replay<'a> {
    fn new(settings: &'a Settings, keep: &'a Keep, dry: bool) -> Self {
        Replay {
            settings,
            keep,
            dry,
            producer: None,
            journal: None,
            round: Vec::new(),
            round_bytes: 0,
            can_ask: true,
            letters: 0,
            put_back: 0,
            stored: 0,
            left: 0,
            named: Vec::new(),
        }
    }

    fn take(&mut self, letter: &Letter) -> anyhow::Result<()> {
        self.letters += 1;
        let contents = Contents::of(letter);
        if let Some(first) = contents.unreadable.first() {
            self.left += 1;
            if self.named.len() < NAMED_MAX {
                self.named.push(format!("{}: {}: {}", letter.id(), contents.summary(), first.why));
            }
        }
        for (id, bytes) in contents.ids().into_iter().zip(&contents.events) {
            self.round.push((id, bytes.to_vec()));
            self.round_bytes += bytes.len();
            if self.round.len() >= EVENTS_AT_ONCE || self.round_bytes >= BYTES_AT_ONCE {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Puts back what was gathered, and returns when it is there.
    fn flush(&mut self) -> anyhow::Result<()> {
        let mut round = std::mem::take(&mut self.round);
        self.round_bytes = 0;
        if round.is_empty() {
            return Ok(());
        }
        let ids: Vec<EventId> = round.iter().map(|(id, _)| *id).collect();
        if self.can_ask {
            match stored(self.settings, &ids) {
                Ok(stored) => round.retain(|(id, _)| !stored.contains(id)),
                Err(cause) => {
                    self.can_ask = false;
                    eprintln!(
                        "mailbeacon: ClickHouse cannot be asked what is stored, the consumer will look: {cause:#}"
                    );
                }
            }
        }
        self.stored += (ids.len() - round.len()) as u64;
        self.put_back += round.len() as u64;
        if self.dry || round.is_empty() {
            return Ok(());
        }
        if let Keep::File(_) = self.keep {
            return self.append(&round);
        }
        let (producer, partitions) = match &self.producer {
            Some(reached) => reached,
            None => {
                let producer = Producer::new(&self.settings.kafka())?;
                let partitions = producer.partitions()?;
                self.producer.insert((producer, partitions))
            }
        };
        produce(producer, &messages(&round, *partitions))
    }

    /// Puts events into the journal that the next `up` reads.
    fn append(&mut self, round: &[(EventId, Vec<u8>)]) -> anyhow::Result<()> {
        let log = match &self.journal {
            Some(log) => log,
            None => {
                let opened = programs::open_replays(self.settings);
                let (log, _) = opened.context(
                    "letters of the embedded form are put back while `mailbeacon up` does not run, and taken up at \
                     its next start",
                )?;
                self.journal.insert(log)
            }
        };
        for (_, bytes) in round {
            let mut marked = bytes.clone();
            event::mark_replay(&mut marked);
            log.append(journal::Class::Sent, |_, _, out| Batch::push(out, &marked)).map_err(|why| {
                anyhow::anyhow!("the journal of replays is full or cannot be written ({why:?})")
            })?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(log.flush()).context("failed to put events back")
    }

    fn report(&self, out: &mut dyn Write) -> io::Result<()> {
        let Replay { letters, put_back, stored, left, named, dry, .. } = self;
        let (done, topic) = (if *dry { "would be put back" } else { "put back" }, &self.settings.kafka.topic);
        writeln!(out, "{letters} letters in {}", self.keep.name())?;
        match self.keep {
            Keep::Topic(_) => writeln!(out, "{put_back} events {done} on topic {topic}, marked as replayed")?,
            Keep::File(_) => {
                writeln!(
                    out,
                    "{put_back} events {done}, marked as replayed: the next `mailbeacon up` takes them"
                )?;
            }
        }
        if *stored > 0 {
            writeln!(out, "{stored} events are stored already, nothing to do for them")?;
        }
        if *left > 0 {
            writeln!(out, "{left} letters hold something that cannot be read, which stays:")?;
        }
        for line in named {
            writeln!(out, "  {line}")?;
        }
        if *left > named.len() as u64 {
            writeln!(out, "  and {} more", left - named.len() as u64)?;
        }
        Ok(())
    }
}

/// Messages of one partition each.
fn messages(round: &[(EventId, Vec<u8>)], partitions: u32) -> Vec<(u32, Vec<u8>)> {
    let mut filling: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let mut full = Vec::new();
    for ((edge_id, seq), bytes) in round {
        // Not read from a fixed place as the edge does: who wrote these bytes is not known.
        let recipient = Event::decode(bytes).map_or(0, |event| event.recipient);
        let partition = event::partition(recipient, *edge_id, *seq, partitions);
        let mut marked = bytes.clone();
        event::mark_replay(&mut marked);
        let batch = filling.entry(partition).or_default();
        if !batch.is_empty() && batch.len() + marked.len() > MESSAGE_BYTES_MAX {
            full.push((partition, std::mem::take(batch)));
        }
        Batch::push(batch, &marked);
    }
    full.extend(filling);
    full
}

/// Returns once all are stored. After an error some may be: putting all back again does no harm.
fn produce(producer: &Producer, messages: &[(u32, Vec<u8>)]) -> anyhow::Result<()> {
    let deadline = Instant::now() + DELIVERY_WAIT;
    let (mut sent, mut left) = (0, messages.len());
    let mut failed = None;
    while left > 0 {
        while let Some((partition, payload)) = messages.get(sent) {
            match producer.send(*partition, payload, sent as u64) {
                Ok(()) => sent += 1,
                Err(SendError::Full) => break,
                Err(cause) => return Err(cause).context("failed to put events back"),
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
        Some(cause) => Err(cause).context("failed to put events back"),
        None => Ok(()),
    }
}
