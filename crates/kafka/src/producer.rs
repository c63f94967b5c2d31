//! The producer: a message and a position go in, the position comes back with what became of the message.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::error::KafkaError as Native;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use crate::config::{self, Config};
use crate::error::{DeliveryError, KafkaError, SendError};
use crate::probe;

// A position travels through librdkafka as a pointer's worth of bits, so that nothing is allocated for it.
const _: () = assert!(size_of::<u64>() == size_of::<usize>());

/// How long asking for a topic's partitions may take.
const METADATA_WAIT: Duration = Duration::from_secs(10);

/// The longest that a report lies about: 200 wake-ups a second while waiting. The wait is not left to rdkafka's poll,
/// which returns only when its time is over, even when reports arrived at once, and spins through the last
/// millisecond of it (the time left is cut to whole milliseconds): that took a tenth of a core while idle.
const POLL_SLICE: Duration = Duration::from_millis(5);

/// A producer of one topic. Messages of a partition keep their order; each is stored once unless the broker
/// changes its leader at a bad moment (librdkafka #4953) or a new producer sends it again.
///
/// Dropping it throws away what is not delivered: [`Producer::flush`] first, or keep the messages elsewhere.
/// It blocks for up to half a second then. May be shared by threads.
pub struct Producer {
    inner: BaseProducer<Context>,
    topic: String,
    queue_messages_max: usize,
    /// Sent, and not yet handed out by [`Producer::deliveries`].
    outstanding: AtomicUsize,
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The position that the message was sent with.
    pub position: u64,
    /// The partition and the offset that it has, or why it may have none.
    pub result: Result<(u32, u64), DeliveryError>,
}

/// A message with all that Kafka lets it carry.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The partition.
    pub partition: u32,
    /// The key, which matters to compacted topics only.
    pub key: Option<&'a [u8]>,
    /// The bytes; none is a tombstone in a compacted topic.
    pub payload: Option<&'a [u8]>,
    /// Names and values beside the payload.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Comes back with the delivery.
    pub position: u64,
}

impl Producer {
    /// A producer of `config.topic`. Nothing is connected yet; it connects by itself, and again after a loss.
    pub fn new(config: &Config) -> Result<Producer, KafkaError> {
        config::check(config)?;
        let inner = config::producer(config)
            .create_with_context(Context::default())
            .map_err(|e| config::native_error(config, &e))?;
        Ok(Producer {
            inner,
            topic: config.topic.clone(),
            queue_messages_max: config.queue_messages_max as usize,
            outstanding: AtomicUsize::new(0),
        })
    }

    /// How many partitions the topic has. Blocks for up to 10 s while no broker is within reach.
    pub fn partitions(&self) -> Result<u32, KafkaError> {
        self.partitions_within(METADATA_WAIT)
    }

    pub(crate) fn partitions_within(&self, wait: Duration) -> Result<u32, KafkaError> {
        probe::partition_count(self.inner.client(), &self.topic, wait)
    }

    /// Hands one message over; `position` comes back with its delivery. Never blocks. When it fails nothing was
    /// taken, so the caller still has it.
    pub fn send(&self, partition: u32, payload: &[u8], position: u64) -> Result<(), SendError> {
        self.send_record(&Record { partition, key: None, payload: Some(payload), headers: &[], position })
    }

    /// As [`Producer::send`], with a key and headers.
    pub fn send_record(&self, record: &Record<'_>) -> Result<(), SendError> {
        // librdkafka counts a message until its report is polled, which is before the caller has it: the
        // reports that wait here are bounded by counting them too.
        if self.outstanding.fetch_add(1, Ordering::Relaxed) >= self.queue_messages_max {
            self.outstanding.fetch_sub(1, Ordering::Relaxed);
            return Err(SendError::Full);
        }
        let mut native =
            BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.topic, record.position as usize)
                .partition(record.partition as i32);
        native.key = record.key;
        native.payload = record.payload;
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            native.headers =
                Some(record.headers.iter().fold(headers, |headers, (key, value)| {
                    headers.insert(Header { key, value: Some(*value) })
                }));
        }
        self.inner.send(native).map_err(|(error, _)| {
            self.outstanding.fetch_sub(1, Ordering::Relaxed);
            SendError::sort(&error)
        })
    }

    /// Hands out what became of messages, and returns how many it were: at once if some are known, else after
    /// waiting for the first for up to `wait`. It also does the producer's upkeep, so call it often, and at
    /// least every few seconds while nothing is sent.
    pub fn deliveries(&self, wait: Duration, mut each: impl FnMut(Delivery)) -> usize {
        let deadline = Instant::now() + wait;
        let mut slice = Duration::ZERO;
        loop {
            let reports = self.collect(slice);
            if !reports.is_empty() {
                self.outstanding.fetch_sub(reports.len(), Ordering::Relaxed);
                let failed = reports.iter().any(|(_, result)| result.is_err()) && self.is_fatal();
                let count = reports.len();
                for (position, result) in reports {
                    let result = result.map_err(|error| match DeliveryError::sort(&error) {
                        // Purged by a failed producer: trying again with the same one does not help.
                        DeliveryError::Retry(reason) if failed => DeliveryError::Fatal(reason),
                        sorted => sorted,
                    });
                    each(Delivery { position, result });
                }
                return count;
            }
            slice = deadline.saturating_duration_since(Instant::now()).min(POLL_SLICE);
            if slice.is_zero() {
                return 0;
            }
        }
    }

    /// Waits until the fate of everything sent is known, for up to `deadline`, and returns of how many it is
    /// not. Their [`Producer::deliveries`] are still to be taken.
    pub fn flush(&self, deadline: Duration) -> usize {
        let deadline = Instant::now() + deadline;
        loop {
            let left = self.outstanding.load(Ordering::Relaxed).saturating_sub(self.inner.context().len());
            let slice = deadline.saturating_duration_since(Instant::now()).min(POLL_SLICE);
            if left == 0 || slice.is_zero() {
                return left;
            }
            self.inner.poll(slice);
        }
    }

    /// Sent and not yet handed out by [`Producer::deliveries`].
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Whether it has failed for good: build a new one and send again what was not delivered.
    pub fn is_fatal(&self) -> bool {
        self.inner.client().fatal_error().is_some()
    }

    /// All reports that are in, after one wait of `slice` and as long as more are ready.
    fn collect(&self, slice: Duration) -> Vec<Report> {
        std::thread::park_timeout(slice);
        let context = self.inner.context();
        let mut seen = context.len();
        loop {
            // A poll of no length serves one event, which holds the reports of one request.
            self.inner.poll(Duration::ZERO);
            let now = context.len();
            if now == seen {
                return std::mem::take(&mut *context.lock());
            }
            seen = now;
        }
    }
}

type Report = (u64, Result<(u32, u64), Native>);

/// Collects the reports until [`Producer::deliveries`] hands them out on the caller's thread.
#[derive(Default)]
struct Context {
    reports: Mutex<Vec<Report>>,
}

impl Context {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Report>> {
        self.reports.lock().expect("nothing panics while it holds the reports")
    }

    fn len(&self) -> usize {
        self.lock().len()
    }
}

crate::log::log_to_tracing!(Context);

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, position: usize) {
        let result = match result {
            Ok(message) => Ok((message.partition() as u32, message.offset() as u64)),
            Err((error, _)) => Err(error.clone()),
        };
        self.lock().push((position as u64, result));
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("topic", &self.topic)
            .field("outstanding", &self.outstanding())
            .finish_non_exhaustive()
    }
}
