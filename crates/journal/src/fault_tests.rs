//! What the journal promises while the disk fails, and when the process dies between any two of its steps.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::future::Future;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::disk::{Disk, Op};
use crate::{Class, JournalError, Log, Options, Position, Reader, Shed, Sync, WriteError};

const ENOSPC: i32 = 28;

fn options(dir: &Path, sync: Sync) -> Options {
    Options {
        segment_bytes: 600,
        bytes_max: 64 << 10,
        sync,
        group_bytes_max: 400,
        retry_ms: 0,
        ..Options::new(dir)
    }
}

pub(crate) fn open_on(dir: &Path, sync: Sync, disk: &Disk) -> Result<(Log, Reader), JournalError> {
    crate::recover::open(options(dir, sync), disk.clone())
}

pub(crate) fn append(log: &Log, class: Class, text: &str) -> Result<Position, Shed> {
    log.append(class, |_, _, out| out.extend_from_slice(text.as_bytes()))
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(crate) fn commit(log: &Log, text: &str) -> Result<Position, WriteError> {
    let position = append(log, Class::Click, text).map_err(|_| WriteError::Unknown)?;
    block_on(log.committed(position)).map(|()| position)
}

pub(crate) fn read_all(reader: &mut Reader) -> Vec<(Position, String)> {
    let mut out = Vec::new();
    reader
        .read(usize::MAX, |frame| {
            out.push((frame.position(), String::from_utf8(frame.payload.to_vec()).unwrap()))
        })
        .unwrap();
    out
}

pub(crate) fn texts(frames: &[(Position, String)]) -> Vec<&str> {
    frames.iter().map(|(_, text)| text.as_str()).collect()
}

#[test]
fn a_full_disk_sheds_what_it_refused_and_the_journal_goes_on() {
    // 17 bytes of header: cuts before, in, at the end of and after the first frame of the group.
    for (sync, partial) in
        [0, 5, 20, 22, 30].into_iter().flat_map(|p| [(Sync::PageCache, p), (Sync::Fsync, p)])
    {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let (log, mut reader) = open_on(dir.path(), sync, &disk).unwrap();
        commit(&log, "before").unwrap();

        disk.faults.refuse(&[Op::Write], ENOSPC, partial);
        let lost =
            [append(&log, Class::Open, "lost1"), append(&log, Class::Sent, "lost2")].map(Result::unwrap);
        let outcomes = block_on(async { tokio::join!(log.committed(lost[0]), log.committed(lost[1])) });
        let failed = Err(WriteError::Failed { errno: ENOSPC });
        assert_eq!(outcomes, (failed, failed), "{sync:?} {partial}");
        assert_eq!(texts(&read_all(&mut reader)), ["before"], "no part of a refused group is visible");
        let stats = log.stats();
        assert_eq!((stats.shed(Class::Open, Shed::Disk), stats.shed(Class::Sent, Shed::Disk)), (1, 1));
        assert_eq!((stats.shed_total(), stats.write_errors), (2, 1));

        disk.faults.heal();
        let after = commit(&log, "after").unwrap();
        assert!(after.seq > lost[1].seq, "a number is given out once");
        assert_eq!(block_on(log.committed(lost[0])), failed, "a later success is not an earlier one's");
        assert_eq!(texts(&read_all(&mut reader)), ["after"]);
        let kept = (32 + 17 + "before".len() + 17 + "after".len()) as u64;
        assert_eq!(log.stats().bytes, kept, "what was refused takes no room");

        drop((log, reader));
        let (log, mut reader) = open_on(dir.path(), sync, &Disk::default()).unwrap();
        assert_eq!(texts(&read_all(&mut reader)), ["before", "after"]);
        assert_eq!(log.edge_id(), after.edge_id);
        assert_eq!(log.stats().torn_bytes, 0);
    }
}

#[test]
fn nothing_is_written_while_half_a_group_cannot_be_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (log, mut reader) = open_on(dir.path(), Sync::PageCache, &disk).unwrap();
    disk.faults.refuse(&[Op::Write, Op::Truncate], 5, 10);
    commit(&log, "lost").unwrap_err();
    disk.faults.take_seen();
    disk.faults.refuse(&[Op::Truncate], 5, 0);
    commit(&log, "lost too").unwrap_err();
    assert_eq!(disk.faults.take_seen(), [Op::Truncate]);
    disk.faults.heal();
    commit(&log, "kept").unwrap();
    assert_eq!(texts(&read_all(&mut reader)), ["kept"]);
}

#[test]
fn a_disk_that_just_failed_is_left_alone_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let options = Options { retry_ms: 3_600_000, ..options(dir.path(), Sync::PageCache) };
    let (log, _reader) = crate::recover::open(options, disk.clone()).unwrap();
    disk.faults.refuse(&[Op::Write], 30, 0);
    commit(&log, "lost").unwrap_err();
    disk.faults.take_seen();
    assert_eq!(append(&log, Class::Download, "shed"), Err(Shed::Disk));
    assert_eq!(disk.faults.take_seen(), []);
    assert_eq!(log.stats().shed(Class::Download, Shed::Disk), 1);
    assert_eq!(log.stats().shed(Class::Click, Shed::Disk), 1);
}

#[test]
fn fsync_mode_acknowledges_after_the_sync_and_shares_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (log, mut reader) = open_on(dir.path(), Sync::Fsync, &disk).unwrap();
    disk.faults.take_seen();
    disk.faults.hold_syncs(true);
    let one = append(&log, Class::Click, "one").unwrap();
    let two = append(&log, Class::Click, "two").unwrap();
    let (mut one, mut two) = (pin!(log.committed(one)), pin!(log.committed(two)));
    let mut context = Context::from_waker(Waker::noop());
    // The first polls yield, the second ones hand the group over.
    for _ in 0..2 {
        assert!(one.as_mut().poll(&mut context).is_pending() && two.as_mut().poll(&mut context).is_pending());
    }
    disk.faults.wait_for(Op::Sync);
    assert!(one.as_mut().poll(&mut context).is_pending(), "written, but not synced");
    assert_eq!(read_all(&mut reader), [], "not even to the reader");
    disk.faults.hold_syncs(false);
    assert_eq!(block_on(async { tokio::join!(one, two) }), (Ok(()), Ok(())));
    assert_eq!(disk.faults.take_seen(), [Op::Write, Op::Sync], "one write and one sync for both");
    assert_eq!(texts(&read_all(&mut reader)), ["one", "two"]);
}

#[test]
fn fsync_mode_sheds_what_a_slow_disk_cannot_take_and_never_waits() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (log, mut reader) = open_on(dir.path(), Sync::Fsync, &disk).unwrap();
    disk.faults.take_seen();
    disk.faults.hold_syncs(true);
    let first = append(&log, Class::Click, "first").unwrap();
    let mut committed = pin!(log.committed(first));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..2 {
        assert!(committed.as_mut().poll(&mut context).is_pending());
    }
    disk.faults.wait_for(Op::Sync);
    let taken = (0..).take_while(|_| append(&log, Class::Open, &"x".repeat(83)).is_ok()).count();
    assert_eq!(taken, 4, "a group of 400 bytes");
    assert_eq!(log.stats().shed(Class::Open, Shed::Behind), 1);
    disk.faults.hold_syncs(false);
    block_on(async {
        committed.await.unwrap();
        log.flush().await.unwrap();
    });
    assert_eq!(read_all(&mut reader).len(), 5);
}

#[test]
fn a_failed_sync_is_a_failed_write() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (log, mut reader) = open_on(dir.path(), Sync::Fsync, &disk).unwrap();
    disk.faults.refuse(&[Op::Sync], 5, 0);
    assert_eq!(commit(&log, "lost"), Err(WriteError::Failed { errno: 5 }));
    disk.faults.heal();
    commit(&log, "kept").unwrap();
    assert_eq!(texts(&read_all(&mut reader)), ["kept"]);
    drop((log, reader));
    let (_log, mut reader) = open_on(dir.path(), Sync::Fsync, &Disk::default()).unwrap();
    assert_eq!(texts(&read_all(&mut reader)), ["kept"], "what was reported as shed does not come back");
}

#[test]
fn a_checkpoint_needs_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (log, mut reader) = open_on(dir.path(), Sync::PageCache, &disk).unwrap();
    let inodes = || {
        ["checkpoint", "checkpoint.next"].map(|name| {
            let data = std::fs::metadata(dir.path().join(name)).unwrap();
            assert!(data.blocks() * 512 >= data.len(), "{name} has all its blocks: {data:?}");
            (data.ino(), data.len())
        })
    };
    let before = inodes();
    for text in ["one", "two", "three"] {
        let position = commit(&log, text).unwrap();
        // A full disk refuses new files and longer ones, and still lets old blocks be written.
        disk.faults.refuse(&[Op::Truncate], ENOSPC, 0);
        reader.checkpoint(position, &[7; 4096]).unwrap();
        disk.faults.heal();
        assert!(inodes().iter().all(|file| before.contains(file)));
    }
}

#[test]
fn a_segment_is_deleted_after_the_checkpoint_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (log, mut reader) = open_on(dir.path(), Sync::PageCache, &disk).unwrap();
    let mut last = None;
    while log.stats().segments < 3 {
        last = Some(commit(&log, &"x".repeat(100)).unwrap());
    }
    let position = last.unwrap();
    let durable = [Op::Create, Op::Write, Op::Sync, Op::Rename, Op::SyncDir];
    for refused in durable {
        disk.faults.take_seen();
        disk.faults.refuse(&[refused], 5, 0);
        reader.checkpoint(position, b"note").unwrap_err();
        assert!(!disk.faults.take_seen().contains(&Op::Remove), "{refused:?} failed");
        assert_eq!(reader.checkpointed(), (None, &b""[..]));
    }
    disk.faults.heal();
    reader.checkpoint(position, b"note").unwrap();
    // First what the failures may have left undone, last what depends on the rest.
    let expected = [&[Op::SyncDir], &durable[..], &[Op::Remove, Op::Remove]].concat();
    assert_eq!(disk.faults.take_seen(), expected);
    assert_eq!(reader.checkpointed(), (Some(position), &b"note"[..]));
    assert_eq!(log.stats().segments, 1);
}

/// A short life with every kind of step in it. Remembers what was promised.
#[derive(Default)]
struct Life {
    acknowledged: BTreeMap<(u64, u64), String>,
    refused: Vec<String>,
    checkpointed: u64,
}

impl Life {
    fn run(&mut self, dir: &Path, sync: Sync, disk: &Disk) -> Option<()> {
        let (log, mut reader) = open_on(dir, sync, disk).ok()?;
        for step in 0..16 {
            let text = format!("{step}-{}", "y".repeat(step * 29 % 150));
            match commit(&log, &text) {
                Ok(at) => drop(self.acknowledged.insert((at.edge_id, at.seq), text)),
                Err(_) => self.refused.push(text),
            }
            if step % 5 == 4
                && let Some((position, _)) = read_all(&mut reader).iter().rev().nth(1)
            {
                let done = reader.checkpoint(*position, b"");
                self.checkpointed = if done.is_ok() { position.seq } else { self.checkpointed };
            }
        }
        Some(())
    }
}

#[test]
fn a_process_that_dies_between_any_two_steps_loses_and_renames_nothing() {
    let mut steps = 0;
    for sync in [Sync::PageCache, Sync::Fsync] {
        for (dead_at, partial) in (0..).flat_map(|step| [(step, 0), (step, 40)]) {
            let dir = tempfile::tempdir().unwrap();
            let disk = Disk::default();
            disk.faults.die_at(dead_at, partial);
            let mut life = Life::default();
            life.run(dir.path(), sync, &disk);
            let lived = disk.faults.take_seen().len() <= dead_at;

            let (log, mut reader) = open_on(dir.path(), sync, &Disk::default()).unwrap();
            let at = format!("{sync:?}, died at step {dead_at} after {partial} bytes");
            let from = reader.checkpointed().0.map_or(0, |position| position.seq);
            assert!(from >= life.checkpointed, "{at}: a durable checkpoint is gone");
            let frames = read_all(&mut reader);
            assert!(frames.is_sorted_by_key(|(position, _)| position.seq), "{at}: {frames:?}");
            let names: BTreeMap<_, _> =
                frames.iter().map(|(at, text)| ((at.edge_id, at.seq), text.clone())).collect();
            for (name, text) in life.acknowledged.iter().filter(|(name, _)| name.1 > from) {
                assert_eq!(names.get(name), Some(text), "{at}: acknowledged {name:?}");
            }
            let next = commit(&log, "next").unwrap();
            assert!(!life.acknowledged.contains_key(&(next.edge_id, next.seq)), "{at}: {next:?} named twice");
            assert!(!names.contains_key(&(next.edge_id, next.seq)), "{at}: {next:?} named twice");
            assert_eq!(texts(&read_all(&mut reader)), ["next"], "{at}");
            steps += 1;
            if lived {
                assert_eq!(life.acknowledged.len(), 16);
                break;
            }
        }
    }
    assert!(steps > 150, "only {steps} steps to die at");
}

#[test]
fn a_crash_during_recovery_does_not_let_a_damaged_frame_s_name_be_used_again() {
    let mut steps = 0;
    for dead_at in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let (log, mut reader) = open_on(dir.path(), Sync::PageCache, &Disk::default()).unwrap();
        let read: Vec<_> = ["one", "two"].map(|text| commit(&log, text).unwrap()).into();
        assert_eq!(read_all(&mut reader).len(), 2);
        let segment = log.shared.state.lock().unwrap().segments[0].clone();
        drop((log, reader));
        let file = OpenOptions::new().write(true).open(segment.path(dir.path())).unwrap();
        file.write_all_at(b"!", segment.end - 1).unwrap();

        let disk = Disk::default();
        disk.faults.die_at(dead_at, 0);
        drop(open_on(dir.path(), Sync::PageCache, &disk));
        let lived = disk.faults.take_seen().len() <= dead_at;
        let (log, mut reader) = open_on(dir.path(), Sync::PageCache, &Disk::default()).unwrap();
        assert_eq!(texts(&read_all(&mut reader)), ["one"], "died at {dead_at}");
        assert!(!read.contains(&commit(&log, "three").unwrap()), "died at {dead_at}");
        steps += 1;
        if lived {
            break;
        }
    }
    assert!(steps > 8, "recovery has only {steps} steps");
}

#[test]
fn what_a_killed_process_left_in_the_page_cache_is_synced_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (log, reader) = open_on(dir.path(), Sync::Fsync, &Disk::default()).unwrap();
    commit(&log, "one").unwrap();
    drop((log, reader));
    for sync in [Sync::Fsync, Sync::PageCache] {
        // Once more in the same mode, so that nothing but the segment is left to sync.
        drop(open_on(dir.path(), sync, &Disk::default()).unwrap());
        let disk = Disk::default();
        drop(open_on(dir.path(), sync, &disk).unwrap());
        assert!(disk.faults.take_seen().contains(&Op::Sync), "{sync:?}");
    }
}

#[test]
fn a_rotation_that_fails_at_any_step_is_tried_again() {
    for refused in [Op::Create, Op::Truncate, Op::Write, Op::Sync, Op::SyncDir, Op::Remove] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let (log, mut reader) = open_on(dir.path(), Sync::Fsync, &disk).unwrap();
        let mut kept = Vec::new();
        for round in 0..40 {
            match round % 3 {
                0 => disk.faults.refuse(&[refused, Op::Remove], ENOSPC, 12),
                _ => disk.faults.heal(),
            }
            let text = format!("{round}-{}", "z".repeat(150 + round * 13 % 90));
            if commit(&log, &text).is_ok() {
                kept.push(text);
            }
        }
        assert!(kept.len() >= 26, "{refused:?}: every healthy round is kept, {}", kept.len());
        assert_eq!(texts(&read_all(&mut reader)), kept, "{refused:?}");
        let shed = log.stats().shed_total();
        assert_eq!(shed as usize, 40 - kept.len(), "{refused:?}");
        let last_seq = log.stats().committed_seq;
        drop((log, reader));
        let (log, mut reader) = open_on(dir.path(), Sync::Fsync, &Disk::default()).unwrap();
        assert_eq!(texts(&read_all(&mut reader)), kept, "{refused:?}, opened again");
        assert!(log.stats().next_seq > last_seq, "{refused:?}");
    }
}

#[test]
fn an_encoder_that_panics_leaves_the_log_usable() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut reader) = open_on(dir.path(), Sync::PageCache, &Disk::default()).unwrap();
    let one = append(&log, Class::Click, "one").unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = log.append(Class::Click, |_, _, out| {
            out.push(1);
            panic!("encoder");
        });
    }));
    assert!(panicked.is_err());
    commit(&log, "two").unwrap();
    assert_eq!(block_on(log.committed(one)), Ok(()));
    assert_eq!(texts(&read_all(&mut reader)), ["one", "two"]);
}

#[test]
fn a_dropped_wait_does_not_lose_the_frame() {
    for sync in [Sync::PageCache, Sync::Fsync] {
        for polls in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let disk = Disk::default();
            let (log, mut reader) = open_on(dir.path(), sync, &disk).unwrap();
            let position = append(&log, Class::Click, "kept").unwrap();
            {
                let mut waiting = Box::pin(log.committed(position));
                for _ in 0..polls {
                    if let Poll::Ready(outcome) =
                        waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
                    {
                        outcome.unwrap();
                        break;
                    }
                }
            }
            block_on(reader.readable());
            assert_eq!(read_all(&mut reader)[0], (position, "kept".into()), "{sync:?} {polls}");
        }
    }
}
