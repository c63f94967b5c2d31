//! The path of an event from its source to ClickHouse, on one page.
//!
//! Before the first message of a part (partition) the store is asked for the visits before it, by which a sweep or a
//! tainted visitor is known. Then each part goes through the same four steps, one batch at a time:
//!
//! 1. *take*: messages are decoded, enriched and encoded into the batch as they come.
//! 2. *ask*: what cannot be read is kept aside; events that may be stored already are looked for.
//! 3. *intend*: the batch's exact range is committed beside the offset it starts at. Only the owner can.
//! 4. *write*: the rows are inserted under a token that names the range, or together with those of other parts under one
//!    that the intent names, until they are known to be stored.
//!
//! What comes next is decided by the part's [`Lane`], without input or output. Here its tasks are done.
//!
//! The commit that starts the next batch acknowledges the last one. A crash anywhere leaves an intent, which the
//! next owner writes again; the token, or a look into the store, keeps it from being stored twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use enrich::{Enricher, Tables};
use metrics::{counter, gauge};
use store::Store;
use telemetry::Health;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::aside::{Aside, Results};
use crate::config::Config;
use crate::intent::Intent;
use crate::lane::{Bound, Lane};
use crate::source::{Part, Polled, Source, SourceError, Taken};
use crate::task::{Done, Task};
use crate::turns::{self, Turns};

/// How long to wait for a message at most: results of writes are looked at in between.
const POLL_WAIT: Duration = Duration::from_millis(20);
/// The same when nothing is under way: a message ends the wait, so only the number of wake-ups depends on it.
const IDLE_WAIT: Duration = Duration::from_millis(100);
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
/// Newer `tables` are taken up between messages, and a batch keeps those that it began with.
///
/// # Errors
/// When the source cannot go on: an operator must act. Nothing is lost; the next start goes on where this ended.
pub fn run(
    config: &Config,
    mut source: Box<dyn Source>,
    store: Arc<Store>,
    mut tables: watch::Receiver<Arc<Tables>>,
    runtime: &Handle,
    health: &Health,
    shutdown: &CancellationToken,
) -> Result<(), SourceError> {
    let (results, done) = channel();
    let mut pipeline = Pipeline {
        config: config.clone(),
        enricher: Enricher::new(tables.borrow_and_update().clone()).with_addresses(config.address.clone()),
        lanes: BTreeMap::new(),
        epoch: 0,
        turns: Turns::new(rand::random()),
        aside: Aside { store, runtime: runtime.clone(), results },
    };
    let (mut stop_at, mut trouble) = (None, None);
    loop {
        let settled = pipeline.lanes.values().all(Lane::is_settled);
        if tables.has_changed().unwrap_or(false) {
            pipeline.enricher.set_tables(tables.borrow_and_update().clone());
        }
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
                Polled::Left(parts) => parts.iter().for_each(|part| _ = pipeline.remove(part)),
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
            pipeline.follow_up(source.as_mut(), &part, epoch, result);
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
    lanes: BTreeMap<Part, Lane>,
    /// Counts assignments: a result of an earlier ownership of a part is nobody's.
    epoch: u64,
    turns: Turns,
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
        let mut lane = Lane::new(part.clone(), self.epoch, committed, intent, self.bound(), rand::random());
        if let Some(cause) = trouble {
            error!(cause, partition = part.number, "cannot take over this partition");
            lane.halt(cause);
        }
        self.remove(&part);
        self.lanes.insert(part, lane);
    }

    fn remove(&mut self, part: &Part) -> Option<Lane> {
        let lane = self.lanes.remove(part)?;
        // The next owner goes on with what it has under way.
        self.turns.go_alone(&lane);
        Some(lane)
    }

    /// Drops what another owner has by now.
    fn lose(&mut self, parts: &[Part]) {
        for part in parts {
            if self.remove(part).is_some() {
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
        self.turns.give(self.lanes.values_mut(), self.aside.store.shards(), now, linger, hurry);
        for lane in self.lanes.values_mut() {
            lane.bound = bound;
            lane.seal_when_due(now, linger, hurry);
            if let Some(paused) = lane.pause(stop) {
                source.pause(&lane.batch.part, paused);
            }
        }
        for lane in self.lanes.values_mut() {
            let retry_at = lane.retry_at;
            drive(&self.aside, &mut self.turns, &mut self.enricher, lane, source, hurry);
            if lane.retry_at != retry_at {
                // What failed just now may have taken seconds: the source is polled before another part is tried.
                break;
            }
        }
        self.send(false);
    }

    /// Sends the inserts that are put together.
    fn send(&mut self, hurry: bool) {
        let now = Instant::now();
        let (inserts, late) = self.turns.ready(&self.lanes, now, hurry);
        counter!("consumer_inserts_total").increment(inserts.len() as u64);
        for insert in inserts {
            self.aside.insert_together(insert);
        }
        for part in late {
            if let Some(lane) = self.lanes.get_mut(&part) {
                lane.done(&mut self.enricher, Done::Inserted(Err(turns::late())), now);
            }
        }
    }

    /// Takes up what a task came to, and goes on at once: what was found out is only true for a moment.
    fn follow_up(&mut self, source: &mut dyn Source, part: &Part, epoch: u64, result: Done) {
        if let Some(lane) = self.lanes.get_mut(part).filter(|lane| lane.epoch == epoch) {
            lane.done(&mut self.enricher, result, Instant::now());
            if lane.under_way().is_some() {
                drive(&self.aside, &mut self.turns, &mut self.enricher, lane, source, false);
            }
        }
    }

    /// Finishes what is being written of parts that go to another owner, within a bound, and lets them go. What is
    /// not finished the next owner finds as an intent.
    fn give_up(&mut self, source: &mut dyn Source, done: &Results, parts: &[Part]) {
        let deadline = Instant::now() + RELEASE_WAIT;
        loop {
            for part in parts {
                let Some(lane) = self.lanes.get_mut(part) else { continue };
                if lane.under_way().is_some() {
                    drive(&self.aside, &mut self.turns, &mut self.enricher, lane, source, false);
                }
            }
            self.send(true);
            if !parts.iter().any(|part| self.lanes.get(part).is_some_and(Lane::is_writing)) {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((part, epoch, result)) = done.recv_timeout(left) else { break };
            self.follow_up(source, &part, epoch, result);
        }
        for part in parts {
            let Some(lane) = self.remove(part) else { continue };
            if let Some(offset) = lane.unacknowledged().filter(|_| !lane.is_intended())
                && let Err(cause) = source.commit(part, offset, "")
            {
                warn!(%cause, partition = part.number, "the next owner will look at the last batch again");
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

/// Does what a part needs done, until something is under way beside the pipeline or has to wait.
fn drive(
    aside: &Aside,
    turns: &mut Turns,
    enricher: &mut Enricher,
    lane: &mut Lane,
    source: &mut dyn Source,
    hurry: bool,
) {
    while let Some(task) = lane.next(enricher, Instant::now(), hurry) {
        if let Task::Insert(..) = task {
            counter!("consumer_inserts_total").increment(1);
        }
        let Some(done) = aside.perform(turns, lane, source, task) else { break };
        lane.done(enricher, done, Instant::now());
    }
}
