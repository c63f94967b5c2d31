//! How long to let rdkafka poll.

use std::time::Duration;

/// A wait for a consumer's poll: in whole milliseconds, rounded up. What is left of a wait rdkafka cuts to whole
/// milliseconds, asks librdkafka to wait for so long, and asks again until all of it is over: a wait of 19.9 ms ends with
/// 0.9 of them at the full load of a core.
pub(crate) fn whole_ms(wait: Duration) -> Duration {
    let part_ms = wait.subsec_nanos().div_ceil(1_000_000);
    Duration::from_secs(wait.as_secs()).saturating_add(Duration::from_millis(part_ms.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up() {
        for (nanos, ms) in [(0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (19_000_001, 20)] {
            assert_eq!(whole_ms(Duration::from_nanos(nanos)), Duration::from_millis(ms));
        }
        assert_eq!(whole_ms(Duration::new(1, 999_999_999)), Duration::from_secs(2));
    }
}
