//! Commits with an end to the waiting.
//!
//! librdkafka's synchronous commit has no time-out: while no coordinator is within reach it blocks, for hours if
//! need be, and an asynchronous one reports to the thread that polls, which may be the one that waits. So a
//! thread of our own makes the commits and the caller waits for it for a bounded time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::error::{CommitError, KafkaError};
use crate::rebalance::Context;

/// How long a commit is waited for. A healthy coordinator takes some milliseconds.
const COMMIT_WAIT: Duration = Duration::from_secs(5);
/// Commits that wait for their turn: more than there are threads that commit.
const QUEUE_MAX: usize = 64;

/// The thread that commits. It ends when this is dropped and its last commit has returned.
pub(crate) struct Committer {
    requests: SyncSender<Request>,
}

struct Request {
    partition: u32,
    offset: u64,
    metadata: String,
    deadline: Instant,
    reply: SyncSender<Result<(), CommitError>>,
}

impl Committer {
    /// `owns` tells whether a partition is ours at the moment of its commit.
    pub(crate) fn start(
        client: Arc<BaseConsumer<Context>>,
        topic: String,
        owns: impl Fn(u32) -> bool + Send + 'static,
    ) -> Result<Committer, KafkaError> {
        let (requests, queue) = sync_channel(QUEUE_MAX);
        thread::Builder::new()
            .name("kafka-commit".into())
            .spawn(move || serve(&client, &topic, &owns, &queue))
            .map_err(|e| KafkaError::fatal("starting the thread that commits", e))?;
        Ok(Committer { requests })
    }

    /// Commits and waits for the coordinator's answer.
    pub(crate) fn commit(&self, partition: u32, offset: u64, metadata: &str) -> Result<(), CommitError> {
        let retry = |reason: &str| CommitError::Retry { partition, reason: reason.into() };
        let (reply, answer) = sync_channel(1);
        let deadline = Instant::now() + COMMIT_WAIT;
        let request = Request { partition, offset, metadata: metadata.into(), deadline, reply };
        self.requests.try_send(request).map_err(|e| match e {
            TrySendError::Full(_) => retry("too many commits wait for the coordinator"),
            TrySendError::Disconnected(_) => retry("the thread that commits is gone"),
        })?;
        answer.recv_timeout(COMMIT_WAIT).unwrap_or_else(|e| match e {
            RecvTimeoutError::Timeout => Err(retry("no answer from the coordinator in time")),
            RecvTimeoutError::Disconnected => Err(retry("the thread that commits is gone")),
        })
    }
}

fn serve(
    client: &BaseConsumer<Context>,
    topic: &str,
    owns: &impl Fn(u32) -> bool,
    queue: &Receiver<Request>,
) {
    for request in queue {
        let Request { partition, offset, metadata, deadline, reply } = request;
        // Its caller has given up, and may have lost the partition since: a late commit would not be fenced if
        // this member has joined again.
        if Instant::now() >= deadline {
            continue;
        }
        let fenced = |reason: &str| CommitError::Fenced { partition, reason: reason.into() };
        // The coordinator looks at the member and its generation, not at which partition is whose.
        let result = if !owns(partition) {
            Err(fenced("it is not assigned"))
        } else if client.assignment_lost() {
            Err(fenced("the assignment is lost"))
        } else {
            commit(client, topic, partition, offset, &metadata)
        };
        // The caller may have given up just now.
        let _ = reply.try_send(result);
    }
}

fn commit(
    client: &BaseConsumer<Context>,
    topic: &str,
    partition: u32,
    offset: u64,
    metadata: &str,
) -> Result<(), CommitError> {
    let mut offsets = TopicPartitionList::with_capacity(1);
    let mut element = offsets.add_partition(topic, partition as i32);
    element
        .set_offset(Offset::Offset(offset as i64))
        .map_err(|e| CommitError::Fatal { partition, reason: e.to_string() })?;
    if !metadata.is_empty() {
        element.set_metadata(metadata);
    }
    client.commit(&offsets, CommitMode::Sync).map_err(|e| CommitError::sort(partition, &e))
}
