//! Every change to the disk goes through here, in one place, so that tests can count, refuse and hold it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{CWD, FallocateFlags, RenameFlags, fallocate, renameat_with};

/// The disk; with a fault plan in tests.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    pub faults: std::sync::Arc<crate::faults::Faults>,
}

/// What the disk is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Write,
    Truncate,
    Sync,
    Rename,
    SyncDir,
    Remove,
}

impl Disk {
    /// Creates or empties a file.
    pub fn create(&self, path: &Path) -> io::Result<File> {
        self.before(Op::Create)?;
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
    }

    /// Opens a file as it is, or creates it.
    pub fn open_or_create(&self, path: &Path) -> io::Result<File> {
        self.before(Op::Create)?;
        OpenOptions::new().write(true).create(true).truncate(false).open(path)
    }

    /// Reserves `bytes` for the file. Where the file system cannot, or has no room for all of it, the file only
    /// gets the length: then a later write may fail, and is handled there.
    pub fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.before(Op::Truncate)?;
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(()),
            Err(_) => file.set_len(bytes),
        }
    }

    pub fn write_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        if let Some(part) = self.faults.partial(bytes.len()) {
            file.write_all_at(&bytes[..part], at)?;
        }
        self.before(Op::Write)?;
        file.write_all_at(bytes, at)
    }

    pub fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.before(Op::Truncate)?;
        file.set_len(bytes)
    }

    /// Data, and the metadata needed to find it.
    pub fn sync(&self, file: &File) -> io::Result<()> {
        self.before(Op::Sync)?;
        file.sync_data()
    }

    /// Puts `from` in the place of `to`, and `to` in the place of `from` if there is one and the file system
    /// can do that.
    pub fn swap(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before(Op::Rename)?;
        match renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            Err(_) => std::fs::rename(from, to),
        }
    }

    pub fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.before(Op::SyncDir)?;
        File::open(dir)?.sync_all()
    }

    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.before(Op::Remove)?;
        std::fs::remove_file(path)
    }

    #[cfg(test)]
    fn before(&self, op: Op) -> io::Result<()> {
        self.faults.before(op)
    }

    #[cfg(not(test))]
    #[inline]
    fn before(&self, _op: Op) -> io::Result<()> {
        Ok(())
    }
}
