//! What the consumer counts.

use telemetry::Metric;

/// Every metric of the consumer.
pub const METRICS: &[Metric] = &[
    Metric::counter("consumer_stored_events_total", "events known to be stored", &[]),
    Metric::counter("consumer_duplicate_events_total", "events dropped because they are stored already", &[]),
    Metric::counter(
        "consumer_dead_lettered_events_total",
        "events or whole messages kept aside as unreadable",
        &[],
    ),
    Metric::counter("consumer_batches_total", "batches written, each of one partition", &[]),
    Metric::counter("consumer_inserts_total", "inserts sent, each of the batches of several partitions", &[]),
    Metric::counter(
        "consumer_unverified_batches_total",
        "blocks of which it could not be made sure that every view has them",
        &[],
    ),
    Metric::counter("consumer_insert_retries_total", "inserts tried again", &["class"]),
    Metric::counter("consumer_commit_retries_total", "commits tried again", &[]),
    Metric::counter(
        "consumer_fenced_partitions_total",
        "partitions dropped because they have another owner",
        &[],
    ),
    Metric::counter(
        "consumer_repeated_messages_total",
        "messages handed out again by the source, and left out",
        &[],
    ),
    Metric::gauge(
        "consumer_stalled_partitions",
        "partitions that stand still: an attempt failed, or an operator must look",
        &[],
    ),
    Metric::gauge("consumer_inflight_events", "events taken and not yet known to be stored", &[]),
    Metric::counter(
        "consumer_table_reloads_total",
        "place databases and lists of networks that changed on the disk: loaded, or refused as broken",
        &["outcome"],
    ),
    Metric::gauge(
        "consumer_refused_tables",
        "1 while what lies on the disk is refused and an older set is in use",
        &[],
    ),
    Metric::gauge(
        "consumer_table_age_seconds",
        "since the day on which the list or database in use was published",
        &["table"],
    ),
    Metric::gauge("consumer_owned_partitions", "partitions that are ours", &[]),
    Metric::histogram("consumer_write_seconds", "from a batch's first message to its rows being stored", &[]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_named_by_the_grammar() {
        assert_eq!(telemetry::grammar("consumer", METRICS), Vec::<String>::new());
    }

    #[test]
    fn every_metric_that_is_used_is_listed_and_the_other_way_round() {
        let sources = [include_str!("pipeline.rs"), include_str!("lane.rs"), include_str!("tables.rs")];
        let used: std::collections::BTreeSet<&str> = sources
            .iter()
            .flat_map(|source| source.split('"'))
            .filter(|text| text.starts_with("consumer_") && text.len() < 60)
            .collect();
        assert_eq!(used, METRICS.iter().map(|metric| metric.name).collect());
    }
}
