//! What can be set, and what may not be: the settings a promise rests on are refused by name.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::admin::WITHDRAWALS_SUFFIX;
use crate::error::ConfigError;

/// Kafka's own bound on a topic's name, in bytes.
const TOPIC_BYTES_MAX: usize = 249;

/// How to reach a cluster, and which topic.
///
/// `Debug` prints the names of [`Config::properties`] and never a value, for some are passwords and keys.
#[derive(Clone)]
pub struct Config {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// The topic of events; the names of the other topics follow from it.
    pub topic: String,
    /// How a batch of messages is compressed. lz4 costs nothing measurable, zstd stores about 1.5 times less.
    pub compression: Compression,
    /// How long the producer waits for more messages to fill a request, in ms. The messages are batches of
    /// events already, so waiting longer gains little.
    pub linger_ms: u32,
    /// Messages that may be sent and not yet reported back, those waiting in [`crate::Producer::deliveries`] included.
    pub queue_messages_max: u32,
    /// Bytes that may wait in the producer, in KiB.
    pub queue_kbytes_max: u32,
    /// The largest message, in bytes, uncompressed and with its framing.
    pub message_bytes_max: u32,
    /// Bytes of messages fetched ahead of the consumer's polls, in KiB, for all its partitions together.
    pub prefetch_kbytes_max: u32,
    /// A consumer that the broker has not heard of for this long has lost its partitions, in ms. With static
    /// membership it is also how long a restart may take before partitions move.
    pub session_timeout_ms: u32,
    /// A consumer that has not polled for this long has lost its partitions, in ms.
    pub poll_interval_max_ms: u32,
    /// How long a revoked partition waits for [`crate::Consumer::release`], in ms.
    pub release_wait_ms: u32,
    /// Any other librdkafka property (TLS, SASL, sockets), except those that [`check`] refuses.
    pub properties: BTreeMap<String, String>,
}

/// The codec of a batch of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    None,
    /// lz4: the default.
    Lz4,
    /// zstd, at level 1 unless the property `compression.level` says otherwise.
    Zstd,
}

impl Config {
    /// The defaults, for this topic of this cluster.
    pub fn new(brokers: impl Into<String>, topic: impl Into<String>) -> Config {
        Config {
            brokers: brokers.into(),
            topic: topic.into(),
            compression: Compression::Lz4,
            linger_ms: 5,
            queue_messages_max: 10_000,
            queue_kbytes_max: 65_536,
            message_bytes_max: 1_000_000,
            prefetch_kbytes_max: 65_536,
            session_timeout_ms: 45_000,
            poll_interval_max_ms: 600_000,
            release_wait_ms: 10_000,
            properties: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Taken apart so that a new field does not compile until it is decided whether it may be printed.
        let Config {
            brokers,
            topic,
            compression,
            linger_ms,
            queue_messages_max,
            queue_kbytes_max,
            message_bytes_max,
            prefetch_kbytes_max,
            session_timeout_ms,
            poll_interval_max_ms,
            release_wait_ms,
            properties,
        } = self;
        f.debug_struct("Config")
            .field("brokers", brokers)
            .field("topic", topic)
            .field("compression", compression)
            .field("linger_ms", linger_ms)
            .field("queue_messages_max", queue_messages_max)
            .field("queue_kbytes_max", queue_kbytes_max)
            .field("message_bytes_max", message_bytes_max)
            .field("prefetch_kbytes_max", prefetch_kbytes_max)
            .field("session_timeout_ms", session_timeout_ms)
            .field("poll_interval_max_ms", poll_interval_max_ms)
            .field("release_wait_ms", release_wait_ms)
            .field("properties", &properties.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// Refuses what cannot work before anything connects: a bad topic name, a property that is refused, unknown to
/// librdkafka or has a value that it does not take.
///
/// What librdkafka checks only when a client starts (a certificate's path, two settings against each other)
/// comes back from [`crate::Producer::new`] and [`crate::Consumer::new`].
pub fn check(config: &Config) -> Result<(), ConfigError> {
    if config.brokers.split(',').any(|broker| broker.trim().is_empty()) {
        return Err(ConfigError::Invalid {
            name: "brokers".into(),
            value: config.brokers.clone(),
            expected: "host:port, several separated by commas".into(),
        });
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let length_max = TOPIC_BYTES_MAX - WITHDRAWALS_SUFFIX.len();
    if config.topic.is_empty()
        || config.topic.len() > length_max
        || !config.topic.bytes().all(legal)
        || config.topic.starts_with('.')
    {
        return Err(ConfigError::Invalid {
            name: "topic".into(),
            value: config.topic.clone(),
            expected: format!("1 to {length_max} of letters, digits, '.', '_' and '-', no '.' first"),
        });
    }
    for name in config.properties.keys() {
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| refused == name) {
            return Err(ConfigError::Refused { name: name.clone(), why });
        }
    }
    for client in [producer(config), consumer(config, "check", None)] {
        client.create_native_config().map_err(|e| native_error(config, &e))?;
    }
    Ok(())
}

/// The properties of a producer of this configuration.
pub(crate) fn producer(config: &Config) -> ClientConfig {
    let mut client = common(config);
    let compression = match config.compression {
        Compression::None => "none",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    };
    if config.compression == Compression::Zstd && !config.properties.contains_key("compression.level") {
        // zstd's default level 3 costs 0.3 µs more per event than level 1.
        client.set("compression.level", "1");
    }
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // No time limit: a message that times out leaves a gap although it may have been stored. Whoever keeps
        // the messages (the journal) also keeps the time.
        .set("message.timeout.ms", "0")
        .set("compression.type", compression)
        .set("linger.ms", config.linger_ms.to_string())
        .set("queue.buffering.max.messages", config.queue_messages_max.to_string())
        .set("queue.buffering.max.kbytes", config.queue_kbytes_max.to_string())
        .set("message.max.bytes", config.message_bytes_max.to_string());
    client
}

/// The properties of a consumer of this configuration.
pub(crate) fn consumer(config: &Config, group: &str, instance_id: Option<&str>) -> ClientConfig {
    let mut client = common(config);
    client
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Offsets that are gone are an error, never a jump: `latest` would lose and `earliest` repeat.
        .set("auto.offset.reset", "error")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("queued.max.messages.kbytes", config.prefetch_kbytes_max.to_string())
        .set("session.timeout.ms", config.session_timeout_ms.to_string())
        .set("max.poll.interval.ms", config.poll_interval_max_ms.to_string());
    // A producer would warn of it at each start, so it is not in `common`.
    if !config.properties.contains_key("fetch.queue.backoff.ms") {
        // A full prefetch queue is looked at again after 1 s by default, which starves a fast consumer.
        client.set("fetch.queue.backoff.ms", "100");
    }
    if let Some(id) = instance_id {
        client.set("group.instance.id", id);
    }
    client
}

/// What each client has, in three layers: our defaults, the user's properties, what nobody may change.
pub(crate) fn common(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    // Without this, rdkafka asks the `log` crate, which nobody here sets up, and silences librdkafka.
    client.set_log_level(RDKafkaLogLevel::Info);
    client
        .set("client.id", "mailbeacon")
        .set("socket.keepalive.enable", "true")
        // Of a producer too: librdkafka lets it create a misspelt topic with the broker's defaults.
        .set("allow.auto.create.topics", "false")
        // librdkafka waits up to 10 s between attempts: too long for a broker that was only restarted.
        .set("reconnect.backoff.max.ms", "2000");
    for (name, value) in &config.properties {
        client.set(name, value);
    }
    client.set("bootstrap.servers", &config.brokers);
    client
}

/// A property that librdkafka does not take. Its text repeats the value, so it is passed on only where the
/// property holds no secret.
pub(crate) fn native_error(config: &Config, error: &rdkafka::error::KafkaError) -> ConfigError {
    let rdkafka::error::KafkaError::ClientConfig(_, reason, name, value) = error else {
        return ConfigError::Client { reason: redact(config, &error.to_string()) };
    };
    if SECRET_WORDS.iter().any(|word| name.contains(word)) {
        return ConfigError::Invalid {
            name: name.clone(),
            value: "(not printed)".into(),
            expected: "a value that librdkafka takes".into(),
        };
    }
    if reason.starts_with("No such configuration property") {
        return ConfigError::Unknown { name: name.clone() };
    }
    ConfigError::Invalid { name: name.clone(), value: value.clone(), expected: reason.clone() }
}

/// `text` without the value of any property that may hold a secret.
pub(crate) fn redact(config: &Config, text: &str) -> String {
    let mut out = text.to_owned();
    for (name, value) in &config.properties {
        if !value.is_empty() && SECRET_WORDS.iter().any(|word| name.contains(word)) {
            out = out.replace(value.as_str(), "(not printed)");
        }
    }
    out
}

/// Parts of the names of properties whose values are never printed.
const SECRET_WORDS: [&str; 8] =
    ["password", "secret", "key", "token", "username", "assertion", "jwt", "oauthbearer.config"];

const IDEMPOTENCE: &str = "once per message, in order, rests on it";
const JOURNAL: &str = "the journal owns time and retries";
const GROUP: &str = "exactly once rests on it";
const OFFSETS: &str = "offsets are committed by the consumer, with the batch that they belong to";
const ARGUMENT: &str = "the program sets it";

/// The properties that may not be set, and why. Aliases are named too: librdkafka takes either.
const REFUSED: [(&str, &str); 46] = [
    ("enable.idempotence", IDEMPOTENCE),
    ("acks", IDEMPOTENCE),
    ("request.required.acks", IDEMPOTENCE),
    ("max.in.flight", IDEMPOTENCE),
    ("max.in.flight.requests.per.connection", IDEMPOTENCE),
    ("enable.gapless.guarantee", IDEMPOTENCE),
    ("queuing.strategy", IDEMPOTENCE),
    ("transactional.id", IDEMPOTENCE),
    ("retries", JOURNAL),
    ("message.send.max.retries", JOURNAL),
    ("message.timeout.ms", JOURNAL),
    ("delivery.timeout.ms", JOURNAL),
    ("delivery.report.only.error", JOURNAL),
    ("enable.auto.commit", OFFSETS),
    ("auto.commit.enable", OFFSETS),
    ("auto.commit.interval.ms", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("offset.store.method", OFFSETS),
    ("auto.offset.reset", "an offset that is gone must be an error, never a jump"),
    ("partition.assignment.strategy", GROUP),
    ("group.protocol", GROUP),
    ("group.remote.assignor", GROUP),
    ("isolation.level", GROUP),
    ("check.crcs", GROUP),
    ("enable.partition.eof", GROUP),
    ("consume.callback.max.messages", GROUP),
    ("allow.auto.create.topics", "topics are created with their settings, by `migrate`"),
    ("test.mock.num.brokers", "it replaces the cluster with memory"),
    ("test.mock.broker.rtt", "it replaces the cluster with memory"),
    ("plugin.library.paths", "it loads code into the process"),
    ("log.queue", ARGUMENT),
    ("log_level", ARGUMENT),
    ("bootstrap.servers", "set `brokers`"),
    ("metadata.broker.list", "set `brokers`"),
    ("group.id", "set the consumer's group"),
    ("group.instance.id", "set the consumer's instance id"),
    ("compression.type", "set `compression`"),
    ("compression.codec", "set `compression`"),
    ("linger.ms", "set `linger_ms`"),
    ("queue.buffering.max.ms", "set `linger_ms`"),
    ("queue.buffering.max.messages", "set `queue_messages_max`"),
    ("queue.buffering.max.kbytes", "set `queue_kbytes_max`"),
    ("message.max.bytes", "set `message_bytes_max`"),
    ("queued.max.messages.kbytes", "set `prefetch_kbytes_max`"),
    ("session.timeout.ms", "set `session_timeout_ms`"),
    ("max.poll.interval.ms", "set `poll_interval_max_ms`"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Config {
        let mut config = Config::new("localhost:9092", "events");
        config.properties.insert(name.into(), value.into());
        config
    }

    #[test]
    fn defaults_are_taken_by_librdkafka() {
        check(&Config::new("a:1, b:2", "events")).unwrap();
    }

    #[test]
    fn every_refused_property_is_refused_by_its_name_and_known_to_librdkafka() {
        for (name, _) in REFUSED {
            let set = ClientConfig::new().set(name, "?").create_native_config().map(|_| ());
            let unknown = set.is_err_and(|e| e.to_string().contains("No such configuration property"));
            assert!(!unknown, "{name} is not a property of librdkafka");
            let error = check(&with(name, "1")).unwrap_err();
            assert!(matches!(&error, ConfigError::Refused { name: n, .. } if n == name), "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (with("sasl.mecanism", "PLAIN"), "unknown property \"sasl.mecanism\""),
            (with("security.protocol", "plain"), "security.protocol"),
            (with("max.poll.interval.ms", "1"), "set `poll_interval_max_ms`"),
            (Config::new("", "events"), "brokers"),
            (Config::new("a:1,,b:2", "events"), "brokers"),
            (Config::new("a:1", "my events"), "topic"),
            (Config::new("a:1", "x".repeat(240)), "topic"),
            (Config { queue_kbytes_max: 0, ..Config::new("a:1", "events") }, "queue.buffering.max.kbytes"),
            (Config { message_bytes_max: 1, ..Config::new("a:1", "events") }, "message.max.bytes"),
        ];
        for (config, expected) in cases {
            let error = check(&config).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} does not name {expected}");
        }
    }

    #[test]
    fn a_producer_is_given_nothing_that_is_for_consumers() {
        const ONE: &str = "fetch.queue.backoff.ms";
        let config = Config::new("a:1", "events");
        assert_eq!((producer(&config).get(ONE), consumer(&config, "g", None).get(ONE)), (None, Some("100")));
        assert_eq!(consumer(&with(ONE, "7"), "g", None).get(ONE), Some("7"));
    }

    #[test]
    fn tls_and_sasl_are_built_in() {
        let mut config = with("security.protocol", "sasl_ssl");
        config.properties.insert("sasl.mechanism".into(), "SCRAM-SHA-512".into());
        config.properties.insert("sasl.username".into(), "u".into());
        config.properties.insert("sasl.password".into(), "hunter2".into());
        check(&config).unwrap();
        producer(&config).create::<rdkafka::producer::BaseProducer>().unwrap();
    }

    #[test]
    fn values_of_properties_are_not_printed() {
        let config = with("sasl.password", "hunter2");
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(format!("{config:?}").contains("sasl.password"));
        let mut config = with("ssl.key.pem", "hunter2");
        config.properties.insert("security.protocol".into(), "ssl".into());
        let error = producer(&config).create::<rdkafka::producer::BaseProducer>().map(|_| ()).unwrap_err();
        assert!(!native_error(&config, &error).to_string().contains("hunter2"));
        assert_eq!(redact(&config, "bad hunter2 here"), "bad (not printed) here");
    }
}
