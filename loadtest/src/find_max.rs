//! The search for the highest rate that is held.

use serde::Serialize;

/// Steps in one search at the most.
pub const STEPS_MAX: usize = 24;

/// How often a step is made again when the generator could not keep its schedule: a neighbour's burst passes.
pub const TRIES_MAX: usize = 3;

/// The search ends when the rate that failed is less than this factor above the one that held.
const CLOSE_ENOUGH: f64 = 1.05;

/// What one step showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Requests per second.
    pub rate: f64,
    /// 99th percentile of the latency from the intended send time.
    pub p99_ms: f64,
    /// The generator kept its schedule; when not, the rest says nothing about the server.
    pub valid: bool,
    /// Why the rate is not held; empty when it is.
    pub not_held_because: Vec<String>,
}

/// What a step says about its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The server held it.
    Held,
    /// The server did not.
    NotHeld,
    /// The generator could not keep its schedule, so nothing is known of the server.
    Unmeasured,
}

/// Doubles the rate until it fails, then bisects between what held and what failed.
#[derive(Debug, Clone)]
pub struct Search {
    next: Option<f64>,
    held: Option<f64>,
    failed: Option<f64>,
    steps: usize,
}

impl Search {
    /// Begins at `rate`; if the server does not hold even that, halves instead.
    pub fn from(rate: f64) -> Search {
        Search { next: Some(rate), held: None, failed: None, steps: 0 }
    }

    /// The rate to try, or `None` when the search is over.
    pub fn next(&self) -> Option<f64> {
        self.next
    }

    /// Takes what the rate just tried has shown.
    ///
    /// Above a rate that held, a rate that cannot be generated beside the server is as good as one that fails:
    /// the two share the machine. Where nothing has held yet the machine is too busy for any answer, and lower
    /// rates would only seem to find one.
    pub fn tried(&mut self, verdict: Verdict) {
        let Some(rate) = self.next else { return };
        self.steps += 1;
        match verdict {
            Verdict::Held => self.held = Some(rate),
            Verdict::Unmeasured if self.held.is_none() => {
                self.next = None;
                return;
            }
            Verdict::NotHeld | Verdict::Unmeasured => self.failed = Some(rate),
        }
        let next = match (self.held, self.failed) {
            (Some(held), Some(failed)) if failed / held < CLOSE_ENOUGH => None,
            (Some(held), Some(failed)) => Some(((held + failed) / 2.0).round()),
            (Some(held), None) => Some(held * 2.0),
            (None, Some(failed)) => Some((failed / 2.0).floor()),
            (None, None) => None,
        };
        let new = |next: &f64| *next >= 1.0 && Some(*next) != self.held && Some(*next) != self.failed;
        self.next = next.filter(new).filter(|_| self.steps < STEPS_MAX);
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
            search.tried(if rate <= limit { Verdict::Held } else { Verdict::NotHeld });
        }
        (search.held(), tried)
    }

    #[test]
    fn finds_the_limit_from_below_and_above() {
        for (from, limit) in
            [(1_000.0, 13_700.0), (50_000.0, 13_700.0), (1_000.0, 1_000.0), (3.0, 250_000.0), (9.0, 2.0)]
        {
            let (held, tried) = search(from, limit);
            let held = held.unwrap();
            // At a few requests a second the next whole rate may be further off than that.
            assert!(
                held <= limit && (held * CLOSE_ENOUGH).max(held + 1.0) > limit,
                "{held} of {limit}: {tried:?}"
            );
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
    #[test]
    fn a_busy_machine_ends_the_search_below_and_bounds_it_above() {
        let mut search = Search::from(1_000.0);
        search.tried(Verdict::Unmeasured);
        assert_eq!((search.next(), search.held()), (None, None));

        let mut search = Search::from(1_000.0);
        search.tried(Verdict::Held);
        search.tried(Verdict::Unmeasured);
        assert_eq!((search.next(), search.held()), (Some(1_500.0), Some(1_000.0)));
    }
}
