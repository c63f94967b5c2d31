//! The edge, as its clients see it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod answer;
mod serve;
mod ship;

#[test]
fn metrics_follow_the_grammar() {
    assert_eq!(telemetry::grammar("edge", edge::METRICS), Vec::<String>::new());
}
