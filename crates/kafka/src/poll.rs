//! Polling a consumer's client without spinning.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::message::BorrowedMessage;

/// The next message or error, waiting for it for up to `wait`, in whole milliseconds, rounded up. What is left of a wait
/// rdkafka cuts to whole milliseconds, asks librdkafka to wait for so long, and asks again until all of it is over: a
/// wait of 19.9 ms ends with 0.9 of them at the full load of a core.
pub(crate) fn poll<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    wait: Duration,
) -> Option<KafkaResult<BorrowedMessage<'_>>> {
    client.poll(whole_ms(wait))
}

fn whole_ms(wait: Duration) -> Duration {
    Duration::from_millis(wait.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up() {
        for (nanos, ms) in [(0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (19_000_001, 20)] {
            assert_eq!(whole_ms(Duration::from_nanos(nanos)), Duration::from_millis(ms));
        }
    }
}
