//! What a part needs done, and what it came to.

use std::sync::Arc;

use bytes::Bytes;
use store::{Block, InsertError, KnownId, PastVisit, StoreError, Traces};

use crate::aside::Answer;
use crate::source::{CommitError, SourceError};
use crate::writer::{Joining, Tokens};

/// Something to do for a part.
#[derive(Debug)]
pub enum Task {
    /// Keep [`crate::lane::Lane::letters`] aside.
    Keep,
    /// Ask which visits were before this offset.
    Recall(u64),
    /// Ask what must be known before a batch is intended.
    Ask(Question),
    /// Commit, with a note.
    Commit(u64, String),
    /// Hand out messages from this offset on again.
    Rewind(u64),
    /// Ask what there is of a batch's rows of this month.
    Look(u32, Tokens),
    /// Find out whether this block would be taken, without storing it.
    Try(Bytes),
    /// Insert under this token.
    Insert(String, Arc<Block>),
    /// Insert with what other parts have for the same group, once for all of them; answered by [`Done::Inserted`].
    Join(Joining),
    /// Fill a view under this token, with a batch's rows of this month.
    Fill(u32, String, String),
}

/// What must be known before a batch is intended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The batch's first offset.
    pub from: u64,
    /// Past its last offset.
    pub to: u64,
    /// Events that may be stored already.
    pub held: Vec<KnownId>,
    /// Nothing was ever committed: there must be no rows of the part from the batch on.
    pub first: bool,
}

/// What a task came to, each for the [`Task`] of its name.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Done {
    Recalled(Result<Vec<PastVisit>, StoreError>),
    Kept(Result<(), SourceError>),
    Asked(Result<Answer, StoreError>),
    Committed(Result<(), CommitError>),
    Rewound(Result<(), SourceError>),
    Looked(Result<Traces, StoreError>),
    Tried(Result<(), InsertError>),
    Inserted(Result<(), InsertError>),
    Filled(Result<(), InsertError>),
}
