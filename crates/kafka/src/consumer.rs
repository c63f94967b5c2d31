//! The consumer of a group: partitions come and go, messages come, offsets are committed when the caller says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, RebalanceProtocol};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::close;
use crate::commit::Committer;
use crate::config::{self, Config};
use crate::error::{CommitError, KafkaError};
use crate::poll::whole_ms;
use crate::rebalance::{Context, Wanted};

/// The longest text that a commit carries, in bytes: Kafka's default `offset.metadata.max.bytes`.
pub const METADATA_BYTES_MAX: usize = 4_096;

/// How long one request to the coordinator or to a leader may take before a poll reports it and tries again.
const REQUEST_WAIT: Duration = Duration::from_secs(10);
/// How often a wait looks up, for what does not wake it.
const WAIT_SLICE: Duration = Duration::from_millis(100);

/// A member of a consumer group, of one topic.
///
/// One thread polls, and never waits for anything but the poll: polling keeps the membership alive. Others may
/// commit, pause, resume and release meanwhile.
///
/// An offset is handed out once per assignment, in order: the caller checks that each message's offset follows
/// the one before it (or the assignment's `committed`), and stops if one does not.
pub struct Consumer {
    /// Taken when closed.
    inner: Option<Arc<BaseConsumer<Context>>>,
    /// Taken when closed.
    committer: Option<Committer>,
    topic: String,
    first_start: FirstStart,
    release_wait: Duration,
    state: Arc<Mutex<State>>,
}

/// Where a partition starts that the group never committed an offset of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstStart {
    /// With its oldest message: the first deployment.
    Earliest,
    /// Nowhere: it is an error. Committed offsets expire when a group is away too long, and starting anywhere
    /// would repeat or lose events.
    Error,
}

/// What a poll hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled {
    /// The next message of a partition.
    Message(Message),
    /// These partitions are ours now; their messages follow.
    Assigned(Vec<Assignment>),
    /// These partitions are to go elsewhere and wait for it: finish and commit what is under way, then
    /// [`Consumer::release`] them. Until then no partition of this consumer gets messages. Whoever takes longer
    /// than `release_wait_ms` gets a `Lost` for the rest. They may be lost already (librdkafka #5604): then their
    /// commit is fenced.
    Revoked(Vec<u32>),
    /// These partitions are no longer ours, and may already be somebody else's: drop everything of them.
    Lost(Vec<u32>),
    /// It may pass (`Retry`: poll again, after a wait) or not (`Fatal`: offsets are gone, rights are missing,
    /// another has our instance id).
    Error(KafkaError),
}

/// A partition that is ours now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Its number.
    pub partition: u32,
    /// The offset that the group committed, which is where the messages start; none if it never did.
    pub committed: Option<u64>,
    /// The text that was committed with it.
    pub metadata: String,
}

/// A message as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The partition that it is in.
    pub partition: u32,
    /// Its offset there.
    pub offset: u64,
    /// When it was sent, by the producer's clock, in ms since 1970; 0 if it does not say.
    pub timestamp_ms: u64,
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its bytes; none for a tombstone.
    pub payload: Vec<u8>,
    /// Its headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    /// What the next polls hand out, oldest first.
    ready: VecDeque<Polled>,
    /// What is ours, and the offset that comes next where that is known.
    owned: BTreeMap<u32, Option<u64>>,
    /// Given by the coordinator, and waiting for the committed offsets to be read.
    assigning: Option<TopicPartitionList>,
    revoking: Option<Revoking>,
}

/// Taken by the coordinator, and waiting for the caller.
struct Revoking {
    partitions: TopicPartitionList,
    unreleased: BTreeSet<u32>,
    deadline: Instant,
}

impl Consumer {
    /// A member of `group`, which joins with the first polls. With an `instance_id`, unique in the group and the
    /// same after a restart, the partitions wait for it for `session_timeout_ms` instead of moving.
    pub fn new(
        config: &Config,
        group: &str,
        instance_id: Option<&str>,
        first_start: FirstStart,
    ) -> Result<Consumer, KafkaError> {
        config::check(config)?;
        let inner: BaseConsumer<Context> = config::consumer(config, group, instance_id)
            .create_with_context(Context::default())
            .map_err(|e| config::native_error(config, &e))?;
        inner
            .subscribe(&[&config.topic])
            .map_err(|e| KafkaError::fatal(format!("subscribing to topic {}", config.topic), e))?;
        let inner = Arc::new(inner);
        let state = Arc::<Mutex<State>>::default();
        let owns = {
            let state = Arc::clone(&state);
            move |partition| lock(&state).owned.contains_key(&partition)
        };
        let committer = Committer::start(Arc::clone(&inner), config.topic.clone(), owns)?;
        Ok(Consumer {
            inner: Some(inner),
            committer: Some(committer),
            topic: config.topic.clone(),
            first_start,
            release_wait: Duration::from_millis(config.release_wait_ms.into()),
            state,
        })
    }

    /// The next thing that happened, waiting for it for up to `wait` (and up to 10 s more while a new
    /// assignment's offsets are read). Call it all the time, from one thread.
    pub fn poll(&self, wait: Duration) -> Option<Polled> {
        let deadline = Instant::now() + wait;
        let mut first = true;
        loop {
            if let Err(error) = self.answer_coordinator() {
                return Some(Polled::Error(error));
            }
            let mut state = self.lock();
            if let Some(polled) = state.ready.pop_front() {
                return Some(polled);
            }
            let mut slice = deadline.saturating_duration_since(Instant::now());
            if slice.is_zero() && !first {
                return None;
            }
            first = false;
            if state.revoking.is_some() {
                slice = slice.min(WAIT_SLICE);
            }
            drop(state);
            match self.inner().poll(whole_ms(slice)) {
                // A rebalance ends the wait without a message.
                None => {}
                Some(Ok(message)) => {
                    let message = owned(&message);
                    if let Some(next) = self.lock().owned.get_mut(&message.partition) {
                        *next = Some(message.offset + 1);
                        return Some(Polled::Message(message));
                    }
                }
                Some(Err(error)) => {
                    let what = format!("consuming topic {}", self.topic);
                    let mut reason = self.inner().context().reason();
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) {
                        // It does not say which partition it is.
                        reason = format!("{reason}; next offset by partition: {:?}", self.lock().owned);
                    }
                    return Some(Polled::Error(KafkaError::sort(what, &error).with(&reason)));
                }
            }
        }
    }

    /// Gives revoked partitions back, after their last commit. Those that were not revoked are left alone.
    pub fn release(&self, partitions: &[u32]) -> Result<(), KafkaError> {
        let mut state = self.lock();
        let state = &mut *state;
        if let Some(revoking) = &mut state.revoking {
            for partition in partitions {
                if revoking.unreleased.remove(partition) {
                    state.owned.remove(partition);
                }
            }
            if revoking.unreleased.is_empty() {
                return self.unassign(state);
            }
        }
        Ok(())
    }

    /// Commits that all messages before `offset` are done with, together with a text of up to
    /// [`METADATA_BYTES_MAX`] bytes, and returns when the coordinator has it, or after 5 s. That is refused when
    /// the partition is not ours: here where that is known already, else by the coordinator, by the group's
    /// generation.
    pub fn commit(&self, partition: u32, offset: u64, metadata: &str) -> Result<(), CommitError> {
        if metadata.len() > METADATA_BYTES_MAX {
            let reason = format!("{} bytes of metadata: expected up to {METADATA_BYTES_MAX}", metadata.len());
            return Err(CommitError::Fatal { partition, reason });
        }
        self.committer.as_ref().expect("only close takes it").commit(partition, offset, metadata)
    }

    /// Stops fetching a partition, until it is resumed or assigned again. What was fetched ahead is dropped and
    /// fetched again.
    pub fn pause(&self, partition: u32) -> Result<(), KafkaError> {
        self.inner()
            .pause(&self.only(partition))
            .map_err(|e| KafkaError::retry(format!("pausing partition {partition}"), e))
    }

    /// Goes on where [`Consumer::pause`] stopped.
    pub fn resume(&self, partition: u32) -> Result<(), KafkaError> {
        self.inner()
            .resume(&self.only(partition))
            .map_err(|e| KafkaError::retry(format!("resuming partition {partition}"), e))
    }

    /// Makes `offset` the next one of an assigned partition. Blocks for up to 10 s.
    pub fn seek(&self, partition: u32, offset: u64) -> Result<(), KafkaError> {
        self.inner()
            .seek(&self.topic, partition as i32, Offset::Offset(offset as i64), REQUEST_WAIT)
            .map_err(|e| KafkaError::retry(format!("seeking partition {partition} to offset {offset}"), e))
    }

    /// How many partitions the topic has. Blocks for up to 10 s.
    pub fn partitions(&self) -> Result<u32, KafkaError> {
        crate::probe::partition_count(self.inner().client(), &self.topic, REQUEST_WAIT)
    }

    /// The offset that the next message of a partition gets, as its leader says now. Blocks for up to 10 s.
    pub fn end(&self, partition: u32) -> Result<u64, KafkaError> {
        self.inner()
            .fetch_watermarks(&self.topic, partition as i32, REQUEST_WAIT)
            .map(|(_, end)| end.max(0) as u64)
            .map_err(|e| KafkaError::sort(format!("asking for the end of partition {partition}"), &e))
    }

    /// Leaves the group, or with an instance id keeps the place in it, and returns whether that was done within
    /// `wait`. Nothing is committed. Dropping does the same with 5 s.
    pub fn close(mut self, wait: Duration) -> bool {
        self.close_within(wait)
    }

    fn close_within(&mut self, wait: Duration) -> bool {
        let Some(inner) = self.inner.take() else { return true };
        self.committer = None;
        // An unanswered rebalance would keep it open.
        let mut unanswered = {
            let mut state = self.lock();
            let revoking = state.revoking.take().map(|r| Wanted::Revoke(r.partitions));
            state.assigning.take().map(Wanted::Assign).or(revoking)
        };
        close::within(inner, wait, |inner| {
            while let Some(wanted) = unanswered.take().or_else(|| inner.context().take()) {
                let answer = match (wanted, inner.rebalance_protocol()) {
                    (Wanted::Revoke(partitions), RebalanceProtocol::Cooperative) => {
                        inner.incremental_unassign(&partitions)
                    }
                    // Taken up only to be given back: librdkafka does not give back what it does not have.
                    (Wanted::Assign(partitions), RebalanceProtocol::Cooperative) => {
                        inner.incremental_assign(&partitions)
                    }
                    _ => inner.unassign(),
                };
                if let Err(error) = answer {
                    tracing::warn!(%error, topic = self.topic, "rebalance not answered while closing");
                }
            }
        })
    }

    /// Does what the coordinator waits for, as far as it can be done now, and makes it known to the next polls.
    fn answer_coordinator(&self) -> Result<(), KafkaError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(revoking) = &state.revoking
            && (Instant::now() >= revoking.deadline || self.inner().assignment_lost())
        {
            let lost: Vec<u32> = revoking.unreleased.iter().copied().collect();
            state.owned.retain(|partition, _| !lost.contains(partition));
            state.ready.push_back(Polled::Lost(lost));
            self.unassign(state)?;
        }
        while let Some(wanted) = self.inner().context().take() {
            match wanted {
                Wanted::Assign(partitions) => state.assigning = Some(partitions),
                Wanted::Revoke(partitions) => self.revoke(state, partitions)?,
            }
        }
        let Some(partitions) = state.assigning.take() else { return Ok(()) };
        drop(guard);
        self.assign(partitions)
    }

    /// Reads what the group committed of new partitions and starts there. Others may commit meanwhile.
    fn assign(&self, partitions: TopicPartitionList) -> Result<(), KafkaError> {
        let mut from = partitions.clone();
        let mut assigned = Vec::with_capacity(from.count());
        if from.count() > 0 {
            let what = || format!("reading committed offsets of topic {}", self.topic);
            let read = self.inner().committed_offsets(from, REQUEST_WAIT).and_then(|committed| {
                committed.elements().iter().try_for_each(|element| element.error())?;
                Ok(committed)
            });
            from = match read {
                Ok(committed) => committed,
                Err(error) => {
                    // The next poll tries again.
                    self.lock().assigning = Some(partitions);
                    return Err(KafkaError::sort(what(), &error));
                }
            };
        }
        // Without a committed offset and with `FirstStart::Error` the offset stays unset: librdkafka looks for
        // it once more, in vain, and reports the error that `auto.offset.reset=error` asks for.
        for mut element in from.elements() {
            let committed = match element.offset() {
                Offset::Offset(offset) => Some(offset as u64),
                _ => None,
            };
            if committed.is_none() && self.first_start == FirstStart::Earliest {
                element
                    .set_offset(Offset::Beginning)
                    .map_err(|e| KafkaError::fatal(format!("starting topic {}", self.topic), e))?;
            }
            let partition = element.partition() as u32;
            let metadata = element.metadata().to_owned();
            assigned.push(Assignment { partition, committed, metadata });
        }
        self.inner()
            .incremental_assign(&from)
            .and_then(|()| {
                // librdkafka remembers a pause from before the partition went away, for ever.
                self.inner().resume(&from)
            })
            .map_err(|e| KafkaError::fatal(format!("taking partitions of topic {}", self.topic), e))?;
        let mut state = self.lock();
        state.owned.extend(assigned.iter().map(|a| (a.partition, a.committed)));
        if !assigned.is_empty() {
            state.ready.push_back(Polled::Assigned(assigned));
        }
        Ok(())
    }

    /// Asks the caller to release partitions, or takes them if they are lost anyway.
    fn revoke(&self, state: &mut State, partitions: TopicPartitionList) -> Result<(), KafkaError> {
        let wanted = partitions.elements().into_iter().map(|e| e.partition() as u32);
        let unreleased: BTreeSet<u32> = wanted.filter(|p| state.owned.contains_key(p)).collect();
        let gone = unreleased.is_empty();
        let lost = self.inner().assignment_lost();
        let ours: Vec<u32> = unreleased.iter().copied().collect();
        let deadline = Instant::now() + self.release_wait;
        state.revoking = Some(Revoking { partitions, unreleased, deadline });
        if gone {
            return self.unassign(state);
        }
        if lost {
            state.owned.retain(|partition, _| !ours.contains(partition));
            state.ready.push_back(Polled::Lost(ours));
            return self.unassign(state);
        }
        state.ready.push_back(Polled::Revoked(ours));
        Ok(())
    }

    /// Tells the coordinator that what it took is free.
    fn unassign(&self, state: &mut State) -> Result<(), KafkaError> {
        match state.revoking.take() {
            None => Ok(()),
            Some(revoking) => self
                .inner()
                .incremental_unassign(&revoking.partitions)
                .map_err(|e| KafkaError::fatal(format!("giving back partitions of topic {}", self.topic), e)),
        }
    }

    fn only(&self, partition: u32) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.topic, partition as i32);
        list
    }

    fn inner(&self) -> &BaseConsumer<Context> {
        self.inner.as_ref().expect("only close takes it, and close takes the consumer")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nothing panics while it holds the state")
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.close_within(close::DROP_WAIT);
    }
}

/// A message that does not borrow from librdkafka.
pub(crate) fn owned(message: &BorrowedMessage<'_>) -> Message {
    let headers = message.headers().map(|headers| {
        let header = |h: rdkafka::message::Header<'_, &[u8]>| {
            (h.key.to_owned(), h.value.unwrap_or_default().to_owned())
        };
        headers.iter().map(header).collect()
    });
    Message {
        partition: message.partition() as u32,
        offset: message.offset() as u64,
        timestamp_ms: message.timestamp().to_millis().unwrap_or_default().max(0) as u64,
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().unwrap_or_default().to_vec(),
        headers: headers.unwrap_or_default(),
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("topic", &self.topic).finish_non_exhaustive()
    }
}
