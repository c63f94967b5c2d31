//! The thread that waits for the disk in [`crate::Sync::Fsync`] mode, so that no runtime does.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::shared::{Group, Shared, lock};
use crate::writer::Writer;

/// Commits group after group until the log closes and nothing is left.
pub(crate) fn run(shared: Arc<Shared>, mut writer: Writer, interval: Duration) {
    let mut group = Group::default();
    let mut next_sync = Instant::now();
    while take(&shared, &mut group, next_sync) {
        next_sync = Instant::now() + interval;
        let written = writer.write(&shared, &group);
        shared.settle(&group, written);
        group.clear();
    }
}

/// Waits for a group and swaps it against the empty one given; false when there will be none any more.
fn take(shared: &Shared, group: &mut Group, not_before: Instant) -> bool {
    let mut pending = lock(&shared.pending);
    loop {
        let empty = pending.group.bytes.is_empty();
        let wait = not_before.saturating_duration_since(Instant::now());
        if pending.closed && empty {
            return false;
        }
        if !empty && (pending.closed || (pending.handed && wait.is_zero())) {
            pending.handed = false;
            std::mem::swap(&mut pending.group, group);
            return true;
        }
        pending = if empty || !pending.handed {
            shared.handed.wait(pending).unwrap_or_else(PoisonError::into_inner)
        } else {
            shared.handed.wait_timeout(pending, wait).unwrap_or_else(PoisonError::into_inner).0
        };
    }
}
