//! What is done for a batch beside the pipeline: dead letters kept, the store asked, rows written.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use store::{Store, StoreError};
use tokio::runtime::Handle;
use tracing::warn;

use crate::batch::{Batch, EventId};
use crate::intent::Intent;
use crate::lane::{Bill, Flight, Lane};
use crate::source::{DeadLetter, Part, Source};
use crate::writer::{self, Prepared, Sealed, Unwritten};

/// Dead letters that are kept at a time, and their bytes: the source is polled in between.
const LETTERS_AT_ONCE: usize = 500;
const LETTERS_BYTES_AT_ONCE: usize = 4 << 20;

/// What the tasks that run beside the pipeline need.
pub struct Aside {
    /// Where rows go.
    pub store: Arc<Store>,
    /// Where the tasks run.
    pub runtime: Handle,
    /// Where their ends are told.
    pub results: Sender<(Part, u64, Done)>,
}

/// Ends of tasks: of which part, in which ownership of it, and what it came to.
pub type Results = Receiver<(Part, u64, Done)>;

/// What a task that ran beside the pipeline came to.
pub enum Done {
    /// What the store knows of a batch.
    Prepared(Result<Prepared, StoreError>),
    /// How many blocks were found stored, with views that may lack them.
    Written(Result<u64, Box<Unwritten>>),
}

impl Aside {
    /// Keeps aside what cannot be read, then asks the store what must be known before the intent.
    pub fn prepare(&self, lane: &mut Lane, source: &mut dyn Source, mut batch: Batch) -> Flight {
        if !batch.dead.is_empty() {
            put_aside(lane, source, &mut batch);
            return Flight::Unread(batch);
        }
        let held: Vec<(EventId, i64)> =
            batch.held.iter().map(|held| (held.id, held.received_at_ms)).collect();
        let (store, part, range) = (self.store.clone(), batch.part.clone(), (batch.from, batch.to));
        self.spawn(lane, async move { Done::Prepared(writer::prepare(&store, &part, range, &held).await) });
        Flight::Preparing(batch)
    }

    /// Finishes the rows of a batch whose intent is committed, and writes them.
    pub fn write(&self, lane: &Lane, mut batch: Batch, intent: Intent, again: bool) -> Flight {
        let bill = Bill { to: batch.to, counts: batch.counts(), since: batch.since };
        let sealed = Sealed {
            part: batch.part,
            from: batch.from,
            to: batch.to,
            blocks: batch.blocks.iter_mut().map(|(month, block)| (*month, block.finish())).collect(),
            server_started: intent.server_started,
            uncertain: again,
            burnt: 0,
        };
        self.write_again(lane, sealed, bill)
    }

    /// Writes what is left of a batch.
    pub fn write_again(&self, lane: &Lane, sealed: Sealed, bill: Bill) -> Flight {
        let store = self.store.clone();
        self.spawn(lane, async move { Done::Written(writer::write(&store, sealed).await) });
        Flight::Writing(bill)
    }

    fn spawn(&self, lane: &Lane, work: impl Future<Output = Done> + Send + 'static) {
        let (results, part, epoch) = (self.results.clone(), lane.batch.part.clone(), lane.epoch);
        self.runtime.spawn(async move {
            // The pipeline may have ended: then nobody wants to know.
            let _ = results.send((part, epoch, work.await));
        });
    }
}

/// Keeps the next dead letters of a batch. It goes on when they are all kept.
fn put_aside(lane: &mut Lane, source: &mut dyn Source, batch: &mut Batch) {
    if lane.is_unreadable(batch) {
        return lane.failed("too many messages in a row cannot be read".to_owned());
    }
    let mut bytes = 0;
    let fits = |letter: &&DeadLetter| {
        bytes += letter.bytes.len();
        bytes <= LETTERS_BYTES_AT_ONCE
    };
    let count = batch.dead.iter().take(LETTERS_AT_ONCE).take_while(fits).count().max(1);
    if let Err(cause) = source.dead_letters(&batch.dead[..count]) {
        return lane.failed(format!("dead letters cannot be kept: {cause}"));
    }
    for letter in batch.dead.drain(..count) {
        warn!(partition = letter.part.number, offset = letter.offset, reason = letter.reason, "dead letter");
    }
    batch.dead_lettered += count as u64;
    lane.put_aside(batch, count);
}
