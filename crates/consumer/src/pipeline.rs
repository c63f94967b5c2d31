//! The path of an event from its source to ClickHouse, on one page.
//!
//! Each part (partition) goes through the same four steps, one batch at a time:
//!
//! 1. *take*: messages are decoded, enriched and encoded into the batch as they come.
//! 2. *prepare*: what cannot be read is kept aside; events that may be stored already are looked for.
//! 3. *intend*: the batch's exact range is committed beside the offset it starts at. Only the owner can.
//! 4. *write*: the rows are inserted under a token that names the range, until they are known to be stored.
//!
//! The commit that starts the next batch acknowledges the last one. A crash anywhere leaves an intent, which the
//! next owner writes again; the token, or a look into the store, keeps it from being stored twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use enrich::{Enricher, Tables};
use metrics::{counter, gauge, histogram};
use store::Store;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::batch::{Batch, EventId};
use crate::config::Config;
use crate::intent::Intent;
use crate::lane::{Flight, Lane};
use crate::source::{Part, Polled, Source, SourceError};
use crate::writer::{self, Prepared, Sealed};

/// How long to wait for a message at most: results of writes are looked at in between.
const POLL_WAIT: Duration = Duration::from_millis(20);
/// When there is nothing to follow up, a commit acknowledges the last batch after this long.
const IDLE_COMMIT_AFTER: Duration = Duration::from_secs(1);
/// How long a part that is to be given up may take to finish what is in flight.
const RELEASE_WAIT: Duration = Duration::from_secs(5);
/// After an error of the source or of a commit.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// What a task that ran beside the pipeline came to.
enum Done {
    Prepared(Result<Prepared, store::StoreError>),
    Written,
}

/// Runs until `shutdown` (then finishes what it has taken, within `drain_ms`) or until the source fails for good.
/// Blocks the calling thread; reads and writes of the store run on `runtime`.
///
/// # Errors
/// When the source cannot go on: an operator must act. Nothing is lost; the next start goes on where this ended.
pub fn run(
    config: &Config,
    mut source: Box<dyn Source>,
    store: Arc<Store>,
    tables: Arc<Tables>,
    runtime: &Handle,
    shutdown: &CancellationToken,
) -> Result<(), SourceError> {
    let (results, done) = channel();
    let mut pipeline = Pipeline {
        config: config.clone(),
        store,
        enricher: Enricher::new(tables),
        runtime: runtime.clone(),
        lanes: HashMap::new(),
        results,
        epoch: 0,
    };
    let mut stop_at = None;
    loop {
        let mut took = false;
        let mut leaving = Vec::new();
        let polled = source.poll(POLL_WAIT, &mut |polled| match polled {
            Polled::Message { part, offset, payload } => {
                took = true;
                if let Some(lane) = pipeline.lanes.get_mut(part) {
                    lane.take(&mut pipeline.enricher, &pipeline.config, offset, payload);
                }
            }
            Polled::Assigned { part, committed, note } => pipeline.assign(part, committed, &note),
            Polled::Revoked(parts) => leaving.extend(parts),
            Polled::Lost(parts) => parts.iter().for_each(|part| pipeline.drop_lane(part)),
        });
        match polled {
            Ok(()) => (),
            Err(cause) if cause.retry => {
                warn!(%cause, "failed to read the source, trying again");
                std::thread::park_timeout(RETRY_WAIT);
            }
            Err(cause) => return Err(cause),
        }
        while let Ok((part, epoch, result)) = done.try_recv() {
            pipeline.follow_up(&part, epoch, result);
        }
        if !leaving.is_empty() {
            pipeline.give_up(source.as_mut(), &done, &leaving);
        }
        let hurry = shutdown.is_cancelled();
        pipeline.advance(source.as_mut(), hurry);
        pipeline.show();
        if hurry {
            let stop_at =
                *stop_at.get_or_insert_with(|| Instant::now() + Duration::from_millis(pipeline.config.drain_ms));
            let empty = pipeline.lanes.values().all(Lane::is_settled) && !(took && source.drains());
            if empty || Instant::now() >= stop_at {
                info!(finished = empty, "consumer ended");
                return Ok(());
            }
        }
    }
}

struct Pipeline {
    config: Config,
    store: Arc<Store>,
    enricher: Enricher,
    runtime: Handle,
    lanes: HashMap<Part, Lane>,
    results: Sender<(Part, u64, Done)>,
    /// Counts assignments: a result of an earlier ownership of a part is nobody's.
    epoch: u64,
}

impl Pipeline {
    fn assign(&mut self, part: Part, committed: Option<u64>, note: &str) {
        let intent = match Intent::read(note, committed) {
            Ok(intent) => intent,
            Err(cause) => {
                // Going on would guess at boundaries: the part stands still until an operator looks.
                error!(%cause, partition = part.number, "cannot take over this partition");
                return;
            }
        };
        self.epoch += 1;
        info!(topic = &*part.topic, partition = part.number, committed, pending = intent.is_some(), "assigned");
        self.lanes.insert(part.clone(), Lane::new(part, self.epoch, committed, intent));
    }

    fn drop_lane(&mut self, part: &Part) {
        if self.lanes.remove(part).is_some() {
            counter!("consumer_fenced_partitions_total").increment(1);
        }
    }

    /// Moves every part on as far as it can go without waiting.
    fn advance(&mut self, source: &mut dyn Source, hurry: bool) {
        let now = Instant::now();
        let bytes_max = self.batch_bytes_max();
        let linger = Duration::from_millis(self.config.linger_ms);
        let stop = hurry && !source.drains();
        let mut fenced = Vec::new();
        for (part, lane) in &mut self.lanes {
            lane.bytes_max = bytes_max;
            lane.seal_when_due(now, linger, hurry);
            lane.pause_when_full(source, stop);
            if now < lane.retry_at {
                continue;
            }
            let next = match lane.flight.take() {
                None => match lane.ready.take() {
                    Some(batch) => Some(prepare(&self.store, &self.runtime, &self.results, lane, source, batch)),
                    None => {
                        let idle = hurry || now.duration_since(lane.written_at) >= IDLE_COMMIT_AFTER;
                        if let Some(offset) = lane.unacknowledged().filter(|_| idle) {
                            match source.commit(part, offset, "") {
                                Ok(()) => lane.committed = Some(offset),
                                Err(cause) => lane.commit_failed(part, &cause, &mut fenced),
                            }
                        }
                        None
                    }
                },
                Some(Flight::Unread(batch)) => {
                    Some(prepare(&self.store, &self.runtime, &self.results, lane, source, batch))
                }
                Some(Flight::Intending { batch, intent, tried_on }) => {
                    match source.commit(part, intent.from, &intent.to_string()) {
                        Ok(()) => {
                            lane.committed = Some(intent.from);
                            Some(write(&self.store, &self.runtime, &self.results, lane, batch, tried_on))
                        }
                        Err(cause) => {
                            lane.commit_failed(part, &cause, &mut fenced);
                            Some(Flight::Intending { batch, intent, tried_on })
                        }
                    }
                }
                under_way => under_way,
            };
            lane.flight = next;
        }
        for part in fenced {
            self.drop_lane(&part);
        }
    }

    /// Takes up what a task came to.
    fn follow_up(&mut self, part: &Part, epoch: u64, result: Done) {
        let Some(lane) = self.lanes.get_mut(part).filter(|lane| lane.epoch == epoch) else { return };
        lane.flight = match (lane.flight.take(), result) {
            (Some(Flight::Preparing(mut batch)), Done::Prepared(Ok(prepared))) => {
                batch.settle(&mut self.enricher, &prepared.stored);
                // A range that was intended before keeps its note: it says which server may have its rows.
                let again = lane.rerun.take_if(|intent| intent.to == batch.to);
                let server_started = again.map_or(prepared.server_started, |intent| intent.server_started);
                let intent = Intent { from: batch.from, to: batch.to, server_started };
                Some(Flight::Intending { batch, intent, tried_on: again.map(|intent| intent.server_started) })
            }
            (Some(Flight::Preparing(batch)), Done::Prepared(Err(cause))) => {
                warn!(%cause, "clickhouse cannot be asked, trying again");
                lane.retry_at = Instant::now() + lane.backoff.next();
                Some(Flight::Unread(batch))
            }
            (Some(Flight::Writing { to, counts, since }), Done::Written) => {
                counter!("consumer_stored_events_total").increment(counts.stored);
                counter!("consumer_duplicate_events_total").increment(counts.duplicate);
                counter!("consumer_dead_lettered_events_total").increment(counts.dead);
                counter!("consumer_batches_total").increment(1);
                histogram!("consumer_write_seconds").record(since.elapsed().as_secs_f64());
                lane.written(to);
                None
            }
            (flight, _) => flight,
        };
    }

    /// Finishes what is being written of parts that go to another owner, within a bound, and lets them go. What is
    /// not finished the next owner finds as an intent.
    fn give_up(&mut self, source: &mut dyn Source, done: &Receiver<(Part, u64, Done)>, parts: &[Part]) {
        let deadline = Instant::now() + RELEASE_WAIT;
        let writing = |lanes: &HashMap<Part, Lane>| {
            parts.iter().any(|part| {
                lanes.get(part).is_some_and(|lane| matches!(lane.flight, Some(Flight::Writing { .. })))
            })
        };
        while writing(&self.lanes) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((part, epoch, result)) = done.recv_timeout(left) else { break };
            self.follow_up(&part, epoch, result);
        }
        for part in parts {
            let Some(lane) = self.lanes.remove(part) else { continue };
            if let (None, Some(offset)) = (&lane.flight, lane.unacknowledged())
                && let Err(cause) = source.commit(part, offset, "")
            {
                warn!(%cause, partition = part.number, "failed to commit before giving a partition up");
            }
        }
        source.release(parts);
        info!(count = parts.len(), "partitions given up");
    }

    /// A part may have three batches: one that fills, one that waits, one that is being written.
    fn batch_bytes_max(&self) -> usize {
        self.config.memory_bytes_max / (3 * self.lanes.len().max(1))
    }

    fn show(&self) {
        let inflight: usize = self.lanes.values().map(Lane::events).sum();
        gauge!("consumer_inflight_events").set(inflight as f64);
        gauge!("consumer_owned_partitions").set(self.lanes.len() as f64);
    }
}

/// Keeps aside what cannot be read, then asks the store what must be known before the intent.
fn prepare(
    store: &Arc<Store>,
    runtime: &Handle,
    results: &Sender<(Part, u64, Done)>,
    lane: &mut Lane,
    source: &mut dyn Source,
    mut batch: Batch,
) -> Flight {
    while let Some(letter) = batch.dead.last() {
        if let Err(cause) = source.dead_letter(letter) {
            warn!(%cause, "failed to keep a dead letter, trying again");
            lane.retry_at = Instant::now() + lane.backoff.next();
            return Flight::Unread(batch);
        }
        warn!(partition = letter.part.number, offset = letter.offset, reason = letter.reason, "dead letter");
        batch.dead_lettered += 1;
        batch.dead.pop();
    }
    let held: Vec<(EventId, i64)> = batch.held.iter().map(|held| (held.id, held.received_at_ms)).collect();
    let (store, part, range) = (store.clone(), batch.part.clone(), (batch.from, batch.to));
    let (results, epoch) = (results.clone(), lane.epoch);
    runtime.spawn(async move {
        let prepared = writer::prepare(&store, &part, range, &held).await;
        // The pipeline may have ended: then nobody wants to know.
        let _ = results.send((part, epoch, Done::Prepared(prepared)));
    });
    Flight::Preparing(batch)
}

fn write(
    store: &Arc<Store>,
    runtime: &Handle,
    results: &Sender<(Part, u64, Done)>,
    lane: &Lane,
    mut batch: Batch,
    tried_on: Option<i64>,
) -> Flight {
    let flight = Flight::Writing { to: batch.to, counts: batch.counts(), since: batch.since };
    let sealed = Sealed {
        part: batch.part.clone(),
        from: batch.from,
        to: batch.to,
        blocks: batch.blocks.iter_mut().map(|(month, block)| (*month, block.rows(), block.finish())).collect(),
        tried_on,
    };
    let (store, results, epoch) = (store.clone(), results.clone(), lane.epoch);
    runtime.spawn(async move {
        let part = sealed.part.clone();
        writer::write(&store, sealed).await;
        let _ = results.send((part, epoch, Done::Written));
    });
    flight
}
