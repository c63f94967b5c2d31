//! The topics, created with their settings or compared with what is there. Nothing that exists is changed.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use crate::config::{self, Config};
use crate::dead::DEAD_LETTER_OVERHEAD_BYTES_MAX;
use crate::error::KafkaError;
use crate::probe;

/// The dead letters of topic `t` are in `t.dead`.
pub const DEAD_SUFFIX: &str = ".dead";
/// The withdrawals and erasures of topic `t` are in `t.withdrawals`.
pub const WITHDRAWALS_SUFFIX: &str = ".withdrawals";
/// The shortest retention of events, in ms: 7 days. Kafka is the buffer while ClickHouse is away.
pub const RETENTION_MIN_MS: u64 = 7 * 24 * 3600 * 1000;

/// Dead letters are kept until somebody has had a month to look at them, in ms.
const DEAD_RETENTION_MS: u64 = 30 * 24 * 3600 * 1000;
/// What a message may grow by in its batch's framing, in bytes.
const BATCH_OVERHEAD_BYTES: u64 = 1_024;
/// How long the brokers may take to create or to describe topics.
const ADMIN_WAIT: Duration = Duration::from_secs(30);

/// A topic as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions. A topic's count is never changed: partitions are chosen by the recipient.
    pub partitions: u32,
    /// On how many brokers each partition is.
    pub replication: u16,
    /// The topic's own settings, by Kafka's names.
    pub settings: BTreeMap<String, String>,
}

/// What [`create_topics`] did about one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicOutcome {
    /// It was not there and is now.
    Created {
        /// Its name.
        name: String,
    },
    /// It was there and is as it was.
    Existing {
        /// Its name.
        name: String,
        /// What differs from the specification, for an operator to look at.
        differences: Vec<Difference>,
    },
}

/// A setting of a topic that is not as specified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The setting, by Kafka's name, or `replication`.
    pub setting: String,
    /// What the topic has.
    pub is: String,
    /// What the specification says.
    pub expected: String,
}

impl TopicSpec {
    /// The topic of events: whole batches as the producer compressed them, kept for `retention_ms` and never
    /// less than [`RETENTION_MIN_MS`].
    pub fn events(config: &Config, partitions: u32, replication: u16, retention_ms: u64) -> TopicSpec {
        let message_bytes_max = u64::from(config.message_bytes_max) + BATCH_OVERHEAD_BYTES;
        TopicSpec::with(
            config.topic.clone(),
            partitions,
            replication,
            [
                ("cleanup.policy", "delete".into()),
                ("retention.ms", retention_ms.max(RETENTION_MIN_MS).to_string()),
                ("retention.bytes", "-1".into()),
                ("compression.type", "producer".into()),
                ("max.message.bytes", message_bytes_max.to_string()),
            ],
        )
    }

    /// The topic of messages that could not be stored, with as many partitions as there are of events. It takes
    /// the largest message and what [`crate::DeadLetters`] adds.
    pub fn dead_letters(config: &Config, partitions: u32, replication: u16) -> TopicSpec {
        let config = config.dead_letters();
        let message_bytes_max = u64::from(config.message_bytes_max) + BATCH_OVERHEAD_BYTES;
        TopicSpec::with(
            config.topic,
            partitions,
            replication,
            [
                ("cleanup.policy", "delete".into()),
                ("retention.ms", DEAD_RETENTION_MS.to_string()),
                ("retention.bytes", "-1".into()),
                ("compression.type", "producer".into()),
                ("max.message.bytes", message_bytes_max.to_string()),
            ],
        )
    }

    /// The topic of withdrawals and erasures: the last word for each key is kept for ever.
    pub fn withdrawals(config: &Config, partitions: u32, replication: u16) -> TopicSpec {
        TopicSpec::with(
            format!("{}{WITHDRAWALS_SUFFIX}", config.topic),
            partitions,
            replication,
            [("cleanup.policy", "compact".into()), ("compression.type", "producer".into())],
        )
    }

    fn with<const N: usize>(
        name: String,
        partitions: u32,
        replication: u16,
        settings: [(&str, String); N],
    ) -> TopicSpec {
        let mut settings: BTreeMap<_, _> = settings.map(|(name, value)| (name.to_owned(), value)).into();
        // Acknowledged means on two brokers where there are three, and none that is behind becomes the leader.
        settings.insert("min.insync.replicas".into(), if replication >= 3 { "2" } else { "1" }.into());
        settings.insert("unclean.leader.election.enable".into(), "false".into());
        TopicSpec { name, partitions, replication, settings }
    }
}

impl Config {
    /// The configuration for the dead letters of this topic.
    pub fn dead_letters(&self) -> Config {
        Config {
            topic: format!("{}{DEAD_SUFFIX}", self.topic),
            message_bytes_max: self.message_bytes_max.saturating_add(DEAD_LETTER_OVERHEAD_BYTES_MAX),
            ..self.clone()
        }
    }

    /// The configuration for the withdrawals and erasures of this topic.
    pub fn withdrawals(&self) -> Config {
        Config { topic: format!("{}{WITHDRAWALS_SUFFIX}", self.topic), ..self.clone() }
    }
}

/// Creates the topics that are not there and compares those that are. May be run at any time and by several at
/// once. A topic with another number of partitions is an error: recipients would change their partition.
pub fn create_topics(config: &Config, specs: &[TopicSpec]) -> Result<Vec<TopicOutcome>, KafkaError> {
    config::check(config)?;
    let admin: AdminClient<Context> =
        config::common(config).create_with_context(Context).map_err(|e| config::native_error(config, &e))?;
    let options = AdminOptions::new().request_timeout(Some(ADMIN_WAIT)).operation_timeout(Some(ADMIN_WAIT));
    let new: Vec<NewTopic<'_>> = specs
        .iter()
        .map(|spec| NewTopic {
            name: &spec.name,
            num_partitions: spec.partitions as i32,
            replication: TopicReplication::Fixed(i32::from(spec.replication)),
            config: spec.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        })
        .collect();
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let results = block_on(admin.create_topics(&new, &options))
        .map_err(|e| KafkaError::sort(format!("creating topics at {}", config.brokers), &e))?;
    let mut outcomes = Vec::with_capacity(specs.len());
    for spec in specs {
        let result = results.iter().find(|result| match result {
            Ok(name) | Err((name, _)) => *name == spec.name,
        });
        outcomes.push(match result {
            Some(Ok(_)) => TopicOutcome::Created { name: spec.name.clone() },
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => compare(&admin, &options, spec)?,
            Some(Err((_, code))) => {
                let error = rdkafka::error::KafkaError::AdminOp(*code);
                return Err(KafkaError::sort(creating(spec), &error));
            }
            None => return Err(KafkaError::retry(creating(spec), "no answer about it")),
        });
    }
    Ok(outcomes)
}

fn creating(spec: &TopicSpec) -> String {
    let TopicSpec { name, partitions, replication, .. } = spec;
    format!("creating topic {name} with {partitions} partitions on {replication} brokers each")
}

/// What differs between a topic and its specification.
fn compare(
    admin: &AdminClient<Context>,
    options: &AdminOptions,
    spec: &TopicSpec,
) -> Result<TopicOutcome, KafkaError> {
    let what = format!("comparing topic {}", spec.name);
    let metadata = admin
        .inner()
        .fetch_metadata(Some(&spec.name), ADMIN_WAIT)
        .map_err(|e| KafkaError::sort(&what, &e))?;
    let topic = metadata.topics().first().ok_or_else(|| KafkaError::retry(&what, "no answer about it"))?;
    if let Some(code) = probe::topic_error(topic) {
        return Err(KafkaError::sort(what, &rdkafka::error::KafkaError::MetadataFetch(code)));
    }
    let partitions = topic.partitions().len();
    if partitions != spec.partitions as usize {
        let reason = format!("it has {partitions} partitions: expected {}", spec.partitions);
        return Err(KafkaError::fatal(what, reason));
    }
    let mut differences = Vec::new();
    let replication = topic.partitions().iter().map(|p| p.replicas().len()).min().unwrap_or_default();
    if replication != usize::from(spec.replication) {
        differences.push(Difference {
            setting: "replication".into(),
            is: replication.to_string(),
            expected: spec.replication.to_string(),
        });
    }
    let described = block_on(admin.describe_configs([&ResourceSpecifier::Topic(&spec.name)], options))
        .map_err(|e| KafkaError::sort(&what, &e))?;
    let resource = match described.into_iter().next() {
        Some(Ok(resource)) => resource,
        Some(Err(code)) => {
            return Err(KafkaError::sort(what, &rdkafka::error::KafkaError::AdminOp(code)));
        }
        None => return Err(KafkaError::retry(what, "no answer about its settings")),
    };
    for (setting, expected) in &spec.settings {
        let is = resource.get(setting).and_then(|entry| entry.value.clone()).unwrap_or_default();
        if is != *expected {
            differences.push(Difference { setting: setting.clone(), is, expected: expected.clone() });
        }
    }
    Ok(TopicOutcome::Existing { name: spec.name.clone(), differences })
}

struct Context;

crate::log::log_to_tracing!(Context);

/// Waits on this thread for a future that another thread completes. Bounded by the request's own timeouts.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
