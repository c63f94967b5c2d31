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
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use enrich::{Enricher, Tables};
use metrics::{counter, gauge, histogram};
use store::Store;
use telemetry::Health;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::aside::{Aside, Done, Results};
use crate::config::Config;
use crate::intent::Intent;
use crate::lane::{Bound, Flight, Lane};
use crate::source::{CommitError, Part, Polled, Source, SourceError, Taken};
use crate::writer::Unwritten;

/// How long to wait for a message at most: results of writes are looked at in between.
const POLL_WAIT: Duration = Duration::from_millis(20);
/// The same when nothing is under way: a message ends the wait, so only the number of wake-ups depends on it.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// When there is nothing to follow up, a commit acknowledges the last batch after this long.
const IDLE_COMMIT_AFTER: Duration = Duration::from_secs(1);
/// How long a part that is to be given up may take to finish what is in flight.
const RELEASE_WAIT: Duration = Duration::from_secs(5);
/// After an error of the source.
const RETRY_WAIT: Duration = Duration::from_millis(200);
/// How long an error of the source keeps the consumer unready: it is reported now and then, not with every poll.
const TROUBLE_SHOWN: Duration = Duration::from_secs(10);
/// Runs until `shutdown` (then finishes what it has taken, within `drain_ms`) or until the source fails for good.
/// Blocks the calling thread; reads and writes of the store run on `runtime`. The part `consumer` of `health` is
/// unready while a partition stands still.
///
/// # Errors
/// When the source cannot go on: an operator must act. Nothing is lost; the next start goes on where this ended.
pub fn run(
    config: &Config,
    mut source: Box<dyn Source>,
    store: Arc<Store>,
    tables: Arc<Tables>,
    runtime: &Handle,
    health: &Health,
    shutdown: &CancellationToken,
) -> Result<(), SourceError> {
    let (results, done) = channel();
    let mut pipeline = Pipeline {
        config: config.clone(),
        enricher: Enricher::new(tables),
        lanes: HashMap::new(),
        epoch: 0,
        aside: Aside { store, runtime: runtime.clone(), results },
    };
    let (mut stop_at, mut trouble) = (None, None);
    loop {
        let settled = pipeline.lanes.values().all(Lane::is_settled);
        let mut took = false;
        let mut leaving = Vec::new();
        let wait = if settled { IDLE_WAIT } else { POLL_WAIT };
        let polled = source.poll(wait, &mut |polled| {
            took = true;
            match polled {
                Polled::Message { part, offset, payload } => {
                    let Some(lane) = pipeline.lanes.get_mut(part) else { return Taken::Room };
                    lane.take(&mut pipeline.enricher, offset, payload);
                    if lane.is_full() {
                        return Taken::Full;
                    }
                }
                Polled::Assigned { part, committed, note } => pipeline.assign(part, committed, &note),
                Polled::Ended(part) => pipeline.lanes.get_mut(part).into_iter().for_each(Lane::end),
                Polled::Revoked(parts) => leaving.extend(parts),
                Polled::Lost(parts) => pipeline.lose(&parts),
                Polled::Left(parts) => parts.iter().for_each(|part| _ = pipeline.lanes.remove(part)),
            }
            Taken::Room
        });
        match polled {
            Ok(()) => (),
            Err(cause) if cause.retry => {
                warn!(%cause, "failed to read the source, trying again");
                trouble = Some((Instant::now(), cause));
                std::thread::park_timeout(RETRY_WAIT);
            }
            Err(cause) => {
                health.set("consumer", Err(&cause.what));
                return Err(cause);
            }
        }
        while let Ok((part, epoch, result)) = done.try_recv() {
            pipeline.follow_up(&part, epoch, result);
        }
        if !leaving.is_empty() {
            pipeline.give_up(source.as_mut(), &done, &leaving);
        }
        let hurry = shutdown.is_cancelled();
        pipeline.advance(source.as_mut(), hurry);
        trouble = trouble.filter(|(at, _)| at.elapsed() < TROUBLE_SHOWN);
        pipeline.show(health, trouble.as_ref().map(|(_, cause)| cause));
        if hurry {
            let stop_at = *stop_at
                .get_or_insert_with(|| Instant::now() + Duration::from_millis(pipeline.config.drain_ms));
            // Settled before the poll, and the poll brought nothing: there is nothing more.
            let finished = settled && !(took && source.drains());
            if finished || Instant::now() >= stop_at {
                info!(finished, "consumer ended");
                return Ok(());
            }
        }
    }
}

struct Pipeline {
    config: Config,
    enricher: Enricher,
    lanes: HashMap<Part, Lane>,
    /// Counts assignments: a result of an earlier ownership of a part is nobody's.
    epoch: u64,
    aside: Aside,
}

impl Pipeline {
    fn assign(&mut self, part: Part, committed: Option<u64>, note: &str) {
        self.epoch += 1;
        let (intent, trouble) = match Intent::read(note, committed) {
            Ok(intent) => (intent, None),
            // Going on would guess at boundaries: the part stands still until an operator looks.
            Err(cause) => (None, Some(cause.to_string())),
        };
        info!(
            topic = &*part.topic,
            partition = part.number,
            committed,
            pending = intent.is_some(),
            "assigned"
        );
        let mut lane = Lane::new(part.clone(), self.epoch, committed, intent, self.bound());
        if let Some(cause) = trouble {
            error!(cause, partition = part.number, "cannot take over this partition");
            lane.halt(cause);
        }
        self.lanes.insert(part, lane);
    }

    /// Drops what another owner has by now.
    fn lose(&mut self, parts: &[Part]) {
        for part in parts {
            if self.lanes.remove(part).is_some() {
                warn!(partition = part.number, "partition lost");
                counter!("consumer_fenced_partitions_total").increment(1);
            }
        }
    }

    /// Moves every part on as far as it can go without waiting.
    fn advance(&mut self, source: &mut dyn Source, hurry: bool) {
        let now = Instant::now();
        let bound = self.bound();
        let linger = Duration::from_millis(self.config.linger_ms);
        let stop = hurry && !source.drains();
        for lane in self.lanes.values_mut() {
            lane.bound = bound;
            lane.seal_when_due(now, linger, hurry);
            lane.pause_when_full(source, stop);
        }
        for (part, lane) in self.lanes.iter_mut().filter(|(_, lane)| lane.retry_at <= now) {
            lane.flight = match lane.flight.take() {
                None => match lane.ready.take() {
                    Some(batch) => Some(self.aside.prepare(lane, source, batch)),
                    None => {
                        let idle = hurry || now.duration_since(lane.written_at) >= IDLE_COMMIT_AFTER;
                        if let Some(offset) = lane.unacknowledged().filter(|_| idle) {
                            commit(source, part, lane, offset, "");
                        }
                        None
                    }
                },
                Some(Flight::Unread(batch)) => Some(self.aside.prepare(lane, source, batch)),
                Some(Flight::Intending { batch, intent, again }) => {
                    match commit(source, part, lane, intent.from, &intent.to_string()) {
                        true => Some(self.aside.write(lane, batch, intent, again)),
                        false => Some(Flight::Intending { batch, intent, again }),
                    }
                }
                Some(Flight::Unwritten(sealed, bill)) => Some(self.aside.write_again(lane, *sealed, bill)),
                under_way => under_way,
            };
            if lane.retry_at > now {
                // What failed just now may have taken seconds: the source is polled before another part is tried.
                break;
            }
        }
    }

    /// Takes up what a task came to.
    fn follow_up(&mut self, part: &Part, epoch: u64, result: Done) {
        let Some(lane) = self.lanes.get_mut(part).filter(|lane| lane.epoch == epoch) else { return };
        lane.flight = match (lane.flight.take(), result) {
            (Some(Flight::Preparing(mut batch)), Done::Prepared(Ok(prepared))) => {
                batch.settle(&mut self.enricher, &prepared.stored);
                // A range that was intended before keeps its note: it says which server may have its rows.
                let before = lane.rerun.take_if(|intent| intent.to == batch.to);
                let server_started = before.map_or(prepared.server_started, |intent| intent.server_started);
                let intent = Intent { from: batch.from, to: batch.to, server_started };
                Some(Flight::Intending { batch, intent, again: before.is_some() })
            }
            (Some(Flight::Preparing(batch)), Done::Prepared(Err(cause))) => {
                lane.failed(format!("clickhouse cannot be asked: {cause}"));
                Some(Flight::Unread(batch))
            }
            (Some(Flight::Writing(bill)), Done::Written(Ok(unverified))) => {
                counter!("consumer_stored_events_total").increment(bill.counts.stored);
                counter!("consumer_duplicate_events_total").increment(bill.counts.duplicate);
                counter!("consumer_dead_lettered_events_total").increment(bill.counts.dead);
                counter!("consumer_unverified_batches_total").increment(unverified);
                counter!("consumer_batches_total").increment(1);
                histogram!("consumer_write_seconds").record(bill.since.elapsed().as_secs_f64());
                lane.written(bill.to);
                None
            }
            (Some(Flight::Writing(bill)), Done::Written(Err(unwritten))) => {
                let Unwritten { sealed, cause } = *unwritten;
                counter!("consumer_insert_retries_total", "class" => cause.class()).increment(1);
                lane.failed(cause.to_string());
                Some(Flight::Unwritten(Box::new(sealed), bill))
            }
            (flight, _) => flight,
        };
    }

    /// Finishes what is being written of parts that go to another owner, within a bound, and lets them go. What is
    /// not finished the next owner finds as an intent.
    fn give_up(&mut self, source: &mut dyn Source, done: &Results, parts: &[Part]) {
        let deadline = Instant::now() + RELEASE_WAIT;
        let writing = |lanes: &HashMap<Part, Lane>| {
            let is_writing = |lane: &Lane| matches!(lane.flight, Some(Flight::Writing(_)));
            parts.iter().any(|part| lanes.get(part).is_some_and(is_writing))
        };
        while writing(&self.lanes) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((part, epoch, result)) = done.recv_timeout(left) else { break };
            self.follow_up(&part, epoch, result);
        }
        for part in parts {
            let Some(mut lane) = self.lanes.remove(part) else { continue };
            let written = !matches!(lane.flight, Some(Flight::Writing(_) | Flight::Unwritten(..)));
            if let Some(offset) = lane.unacknowledged().filter(|_| written) {
                commit(source, part, &mut lane, offset, "");
            }
        }
        source.release(parts);
        info!(count = parts.len(), "partitions given up");
    }

    /// A part may have a batch that fills, one that waits and one that is written, which is there twice while it is
    /// being finished.
    fn bound(&self) -> Bound {
        let bytes_max = self.config.memory_bytes_max / (4 * self.lanes.len().max(1));
        Bound { rows_max: self.config.batch_rows_max, bytes_max }
    }

    fn show(&self, health: &Health, source: Option<&SourceError>) {
        let inflight: usize = self.lanes.values().map(Lane::events).sum();
        gauge!("consumer_inflight_events").set(inflight as f64);
        gauge!("consumer_owned_partitions").set(self.lanes.len() as f64);
        let mut stalled: Vec<(&Part, &String)> =
            self.lanes.iter().filter_map(|(part, lane)| Some((part, lane.trouble.as_ref()?))).collect();
        gauge!("consumer_stalled_partitions").set(stalled.len() as f64);
        stalled.sort();
        match (source, stalled.first()) {
            (Some(cause), _) => health.set("consumer", Err(&cause.what)),
            (None, Some((part, why))) => {
                health.set("consumer", Err(&format!("partition {} stands still: {why}", part.number)));
            }
            (None, None) => health.set("consumer", Ok(())),
        }
    }
}

/// Commits; when that fails the part waits. Being fenced alone drops nothing: while a group is rearranged, commits
/// are refused for parts that stay, too. Nothing is written without the commit, and a part that is gone is lost.
fn commit(source: &mut dyn Source, part: &Part, lane: &mut Lane, offset: u64, note: &str) -> bool {
    match source.commit(part, offset, note) {
        Ok(()) => {
            lane.committed = Some(offset);
            lane.went_well();
            true
        }
        Err(cause) => {
            if let CommitError::Fatal(_) = cause {
                error!(%cause, partition = part.number, "commit refused");
            }
            counter!("consumer_commit_retries_total").increment(1);
            lane.failed(format!("commit: {cause}"));
            false
        }
    }
}
