//! A model of what a disk may look like after a power loss, for the tests of this crate.
//!
//! The files themselves are real, and are what a process sees: the page cache. Beside them stands, for each
//! directory entry and each file, what the last `fsync` covered and every change since. A killed process leaves
//! the page cache as it is. A power loss leaves of each file one of the lengths it had since its last sync, and
//! of each of its pages some of the writes since then, in any combination; and of the changes to the directory
//! since its last sync any subset, each rename whole. That is less than any file system promises.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::disk::Done;
use crate::shared::lock;

/// A directory that can lose its power.
pub(crate) struct Power {
    dir: PathBuf,
    /// Size of what is lost or kept as one piece.
    page_bytes: usize,
    /// The file system can exchange two files.
    pub exchange: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: Vec<Contents>,
    /// By the inode number of the real file.
    by_inode: BTreeMap<u64, usize>,
    entries: BTreeMap<String, usize>,
    durable_entries: BTreeMap<String, usize>,
    /// What happened to the entries since the directory's last sync: what each change set them to, as a whole.
    changes: Vec<Vec<(String, Option<usize>)>>,
    /// The parent was synced while the directory was in it.
    dir_durable: bool,
    boot: u64,
    drawn: u64,
}

#[derive(Default)]
struct Contents {
    durable: Vec<u8>,
    changes: Vec<Change>,
}

enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Power {
    /// For a directory that does not exist yet.
    pub fn new(dir: PathBuf, page_bytes: usize, exchange: bool) -> Power {
        Power { dir, page_bytes, exchange, state: Mutex::default() }
    }

    pub fn boot_id(&self) -> String {
        format!("boot {}", lock(&self.state).boot)
    }

    /// An id that was not drawn before, the same ones in every run.
    pub fn draw(&self) -> u64 {
        let mut state = lock(&self.state);
        state.drawn += 1;
        Rng(state.drawn).next()
    }

    /// Takes note of what was just done to the real files.
    pub fn note(&self, done: Done<'_>) {
        let mut state = lock(&self.state);
        match done {
            Done::Opened { path, file, emptied } => state.opened(name(path), inode(file), emptied),
            Done::Wrote { file, bytes, at } => {
                let change = Change::Write { at: at as usize, bytes: bytes.to_vec() };
                state.contents(file).changes.push(change);
            }
            Done::Length { file, bytes } => state.contents(file).changes.push(Change::Length(bytes as usize)),
            Done::Synced { file } => state.contents(file).settle(),
            Done::Swapped { from, to } => {
                let (from, to) = (name(from), name(to));
                let (moved, back) = (state.entries[&from], state.entries.get(&to).copied());
                let back = back.filter(|_| self.exchange);
                state.change(vec![(to, Some(moved)), (from, back)]);
            }
            Done::SyncedDir { path } if path == self.dir => {
                state.durable_entries = state.entries.clone();
                state.changes.clear();
            }
            Done::SyncedDir { path } => {
                state.dir_durable |= Some(path) == self.dir.parent() && self.dir.exists();
            }
            Done::Removed { path } => state.change(vec![(name(path), None)]),
        }
    }

    /// Flips bits of a byte that was durable, by itself.
    pub fn rot(&self, path: &Path, at: usize, bits: u8) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at as u64)?;
        let bytes = [byte[0] ^ bits];
        self.note(Done::Wrote { file: &file, bytes: &bytes, at: at as u64 });
        file.write_all_at(&bytes, at as u64)
    }

    /// Nobody may have the files open. They are replaced by what a power loss may have left of them.
    pub fn lose(&self, rng: &mut Rng) -> io::Result<()> {
        let state = &mut *lock(&self.state);
        state.boot += 1;
        if !self.dir.exists() {
            return Ok(());
        }
        if !state.dir_durable && rng.chance(2) {
            let (boot, drawn) = (state.boot, state.drawn);
            *state = State { boot, drawn, ..State::default() };
            return fs::remove_dir_all(&self.dir);
        }
        let keep = Keep::any(rng);
        let mut entries = std::mem::take(&mut state.durable_entries);
        for change in state.changes.drain(..).filter(|_| keep.piece(rng)) {
            set(&mut entries, change);
        }
        let images: Vec<_> = entries
            .into_iter()
            .map(|(name, file)| (name, state.files[file].after_power_loss(self.page_bytes, rng)))
            .collect();
        for entry in fs::read_dir(&self.dir)? {
            fs::remove_file(entry?.path())?;
        }
        (state.files, state.by_inode, state.entries) = Default::default();
        for (name, image) in images {
            let path = self.dir.join(&name);
            fs::write(&path, &image)?;
            let file = state.files.len();
            state.files.push(Contents { durable: image, changes: Vec::new() });
            state.by_inode.insert(fs::metadata(&path)?.ino(), file);
            state.entries.insert(name, file);
        }
        state.durable_entries = state.entries.clone();
        Ok(())
    }
}

impl State {
    fn opened(&mut self, name: String, inode: u64, emptied: bool) {
        if let Some(file) = self.entries.get(&name) {
            if emptied {
                self.files[*file].changes.push(Change::Length(0));
            }
            return;
        }
        let file = self.files.len();
        self.files.push(Contents::default());
        // The number may have belonged to a file that was deleted.
        self.by_inode.insert(inode, file);
        self.change(vec![(name, Some(file))]);
    }

    fn contents(&mut self, file: &File) -> &mut Contents {
        let file = self.by_inode[&inode(file)];
        &mut self.files[file]
    }

    fn change(&mut self, change: Vec<(String, Option<usize>)>) {
        set(&mut self.entries, change.clone());
        self.changes.push(change);
    }
}

fn set(entries: &mut BTreeMap<String, usize>, change: Vec<(String, Option<usize>)>) {
    for (name, file) in change {
        match file {
            Some(file) => entries.insert(name, file),
            None => entries.remove(&name),
        };
    }
}

impl Contents {
    fn settle(&mut self) {
        for change in self.changes.drain(..) {
            match change {
                Change::Length(bytes) => self.durable.resize(bytes, 0),
                Change::Write { at, bytes } => {
                    let end = at + bytes.len();
                    self.durable.resize(self.durable.len().max(end), 0);
                    self.durable[at..end].copy_from_slice(&bytes);
                }
            }
        }
    }

    fn after_power_loss(&self, page_bytes: usize, rng: &mut Rng) -> Vec<u8> {
        let mut lengths = vec![self.durable.len()];
        for change in &self.changes {
            let before = lengths.last().copied().unwrap_or(0);
            lengths.push(match change {
                Change::Length(bytes) => *bytes,
                Change::Write { at, bytes } => before.max(at + bytes.len()),
            });
        }
        let keep = Keep::any(rng);
        let length = match keep {
            Keep::None => lengths[0],
            Keep::All => lengths[lengths.len() - 1],
            Keep::Some => lengths[rng.below(lengths.len() as u64) as usize],
        };
        let mut image = self.durable.clone();
        image.resize(length, 0);
        for (index, page) in image.chunks_mut(page_bytes).enumerate() {
            let page_at = index * page_bytes;
            // A page as it was at some moment, or with any of the writes to it.
            let moment = rng.chance(2).then(|| rng.below(self.changes.len() as u64 + 1) as usize);
            for (index, change) in self.changes.iter().enumerate() {
                let kept = match (keep, moment) {
                    (Keep::Some, Some(moment)) => index < moment,
                    _ => keep.piece(rng),
                };
                if kept {
                    change.apply(page, page_at);
                }
            }
        }
        image
    }
}

impl Change {
    fn apply(&self, page: &mut [u8], page_at: usize) {
        match self {
            Change::Length(bytes) => {
                let from = bytes.saturating_sub(page_at).min(page.len());
                page[from..].fill(0);
            }
            Change::Write { at, bytes } => {
                let from = (*at).max(page_at);
                let to = (at + bytes.len()).min(page_at + page.len());
                if from < to {
                    page[from - page_at..to - page_at].copy_from_slice(&bytes[from - at..to - at]);
                }
            }
        }
    }
}

/// How much of what was not synced is kept. The extremes are likely, and often the worst.
#[derive(Clone, Copy)]
enum Keep {
    None,
    All,
    Some,
}

impl Keep {
    fn any(rng: &mut Rng) -> Keep {
        [Keep::None, Keep::All, Keep::Some, Keep::Some][rng.below(4) as usize]
    }

    fn piece(self, rng: &mut Rng) -> bool {
        match self {
            Keep::None => false,
            Keep::All => true,
            Keep::Some => rng.chance(2),
        }
    }
}

/// A directory in memory, where there is one: the model syncs nothing for real.
pub(crate) fn root() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn inode(file: &File) -> u64 {
    file.metadata().expect("an open file has metadata").ino()
}

/// SplitMix64: all of a schedule follows from its seed.
pub(crate) struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `times`.
    pub fn chance(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}
