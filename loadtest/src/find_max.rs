//! The search for the highest rate that is held.

use serde::Serialize;

/// Steps in one search at the most.
pub const STEPS_MAX: usize = 24;

/// The search ends when the rate that failed is less than this factor above the one that held.
const CLOSE_ENOUGH: f64 = 1.05;

/// What one step showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Requests per second.
    pub rate: f64,
    /// 99th percentile of the latency from the intended send time.
    pub p99_ms: f64,
    /// Why the rate is not held; empty when it is.
    pub not_held_because: Vec<String>,
}

/// Doubles the rate until it fails, then bisects between what held and what failed.
#[derive(Debug, Clone)]
pub struct Search {
    next: f64,
    held: Option<f64>,
    failed: Option<f64>,
    steps: usize,
}

impl Search {
    /// Begins at `rate`; if even that fails, halves instead.
    pub fn from(rate: f64) -> Search {
        Search { next: rate, held: None, failed: None, steps: 0 }
    }

    /// The rate to try, or `None` when the search is over.
    pub fn next(&self) -> Option<f64> {
        let close =
            matches!((self.held, self.failed), (Some(held), Some(failed)) if failed / held < CLOSE_ENOUGH);
        (!close && self.steps < STEPS_MAX && self.next >= 1.0).then_some(self.next)
    }

    /// Takes what the rate just tried has shown.
    pub fn tried(&mut self, held: bool) {
        self.steps += 1;
        if held {
            self.held = Some(self.next)
        } else {
            self.failed = Some(self.next)
        }
        self.next = match (self.held, self.failed) {
            (Some(held), Some(failed)) => (held + failed) / 2.0,
            (Some(held), None) => held * 2.0,
            (None, Some(failed)) => failed / 2.0,
            (None, None) => self.next,
        };
    }

    /// The highest rate that held.
    pub fn held(&self) -> Option<f64> {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a server that holds rates up to `limit`.
    fn search(from: f64, limit: f64) -> (Option<f64>, Vec<f64>) {
        let mut search = Search::from(from);
        let mut tried = Vec::new();
        while let Some(rate) = search.next() {
            tried.push(rate);
            search.tried(rate <= limit);
        }
        (search.held(), tried)
    }

    #[test]
    fn finds_the_limit_from_below_and_above() {
        for (from, limit) in [(1_000.0, 13_700.0), (50_000.0, 13_700.0), (1_000.0, 1_000.0), (3.0, 250_000.0)]
        {
            let (held, tried) = search(from, limit);
            let held = held.unwrap();
            assert!(held <= limit && held * CLOSE_ENOUGH > limit, "{held} of {limit}: {tried:?}");
            assert!(tried.len() < STEPS_MAX, "{tried:?}");
        }
        assert_eq!(search(1_000.0, 3_000.0).1[..3], [1_000.0, 2_000.0, 4_000.0]);
    }

    #[test]
    fn gives_up_when_nothing_holds_and_when_everything_does() {
        let (held, tried) = search(1_000.0, 0.0);
        assert_eq!(held, None);
        assert_eq!(tried.len(), 10);
        assert_eq!(search(1_000.0, f64::INFINITY).1.len(), STEPS_MAX);
    }
}
