//! How full the journals are and how far they are delivered: as metrics, and as readiness while there is still time
//! to act.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
    edge_id: u64,
    used: Gauge,
    last: Gauge,
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
    pub fn of(&self, worker: usize, edge_id: u64) -> JournalGauge {
        let number = worker.to_string();
        JournalGauge {
            all: self.percent.clone(),
            health: self.health.clone(),
            worker,
            edge_id,
            used: gauge!("edge_journal_used_bytes", "worker" => number.clone()),
            last: gauge!("edge_journal_events", "worker" => number, "edge" => name(edge_id)),
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
        self.last.set(stats.committed_seq as f64);
        if let Some(delivered) = delivered(self.edge_id) {
            let worker = self.worker.to_string();
            let inflight = stats.committed_seq.saturating_sub(delivered);
            gauge!("edge_inflight_events", "worker" => worker.clone()).set(inflight as f64);
            gauge!("edge_delivered_events", "worker" => worker, "edge" => name(self.edge_id))
                .set(delivered as f64);
        }
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

/// As everywhere else that an operator sees it.
fn name(edge_id: u64) -> String {
    format!("{edge_id:016x}")
}

/// Up to which number Kafka has the events of each journal, by edge id. The shipper writes it and the workers show it:
/// they share nothing else, and nothing is decided by it.
static DELIVERED: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());

/// Tells that Kafka has all up to this number.
pub fn set_delivered(edge_id: u64, seq: u64) {
    DELIVERED.lock().unwrap_or_else(PoisonError::into_inner).insert(edge_id, seq);
}

/// None while no shipper reads this journal.
fn delivered(edge_id: u64) -> Option<u64> {
    DELIVERED.lock().unwrap_or_else(PoisonError::into_inner).get(&edge_id).copied()
}
