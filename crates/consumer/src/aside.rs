//! Does what a part needs done: on the source at once, on the store beside the pipeline.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use enrich::visits::{OFFSETS_MAX, TRAP_OFFSETS_MAX, TRAPS_MAX, VISITS_MAX};
use store::{Block, Range, Store, StoreError};
use tokio::runtime::Handle;

use crate::batch::EventId;
use crate::lane::Lane;
use crate::source::{Part, Source};
use crate::task::{Done, Question, Task};
use crate::turns::{self, Together, Turns};
use crate::writer::Tokens;

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

/// What the store knows of a batch before it is intended.
#[derive(Debug)]
pub struct Answer {
    /// When the server that will be written to was started, Unix seconds.
    pub server_started: i64,
    /// Which of the held events are stored, apart from those of the batch's own range (an earlier attempt's).
    pub stored: HashSet<EventId>,
    /// There are rows of the part from the batch on, and there must be none.
    pub beyond: bool,
}

impl Aside {
    /// Does a task. What the source does comes back at once; what the store does is sent to the results.
    pub fn perform(
        &self,
        turns: &mut Turns,
        lane: &Lane,
        source: &mut dyn Source,
        task: Task,
    ) -> Option<Done> {
        let part = &lane.batch.part;
        let (store, shard) = (self.store.clone(), part.number as usize % self.store.shards());
        let of = lane.under_way().map(|writing| (writing.from, writing.to)).unwrap_or_default();
        let own = part.clone();
        match task {
            Task::Keep => return Some(Done::Kept(source.dead_letters(lane.letters()))),
            Task::Commit(offset, note) => return Some(Done::Committed(source.commit(part, offset, &note))),
            Task::Rewind(offset) => return Some(Done::Rewound(source.rewind(part, offset))),
            Task::Recall(before) => self.spawn(lane, async move {
                let limits = [(VISITS_MAX, OFFSETS_MAX), (TRAPS_MAX, TRAP_OFFSETS_MAX)];
                Done::Recalled(store.past_visits(shard, &own.topic, own.number, before, limits).await)
            }),
            Task::Ask(question) => {
                self.spawn(lane, async move { Done::Asked(ask(&store, shard, &own, &question).await) })
            }
            Task::Look(month, Tokens { own: token, group }) => self.spawn(lane, async move {
                Done::Looked(store.traces(shard, &range(&own, of, month), &token, &group).await)
            }),
            Task::Try(bytes) => {
                self.spawn(lane, async move { Done::Tried(store.try_row(shard, &bytes).await) })
            }
            Task::Insert(token, block) => {
                turns.go_alone(lane);
                self.spawn(lane, async move {
                    let bytes = Block::together(&[&block]);
                    Done::Inserted(store.insert(shard, &token, &bytes).await)
                })
            }
            Task::Join(joining) => {
                return (!turns.join(lane, joining)).then(|| Done::Inserted(Err(turns::late())));
            }
            Task::Fill(month, view, token) => self.spawn(lane, async move {
                Done::Filled(store.fill(shard, &range(&own, of, month), &view, &token).await)
            }),
        }
        None
    }

    /// Inserts what several parts have, all of it or nothing.
    pub fn insert_together(&self, Together { group, all, fate }: Together) {
        let (store, results) = (self.store.clone(), self.results.clone());
        self.runtime.spawn(async move {
            let shard = all.first().map_or(0, |one| one.part.number as usize % store.shards());
            let blocks: Vec<&Block> = all.iter().map(|one| &*one.block).collect();
            let answer = store.insert(shard, &group.token(), &Block::together(&blocks)).await;
            for one in all {
                let result = fate.of_each(&answer, Instant::now());
                let _ = results.send((one.part, one.epoch, Done::Inserted(result)));
            }
        });
    }

    fn spawn(&self, lane: &Lane, work: impl Future<Output = Done> + Send + 'static) {
        let (results, part, epoch) = (self.results.clone(), lane.batch.part.clone(), lane.epoch);
        self.runtime.spawn(async move {
            // The pipeline may have ended: then nobody wants to know.
            let _ = results.send((part, epoch, work.await));
        });
    }
}

/// The rows of a batch, of one month.
fn range(part: &Part, (from, to): (u64, u64), month: u32) -> Range<'_> {
    Range { source: &part.topic, part: part.number, from, to, month }
}

async fn ask(store: &Store, shard: usize, part: &Part, question: &Question) -> Result<Answer, StoreError> {
    let Question { from, to, held, first } = question;
    // The month is not asked for.
    let own = range(part, (*from, *to), 0);
    let server_started = store.started(shard).await?;
    let stored = store.stored_ids(shard, &own, held).await?.into_iter().collect();
    let beyond = *first && store.holds_from(shard, &own).await?;
    Ok(Answer { server_started, stored, beyond })
}
