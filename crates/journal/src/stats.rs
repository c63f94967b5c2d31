use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::Shed;
use crate::frame::Class;

/// What a journal holds and what became of what it was given. Counters start at zero with the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes in use, of `bytes_max`: all that is not released, and what waits in memory to be written.
    pub bytes: u64,
    /// The bound on `bytes`.
    pub bytes_max: u64,
    /// Segment files.
    pub segments: u64,
    /// The sequence number that the next frame gets.
    pub next_seq: u64,
    /// The highest sequence number that is committed.
    pub committed_seq: u64,
    /// Frames committed.
    pub frames: u64,
    /// Writes that carried them: `frames / groups` is how well group commit works.
    pub groups: u64,
    /// Groups that the disk refused.
    pub write_errors: u64,
    /// Frames not taken, or taken and then refused by the disk, by class and reason.
    pub shed: [[u64; Shed::ALL.len()]; Class::ALL.len()],
    /// Frames that the reader found missing where it had to skip damage. Counted once, by sequence numbers, so
    /// it includes frames that were shed at the same place for a failed write.
    pub bad_frames: u64,
    /// Segments whose header was damaged at opening, or whose file was gone when the reader came to it.
    pub bad_segments: u64,
    /// Bytes cut off the tail at opening.
    pub torn_bytes: u64,
}

impl Stats {
    /// Frames of `class` shed for `reason`.
    pub fn shed(&self, class: Class, reason: Shed) -> u64 {
        self.shed[class as usize][reason as usize]
    }

    /// Frames shed, all in all.
    pub fn shed_total(&self) -> u64 {
        self.shed.iter().flatten().sum()
    }
}

/// The counters that the log, the committer and the reader share.
#[derive(Default)]
pub(crate) struct Counters {
    pub bytes: AtomicU64,
    pub frames: AtomicU64,
    pub groups: AtomicU64,
    pub write_errors: AtomicU64,
    pub bad_frames: AtomicU64,
    pub bad_segments: AtomicU64,
    pub torn_bytes: AtomicU64,
    shed: [[AtomicU64; Shed::ALL.len()]; Class::ALL.len()],
}

impl Counters {
    pub fn shed(&self, class: Class, reason: Shed, frames: u64) {
        self.shed[class as usize][reason as usize].fetch_add(frames, Relaxed);
    }

    /// The counters alone; the caller adds what it knows under its locks.
    pub fn snapshot(&self) -> Stats {
        Stats {
            bytes: self.bytes.load(Relaxed),
            frames: self.frames.load(Relaxed),
            groups: self.groups.load(Relaxed),
            write_errors: self.write_errors.load(Relaxed),
            shed: std::array::from_fn(|class| {
                std::array::from_fn(|reason| self.shed[class][reason].load(Relaxed))
            }),
            bad_frames: self.bad_frames.load(Relaxed),
            bad_segments: self.bad_segments.load(Relaxed),
            torn_bytes: self.torn_bytes.load(Relaxed),
            ..Stats::default()
        }
    }
}
