//! Where fetched parts are kept, whole or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::syncfs;

use crate::LocalError;
use crate::error::file;
use crate::progress::Progress;

/// A folder of fetched parts, shared by all programs of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// The folder; made when first needed.
    pub dir: PathBuf,
}

impl Cache {
    /// `$MAILBEACON_CACHE`, else `$XDG_CACHE_HOME/mailbeacon`, else `$HOME/.cache/mailbeacon`.
    pub fn default_dir() -> Result<Cache, LocalError> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let dir = variable("MAILBEACON_CACHE")
            .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("mailbeacon")))
            .or_else(|| Some(variable("HOME")?.join(".cache/mailbeacon")))
            .ok_or(LocalError::NoCacheDir)?;
        Ok(Cache { dir })
    }

    /// The item `name`, which `fill` makes in the folder that it is given when it is not there yet.
    ///
    /// An item is filled under another name and renamed when whole, so a fetch cut off at any point leaves nothing
    /// that is taken for an item. A file lock keeps two programs from fetching the same; the kernel drops it when
    /// its holder dies.
    pub fn item(
        &self,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<(), LocalError>,
    ) -> Result<PathBuf, LocalError> {
        let whole = self.dir.join(name);
        if whole.is_dir() {
            return Ok(whole);
        }
        fs::create_dir_all(&self.dir).map_err(file("create", &self.dir))?;
        let lock_path = self.dir.join(format!("{name}.lock"));
        let lock = File::create(&lock_path).map_err(file("create", &lock_path))?;
        if lock.try_lock().is_err() {
            let waiting = Progress::start(&format!("waiting for another program that fetches {name}"));
            lock.lock().map_err(file("lock", &lock_path))?;
            waiting.done();
        }
        if whole.is_dir() {
            return Ok(whole);
        }
        let prefix = format!("{name}.partial-");
        self.remove_partials(&prefix)?;
        // The process id keeps a tool that outlived its killed parent from writing into our folder.
        let partial = self.dir.join(format!("{prefix}{}", std::process::id()));
        fs::create_dir(&partial).map_err(file("create", &partial))?;
        let filled = fill(&partial).and_then(|()| {
            // All bytes reach the disk before the name does: not even a power cut leaves a torn item.
            let folder = File::open(&partial).map_err(file("open", &partial))?;
            syncfs(&folder).map_err(|error| file("sync", &partial)(error.into()))?;
            fs::rename(&partial, &whole).map_err(file("rename", &partial))
        });
        if filled.is_err() {
            let _ = fs::remove_dir_all(&partial);
        }
        filled.map(|()| whole)
    }

    /// Clears what cut-off fetches left; only the holder of the item's lock may.
    fn remove_partials(&self, prefix: &str) -> Result<(), LocalError> {
        for entry in fs::read_dir(&self.dir).map_err(file("list", &self.dir))? {
            let entry = entry.map_err(file("list", &self.dir))?;
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    const NAME: &str = "part-1";

    fn cache(dir: &Path) -> Cache {
        Cache { dir: dir.join("cache") }
    }

    fn fill(partial: &Path) -> Result<(), LocalError> {
        fs::write(partial.join("file"), "whole").map_err(file("write", partial))
    }

    #[test]
    fn failed_fill_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        let failed = cache.item(NAME, |partial| {
            fill(partial)?;
            Err(LocalError::NoCacheDir)
        });
        assert!(failed.is_err());
        let left: Vec<_> =
            fs::read_dir(&cache.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["part-1.lock"]);
        let item = cache.item(NAME, fill).unwrap();
        assert_eq!(fs::read_to_string(item.join("file")).unwrap(), "whole");
    }

    #[test]
    fn many_at_once_fill_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        let fills = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let item = cache.item(NAME, |partial| {
                        fills.fetch_add(1, Ordering::Relaxed);
                        fill(partial)
                    });
                    assert_eq!(fs::read_to_string(item.unwrap().join("file")).unwrap(), "whole");
                });
            }
        });
        assert_eq!(fills.into_inner(), 1);
    }
}
