//! Every change to the disk goes through here, in one place, so that tests can count, refuse and hold it, and
//! know what of it a power loss would spare.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{CWD, FallocateFlags, RenameFlags, fallocate, renameat_with};

/// The disk; with a fault plan, and perhaps a model of its platters, in tests.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    pub faults: std::sync::Arc<crate::faults::Faults>,
    #[cfg(test)]
    pub power: Option<std::sync::Arc<crate::power::Power>>,
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

/// What the disk has done.
#[cfg_attr(not(test), expect(dead_code, reason = "only the model of a disk looks at it"))]
pub(crate) enum Done<'a> {
    Opened { path: &'a Path, file: &'a File, emptied: bool },
    Wrote { file: &'a File, bytes: &'a [u8], at: u64 },
    Length { file: &'a File, bytes: u64 },
    Synced { file: &'a File },
    Swapped { from: &'a Path, to: &'a Path },
    SyncedDir { path: &'a Path },
    Removed { path: &'a Path },
}

impl Disk {
    /// Creates or empties a file.
    pub fn create(&self, path: &Path) -> io::Result<File> {
        self.before(Op::Create)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        self.modelled(Done::Opened { path, file: &file, emptied: true });
        Ok(file)
    }

    /// Opens a file as it is, or creates it.
    pub fn open_or_create(&self, path: &Path) -> io::Result<File> {
        self.before(Op::Create)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        self.modelled(Done::Opened { path, file: &file, emptied: false });
        Ok(file)
    }

    /// Reserves `bytes` for the file. Where the file system cannot, or has no room for all of it, the file only
    /// gets the length: then a later write may fail, and is handled there.
    pub fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.before(Op::Truncate)?;
        if self.modelled(Done::Length { file, bytes }) {
            return file.set_len(bytes);
        }
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(()),
            Err(_) => file.set_len(bytes),
        }
    }

    pub fn write_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        if let Some(part) = self.faults.partial(bytes.len()) {
            file.write_all_at(&bytes[..part], at)?;
            self.modelled(Done::Wrote { file, bytes: &bytes[..part], at });
        }
        self.before(Op::Write)?;
        self.modelled(Done::Wrote { file, bytes, at });
        file.write_all_at(bytes, at)
    }

    pub fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.before(Op::Truncate)?;
        self.modelled(Done::Length { file, bytes });
        file.set_len(bytes)
    }

    /// Data, and the metadata needed to find it.
    pub fn sync(&self, file: &File) -> io::Result<()> {
        self.before(Op::Sync)?;
        if self.modelled(Done::Synced { file }) {
            return Ok(());
        }
        file.sync_data()
    }

    /// Puts `from` in the place of `to`, and `to` in the place of `from` if there is one and the file system
    /// can do that.
    pub fn swap(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before(Op::Rename)?;
        self.modelled(Done::Swapped { from, to });
        #[cfg(test)]
        if self.power.as_ref().is_some_and(|power| !power.exchange) {
            return std::fs::rename(from, to);
        }
        match renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            Err(_) => std::fs::rename(from, to),
        }
    }

    pub fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.before(Op::SyncDir)?;
        if self.modelled(Done::SyncedDir { path: dir }) {
            return Ok(());
        }
        File::open(dir)?.sync_all()
    }

    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.before(Op::Remove)?;
        std::fs::remove_file(path)?;
        self.modelled(Done::Removed { path });
        Ok(())
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

    /// Tells the model, if there is one, and whether there is one.
    #[cfg(test)]
    fn modelled(&self, done: Done<'_>) -> bool {
        self.power.as_ref().inspect(|power| power.note(done)).is_some()
    }

    #[cfg(not(test))]
    #[inline]
    fn modelled(&self, _done: Done<'_>) -> bool {
        false
    }
}
