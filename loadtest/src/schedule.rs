//! When each request is due, decided before the first is sent.

use crate::draw::{For, draw, share};
use crate::shape::{Curve, Shape};

/// How requests follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// At equal distances.
    Even,
    /// Independently of each other, as a crowd's do: exponential gaps, so bursts and pauses.
    Poisson,
}

/// What the due times follow from.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Requests in all.
    pub requests: usize,
    /// The first of them, which come at `rate` whatever the shape.
    pub warm_up: usize,
    /// Requests per second; of a shape that is not steady, the mean.
    pub rate: f64,
    /// How the rate goes after the warm-up.
    pub shape: Shape,
    /// How requests follow each other.
    pub arrivals: Arrivals,
    /// The same seed gives the same times.
    pub seed: u64,
}

impl Schedule {
    /// The due times in nanoseconds after the start, ascending. All lie within the duration but for the drift of
    /// Poisson's.
    pub fn due_ns(&self) -> Vec<u64> {
        let gap_ns = 1e9 / self.rate;
        let curve = match self.shape {
            Shape::Steady => None,
            Shape::Blast => Some(Curve::blast()),
        };
        let (warm_up, measured) = (self.warm_up as f64, (self.requests - self.warm_up) as f64);
        // `at` counts requests as they would come at an even rate.
        let due = |at: f64| match &curve {
            Some(curve) if at > warm_up => {
                ((warm_up + curve.when((at - warm_up) / measured) * measured) * gap_ns) as u64
            }
            _ => (at * gap_ns) as u64,
        };
        match self.arrivals {
            Arrivals::Even => (0..self.requests).map(|i| due(i as f64)).collect(),
            Arrivals::Poisson => {
                let mut at = 0.0;
                let next = |i| {
                    let now = due(at);
                    // 1 - share is in (0, 1], so the logarithm is finite.
                    at += -(1.0 - share(draw(self.seed, For::Gap, i as u64))).ln();
                    now
                };
                (0..self.requests).map(next).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(requests: usize, rate: f64, arrivals: Arrivals) -> Schedule {
        Schedule { requests, warm_up: 0, rate, shape: Shape::Steady, arrivals, seed: 1 }
    }

    #[test]
    fn even_gaps_do_not_drift() {
        let due = schedule(30_001, 3_000.0, Arrivals::Even).due_ns();
        assert_eq!(due[0], 0);
        assert_eq!(due[30_000], 10_000_000_000);
        assert!(due.windows(2).all(|w| (333_333..=333_334).contains(&(w[1] - w[0]))));
    }

    #[test]
    fn poisson_has_the_rate_and_its_bursts() {
        let schedule = schedule(100_000, 1_000.0, Arrivals::Poisson);
        let due = schedule.due_ns();
        assert!(due.is_sorted());
        let seconds = due[99_999] as f64 / 1e9;
        assert!((98.0..102.0).contains(&seconds), "{seconds}");
        // A share of 1 - 1/e of exponential gaps is below the mean.
        let short = due.windows(2).filter(|w| w[1] - w[0] < 1_000_000).count();
        assert!((62_000..64_500).contains(&short), "{short}");
        assert_eq!(due, schedule.due_ns());
    }

    #[test]
    fn a_blast_comes_after_the_warm_up_and_ends_in_time() {
        for arrivals in [Arrivals::Even, Arrivals::Poisson] {
            let steady = schedule(12_000, 1_000.0, arrivals);
            let due = Schedule { warm_up: 2_000, shape: Shape::Blast, ..steady }.due_ns();
            assert!(due.is_sorted());
            // The warm-up is as steady as without a shape.
            assert_eq!(due[..1_900], steady.due_ns()[..1_900]);
            let last = due[11_999] as f64 / 1e9;
            assert!((11.5..12.5).contains(&last), "{last}");
            // Ten seconds at a mean of 1,000/s: hardly anyone before the send, and then several times the mean.
            let in_ms = |from: u64, to: u64| {
                due.iter().filter(|ns| (from * 1_000_000..to * 1_000_000).contains(*ns)).count()
            };
            assert!(in_ms(2_100, 2_500) < 60, "{}", in_ms(2_100, 2_500));
            assert!(in_ms(3_000, 3_500) > 1_500, "{}", in_ms(3_000, 3_500));
            assert!(in_ms(11_000, 12_000) < 500, "{}", in_ms(11_000, 12_000));
        }
    }
}
