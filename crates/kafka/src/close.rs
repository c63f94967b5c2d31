//! Closing a consumer's client within a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, ConsumerContext};

/// How long dropping a consumer may take to say good-bye.
pub(crate) const DROP_WAIT: Duration = Duration::from_secs(5);
/// How long closing waits for one event.
const POLL: Duration = Duration::from_millis(10);

/// Closes a client, calling `serve` before each poll, and returns whether it was done within `wait`.
///
/// rdkafka's own drop waits without an end for librdkafka to close (rust-rdkafka #453), so the waiting is done
/// here, and a client that does not close in time is left to the end of the process, threads and all.
pub(crate) fn within<C: ConsumerContext>(
    client: Arc<BaseConsumer<C>>,
    wait: Duration,
    mut serve: impl FnMut(&BaseConsumer<C>),
) -> bool {
    let deadline = Instant::now() + wait;
    if let Err(error) = client.close_queue() {
        // The drop would meet the same error and wait for nothing.
        tracing::warn!(%error, "consumer not closed");
        return false;
    }
    while !client.closed() {
        if Instant::now() >= deadline {
            tracing::warn!("consumer not closed in time");
            // One owner for ever: whoever else holds it does not drop it either.
            std::mem::forget(client);
            return false;
        }
        serve(&client);
        // Messages that were fetched ahead are dropped.
        client.poll(POLL);
    }
    true
}
