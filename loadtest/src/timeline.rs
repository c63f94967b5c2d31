//! What the plots show: a run's figures over time, and its latencies by quantile.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::series::Series;
use crate::watch::Sample;

/// A run over time. Times are seconds since the first request was due, the warm-up included.
#[derive(Debug, Clone, Serialize)]
pub struct Timeline {
    /// Length of an interval.
    pub interval_seconds: f64,
    /// The figures leave out what was due before.
    pub warm_up_seconds: f64,
    /// Until the last answer.
    pub intervals: Vec<Interval>,
    /// Looks behind the edge, until the rows stood still; empty when nobody looked.
    pub samples: Vec<Sample>,
}

/// One interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Interval {
    /// When it began.
    pub at_seconds: f64,
    /// Requests that were due in it.
    pub due: u64,
    /// Proper answers that came in it.
    pub answered: u64,
    /// Requests due in it without a proper answer.
    pub failed: u64,
    /// Latency of the answered requests that were due in it, from the intended send time; absent when there are none.
    pub latency_ms: Option<Spread>,
}

/// A small distribution, in milliseconds to two digits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs, reason = "each field is the percentile of its name")]
pub struct Spread {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// A point of a latency curve: this share of the requests took no longer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// From 0 to below 1.
    pub quantile: f64,
    /// In milliseconds.
    pub ms: f64,
}

/// Points of a curve for each factor of ten in `1 - quantile`.
const POINTS_PER_DECADE: i32 = 8;

impl Timeline {
    /// From what was counted and seen.
    pub fn new(series: &Series, warm_up_seconds: f64, samples: Vec<Sample>) -> Timeline {
        let interval_seconds = series.interval.as_secs_f64();
        let intervals = series.cells.iter().enumerate().map(|(at, cell)| {
            let ms = |us: u64| us as f64 / 1e3;
            let spread = Spread {
                p50: ms(cell.latency.value_at_quantile(0.5)),
                p99: ms(cell.latency.value_at_quantile(0.99)),
                max: ms(cell.latency.max()),
            };
            Interval {
                at_seconds: at as f64 * interval_seconds,
                due: cell.due,
                answered: cell.answered,
                failed: cell.failed,
                latency_ms: (!cell.latency.is_empty()).then_some(spread),
            }
        });
        Timeline { interval_seconds, warm_up_seconds, intervals: intervals.collect(), samples }
    }
}

/// The latencies of a histogram of microseconds by quantile, as far as its count tells them apart.
pub fn curve(us: &Histogram<u64>) -> Vec<Point> {
    if us.is_empty() {
        return Vec::new();
    }
    let decades = (us.len() as f64).log10();
    let last = (decades * f64::from(POINTS_PER_DECADE)).floor() as i32;
    let quantile = |i: i32| 1.0 - 10_f64.powf(-f64::from(i) / f64::from(POINTS_PER_DECADE));
    let point = |quantile| Point { quantile, ms: us.value_at_quantile(quantile) as f64 / 1e3 };
    (0..=last).map(quantile).map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::histogram;

    #[test]
    fn a_curve_ends_where_the_requests_do() {
        assert_eq!(curve(&histogram()), []);
        let mut us = histogram();
        for value in 1..=1_000 {
            us.record(value * 1_000).unwrap();
        }
        let curve = curve(&us);
        assert_eq!(curve.len(), 25);
        assert_eq!((curve[0].quantile, curve[8].quantile, curve[24].quantile), (0.0, 0.9, 0.999));
        assert!(curve[8].ms >= 900.0 && curve[8].ms < 901.0, "{}", curve[8].ms);
        assert!(curve.windows(2).all(|pair| pair[0].ms <= pair[1].ms));
    }
}
