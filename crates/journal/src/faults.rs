//! A disk that refuses, stops or holds on request, for the tests of this crate.

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::disk::Op;
use crate::shared::lock;

#[derive(Default)]
pub(crate) struct Faults {
    plan: Mutex<Plan>,
    changed: Condvar,
    /// The committer has come to where it is held.
    pub held: Notify,
}

#[derive(Default)]
struct Plan {
    seen: Vec<Op>,
    refuse: Vec<Op>,
    errno: i32,
    /// How much of a refused write reaches the file all the same.
    partial: usize,
    /// From this operation on nothing works: to the files, the process is dead.
    dead_at: Option<usize>,
    hold_syncs: bool,
    /// After how many more operations the committer is held.
    hold_committer: Option<usize>,
    refused: Vec<Op>,
}

impl Faults {
    pub fn before(&self, op: Op) -> io::Result<()> {
        let mut plan = lock(&self.plan);
        plan.seen.push(op);
        self.changed.notify_all();
        while op == Op::Sync && plan.hold_syncs {
            plan = self.changed.wait(plan).unwrap_or_else(PoisonError::into_inner);
        }
        if std::thread::current().name() == Some("journal-sync") {
            plan.hold_committer = plan.hold_committer.map(|ops| ops.saturating_sub(1));
            if plan.hold_committer == Some(0) {
                self.held.notify_one();
            }
            while plan.hold_committer == Some(0) {
                plan = self.changed.wait(plan).unwrap_or_else(PoisonError::into_inner);
            }
        }
        match plan.refuses(op, plan.seen.len() - 1) {
            Some(errno) => {
                plan.refused.push(op);
                Err(io::Error::from_raw_os_error(errno))
            }
            None => Ok(()),
        }
    }

    /// How much of a write of `bytes` lands, if the next operation is to refuse it.
    pub fn partial(&self, bytes: usize) -> Option<usize> {
        let plan = lock(&self.plan);
        let first_failure = plan.dead_at.is_none_or(|dead_at| dead_at == plan.seen.len());
        let refused = plan.refuses(Op::Write, plan.seen.len()).is_some();
        (refused && first_failure).then(|| plan.partial.min(bytes))
    }

    pub fn refuse(&self, ops: &[Op], errno: i32, partial: usize) {
        let mut plan = lock(&self.plan);
        (plan.refuse, plan.errno, plan.partial) = (ops.to_vec(), errno, partial);
    }

    pub fn heal(&self) {
        self.refuse(&[], 0, 0);
    }

    pub fn die_at(&self, op: usize, partial: usize) {
        let mut plan = lock(&self.plan);
        (plan.dead_at, plan.errno, plan.partial) = (Some(op), 5, partial);
    }

    pub fn hold_syncs(&self, hold: bool) {
        lock(&self.plan).hold_syncs = hold;
        self.changed.notify_all();
    }

    /// After `ops` more operations nothing works; of a write that it comes to, `partial` bytes land.
    pub fn die_in(&self, ops: usize, partial: usize) {
        let mut plan = lock(&self.plan);
        (plan.dead_at, plan.errno, plan.partial) = (Some(plan.seen.len() + ops), 5, partial);
    }

    pub fn dead(&self) -> bool {
        let plan = lock(&self.plan);
        plan.dead_at.is_some_and(|dead_at| plan.seen.len() > dead_at)
    }

    /// Everything that was refused so far.
    pub fn refused(&self) -> Vec<Op> {
        lock(&self.plan).refused.clone()
    }

    /// Holds the committer before its next operation but `after`, or lets it go.
    pub fn hold_committer(&self, after: Option<usize>) {
        lock(&self.plan).hold_committer = after.map(|after| after + 1);
        self.changed.notify_all();
    }

    /// What was asked since the last call.
    pub fn take_seen(&self) -> Vec<Op> {
        std::mem::take(&mut lock(&self.plan).seen)
    }

    /// Waits until `op` has been asked for since the last [`Faults::take_seen`].
    pub fn wait_for(&self, op: Op) {
        let mut plan = lock(&self.plan);
        while !plan.seen.contains(&op) {
            plan = self.changed.wait(plan).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Plan {
    fn refuses(&self, op: Op, index: usize) -> Option<i32> {
        let dead = self.dead_at.is_some_and(|dead_at| index >= dead_at);
        (dead || self.refuse.contains(&op)).then_some(self.errno)
    }
}
