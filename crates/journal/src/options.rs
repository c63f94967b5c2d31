use std::path::PathBuf;

use crate::error::JournalError;
use crate::segment::HEADER_BYTES;

/// When a frame counts as committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Once written to the page cache: survives the death of the process, not of the machine.
    PageCache,
    /// Once `fdatasync` has returned: survives power loss too, at the price of waiting for the disk.
    Fsync,
}

/// Where a journal lies and how large it may grow.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of this log alone; created when missing.
    pub dir: PathBuf,
    /// Size of one segment, pre-allocated. Disk is given back in steps of this size.
    pub segment_bytes: u64,
    /// The most bytes kept, give or take a segment's header, in all segments together. The disk holds up to one segment more, the
    /// unused part of the one being written. At least four segments: the one being written cannot be
    /// released, so with fewer a log that is read in full would still look full.
    pub bytes_max: u64,
    /// When a frame counts as committed.
    pub sync: Sync,
    /// Least time between the starts of two syncs, [`Sync::Fsync`] only. Zero: the next sync takes whatever
    /// came during the last one. What comes after a group is full is shed until then.
    pub sync_interval_us: u64,
    /// The most bytes that wait in memory for one write, and so the largest frame.
    pub group_bytes_max: usize,
    /// After a failed write, how long appends are shed unseen before the disk is tried again.
    pub retry_ms: u64,
}

impl Options {
    /// The defaults: 64 MiB segments, 8 GiB in all, page cache.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Options {
            dir: dir.into(),
            segment_bytes: 64 << 20,
            bytes_max: 8 << 30,
            sync: Sync::PageCache,
            sync_interval_us: 0,
            group_bytes_max: 1 << 20,
            retry_ms: 100,
        }
    }

    pub(crate) fn check(&self) -> Result<(), JournalError> {
        let refuse = |key, value: u64, expected: String| Err(JournalError::Options { key, value, expected });
        let group = self.group_bytes_max as u64;
        if !(64..=64 << 20).contains(&group) {
            return refuse("group_bytes_max", group, "64 bytes to 64 MiB".into());
        }
        let segment_least = HEADER_BYTES + group;
        if !(segment_least..=1 << 40).contains(&self.segment_bytes) {
            let expected = format!("{segment_least} bytes (one group and a header) to 1 TiB");
            return refuse("segment_bytes", self.segment_bytes, expected);
        }
        if self.bytes_max < 4 * self.segment_bytes {
            let expected = format!("at least four segments, {} bytes", 4 * self.segment_bytes);
            return refuse("bytes_max", self.bytes_max, expected);
        }
        if self.sync_interval_us > 1_000_000 {
            return refuse("sync_interval_us", self.sync_interval_us, "at most one second".into());
        }
        Ok(())
    }
}
