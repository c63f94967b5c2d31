//! What the log, its committer and its reader share.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use tokio::sync::Notify;

use crate::disk::Disk;
use crate::error::{Shed, WriteError};
use crate::frame::{Class, Position};
use crate::segment::Segment;
use crate::stats::Counters;

/// How many separate runs of failed groups are remembered for those who have not asked yet.
const FAILURES_MAX: usize = 64;

pub(crate) struct Shared {
    pub edge_id: u64,
    pub dir: PathBuf,
    pub disk: Disk,
    pub pending: Mutex<Pending>,
    /// Wakes the committer: a group was handed over, or the log is closing.
    pub handed: Condvar,
    pub state: Mutex<State>,
    /// Wakes the reader: something was committed.
    pub readable: Notify,
    /// Wakes everyone who waits for the committer: a group has its outcome.
    pub settled: Notify,
    pub counters: Counters,
    pub retry: Retry,
    /// The last group was of one frame. Only a guess is made by it.
    pub alone: AtomicBool,
    /// Holds the directory for as long as any part of the journal lives.
    pub _lock: DirLock,
}

/// The directory's lock file.
pub(crate) struct DirLock(pub File);

impl Drop for DirLock {
    /// Closing would do, were it not for a process that another thread is just forking: it has the file too,
    /// until it executes its program.
    fn drop(&mut self) {
        if let Err(error) = flock(&self.0, FlockOperation::Unlock) {
            tracing::warn!(%error, "failed to unlock a journal directory");
        }
    }
}

/// Frames on their way to the disk. Taken before [`State`] where both are needed.
#[derive(Default)]
pub(crate) struct Pending {
    pub group: Group,
    /// Where a payload is encoded, so that an encoder that panics leaves the group alone.
    pub scratch: Vec<u8>,
    pub next_seq: u64,
    pub handed: bool,
    pub closed: bool,
}

/// The frames of one write.
#[derive(Default)]
pub(crate) struct Group {
    pub bytes: Vec<u8>,
    pub first_seq: u64,
    pub last_seq: u64,
    pub frames: [u64; Class::ALL.len()],
}

impl Group {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.frames = Default::default();
    }
}

/// What is on disk and what became of every sequence number.
pub(crate) struct State {
    /// In order; the last one is written to.
    pub segments: VecDeque<Segment>,
    pub committed_seq: u64,
    settled_seq: u64,
    failures: VecDeque<(u64, u64, WriteError)>,
    /// Up to here failures may have been forgotten.
    forgotten_seq: u64,
}

impl State {
    pub fn new(segments: VecDeque<Segment>, committed_seq: u64) -> State {
        let failures = VecDeque::new();
        State { segments, committed_seq, settled_seq: committed_seq, failures, forgotten_seq: committed_seq }
    }

    /// What became of a frame; none while it is on its way.
    pub fn outcome(&self, seq: u64) -> Option<Result<(), WriteError>> {
        if seq > self.settled_seq {
            return None;
        }
        if seq <= self.forgotten_seq {
            return Some(Err(WriteError::Unknown));
        }
        let failed = self.failures.iter().find(|(first, last, _)| (first..=last).contains(&&seq));
        Some(failed.map_or(Ok(()), |(_, _, error)| Err(*error)))
    }

    /// The segment at or after `first_seq`, and where it stands.
    pub fn at(&self, first_seq: u64) -> Option<(usize, &Segment)> {
        let index = self.segments.partition_point(|segment| segment.first_seq < first_seq);
        self.segments.get(index).map(|segment| (index, segment))
    }

    /// The segment that a frame of this sequence number would be in.
    pub fn holding(&self, seq: u64) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.first_seq <= seq);
        self.segments.get(after.checked_sub(1)?)
    }

    fn fail(&mut self, first: u64, last: u64, error: WriteError) {
        match self.failures.back_mut() {
            Some((_, end, _)) if *end + 1 == first => *end = last,
            _ => self.failures.push_back((first, last, error)),
        }
        if self.failures.len() > FAILURES_MAX
            && let Some((_, end, _)) = self.failures.pop_front()
        {
            self.forgotten_seq = end;
        }
    }
}

impl Shared {
    /// Makes the outcome of a group known: to the counters, to the reader and to whoever waits. The counters
    /// first, so that who learns of an outcome finds it counted.
    pub fn settle(&self, group: &Group, written: io::Result<u64>) {
        self.count(group, &written);
        let mut state = lock(&self.state);
        state.settled_seq = group.last_seq;
        match written {
            Ok(end) => {
                state.committed_seq = group.last_seq;
                if let Some(active) = state.segments.back_mut() {
                    active.end = end;
                }
                drop(state);
                self.readable.notify_one();
            }
            Err(error) => {
                state.fail(group.first_seq, group.last_seq, WriteError::failed(&error));
                drop(state);
            }
        }
        self.settled.notify_waiters();
    }

    fn count(&self, group: &Group, written: &io::Result<u64>) {
        let counters = &self.counters;
        match written {
            Ok(_) => {
                counters.frames.fetch_add(group.frames.iter().sum(), Relaxed);
                counters.groups.fetch_add(1, Relaxed);
                self.retry.succeeded();
            }
            Err(error) => {
                counters.bytes.fetch_sub(group.bytes.len() as u64, Relaxed);
                counters.write_errors.fetch_add(1, Relaxed);
                for class in Class::ALL {
                    counters.shed(class, Shed::Disk, group.frames[class as usize]);
                }
                self.retry.failed(error);
            }
        }
    }

    pub fn position(&self, seq: u64) -> Position {
        Position { edge_id: self.edge_id, seq }
    }
}

/// Keeps a broken disk from being asked at every request.
pub(crate) struct Retry {
    start: Instant,
    wait: Duration,
    /// When to try again, in milliseconds from the start, plus one; 0 while the disk is well.
    at_ms: AtomicU64,
}

impl Retry {
    pub fn new(wait_ms: u64) -> Retry {
        Retry { start: Instant::now(), wait: Duration::from_millis(wait_ms), at_ms: AtomicU64::new(0) }
    }

    /// The disk has just refused a write and is not to be asked yet.
    pub fn waits(&self) -> bool {
        let at_ms = self.at_ms.load(Relaxed);
        at_ms != 0 && (self.start.elapsed().as_millis() as u64) < at_ms - 1
    }

    fn failed(&self, error: &io::Error) {
        let at_ms = (self.start.elapsed() + self.wait).as_millis() as u64 + 1;
        if self.at_ms.swap(at_ms, Relaxed) == 0 {
            tracing::error!(%error, "journal cannot write, events are shed");
        }
    }

    fn succeeded(&self) {
        if self.at_ms.load(Relaxed) != 0 {
            self.at_ms.store(0, Relaxed);
            tracing::info!("journal writes again");
        }
    }
}

/// Locks, also after a panic elsewhere: every section leaves its data whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_failure_is_never_a_success() {
        let mut state = State::new(VecDeque::new(), 0);
        let error = WriteError::Failed { errno: 28 };
        for group in 0..100 {
            let seq = 1 + 2 * group;
            state.fail(seq, seq, error);
            state.settled_seq = seq + 1;
        }
        for seq in 1..=200 {
            let outcome = state.outcome(seq).unwrap();
            assert!(outcome.is_err() || seq % 2 == 0, "{seq} had failed");
            assert!(outcome.is_ok() || seq % 2 == 1 || seq < 100, "{seq} had not");
        }
        assert_eq!(state.outcome(199), Some(Err(error)));
        assert_eq!(state.outcome(200), Some(Ok(())));
        assert_eq!(state.outcome(201), None);
    }

    #[test]
    fn failures_in_a_row_take_one_place() {
        let mut state = State::new(VecDeque::new(), 0);
        for group in 0..1000 {
            state.fail(group * 10 + 1, group * 10 + 10, WriteError::Failed { errno: 5 });
        }
        assert_eq!(state.failures.len(), 1);
    }
}
