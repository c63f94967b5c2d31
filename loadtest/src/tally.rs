//! What came of the requests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use event::Kind;
use hdrhistogram::Histogram;

use crate::mix::KINDS;
use crate::plan::Plan;
use crate::series::Series;

/// A request that left more than this after it was due counts as late.
pub const LATE: Duration = Duration::from_millis(1);

/// The longest latency that is told apart, in microseconds; longer ones count as this.
pub const LATENCY_US_MAX: u64 = 600_000_000;

/// What is known of a request at the end, as far as its row is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Not a byte of it left.
    Unsent,
    /// It may have arrived, but no proper answer came.
    Unknown,
    /// Answered as it should be, without an event: its token was bad.
    Refused,
    /// Answered as it should be, so it is one row.
    Answered,
}

/// Why a request has no proper answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// No connection.
    Connect,
    /// The connection broke before the answer was whole.
    Closed,
    /// Not answered in time.
    Timeout,
    /// Answered with something that is no response.
    Malformed,
    /// Answered with another status than the kind of request calls for.
    Status,
    /// Never sent: no connection was free in time.
    Unsent,
}

impl Failure {
    /// Its name in a report.
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::Connect => "connect",
            Failure::Closed => "closed",
            Failure::Timeout => "timeout",
            Failure::Malformed => "malformed",
            Failure::Status => "status",
            Failure::Unsent => "unsent",
        }
    }
}

/// One answered request's times.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When it should have been sent.
    pub due: Instant,
    /// When it was.
    pub sent: Instant,
    /// When its answer was whole.
    pub answered: Instant,
}

/// A proper answer.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// The request's number.
    pub index: usize,
    /// Its kind.
    pub kind: Kind,
    /// It had a connection of its own.
    pub fresh: bool,
    /// Its token was bad, so there must be no row.
    pub refused: bool,
    /// When it happened.
    pub times: Times,
}

/// Everything counted, by one thread or, merged, by all. Requests of the warm-up count in `outcomes`, `series` and
/// `warm_up`, and in nothing else.
#[derive(Debug, Clone)]
pub struct Tally {
    /// By request.
    pub outcomes: Vec<Outcome>,
    /// All of it by time.
    pub series: Series,
    /// What came of the warm-up.
    pub warm_up: WarmUp,
    /// How many requests at the beginning are the warm-up.
    warm_up_requests: usize,
    /// From due to answered, in microseconds: what a user would have seen.
    pub latency: Histogram<u64>,
    /// From sent to answered, in microseconds: what a closed-loop tool would show.
    pub service: Histogram<u64>,
    /// `latency` of each kind, in the order of [`KINDS`].
    pub by_kind: [Histogram<u64>; 3],
    /// `latency` of requests on connections of their own.
    pub fresh: Histogram<u64>,
    /// `latency` of requests on kept connections.
    pub kept: Histogram<u64>,
    /// From due to sent, in microseconds, of those that did not have to wait for a connection: the generator's
    /// own lateness.
    pub lateness: Histogram<u64>,
    /// How many of those were late by more than [`LATE`].
    pub late: u64,
    /// Requests that had to wait for a connection: the server's lateness, in the latency but not in `lateness`.
    pub held: u64,
    /// Responses by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without a proper answer, by why.
    pub failures: BTreeMap<Failure, u64>,
    /// When the last proper answer came.
    pub last_answer: Option<Instant>,
}

/// What came of the requests that are not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct WarmUp {
    /// Answered as they should be.
    pub answered: u64,
    /// Without a proper answer.
    pub failed: u64,
}

/// A histogram of microseconds with three significant digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds and digits are constants in range")
}

/// Adds a duration; one beyond the histogram's range counts as its end.
pub fn record(histogram: &mut Histogram<u64>, duration: Duration) {
    histogram.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1));
}

impl Tally {
    /// Nothing counted yet of `plan`.
    pub fn new(plan: &Plan) -> Tally {
        Tally {
            outcomes: vec![Outcome::Unsent; plan.len()],
            series: Series::new(plan.due(plan.len() - 1), plan.len()),
            warm_up: WarmUp::default(),
            warm_up_requests: plan.spec().warm_up,
            latency: histogram(),
            service: histogram(),
            by_kind: [histogram(), histogram(), histogram()],
            fresh: histogram(),
            kept: histogram(),
            lateness: histogram(),
            late: 0,
            held: 0,
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            last_answer: None,
        }
    }

    /// A request is due and finds no connection.
    pub fn waits(&mut self, index: usize) {
        self.held += u64::from(index >= self.warm_up_requests);
    }

    /// A request is about to leave that did not have to wait for a connection.
    pub fn leaves(&mut self, index: usize, due: Instant, now: Instant) {
        if index < self.warm_up_requests {
            return;
        }
        let by = now.saturating_duration_since(due);
        record(&mut self.lateness, by);
        if by > LATE {
            self.late += 1;
        }
    }

    /// A response has come, proper or not.
    pub fn responded(&mut self, index: usize, status: u16) {
        if index >= self.warm_up_requests {
            *self.statuses.entry(status).or_default() += 1;
        }
    }

    /// A proper answer has come.
    pub fn answered(&mut self, start: Instant, answered: Answered) {
        let Answered { index, kind, fresh, refused, times } = answered;
        self.outcomes[index] = if refused { Outcome::Refused } else { Outcome::Answered };
        let since = |at: Instant| at.saturating_duration_since(start);
        self.series.answered(since(times.due), since(times.answered));
        if index < self.warm_up_requests {
            self.warm_up.answered += 1;
            return;
        }
        let latency = times.answered.saturating_duration_since(times.due);
        record(&mut self.latency, latency);
        record(&mut self.service, times.answered.saturating_duration_since(times.sent));
        if let Some(place) = KINDS.iter().position(|k| *k == kind) {
            record(&mut self.by_kind[place], latency);
        }
        record(if fresh { &mut self.fresh } else { &mut self.kept }, latency);
        self.last_answer = self.last_answer.max(Some(times.answered));
    }

    /// No proper answer will come to the request due at `due`. `left` says whether bytes may have reached the
    /// server.
    pub fn failed(&mut self, index: usize, due: Duration, why: Failure, left: bool) {
        self.outcomes[index] = if left { Outcome::Unknown } else { Outcome::Unsent };
        self.series.failed(due);
        if index < self.warm_up_requests {
            self.warm_up.failed += 1;
            return;
        }
        *self.failures.entry(why).or_default() += 1;
    }

    /// Adds another thread's counts; each request is of one thread only.
    pub fn merge(&mut self, other: &Tally) {
        for (mine, theirs) in self.outcomes.iter_mut().zip(&other.outcomes) {
            *mine = (*mine).max(*theirs);
        }
        let add = |mine: &mut Histogram<u64>, theirs: &Histogram<u64>| {
            mine.add(theirs).expect("every histogram here has the same bounds");
        };
        add(&mut self.latency, &other.latency);
        add(&mut self.service, &other.service);
        for (mine, theirs) in self.by_kind.iter_mut().zip(&other.by_kind) {
            add(mine, theirs);
        }
        add(&mut self.fresh, &other.fresh);
        add(&mut self.kept, &other.kept);
        add(&mut self.lateness, &other.lateness);
        self.series.merge(&other.series);
        self.warm_up.answered += other.warm_up.answered;
        self.warm_up.failed += other.warm_up.failed;
        self.late += other.late;
        self.held += other.held;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (why, count) in &other.failures {
            *self.failures.entry(*why).or_default() += count;
        }
        self.last_answer = self.last_answer.max(other.last_answer);
    }

    /// Measured requests with a proper answer.
    pub fn answers(&self) -> u64 {
        self.latency.len()
    }

    /// Requests that left when they could: the base of the late-send ratio.
    pub fn late_ratio(&self) -> f64 {
        if self.lateness.is_empty() { 0.0 } else { self.late as f64 / self.lateness.len() as f64 }
    }
}
