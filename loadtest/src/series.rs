//! A run's requests by time: what came due, what was answered, and how long that took.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::tally::{LATENCY_US_MAX, record};

/// Intervals that a run is cut into, at the most; what comes later counts into the last one.
const INTERVALS_MAX: usize = 600;

/// Intervals that the planned time is cut into, about; the rest is for answers after its end.
const INTERVALS: f64 = 240.0;

/// Requests in an interval at the least, in the mean: fewer have no percentiles.
const REQUESTS_PER_INTERVAL: f64 = 100.0;

/// The lengths an interval may have, in milliseconds. The last makes 240 of a day.
const LENGTHS_MS: [u64; 14] =
    [100, 200, 250, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000];

/// Counts by interval since the start.
#[derive(Debug, Clone)]
pub struct Series {
    /// How long an interval is.
    pub interval: Duration,
    /// From the start on, as many as were needed.
    pub cells: Vec<Cell>,
}

/// One interval.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Requests due in it.
    pub due: u64,
    /// Proper answers that came in it, whenever their requests were due.
    pub answered: u64,
    /// Requests due in it without a proper answer.
    pub failed: u64,
    /// Latency of the requests due in it, in microseconds to two digits: 24 kB.
    pub latency: Histogram<u64>,
}

impl Series {
    /// Nothing counted yet, of so many requests planned to take so long.
    pub fn new(planned: Duration, requests: usize) -> Series {
        let intervals = INTERVALS.min(requests as f64 / REQUESTS_PER_INTERVAL);
        let at_least = planned.as_millis() as f64 / intervals;
        let fits = |ms: &u64| *ms as f64 >= at_least;
        let ms = LENGTHS_MS.into_iter().find(fits).unwrap_or(LENGTHS_MS[LENGTHS_MS.len() - 1]);
        Series { interval: Duration::from_millis(ms), cells: Vec::new() }
    }

    /// A request is due so long after the start.
    pub fn due(&mut self, at: Duration) {
        self.cell(at).due += 1;
    }

    /// The request due at `due` was answered at `answered`.
    pub fn answered(&mut self, due: Duration, answered: Duration) {
        record(&mut self.cell(due).latency, answered.saturating_sub(due));
        self.cell(answered).answered += 1;
    }

    /// The request due at `due` has no proper answer.
    pub fn failed(&mut self, due: Duration) {
        self.cell(due).failed += 1;
    }

    /// Adds another thread's counts of the same run.
    pub fn merge(&mut self, other: &Series) {
        for (at, theirs) in other.cells.iter().enumerate() {
            let mine = self.at(at);
            mine.due += theirs.due;
            mine.answered += theirs.answered;
            mine.failed += theirs.failed;
            mine.latency.add(&theirs.latency).expect("every histogram here has the same bounds");
        }
    }

    fn cell(&mut self, at: Duration) -> &mut Cell {
        let index = at.as_nanos() / self.interval.as_nanos();
        self.at((index as usize).min(INTERVALS_MAX - 1))
    }

    fn at(&mut self, index: usize) -> &mut Cell {
        while self.cells.len() <= index {
            let latency = Histogram::new_with_bounds(1, LATENCY_US_MAX, 2)
                .expect("the bounds and digits are constants in range");
            self.cells.push(Cell { due: 0, answered: 0, failed: 0, latency });
        }
        &mut self.cells[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_any_length_has_a_bounded_number_of_intervals() {
        for (seconds, requests, interval_ms) in [
            (0.4, 400, 100),
            (24.0, 24_000, 100),
            (24.0, 2_400, 1_000),
            (30.0, 30_000, 200),
            (600.0, 60_000, 5_000),
            (86_400.0, 86_400, 600_000),
        ] {
            let mut series = Series::new(Duration::from_secs_f64(seconds), requests);
            assert_eq!(series.interval, Duration::from_millis(interval_ms), "{seconds}");
            series.due(Duration::from_secs(1_000_000));
            assert_eq!(series.cells.len(), INTERVALS_MAX);
        }
    }

    #[test]
    fn latency_belongs_to_the_due_time_and_an_answer_to_its_own() {
        let ms = Duration::from_millis;
        let mut series = Series::new(ms(1_000), 1_000);
        series.due(ms(50));
        series.answered(ms(50), ms(450));
        series.failed(ms(120));
        let mut all = Series::new(ms(1_000), 1_000);
        all.merge(&series);
        all.merge(&series);
        let counts: Vec<_> =
            all.cells.iter().map(|c| (c.due, c.answered, c.failed, c.latency.len())).collect();
        assert_eq!(counts, [(2, 0, 0, 2), (0, 0, 2, 0), (0, 0, 0, 0), (0, 0, 0, 0), (0, 2, 0, 0)]);
        assert!(all.cells[0].latency.max() >= 400_000);
    }
}
