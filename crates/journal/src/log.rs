use std::future::poll_fn;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread::JoinHandle;

use crate::error::{Shed, WriteError};
use crate::frame::{self, Class, FRAME_HEADER_BYTES, PAYLOAD_BYTES_MAX, Position};
use crate::shared::{Pending, Shared, lock};
use crate::stats::Stats;
use crate::writer::{self, Writer};

/// How often a frame whose predecessors were alone looks for company.
const LOOK_AROUND_EVERY: u64 = 8;

/// The writing end. Meant for one runtime of one thread: there, the requests that are ready together share one
/// write. Dropping it writes what waits.
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    pub(crate) sink: Sink,
    pub(crate) seed: u32,
    pub(crate) bytes_max: u64,
    pub(crate) group_bytes_max: usize,
}

/// Who writes.
pub(crate) enum Sink {
    /// The caller: a write to the page cache is cheaper than a hop to another thread. Taken after `pending`.
    Here(Mutex<Writer>),
    /// The committer; none once joined.
    Thread(Option<JoinHandle<()>>),
}

impl Log {
    /// The edge id that frames get from this process.
    pub fn edge_id(&self) -> u64 {
        self.shared.edge_id
    }

    /// Adds a frame to the group that the next write carries, unless there is no room for its class.
    ///
    /// `encode` gets the frame's edge id and sequence number and appends the payload to an empty buffer; it runs
    /// under the log's lock, so it must not use the log. Wait for [`Log::committed`] before telling anyone:
    /// without it, the frame is only in memory until the next group, [`Log::flush`] or the drop of the log.
    pub fn append(
        &self,
        class: Class,
        encode: impl FnOnce(u64, u64, &mut Vec<u8>),
    ) -> Result<Position, Shed> {
        self.take(class, encode).inspect_err(|reason| self.shared.counters.shed(class, *reason, 1))
    }

    /// Resolves when the frame at `position` is in the journal, as [`crate::Sync`] says, or certainly is not.
    ///
    /// The first poll only lets other tasks of this runtime run, so that they can append too; then one write
    /// carries all. While they do not come, that is left out for the most part: in page-cache mode the first poll
    /// writes. Dropping the future, at any time, does not take the frame back: it is written then.
    pub fn committed(
        &self,
        position: Position,
    ) -> impl Future<Output = Result<(), WriteError>> + Send + use<'_> {
        let due = Due { log: self, seq: position.seq };
        async move {
            // Named whole, or the block would capture its fields and leave it to be dropped here and now.
            let due = due;
            let known = position.seq < lock(&due.log.shared.pending).next_seq;
            if !known || position.edge_id != due.log.shared.edge_id {
                return Err(WriteError::Unknown);
            }
            if due.log.may_have_company(position.seq) {
                yield_once().await;
            }
            due.log.settled(position.seq).await
        }
    }

    /// Whether [`Log::committed`] waits for a disk, which may take any time; else it is over in two polls.
    pub fn waits_for_disk(&self) -> bool {
        matches!(self.sink, Sink::Thread(_))
    }

    /// Writes what waits and waits for the disk: for a clean end, after which power loss costs nothing in
    /// page-cache mode either.
    pub async fn flush(&self) -> Result<(), WriteError> {
        let (seq, waits) = {
            let pending = lock(&self.shared.pending);
            (pending.next_seq - 1, !pending.group.bytes.is_empty())
        };
        let outcome = self.settled(seq).await;
        if waits {
            outcome?;
        }
        match &self.sink {
            Sink::Here(_) => {
                let segments = lock(&self.shared.state).segments.clone();
                writer::sync_all(&self.shared.disk, &self.shared.dir, &segments)
                    .map_err(|error| WriteError::failed(&error))
            }
            Sink::Thread(_) => Ok(()),
        }
    }

    /// How the journal stands.
    pub fn stats(&self) -> Stats {
        let next_seq = lock(&self.shared.pending).next_seq;
        let state = lock(&self.shared.state);
        Stats {
            bytes_max: self.bytes_max,
            segments: state.segments.len() as u64,
            next_seq,
            committed_seq: state.committed_seq,
            ..self.shared.counters.snapshot()
        }
    }

    /// Whether it is worth a turn of the runtime to look for others who share the write. To come back costs a request
    /// a tenth of its instructions; to write alone, a system call. So the last group tells whether anybody came, and
    /// when nobody did, every eighth frame looks again.
    fn may_have_company(&self, seq: u64) -> bool {
        self.waits_for_disk() || !self.shared.alone.load(Relaxed) || seq.is_multiple_of(LOOK_AROUND_EVERY)
    }

    fn take(&self, class: Class, encode: impl FnOnce(u64, u64, &mut Vec<u8>)) -> Result<Position, Shed> {
        if self.shared.retry.waits() {
            return Err(Shed::Disk);
        }
        let bytes = &self.shared.counters.bytes;
        let room = self.bytes_max / 100 * class.percent_max();
        if bytes.load(Relaxed) >= room {
            return Err(Shed::Full);
        }
        let mut pending = lock(&self.shared.pending);
        let Pending { scratch, next_seq, .. } = &mut *pending;
        scratch.clear();
        encode(self.shared.edge_id, *next_seq, scratch);
        let frame = FRAME_HEADER_BYTES + scratch.len();
        if scratch.len() > PAYLOAD_BYTES_MAX || frame > self.group_bytes_max {
            // A buffer that one oversized payload has grown is not kept.
            *scratch = Vec::new();
            return Err(Shed::TooLarge);
        }
        if bytes.load(Relaxed) + frame as u64 > room {
            return Err(Shed::Full);
        }
        if pending.group.bytes.len() + frame > self.group_bytes_max {
            match &self.sink {
                Sink::Here(writer) => self.write(&mut pending, &mut lock(writer)),
                Sink::Thread(_) => {
                    self.hand_over(&mut pending);
                    return Err(Shed::Behind);
                }
            }
        }
        let Pending { group, scratch, next_seq, .. } = &mut *pending;
        let seq = *next_seq;
        if group.bytes.is_empty() {
            group.first_seq = seq;
        }
        frame::encode(&mut group.bytes, self.seed, seq, class, scratch);
        group.last_seq = seq;
        group.frames[class as usize] += 1;
        // A number is given out once in the life of a process, even if the write fails: nobody can take the
        // success of a later frame for that of an earlier one.
        *next_seq += 1;
        bytes.fetch_add(frame as u64, Relaxed);
        Ok(self.shared.position(seq))
    }

    /// Sees to it that `seq` gets its outcome, and waits for it.
    async fn settled(&self, seq: u64) -> Result<(), WriteError> {
        self.urge(seq);
        let outcome = || lock(&self.shared.state).outcome(seq);
        if let Some(outcome) = outcome() {
            return outcome;
        }
        loop {
            // Registered before looking, so that no outcome falls in between.
            let mut notified = std::pin::pin!(self.shared.settled.notified());
            notified.as_mut().enable();
            if let Some(outcome) = outcome() {
                return outcome;
            }
            notified.await;
        }
    }

    /// Writes the group that `seq` is in, or has it written.
    fn urge(&self, seq: u64) {
        let mut pending = lock(&self.shared.pending);
        if pending.group.bytes.is_empty() || seq < pending.group.first_seq {
            return;
        }
        match &self.sink {
            Sink::Here(writer) => self.write(&mut pending, &mut lock(writer)),
            Sink::Thread(_) => self.hand_over(&mut pending),
        }
    }

    fn write(&self, pending: &mut Pending, writer: &mut Writer) {
        let written = writer.write(&self.shared, &pending.group);
        self.shared.alone.store(pending.group.first_seq == pending.group.last_seq, Relaxed);
        self.shared.settle(&pending.group, written);
        pending.group.clear();
    }

    fn hand_over(&self, pending: &mut Pending) {
        pending.handed = true;
        self.shared.handed.notify_one();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        match &mut self.sink {
            Sink::Here(_) => self.urge(u64::MAX),
            Sink::Thread(thread) => {
                lock(&self.shared.pending).closed = true;
                self.shared.handed.notify_one();
                if thread.take().is_some_and(|thread| thread.join().is_err()) {
                    tracing::error!("journal committer panicked");
                }
            }
        }
    }
}

/// Has the frame written even if nobody waits for it any more: the client hung up, a deadline passed.
struct Due<'a> {
    log: &'a Log,
    seq: u64,
}

impl Drop for Due<'_> {
    fn drop(&mut self) {
        self.log.urge(self.seq);
    }
}

/// Goes to the back of the runtime's queue once. Unlike `tokio::task::yield_now` it does not wait for the
/// runtime to ask the system for new events first.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
