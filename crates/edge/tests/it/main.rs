//! The edge, as its clients see it.

mod answer;
mod serve;
mod ship;

#[test]
fn metrics_follow_the_grammar() {
    assert_eq!(telemetry::grammar("edge", edge::METRICS), Vec::<String>::new());
}
