//! Errors by what the caller does next: try again, reject the message, or stop.

use rdkafka::error::RDKafkaErrorCode as Code;

/// A configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A property that a promise rests on, or that has a setting of its own.
    #[error("kafka property \"{name}\" cannot be set: {why}")]
    Refused {
        /// The property.
        name: String,
        /// What rests on it, or what to set instead.
        why: &'static str,
    },
    /// A property that librdkafka does not have.
    #[error("unknown property \"{name}\": expected a name from librdkafka's CONFIGURATION.md")]
    Unknown {
        /// The property.
        name: String,
    },
    /// A value that is not taken.
    #[error("kafka setting \"{name}\" is \"{value}\": expected {expected}")]
    Invalid {
        /// The setting.
        name: String,
        /// What it is, unless it may be a secret.
        value: String,
        /// What it must be.
        expected: String,
    },
    /// librdkafka does not start with it.
    #[error("kafka client does not start: {reason}")]
    Client {
        /// librdkafka's words, without secrets.
        reason: String,
    },
}

/// What went wrong with the cluster, and what is left to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaError {
    /// It may pass: wait and do the same again.
    #[error("{what}: {reason}")]
    Retry {
        /// What was being done, and to what.
        what: String,
        /// Kafka's words.
        reason: String,
    },
    /// It does not pass by itself: an operator must act, or the client must be built anew.
    #[error("{what}: {reason}")]
    Fatal {
        /// What was being done, and to what.
        what: String,
        /// Kafka's words.
        reason: String,
    },
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl KafkaError {
    /// Whether waiting and doing the same again may help.
    pub fn is_retry(&self) -> bool {
        matches!(self, KafkaError::Retry { .. })
    }

    pub(crate) fn retry(what: impl Into<String>, reason: impl ToString) -> KafkaError {
        KafkaError::Retry { what: what.into(), reason: reason.to_string() }
    }

    pub(crate) fn fatal(what: impl Into<String>, reason: impl ToString) -> KafkaError {
        KafkaError::Fatal { what: what.into(), reason: reason.to_string() }
    }

    /// The same with more of Kafka's words.
    pub(crate) fn with(mut self, more: &str) -> KafkaError {
        if let KafkaError::Retry { reason, .. } | KafkaError::Fatal { reason, .. } = &mut self
            && !more.is_empty()
        {
            *reason = format!("{reason}: {more}");
        }
        self
    }

    /// Sorts an error of librdkafka.
    pub(crate) fn sort(what: impl Into<String>, error: &rdkafka::error::KafkaError) -> KafkaError {
        use rdkafka::error::KafkaError as Native;
        let fatal = match error {
            Native::MessageConsumptionFatal(_) | Native::ClientCreation(_) | Native::AdminOpCreation(_) => {
                true
            }
            Native::AdminOp(code) => is_fatal(*code),
            other => other.rdkafka_error_code().is_some_and(is_fatal),
        };
        if fatal { KafkaError::fatal(what, error) } else { KafkaError::retry(what, error) }
    }
}

/// Why a message was not taken. Nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The queue is full: take deliveries, then send it again.
    #[error("the producer's queue is full")]
    Full,
    /// This message will never be taken: it is too large.
    #[error("kafka does not take the message: {0}")]
    Rejected(String),
    /// The producer is of no more use: build a new one and send again what was not delivered.
    #[error("the kafka producer has failed: {0}")]
    Fatal(String),
}

/// Why a message that was taken is not known to be stored. Kafka may have stored it all the same: librdkafka
/// does not tell, so sending it again may store it twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// Send it again.
    #[error("not delivered: {0}")]
    Retry(String),
    /// This message will never be stored: the broker refuses its size or its form.
    #[error("kafka does not store the message: {0}")]
    Rejected(String),
    /// The producer is of no more use: build a new one and send again what was not delivered.
    #[error("not delivered, the kafka producer has failed: {0}")]
    Fatal(String),
}

/// Why an offset is not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The partition belongs to somebody else now: drop everything of it, commit nothing.
    #[error("partition {partition} is no longer ours: {reason}")]
    Fenced {
        /// The partition.
        partition: u32,
        /// How that is known.
        reason: String,
    },
    /// It may pass. Whether it was committed is not known; committing the same again is harmless.
    #[error("commit of partition {partition}: {reason}")]
    Retry {
        /// The partition.
        partition: u32,
        /// Kafka's words.
        reason: String,
    },
    /// It does not pass by itself.
    #[error("commit of partition {partition}: {reason}")]
    Fatal {
        /// The partition.
        partition: u32,
        /// Kafka's words.
        reason: String,
    },
}

/// What does not pass by waiting: rights, a lost identity, offsets that are gone, a client that gave up.
fn is_fatal(code: Code) -> bool {
    matches!(
        code,
        Code::Fatal
            | Code::Fenced
            | Code::FencedInstanceId
            | Code::AutoOffsetReset
            | Code::OffsetOutOfRange
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnsupportedSASLMechanism
            | Code::UnsupportedVersion
            | Code::InconsistentGroupProtocol
            | Code::InvalidTopic
            | Code::InvalidPartitions
            | Code::InvalidReplicationFactor
            | Code::InvalidConfig
            | Code::PolicyViolation
            | Code::InvalidGroupId
            | Code::InvalidSessionTimeout
    )
}

impl SendError {
    pub(crate) fn sort(error: &rdkafka::error::KafkaError) -> SendError {
        match error.rdkafka_error_code() {
            Some(Code::QueueFull) => SendError::Full,
            Some(code) if is_rejected(code) => SendError::Rejected(error.to_string()),
            _ => SendError::Fatal(error.to_string()),
        }
    }
}

impl DeliveryError {
    pub(crate) fn sort(error: &rdkafka::error::KafkaError) -> DeliveryError {
        match error.rdkafka_error_code() {
            Some(code) if is_rejected(code) => DeliveryError::Rejected(error.to_string()),
            Some(code) if is_fatal(code) => DeliveryError::Fatal(error.to_string()),
            _ => DeliveryError::Retry(error.to_string()),
        }
    }
}

fn is_rejected(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::MessageBatchTooLarge
            | Code::InvalidMessageSize
            | Code::InvalidTimestamp
            | Code::InvalidRecord
    )
}

impl CommitError {
    pub(crate) fn sort(partition: u32, error: &rdkafka::error::KafkaError) -> CommitError {
        let reason = error.to_string();
        match error.rdkafka_error_code() {
            Some(
                Code::IllegalGeneration
                | Code::UnknownMemberId
                | Code::FencedInstanceId
                | Code::AssignmentLost,
            ) => CommitError::Fenced { partition, reason },
            Some(code) if is_fatal(code) || code == Code::OffsetMetadataTooLarge => {
                CommitError::Fatal { partition, reason }
            }
            _ => CommitError::Retry { partition, reason },
        }
    }
}
