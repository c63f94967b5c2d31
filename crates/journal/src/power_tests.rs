//! What random crash schedules have found, in the fewest steps.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::{Disk, Op};
use crate::fault_tests::{append, block_on, commit, open_on, read_all, texts};
use crate::power::{Power, Rng};
use crate::{Class, JournalError, Log, Reader, Sync};

/// How many different losses are tried after each history.
const LOSSES: u64 = 48;

/// A directory whose machine may lose its power.
struct Machine {
    dir: PathBuf,
    power: Arc<Power>,
    _root: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let root = crate::power::root();
        let dir = root.path().canonicalize().unwrap().join("journal");
        Machine { power: Arc::new(Power::new(dir.clone(), 512, true)), dir, _root: root }
    }

    fn disk(&self) -> Disk {
        Disk { power: Some(self.power.clone()), ..Disk::default() }
    }

    fn open(&self, sync: Sync) -> (Log, Reader) {
        open_on(&self.dir, sync, &self.disk()).unwrap()
    }

    /// A start of the process that ends after some operations.
    fn open_and_die(&self, sync: Sync, ops: usize) {
        let disk = self.disk();
        disk.faults.die_in(ops, 0);
        drop(open_on(&self.dir, sync, &disk));
    }

    fn lose_power(&self, loss: u64) {
        self.power.lose(&mut Rng(loss)).unwrap();
    }
}

#[test]
fn a_file_left_by_a_failed_rotation_does_not_release_what_came_after() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (log, mut reader) = open_on(dir.path(), Sync::Fsync, &disk).unwrap();
    let first = commit(&log, &"x".repeat(350)).unwrap();
    disk.faults.refuse(&[Op::SyncDir, Op::Remove], 5, 0);
    commit(&log, &"y".repeat(350)).unwrap_err();
    disk.faults.heal();
    commit(&log, "kept").unwrap();
    reader.checkpoint(first, b"").unwrap();
    drop((log, reader));
    let (_log, mut reader) = open_on(dir.path(), Sync::Fsync, &Disk::default()).unwrap();
    assert_eq!(texts(&read_all(&mut reader)), ["kept"]);
}

#[test]
fn names_read_in_page_cache_mode_are_not_given_again_in_fsync_mode() {
    for (ops, loss) in (0..24).flat_map(|ops| (0..8).map(move |loss| (ops, loss))) {
        let machine = Machine::new();
        let (log, mut reader) = machine.open(Sync::PageCache);
        let names = ["one", "two", "three"].map(|text| commit(&log, text).unwrap());
        assert_eq!(read_all(&mut reader).len(), 3);
        drop((log, reader));
        machine.open_and_die(Sync::Fsync, ops);
        machine.lose_power(loss);
        let next = commit(&machine.open(Sync::Fsync).0, "next").unwrap();
        assert!(!names.contains(&next), "{next:?} after {ops} operations, loss {loss}");
    }
}

#[test]
fn power_losses_in_a_row_leave_a_journal_that_opens() {
    for (ops, loss) in (0..24).flat_map(|ops| (0..LOSSES / 3).map(move |loss| (ops, loss))) {
        let machine = Machine::new();
        commit(&machine.open(Sync::PageCache).0, "one").unwrap();
        machine.lose_power(loss);
        machine.open_and_die(Sync::PageCache, ops);
        machine.lose_power(!loss);
        let opened = open_on(&machine.dir, Sync::PageCache, &machine.disk());
        let error = opened.err().map(|error: JournalError| format!("{error:?}"));
        assert_eq!(error, None, "after {ops} operations, loss {loss}");
    }
}

#[test]
fn a_refused_frame_does_not_come_back_under_a_name_used_since() {
    // Few losses keep just the moment between the write and the cut.
    for loss in 0..4 * LOSSES {
        let machine = Machine::new();
        let disk = machine.disk();
        let (log, reader) = open_on(&machine.dir, Sync::PageCache, &disk).unwrap();
        commit(&log, "one").unwrap();
        disk.faults.refuse(&[Op::Write], 28, usize::MAX);
        commit(&log, "refused").unwrap_err();
        disk.faults.heal();
        drop((log, reader));
        let (log, reader) = machine.open(Sync::PageCache);
        let named = commit(&log, "another").unwrap();
        drop((log, reader));
        machine.lose_power(loss);
        let frames = read_all(&mut machine.open(Sync::PageCache).1);
        let wrong = frames.iter().find(|(position, text)| *position == named && text != "another");
        assert_eq!(wrong, None, "loss {loss}");
    }
}

#[test]
fn a_directory_is_durable_whoever_created_it() {
    for (ops, loss) in (0..4).flat_map(|ops| (0..8).map(move |loss| (ops, loss))) {
        let machine = Machine::new();
        machine.open_and_die(Sync::Fsync, ops);
        commit(&machine.open(Sync::Fsync).0, "kept").unwrap();
        machine.lose_power(loss);
        let frames = read_all(&mut machine.open(Sync::Fsync).1);
        assert_eq!(texts(&frames), ["kept"], "after {ops} operations, loss {loss}");
    }
}

#[test]
fn a_checkpoint_that_fails_does_not_cost_the_one_before_it() {
    for (ops, loss) in (0..8).flat_map(|ops| (0..LOSSES).map(move |loss| (ops, loss))) {
        let machine = Machine::new();
        let disk = machine.disk();
        let (log, mut reader) = open_on(&machine.dir, Sync::PageCache, &disk).unwrap();
        let position = commit(&log, "one").unwrap();
        reader.checkpoint(position, &[1; 4096]).unwrap();
        disk.faults.refuse(&[Op::SyncDir], 5, 0);
        reader.checkpoint(position, &[2; 4096]).unwrap_err();
        disk.faults.heal();
        disk.faults.die_in(ops, 1000);
        let _ = reader.checkpoint(position, &[3; 4096]);
        drop((log, reader));
        machine.lose_power(loss);
        let (_log, reader) = machine.open(Sync::PageCache);
        assert_eq!(reader.checkpointed().0, Some(position), "after {ops} operations, loss {loss}");
    }
}

#[test]
fn a_checkpoint_that_was_built_on_after_a_kill_outlives_the_power() {
    for (ops, loss) in (0..8).flat_map(|ops| (0..LOSSES).map(move |loss| (ops, loss))) {
        let machine = Machine::new();
        let disk = machine.disk();
        let (log, mut reader) = open_on(&machine.dir, Sync::PageCache, &disk).unwrap();
        let positions = ["one", "two"].map(|text| commit(&log, text).unwrap());
        reader.checkpoint(positions[0], b"").unwrap();
        disk.faults.die_in(ops, 0);
        let _ = reader.checkpoint(positions[1], b"");
        drop((log, reader));
        let found = machine.open(Sync::PageCache).1.checkpointed().0;
        machine.lose_power(loss);
        let after = machine.open(Sync::PageCache).1.checkpointed().0;
        assert_eq!(after, found, "after {ops} operations, loss {loss}");
    }
}

#[test]
fn what_was_flushed_is_durable_in_page_cache_mode_too() {
    for loss in 0..LOSSES {
        let machine = Machine::new();
        let (log, reader) = machine.open(Sync::PageCache);
        let long: Vec<_> = ["a", "b", "c", "d"].map(|text| text.repeat(300)).into();
        for text in &long {
            commit(&log, text).unwrap();
        }
        append(&log, Class::Open, "last").unwrap();
        block_on(log.flush()).unwrap();
        drop((log, reader));
        machine.lose_power(loss);
        let frames = read_all(&mut machine.open(Sync::PageCache).1);
        let expected: Vec<_> = long.iter().map(String::as_str).chain(["last"]).collect();
        assert_eq!(texts(&frames), expected, "loss {loss}");
    }
}
