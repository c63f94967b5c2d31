//! What a cluster says about itself, for an operator who asks whether it is there.

use std::sync::Mutex;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::MetadataTopic;

use crate::config::{self, Config};
use crate::error::KafkaError;

/// A cluster, as its brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// `host:port` of each broker, as the cluster advertises them: a client must reach these, not only the
    /// configured ones.
    pub brokers: Vec<String>,
    /// The topic's partitions, by number; none if it does not exist.
    pub partitions: Option<Vec<PartitionInfo>>,
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its number.
    pub partition: u32,
    /// Whether some broker leads it: without one nothing is written to it or read from it.
    pub has_leader: bool,
    /// How many brokers are to hold it.
    pub replicas: usize,
    /// How many of them are up to date.
    pub in_sync: usize,
    /// The offset of the oldest message, and the one that the next message gets.
    pub offsets: (u64, u64),
}

/// Asks the cluster about itself and the topic, waiting for up to `timeout` for each answer. The error tells
/// what the last connection failed of.
pub fn probe(config: &Config, timeout: Duration) -> Result<ClusterInfo, KafkaError> {
    config::check(config)?;
    let client: BaseConsumer<Context> = config::common(config)
        .create_with_context(Context::default())
        .map_err(|e| config::native_error(config, &e))?;
    let what = format!("asking {} about topic {}", config.brokers, config.topic);
    let metadata = client.fetch_metadata(Some(&config.topic), timeout).map_err(|error| {
        // The request only times out; what the connections failed of waits to be polled.
        for _ in 0..EVENTS_MAX {
            client.poll(Duration::ZERO);
        }
        let failures = client.context().failures();
        let reasons: Vec<&str> = failures.iter().map(|(_, reason)| reason.as_str()).collect();
        // One that does not pass tells more than the time-out that it led to.
        let worst = failures.iter().map(|(error, _)| KafkaError::sort(&what, error)).find(|e| !e.is_retry());
        worst
            .unwrap_or_else(|| KafkaError::sort(&what, &error))
            .with(&config::redact(config, &reasons.join("; ")))
    })?;
    let brokers = metadata.brokers().iter().map(|b| format!("{}:{}", b.host(), b.port())).collect();
    let topic = metadata.topics().first();
    let exists = match topic {
        None => false,
        Some(topic) => topic_error(topic).map_or(Ok(true), |code| match code {
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => Ok(false),
            code => Err(KafkaError::sort(&what, &rdkafka::error::KafkaError::MetadataFetch(code))),
        })?,
    };
    let Some(topic) = topic.filter(|_| exists) else {
        return Ok(ClusterInfo { brokers, partitions: None });
    };
    let mut partitions = Vec::with_capacity(topic.partitions().len());
    for partition in topic.partitions() {
        let has_leader = partition.leader() >= 0;
        let offsets = match has_leader {
            true => client
                .fetch_watermarks(&config.topic, partition.id(), timeout)
                .map_err(|e| KafkaError::sort(format!("{what}, partition {}", partition.id()), &e))?,
            false => (0, 0),
        };
        partitions.push(PartitionInfo {
            partition: partition.id() as u32,
            has_leader,
            replicas: partition.replicas().len(),
            in_sync: partition.isr().len(),
            offsets: (offsets.0.max(0) as u64, offsets.1.max(0) as u64),
        });
    }
    partitions.sort_by_key(|p| p.partition);
    Ok(ClusterInfo { brokers, partitions: Some(partitions) })
}

/// How many partitions a topic has.
pub(crate) fn partition_count<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<u32, KafkaError> {
    let what = || format!("asking for the partitions of topic {topic}");
    let metadata = client.fetch_metadata(Some(topic), timeout).map_err(|e| KafkaError::sort(what(), &e))?;
    let found = metadata.topics().first().ok_or_else(|| KafkaError::retry(what(), "no answer about it"))?;
    match topic_error(found) {
        Some(code) => Err(KafkaError::sort(what(), &rdkafka::error::KafkaError::MetadataFetch(code))),
        None => Ok(found.partitions().len() as u32),
    }
}

/// Why a topic's description is no description.
pub(crate) fn topic_error(topic: &MetadataTopic) -> Option<RDKafkaErrorCode> {
    topic
        .error()
        .map(RDKafkaErrorCode::from)
        .or_else(|| topic.partitions().is_empty().then_some(RDKafkaErrorCode::UnknownTopicOrPartition))
}

/// How many events a failed probe looks at, and how many different failures it reports.
const EVENTS_MAX: usize = 256;
const FAILURES_MAX: usize = 4;

/// Keeps what librdkafka says about failed connections.
#[derive(Default)]
struct Context {
    failures: Mutex<Vec<(rdkafka::error::KafkaError, String)>>,
}

impl Context {
    fn failures(&self) -> Vec<(rdkafka::error::KafkaError, String)> {
        self.failures.lock().expect("nothing panics while it holds the failures").clone()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        crate::log::line(level, facility, message);
    }

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        let mut failures = self.failures.lock().expect("nothing panics while it holds the failures");
        if failures.len() < FAILURES_MAX && !failures.iter().any(|(_, known)| known == reason) {
            failures.push((error, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Context {}
