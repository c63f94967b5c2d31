//! librdkafka's own words, passed on to `tracing`. They name brokers, groups and topics, never a payload.

use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::error::KafkaError;

/// One line of librdkafka's log.
pub(crate) fn line(level: Level, facility: &str, message: &str) {
    match level {
        Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
            // Not `error`, which asks an operator to act: librdkafka logs each refused connection as one.
            tracing::warn!(target: "librdkafka", facility, message);
        }
        Level::Warning => tracing::warn!(target: "librdkafka", facility, message),
        Level::Notice | Level::Info => tracing::info!(target: "librdkafka", facility, message),
        Level::Debug => tracing::debug!(target: "librdkafka", facility, message),
    }
}

/// An error of the client as a whole, such as no broker within reach.
pub(crate) fn client_error(error: &KafkaError, reason: &str) {
    tracing::warn!(target: "librdkafka", %error, reason);
}

/// Implements [`rdkafka::ClientContext`] for a type of ours: logs go to `tracing`, statistics nowhere.
macro_rules! log_to_tracing {
    ($context:ty) => {
        impl rdkafka::ClientContext for $context {
            fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
                $crate::log::line(level, facility, message);
            }

            fn stats_raw(&self, _: &[u8]) {}

            fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
                $crate::log::client_error(&error, reason);
            }
        }
    };
}
pub(crate) use log_to_tracing;
