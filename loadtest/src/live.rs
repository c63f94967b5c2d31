//! What is seen while a run is under way.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

use crate::tally::{histogram, record};

/// Counts that the sending threads add to and the display reads: one lock, taken for nanoseconds.
#[derive(Debug)]
pub struct Live {
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    sent: u64,
    answered: u64,
    /// Of these, the ones that must be rows.
    recorded: u64,
    failed: u64,
    /// Of answers since the last line.
    latency: Histogram<u64>,
}

impl Default for Live {
    fn default() -> Self {
        Live {
            counts: Mutex::new(Counts { sent: 0, answered: 0, recorded: 0, failed: 0, latency: histogram() }),
        }
    }
}

impl Live {
    /// A request leaves.
    pub fn sent(&self) {
        self.lock().sent += 1;
    }

    /// An answer came, this long after it was due; `recorded` when it must be a row.
    pub fn answered(&self, latency: Duration, recorded: bool) {
        let mut counts = self.lock();
        counts.answered += 1;
        counts.recorded += u64::from(recorded);
        record(&mut counts.latency, latency);
    }

    /// A request failed.
    pub fn failed(&self) {
        self.lock().failed += 1;
    }

    /// Answers so far that must be rows.
    pub fn recorded(&self) -> u64 {
        self.lock().recorded
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says what is going on, on a terminal; nothing elsewhere.
pub fn say(what: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("{what}");
    }
}

/// Shows one line, renewed each second, on a terminal; nothing elsewhere. Ends when dropped.
pub async fn show(live: &Live, start: Instant, planned: usize) {
    const LINE: Duration = Duration::from_secs(1);
    let bar = ProgressBar::new(planned as u64);
    let style = ProgressStyle::with_template("{elapsed:>4} {wide_bar} {percent:>3}% {msg}");
    bar.set_style(style.expect("the template is a constant"));
    let mut ticks = tokio::time::interval_at((start + LINE).into(), LINE);
    let mut before = 0;
    loop {
        ticks.tick().await;
        let (sent, answered, failed, p99) = {
            let mut counts = live.lock();
            let p99 = counts.latency.value_at_quantile(0.99);
            counts.latency.reset();
            (counts.sent, counts.answered, counts.failed, p99)
        };
        bar.set_position(answered + failed);
        let (rate, open) = (answered - before, sent.saturating_sub(answered + failed));
        bar.set_message(format!("{rate}/s, {open} open, {failed} failed, p99 {:.2} ms", p99 as f64 / 1e3));
        before = answered;
    }
}
