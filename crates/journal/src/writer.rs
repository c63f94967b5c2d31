//! Puts groups at the end of the active segment, and leaves no half of one there.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::disk::Disk;
use crate::options::Sync;
use crate::segment::{HEADER_BYTES, Segment};
use crate::shared::{Group, Shared, lock};

pub(crate) struct Writer {
    /// The active segment: the last one of [`crate::shared::State`].
    pub file: File,
    /// Where the next group goes: the end of the last one that succeeded.
    pub offset: u64,
    pub segment_bytes: u64,
    pub sync: Sync,
    /// There may be part of a failed group after `offset`; nothing is written before that is cut off, or a
    /// crash could bring back frames that were reported as shed.
    pub dirty: bool,
    /// The segment is ended, though the next one could not be created: a file left of that attempt says that no
    /// frame before it has as high a number, and a checkpoint relies on that when it releases this segment.
    pub ended: bool,
}

impl Writer {
    /// Writes a group, whole or not at all, and returns where it ends.
    pub fn write(&mut self, shared: &Shared, group: &Group) -> io::Result<u64> {
        if self.dirty {
            shared.disk.truncate(&self.file, self.offset)?;
            self.dirty = false;
        }
        let bytes = group.bytes.len() as u64;
        if self.ended || self.offset + bytes > self.segment_bytes {
            self.rotate(shared, group.first_seq)?;
        }
        if let Err(error) = self.put(shared, group) {
            self.dirty = shared.disk.truncate(&self.file, self.offset).is_err();
            return Err(error);
        }
        self.offset += bytes;
        Ok(self.offset)
    }

    pub fn sync(&self, shared: &Shared) -> io::Result<()> {
        shared.disk.sync(&self.file)
    }

    fn put(&self, shared: &Shared, group: &Group) -> io::Result<()> {
        shared.disk.write_at(&self.file, &group.bytes, self.offset)?;
        match self.sync {
            Sync::PageCache => Ok(()),
            Sync::Fsync => self.sync(shared),
        }
    }

    fn rotate(&mut self, shared: &Shared, first_seq: u64) -> io::Result<()> {
        // Gives back what was reserved and not used. It does not matter if it fails: readers skip zeros.
        if let Err(error) = shared.disk.truncate(&self.file, self.offset) {
            tracing::warn!(%error, "failed to trim a full journal segment");
        }
        self.ended = true;
        let segment = Segment { edge_id: shared.edge_id, first_seq, end: HEADER_BYTES };
        self.file = create(shared, &segment, self.segment_bytes, self.sync)?;
        self.ended = false;
        self.offset = HEADER_BYTES;
        shared.counters.bytes.fetch_add(HEADER_BYTES, std::sync::atomic::Ordering::Relaxed);
        lock(&shared.state).segments.push_back(segment);
        Ok(())
    }
}

/// Makes durable what was written in page-cache mode, and that the files are there.
pub(crate) fn sync_all<'a>(
    disk: &Disk,
    dir: &Path,
    segments: impl IntoIterator<Item = &'a Segment>,
) -> io::Result<()> {
    for segment in segments {
        match File::open(segment.path(dir)) {
            Ok(file) => disk.sync(&file)?,
            // Released meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    disk.sync_dir(dir)
}

/// Creates the file of an empty segment, durably where frames in it are to be durable.
pub(crate) fn create(shared: &Shared, segment: &Segment, bytes: u64, sync: Sync) -> io::Result<File> {
    let (disk, path) = (&shared.disk, segment.path(&shared.dir));
    let file = disk.create(&path)?;
    let made = (|| {
        disk.allocate(&file, bytes)?;
        disk.write_at(&file, &segment.header(), 0)?;
        if sync == Sync::Fsync {
            disk.sync(&file)?;
            disk.sync_dir(&shared.dir)?;
        }
        Ok(())
    })();
    if made.is_err() {
        // On a full disk its space is needed; if it stays, the next opening finds a segment without frames.
        let _ = disk.remove(&path);
    }
    made.map(|()| file)
}
