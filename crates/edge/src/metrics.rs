//! What the edge counts. Handles are taken once a worker: a request only adds to them.

use event::Kind;
use journal::Shed;
use metrics::{Counter, Gauge, counter, gauge};
use telemetry::Metric;

use crate::answer::{Outcome, Reason, Reply};

/// Every metric of the edge.
pub const METRICS: &[Metric] = &[
    Metric::counter("edge_requests_total", "requests answered, by reply", &["reply"]),
    Metric::counter(
        "edge_accepted_events_total",
        "requests that are an event, whatever became of it",
        &["kind"],
    ),
    Metric::counter(
        "edge_dropped_events_total",
        "accepted events that never reached the journal",
        &["kind", "reason"],
    ),
    Metric::counter("edge_refused_events_total", "requests answered without an event", &["reason"]),
    Metric::counter(
        "edge_early_replies_total",
        "replies that left before their event was in the journal",
        &[],
    ),
    Metric::counter("edge_connections_total", "connections accepted", &[]),
    Metric::counter("edge_refused_connections_total", "connections closed at once at a limit", &["limit"]),
    Metric::counter("edge_failed_connections_total", "connections that ended in an error", &["error"]),
    Metric::gauge("edge_open_connections", "connections open now", &[]),
    Metric::gauge("edge_journal_used_bytes", "bytes that the journals hold", &["worker"]),
    Metric::gauge(
        "edge_journal_events",
        "number of the last event in the journal; numbers go on over restarts",
        &["worker", "edge"],
    ),
    Metric::gauge(
        "edge_delivered_events",
        "number of the event up to which Kafka has all; not without Kafka",
        &["worker", "edge"],
    ),
    Metric::gauge(
        "edge_inflight_events",
        "events in the journal that Kafka has not acknowledged; not without Kafka",
        &["worker"],
    ),
    Metric::counter("edge_journal_bad_frames_total", "frames found broken at start and skipped", &[]),
    Metric::counter("edge_journal_torn_bytes_total", "bytes of torn tails cut off at start", &[]),
    Metric::counter("edge_shipped_events_total", "events handed to Kafka and acknowledged", &[]),
    Metric::counter("edge_shipped_messages_total", "Kafka messages acknowledged", &[]),
    Metric::counter(
        "edge_shipper_retries_total",
        "messages tried again, or whole producers: one that died, or stalled",
        &["what"],
    ),
];

/// One worker's handles.
pub struct Counters {
    requests: [Counter; Reply::ALL.len()],
    accepted: [Counter; KINDS.len()],
    refused: [Counter; Reason::ALL.len()],
    /// Replies that did not wait for the journal.
    pub early: Counter,
    /// Connections accepted.
    pub connections: Counter,
    /// Connections open now, over all workers.
    pub open: Gauge,
}

/// The kinds that the edge makes.
const KINDS: [Kind; 3] = [Kind::Open, Kind::Click, Kind::Download];

impl Counters {
    /// Registers all, so that each shows as 0 from the start.
    pub fn new() -> Self {
        for kind in KINDS {
            for reason in Shed::ALL {
                dropped(kind, reason).increment(0);
            }
        }
        Counters {
            requests: Reply::ALL.map(|reply| counter!("edge_requests_total", "reply" => reply.as_str())),
            accepted: KINDS.map(|kind| counter!("edge_accepted_events_total", "kind" => kind_label(kind))),
            refused: Reason::ALL
                .map(|reason| counter!("edge_refused_events_total", "reason" => reason.as_str())),
            early: counter!("edge_early_replies_total"),
            connections: counter!("edge_connections_total"),
            open: gauge!("edge_open_connections"),
        }
    }

    /// Counts a request's reply and outcome.
    pub fn answered(&self, reply: Reply, outcome: Outcome) {
        self.requests[reply as usize].increment(1);
        match outcome {
            Outcome::Recorded(kind) => {
                if let Some(at) = KINDS.iter().position(|&k| k == kind) {
                    self.accepted[at].increment(1);
                }
            }
            Outcome::NoEvent(reason) => {
                if let Some(at) = Reason::ALL.iter().position(|&r| r == reason) {
                    self.refused[at].increment(1);
                }
            }
        }
    }
}

/// Counts accepted events that the journal did not take. Rare: no handle is kept.
pub fn dropped(kind: Kind, reason: Shed) -> Counter {
    counter!("edge_dropped_events_total", "kind" => kind_label(kind), "reason" => reason.as_str())
}

/// The label of a kind.
fn kind_label(kind: Kind) -> &'static str {
    match kind {
        Kind::Sent => "sent",
        Kind::Open => "open",
        Kind::Click => "click",
        Kind::Download => "download",
        Kind::Unspecified => "unspecified",
    }
}
