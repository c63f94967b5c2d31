//! What the API counts.

use telemetry::Metric;

/// Every metric of the API.
pub const METRICS: &[Metric] = &[
    Metric::counter("api_requests_total", "requests answered: ok, or the error's code", &["answer"]),
    Metric::histogram("api_answer_seconds", "from a request's head to its answer", &[]),
    Metric::counter("api_sends_total", "sends told: recorded or refused", &["outcome"]),
];

#[cfg(test)]
mod tests {
    #[test]
    fn names_follow_the_grammar() {
        assert_eq!(telemetry::grammar("api", super::METRICS), Vec::<String>::new());
    }
}
