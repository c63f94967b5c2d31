use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::checkpoint::Checkpoint;
use crate::error::JournalError;
use crate::frame::{self, FRAME_HEADER_BYTES, Frame, Position};
use crate::scan::Scan;
use crate::segment::{HEADER_BYTES, Segment};
use crate::shared::{Shared, lock};

/// The longest note that a checkpoint carries.
pub const NOTE_BYTES_MAX: usize = 4 << 10;

/// The reading end: follows the log, can go back to its checkpoint, and releases what it is done with.
///
/// Its calls read files and [`Reader::checkpoint`] waits for the disk, so it belongs on a thread that may block.
pub struct Reader {
    shared: Arc<Shared>,
    /// Frames up to here were in the journal when it was opened.
    opened_seq: u64,
    /// The segment being read, by its first sequence number.
    segment_seq: u64,
    file: Option<File>,
    scan: Scan,
    /// Frames up to here are passed unseen: they are done, or before the place that was sought.
    skip_seq: u64,
    /// Damage up to here is counted already.
    counted_seq: u64,
    checkpoint: Checkpoint,
    /// The last checkpoint failed. It may have changed places with the one that is durable: that would be
    /// written over next.
    misplaced: bool,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, checkpoint: Checkpoint, opened_seq: u64) -> Reader {
        let mut reader = Reader {
            shared,
            opened_seq,
            segment_seq: 0,
            file: None,
            scan: Scan::default(),
            skip_seq: 0,
            counted_seq: 0,
            checkpoint,
            misplaced: false,
        };
        reader.counted_seq = reader.checkpoint.seq();
        reader.place(reader.checkpoint.seq());
        reader
    }

    /// The edge id that frames get from this process; frames of earlier ones may carry another.
    pub fn edge_id(&self) -> u64 {
        self.shared.edge_id
    }

    /// Hands out the next committed frames, in order, until their payloads have `bytes_max` bytes; at least one
    /// if there is one. Returns how many. Damage is skipped and counted. After an error the place is kept.
    pub fn read(&mut self, bytes_max: usize, mut each: impl FnMut(Frame<'_>)) -> Result<usize, JournalError> {
        let (mut frames, mut bytes) = (0, 0);
        while let Some((segment, next_seq)) = self.segment() {
            self.enter(&segment)?;
            let seed = frame::seed(segment.edge_id);
            while let Some(file) = &self.file
                && let Some(found) = self.scan.peek(file, seed, segment.end).map_err(|source| {
                    JournalError::Io { action: "read", path: segment.path(&self.shared.dir), source }
                })?
            {
                let payload = found.bytes - FRAME_HEADER_BYTES;
                if found.seq > self.skip_seq {
                    if frames > 0 && bytes + payload > bytes_max {
                        return Ok(frames);
                    }
                    self.count_damage(found.seq);
                    each(Frame {
                        edge_id: segment.edge_id,
                        seq: found.seq,
                        class: found.class,
                        replay: found.seq <= self.opened_seq,
                        payload: &self.scan.bytes(&found)[FRAME_HEADER_BYTES..],
                    });
                    frames += 1;
                    bytes += payload;
                }
                self.scan.pass(&found);
            }
            // The end is final once there is a next segment.
            let Some(next_seq) = next_seq else { break };
            self.segment_seq = next_seq;
            self.file = None;
        }
        Ok(frames)
    }

    /// Waits until something is committed beyond the read position. What is there may turn out to be damaged, or
    /// done already after a [`Reader::seek`]: then one read yields nothing. Does not resolve when the log is
    /// gone and all is read.
    pub async fn readable(&mut self) {
        loop {
            let from = if self.file.is_some() { self.scan.offset } else { HEADER_BYTES };
            match self.segment() {
                Some((_, Some(_))) => return,
                Some((segment, None)) if segment.end > from => return,
                _ => self.shared.readable.notified().await,
            }
        }
    }

    /// Goes to just after `position`, which is not before the checkpoint: what follows is read again.
    pub fn seek(&mut self, position: Position) -> Result<(), JournalError> {
        self.check(position)?;
        self.place(position.seq);
        Ok(())
    }

    /// Declares all frames up to and including `position` done, and keeps `note` with it. Returns once that
    /// would survive power loss; only then the segments wholly before it are deleted.
    ///
    /// The position may be the checkpointed one again, to change the note, and may have `seq` 0 to leave a note
    /// before the first frame. After an error nothing is deleted and the call can be repeated.
    pub fn checkpoint(&mut self, position: Position, note: &[u8]) -> Result<(), JournalError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(JournalError::Note { bytes: note.len(), max: NOTE_BYTES_MAX });
        }
        self.check(position)?;
        let (disk, dir) = (&self.shared.disk, &self.shared.dir);
        if self.misplaced {
            disk.sync_dir(dir).map_err(JournalError::io("sync", dir))?;
        }
        self.misplaced = true;
        Checkpoint::store(disk, dir, position, note)
            .map_err(JournalError::io("store the checkpoint in", dir))?;
        self.misplaced = false;
        self.checkpoint.position = Some(position);
        self.checkpoint.note.clear();
        self.checkpoint.note.extend_from_slice(note);
        self.skip_seq = self.skip_seq.max(position.seq);
        self.release();
        Ok(())
    }

    /// The last durable checkpoint and its note.
    pub fn checkpointed(&self) -> (Option<Position>, &[u8]) {
        (self.checkpoint.position, &self.checkpoint.note)
    }

    /// Where the last frame handed out, or passed, ends.
    pub fn read_seq(&self) -> u64 {
        self.scan.last_seq.max(self.skip_seq)
    }

    /// The segment being read and the start of the one after it.
    fn segment(&self) -> Option<(Segment, Option<u64>)> {
        let state = lock(&self.shared.state);
        let (index, segment) = state.at(self.segment_seq)?;
        Some((segment.clone(), state.segments.get(index + 1).map(|next| next.first_seq)))
    }

    /// Opens the segment, unless it is open or has no frame yet.
    fn enter(&mut self, segment: &Segment) -> Result<(), JournalError> {
        self.segment_seq = segment.first_seq;
        if self.file.is_some() || segment.end <= HEADER_BYTES {
            return Ok(());
        }
        let path = segment.path(&self.shared.dir);
        let opened = File::open(&path).or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            // Stopping here would stop everything after it too, so it is read as an empty file.
            tracing::error!(path = %path.display(), "journal segment is gone, its frames are lost");
            self.shared.counters.bad_segments.fetch_add(1, Relaxed);
            File::open("/dev/null")
        });
        self.file = Some(opened.map_err(JournalError::io("open", &path))?);
        self.scan.enter(HEADER_BYTES);
        Ok(())
    }

    fn count_damage(&mut self, seq: u64) {
        let known = self.scan.last_seq.max(self.counted_seq);
        if self.scan.damaged && seq > known + 1 {
            let frames = seq - known - 1;
            tracing::error!(frames, before = seq, "journal frames are damaged, skipped");
            self.shared.counters.bad_frames.fetch_add(frames, Relaxed);
        }
        self.counted_seq = self.counted_seq.max(seq);
    }

    fn place(&mut self, seq: u64) {
        let state = lock(&self.shared.state);
        let first_seq = state.holding(seq + 1).or(state.segments.front()).map_or(0, |found| found.first_seq);
        drop(state);
        self.segment_seq = first_seq;
        self.file = None;
        self.scan.place(HEADER_BYTES, first_seq.saturating_sub(1));
        self.skip_seq = seq;
    }

    fn check(&self, position: Position) -> Result<(), JournalError> {
        let refuse =
            |expected| Err(JournalError::Position { edge_id: position.edge_id, seq: position.seq, expected });
        if position.seq < self.checkpoint.seq() {
            return refuse("none before the checkpoint");
        }
        if Some(position) == self.checkpoint.position || position.seq == 0 {
            return Ok(());
        }
        let state = lock(&self.shared.state);
        if position.seq > state.committed_seq {
            return refuse("one that is committed");
        }
        match state.holding(position.seq) {
            Some(segment) if segment.edge_id != position.edge_id => refuse("the edge id of that frame"),
            _ => Ok(()),
        }
    }

    /// Deletes the segments wholly before the checkpoint, oldest first. What cannot be deleted now is tried
    /// again after the next checkpoint.
    fn release(&mut self) {
        let done_seq = self.checkpoint.seq();
        while let Some((path, bytes)) = self.releasable(done_seq) {
            // Not under the lock: the file system takes its time, and the log commits meanwhile.
            match self.shared.disk.remove(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "failed to delete a journal segment");
                    break;
                }
            }
            self.shared.counters.bytes.fetch_sub(bytes, Relaxed);
            lock(&self.shared.state).segments.pop_front();
        }
        let oldest = lock(&self.shared.state).segments.front().map(|oldest| oldest.first_seq);
        if oldest.is_some_and(|oldest| oldest > self.segment_seq) {
            self.place(self.skip_seq);
        }
    }

    /// The oldest segment and its size, when no frame after `done_seq` is in it. Never the one written to.
    fn releasable(&self, done_seq: u64) -> Option<(PathBuf, u64)> {
        let state = lock(&self.shared.state);
        let (oldest, next) = (state.segments.front()?, state.segments.get(1)?);
        (next.first_seq <= done_seq + 1).then(|| (oldest.path(&self.shared.dir), oldest.end))
    }
}
