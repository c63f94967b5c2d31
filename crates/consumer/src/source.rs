//! Where events come from. Two real implementations: the journal (embedded) and Kafka.

mod journal;
mod kafka;

use std::sync::Arc;
use std::time::Duration;

pub use self::journal::JournalSource;
pub use self::kafka::KafkaSource;

/// One ordered sequence of messages: a Kafka partition, or one edge id's part of one journal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    /// The topic; for a journal `journal/<edge id in hex>`. Stored with each row as `k_topic`.
    pub topic: Arc<str>,
    /// The partition; for a journal its number.
    pub number: u32,
}

/// What a source has for the pipeline.
#[derive(Debug)]
pub enum Polled<'a> {
    /// This part is ours from now on.
    Assigned {
        /// Which.
        part: Part,
        /// The offset from which on nothing is acknowledged; `None` for a part that never had a commit.
        committed: Option<u64>,
        /// What stands beside the commit.
        note: String,
    },
    /// A message, in order within its part.
    Message {
        /// Where it stands.
        part: &'a Part,
        /// At which offset.
        offset: u64,
        /// What it holds.
        payload: Payload<'a>,
    },
    /// Nothing more will come of this part. Another follows once all of it is acknowledged.
    Ended(&'a Part),
    /// These parts are to be given up: what is in flight may be finished within a bound, then
    /// [`Source::release`] must be called.
    Revoked(Vec<Part>),
    /// These parts are someone else's already: drop everything of them.
    Lost(Vec<Part>),
    /// These parts ended and all of them is acknowledged: they are no more.
    Left(Vec<Part>),
}

/// What the pipeline says to what it was handed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It has room for more.
    Room,
    /// It has not: the source is told by [`Source::pause`] what to hold back, after this poll.
    Full,
}

/// What a message holds.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// Length-delimited events, back to back.
    Batch(&'a [u8]),
    /// One event.
    Event(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// The bytes as they stand.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Payload::Batch(bytes) | Payload::Event(bytes) => bytes,
        }
    }
}

/// Bytes that are kept aside because they are no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where the message stood.
    pub part: Part,
    /// At which offset.
    pub offset: u64,
    /// Why it cannot be read. Holds nothing of the content.
    pub reason: String,
    /// The raw bytes.
    pub bytes: Vec<u8>,
}

/// A source that cannot go on by itself.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct SourceError {
    /// What failed, with its cause.
    pub what: String,
    /// Whether the same call may succeed later.
    pub retry: bool,
}

/// Why a commit did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Not by this member in this generation of the group. The part may have another owner; or the group is being
    /// rearranged and the part stays: then the same commit goes through when that is over. Which of the two it is, a
    /// poll tells ([`Polled::Lost`]).
    #[error("fenced: {0}")]
    Fenced(String),
    /// It may work later.
    #[error("{0}")]
    Retry(String),
    /// It never will.
    #[error("{0}")]
    Fatal(String),
}

/// Where events come from, and where is written how far they are done.
pub trait Source: Send {
    /// Hands over what there is; waits at most `wait` when there is nothing. After a [`Taken::Full`] it hands over
    /// little more: no other message of Kafka, the rest of a read of a journal.
    ///
    /// # Errors
    /// When the source cannot be read. With `retry` the next call may be better.
    fn poll(&mut self, wait: Duration, take: &mut dyn FnMut(Polled<'_>) -> Taken) -> Result<(), SourceError>;

    /// Makes durable that everything before `offset` is done, with a note beside it. Fenced: only the owner of the
    /// part can.
    ///
    /// # Errors
    /// See [`CommitError`].
    fn commit(&mut self, part: &Part, offset: u64, note: &str) -> Result<(), CommitError>;

    /// Stops or restarts handing over messages of a part; they stay where they are.
    fn pause(&mut self, part: &Part, paused: bool);

    /// Hands over the messages of a part from `offset` on, which is not before the last commit, once more.
    ///
    /// # Errors
    /// When that cannot be done now: the part must not be taken any further until it is.
    fn rewind(&mut self, part: &Part, offset: u64) -> Result<(), SourceError>;

    /// Gives up parts after [`Polled::Revoked`].
    fn release(&mut self, parts: &[Part]);

    /// Keeps bytes aside; returns when that is durable.
    ///
    /// # Errors
    /// When they could not be kept, or only some: the offsets must not be passed.
    fn dead_letters(&mut self, letters: &[DeadLetter]) -> Result<(), SourceError>;

    /// Whether a shutdown waits until the source is empty: so for the journal, which nobody else will read.
    fn drains(&self) -> bool;
}
