//! How full the journals are: as metrics, and as readiness while there is still time to act.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use journal::Stats;
use metrics::{Counter, Gauge, counter, gauge};
use telemetry::Health;

/// From here on the edge asks for no more traffic: opens are shed at 90 %.
const UNREADY_PERCENT: u64 = 80;

/// The fill of all workers' journals.
pub struct Gauges {
    percent: Arc<[AtomicU64]>,
    health: Health,
}

/// One worker's part of it.
pub struct JournalGauge {
    all: Arc<[AtomicU64]>,
    health: Health,
    worker: usize,
    used: Gauge,
    bad_frames: Counter,
    torn_bytes: Counter,
    shown: (u64, u64),
}

impl Gauges {
    /// All empty.
    pub fn new(workers: usize, health: Health) -> Self {
        Gauges { percent: (0..workers).map(|_| AtomicU64::new(0)).collect(), health }
    }

    /// The part of a worker.
    pub fn of(&self, worker: usize) -> JournalGauge {
        JournalGauge {
            all: self.percent.clone(),
            health: self.health.clone(),
            worker,
            used: gauge!("edge_journal_used_bytes", "worker" => worker.to_string()),
            bad_frames: counter!("edge_journal_bad_frames_total"),
            torn_bytes: counter!("edge_journal_torn_bytes_total"),
            shown: (0, 0),
        }
    }
}

impl JournalGauge {
    /// Shows how the worker's journal stands, and whether the fullest of all leaves room.
    pub fn show(&mut self, stats: &Stats) {
        self.used.set(stats.bytes as f64);
        self.bad_frames.increment(stats.bad_frames - self.shown.0);
        self.torn_bytes.increment(stats.torn_bytes - self.shown.1);
        self.shown = (stats.bad_frames, stats.torn_bytes);
        let percent = stats.bytes * 100 / stats.bytes_max.max(1);
        self.all[self.worker].store(percent, Ordering::Relaxed);
        let fullest = self.all.iter().map(|percent| percent.load(Ordering::Relaxed)).max().unwrap_or(0);
        match fullest >= UNREADY_PERCENT {
            true => self.health.set("journal", Err(&format!("{fullest} % full"))),
            false => self.health.set("journal", Ok(())),
        }
    }
}
