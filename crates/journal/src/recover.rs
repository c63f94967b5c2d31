//! Opening: what is in the directory, where the sequence goes on, and under which id.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::sync::Notify;

use crate::checkpoint::Checkpoint;
use crate::committer;
use crate::disk::Disk;
use crate::error::JournalError;
use crate::frame;
use crate::identity::{self, Found, Identity};
use crate::log::{Log, Sink};
use crate::options::{Options, Sync};
use crate::reader::Reader;
use crate::scan::{Scan, written_end};
use crate::segment::{HEADER_BYTES, Header, Segment, parse_header};
use crate::shared::{DirLock, Pending, Retry, Shared, State, lock};
use crate::stats::Counters;
use crate::writer::{self, Writer};

pub(crate) fn open(options: Options, disk: Disk) -> Result<(Log, Reader), JournalError> {
    options.check()?;
    let dir = &create_dir(&options.dir, &disk).map_err(JournalError::io("create", &options.dir))?;
    let locked = lock_dir(dir)?;
    // What the process before renamed and deleted may not be durable yet, and from here on we build on it.
    disk.sync_dir(dir).map_err(JournalError::io("sync", dir))?;
    let checkpoint = Checkpoint::load(&disk, dir).map_err(JournalError::io("read the checkpoint in", dir))?;
    let old = Identity::load(dir).map_err(JournalError::io("read the identity in", dir))?;

    let counters = Counters::default();
    let (mut segments, damaged) = list(dir)?;
    drop_released(dir, &disk, &mut segments, checkpoint.seq());
    let had_segments = !segments.is_empty();
    let tail = Tail::find(dir, &mut segments)?;
    // One without a frame may have been created by a process that died before the header was written.
    for segment in segments.iter().filter(|segment| damaged.contains(&segment.first_seq)) {
        let path = segment.path(dir);
        tracing::error!(path = %path.display(), "journal segment has a damaged header, its name is used");
        counters.bad_segments.fetch_add(1, Relaxed);
    }

    let found = Found { segments: had_segments, torn: tail.torn_bytes > 0 };
    if options.sync == Sync::Fsync && old.as_ref().is_some_and(|old| old.sync == Sync::PageCache) {
        // Before the identity says that they outlive the machine.
        writer::sync_all(&disk, dir, segments.iter().chain(&tail.empty))
            .map_err(JournalError::io("sync the segments in", dir))?;
    }
    let drawn = identity::draw(&disk).map_err(JournalError::io("draw an edge id for", dir))?;
    let identity = Identity::succeed(old.clone(), found, options.sync, identity::boot_id(&disk), drawn);
    if old.as_ref() != Some(&identity) {
        // Before the tail is cut: a crash between the two must not make it look whole under the old id.
        identity.store(&disk, dir).map_err(JournalError::io("store the identity in", dir))?;
    }
    if old.as_ref().is_some_and(|old| old.edge_id != identity.edge_id) {
        tracing::warn!(edge_id = format!("{:016x}", identity.edge_id), ?found, "journal has a new edge id");
    }

    let last_seq = tail.last_seq.max(checkpoint.seq());
    let shared = Arc::new(Shared {
        edge_id: identity.edge_id,
        dir: dir.to_owned(),
        disk,
        pending: Mutex::new(Pending { next_seq: last_seq + 1, ..Pending::default() }),
        handed: Condvar::new(),
        state: Mutex::new(State::new(VecDeque::new(), last_seq)),
        readable: Notify::new(),
        settled: Notify::new(),
        counters,
        retry: Retry::new(options.retry_ms),
        alone: AtomicBool::new(false),
        _lock: locked,
    });
    let writer = resume(&shared, &options, &mut segments, tail, last_seq + 1)?;
    shared.counters.bytes.store(segments.iter().map(|segment| segment.end).sum(), Relaxed);
    lock(&shared.state).segments = segments;

    let reader = Reader::new(shared.clone(), checkpoint, last_seq);
    let sink = match options.sync {
        Sync::PageCache => Sink::Here(Mutex::new(writer)),
        Sync::Fsync => {
            let (shared, interval) = (shared.clone(), Duration::from_micros(options.sync_interval_us));
            let thread = std::thread::Builder::new()
                .name("journal-sync".into())
                .spawn(move || committer::run(shared, writer, interval))
                .map_err(JournalError::io("start the committer of", dir))?;
            Sink::Thread(Some(thread))
        }
    };
    let log = Log {
        seed: frame::seed(identity.edge_id),
        bytes_max: options.bytes_max,
        group_bytes_max: options.group_bytes_max,
        shared,
        sink,
    };
    Ok((log, reader))
}

/// Creates the directory so that it survives power loss like the files in it. Returns its full name.
fn create_dir(dir: &Path, disk: &Disk) -> io::Result<PathBuf> {
    let named = |path: &&Path| !path.as_os_str().is_empty();
    let missing: Vec<_> = dir.ancestors().filter(named).take_while(|path| !path.exists()).collect();
    let there =
        missing.last().map_or(Some(dir), |path| path.parent()).filter(named).unwrap_or(Path::new("."));
    // A process may have died between the two steps below, for the last directory that is there.
    match sync_entry(there, disk) {
        Err(error) if not_ours(error.kind()) => {}
        synced => synced?,
    }
    for path in missing.iter().rev() {
        match fs::create_dir(path) {
            // The log of another core was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => created?,
        }
        sync_entry(path, disk)?;
    }
    fs::canonicalize(dir)
}

/// A directory whose parent may not be looked at, or cannot be synced, was not created by us.
fn not_ours(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(kind, PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported)
}

/// Makes durable that a directory is there.
fn sync_entry(dir: &Path, disk: &Disk) -> io::Result<()> {
    let dir = fs::canonicalize(dir)?;
    disk.sync_dir(dir.parent().unwrap_or(&dir))
}

/// Takes the directory; the lock goes with the file, so no process that dies leaves one behind.
fn lock_dir(dir: &Path) -> Result<DirLock, JournalError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(JournalError::io("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(DirLock(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(JournalError::Locked { dir: dir.to_owned() }),
        Err(error) => Err(JournalError::io("lock", &path)(error.into())),
    }
}

/// The segments of the directory, in order, each readable to the end of its file; and those of them, by first
/// sequence number, whose header is damaged.
fn list(dir: &Path) -> Result<(VecDeque<Segment>, Vec<u64>), JournalError> {
    let (mut segments, mut damaged) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir).map_err(JournalError::io("list", dir))? {
        let entry = entry.map_err(JournalError::io("list", dir))?;
        let Some(mut segment) = entry.file_name().to_str().and_then(Segment::from_name) else { continue };
        let path = entry.path();
        let file = File::open(&path).map_err(JournalError::io("open", &path))?;
        let mut raw = [0; HEADER_BYTES as usize];
        match file.read_exact_at(&mut raw, 0).map(|()| parse_header(&raw)) {
            Ok(Header::Valid(edge_id, first_seq))
                if (edge_id, first_seq) == (segment.edge_id, segment.first_seq) => {}
            Ok(Header::Newer(version)) => {
                let source = io::Error::other(format!("its version is {version}, expected 1"));
                return Err(JournalError::io("understand", &path)(source));
            }
            Ok(_) => damaged.push(segment.first_seq),
            // Created and not yet written when the process died: no frame can be in it.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(JournalError::io("read", &path)(error)),
        }
        segment.end = file.metadata().map_err(JournalError::io("inspect", &path))?.len();
        segments.push(segment);
    }
    segments.sort_by_key(|segment| segment.first_seq);
    if let Some(twice) = segments.windows(2).find(|pair| pair[0].first_seq == pair[1].first_seq) {
        // Only hands can do this; guessing which one counts could name two frames the same.
        let source = io::Error::other("another segment starts at the same sequence number");
        return Err(JournalError::io("understand", &twice[1].path(dir))(source));
    }
    Ok((segments.into(), damaged))
}

/// Deletes what the durable checkpoint has passed: the process died before it could.
fn drop_released(dir: &Path, disk: &Disk, segments: &mut VecDeque<Segment>, done_seq: u64) {
    while segments.get(1).is_some_and(|next| next.first_seq <= done_seq + 1) {
        let Some(oldest) = segments.pop_front() else { return };
        let path = oldest.path(dir);
        if let Err(error) = disk.remove(&path) {
            tracing::warn!(path = %path.display(), %error, "failed to delete a journal segment");
        }
    }
}

/// Where the journal ends.
struct Tail {
    /// No frame that a reader ever saw has a higher number, as far as the segments tell.
    last_seq: u64,
    /// Where the last valid frame ends, in the last segment that has one.
    end: u64,
    /// What lies behind it and is not zero.
    torn_bytes: u64,
    /// Segments without a frame, behind it.
    empty: Vec<Segment>,
}

impl Tail {
    /// Looks for the last frame from the last segment backwards, and takes those without one off the list.
    fn find(dir: &Path, segments: &mut VecDeque<Segment>) -> Result<Tail, JournalError> {
        let mut tail = Tail { last_seq: 0, end: 0, torn_bytes: 0, empty: Vec::new() };
        while let Some(last) = segments.pop_back() {
            let path = last.path(dir);
            let (last_seq, end, torn_bytes) =
                last_frame(&path, &last).map_err(JournalError::io("read", &path))?;
            tail.last_seq = tail.last_seq.max(last_seq);
            tail.torn_bytes += torn_bytes;
            if last_seq >= last.first_seq {
                tail.end = end;
                segments.push_back(last);
                break;
            }
            tail.empty.push(last);
        }
        Ok(tail)
    }
}

/// The number of the last frame, or the one before the first; where it ends; what lies behind and is not zero.
fn last_frame(path: &Path, segment: &Segment) -> io::Result<(u64, u64, u64)> {
    let file = File::open(path)?;
    let mut scan = Scan::default();
    scan.place(HEADER_BYTES, segment.first_seq.saturating_sub(1));
    let mut end = HEADER_BYTES;
    while let Some(found) = scan.peek(&file, frame::seed(segment.edge_id), segment.end)? {
        scan.pass(&found);
        end = scan.offset;
    }
    Ok((scan.last_seq, end, written_end(&file, end)? - end))
}

/// Cuts the tail and makes the last segment, or a new one, ready to be written to.
fn resume(
    shared: &Shared,
    options: &Options,
    segments: &mut VecDeque<Segment>,
    tail: Tail,
    next_seq: u64,
) -> Result<Writer, JournalError> {
    let (disk, segment_bytes, sync) = (&shared.disk, options.segment_bytes, options.sync);
    if tail.torn_bytes > 0 {
        tracing::warn!(dir = %shared.dir.display(), bytes = tail.torn_bytes, "journal had a torn tail, cut off");
        shared.counters.torn_bytes.fetch_add(tail.torn_bytes, Relaxed);
    }
    for empty in &tail.empty {
        let path = empty.path(&shared.dir);
        disk.remove(&path).map_err(JournalError::io("delete the empty", &path))?;
    }
    if !tail.empty.is_empty() {
        // One that came back would start where the next one does.
        disk.sync_dir(&shared.dir).map_err(JournalError::io("sync", &shared.dir))?;
    }
    if let Some(last) = segments.back_mut() {
        let path = last.path(&shared.dir);
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.map_err(JournalError::io("open", &path))?;
        disk.truncate(&file, tail.end).map_err(JournalError::io("trim", &path))?;
        last.end = tail.end;
        let goes_on = last.edge_id == shared.edge_id && tail.end < segment_bytes;
        if goes_on {
            disk.allocate(&file, segment_bytes).map_err(JournalError::io("extend", &path))?;
        }
        // In any mode. The reader gets these frames now, so their numbers must not be lost with the page cache;
        // and what was cut off, by us or by the process before, must not come back under numbers used again.
        disk.sync(&file).map_err(JournalError::io("sync", &path))?;
        if goes_on {
            return Ok(Writer { file, offset: tail.end, segment_bytes, sync, dirty: false, ended: false });
        }
    }
    let segment = Segment { edge_id: shared.edge_id, first_seq: next_seq, end: HEADER_BYTES };
    let path = segment.path(&shared.dir);
    let file =
        writer::create(shared, &segment, segment_bytes, sync).map_err(JournalError::io("create", &path))?;
    segments.push_back(segment);
    Ok(Writer { file, offset: HEADER_BYTES, segment_bytes, sync, dirty: false, ended: false })
}
