//! The shipper: from the journals to Kafka. What a delivery report has confirmed is let go, nothing else.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use event::Batch;
use journal::{Position, Reader};
use kafka::{Delivery, Producer, SendError};
use metrics::{Counter, counter};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::fill::set_delivered;

/// Bytes of events that are read from a journal at a time.
const ROUND_BYTES_MAX: usize = 1 << 20;
/// Rounds of one journal that may wait for their delivery reports: the shipper's memory is bounded by this, the
/// round's size and the number of journals.
const ROUNDS_MAX: usize = 8;
/// The largest Kafka message, in bytes: half of a broker's default `message.max.bytes`.
const MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// How often a checkpoint is made durable at most: each costs two fsyncs. What was shipped since the last one is
/// shipped again after a crash, marked as a replay.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(500);
/// Between attempts to reach Kafka, at most.
const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long the shipper waits for what.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// For more events of a message.
    pub linger: Duration,
    /// For a delivery report while messages are on their way, before the producer is given up.
    pub stalled_after: Duration,
    /// For all to be delivered, once the program is to end.
    pub deadline: Duration,
}

impl Pace {
    /// Twice as long as librdkafka waits for a broker's answer before it asks again (`request.timeout.ms`): nothing that
    /// it can mend by itself takes longer. After a broker was silent for longer than its session librdkafka may never send
    /// again (its issue 5430).
    pub const STALLED_AFTER: Duration = Duration::from_secs(60);
}

/// Ships what the journals hold until `shutdown`, then on until all is delivered or the deadline has passed.
/// Blocks the calling thread.
pub fn ship(kafka: &kafka::Config, readers: Vec<Reader>, pace: Pace, shutdown: &CancellationToken) {
    let mut lanes: Vec<Lane> = readers.into_iter().map(Lane::new).collect();
    let mut stop_at: Option<Instant> = None;
    loop {
        let Some((producer, partitions)) = connect(kafka, shutdown) else { break };
        let shipping = Shipping::new(&producer, partitions, pace);
        let what = match shipping.run(&mut lanes, shutdown, &mut stop_at) {
            Ended::Done => break,
            Ended::ProducerDied => "producer",
            Ended::Stalled => "stalled",
        };
        counter!("edge_shipper_retries_total", "what" => what).increment(1);
        warn!(what, "kafka producer given up, starting anew from the journal");
        lanes.iter_mut().for_each(Lane::rewind);
    }
    for lane in &mut lanes {
        lane.checkpoint();
    }
    info!("shipper ended");
}

/// One journal and what of it is on its way.
struct Lane {
    reader: Reader,
    rounds: VecDeque<Round>,
    /// Number of the round at the front.
    front: u64,
    /// Frames up to here were handed to a producer that has died: they may have been delivered.
    sent_seq: u64,
    /// Delivered, but not yet in a checkpoint.
    delivered: Option<Position>,
    checkpointed_at: Instant,
}

struct Round {
    last: Position,
    messages_left: usize,
}

/// Why the shipping ended.
enum Ended {
    Done,
    ProducerDied,
    /// It says nothing of what it was given.
    Stalled,
}

/// A message that was formed and is not yet delivered. Its bytes are kept until then: a retry owns what it sends.
struct Message {
    lane: usize,
    round: u64,
    partition: u32,
    events: u64,
    payload: Vec<u8>,
}

impl Lane {
    fn new(reader: Reader) -> Self {
        set_delivered(reader.edge_id(), reader.checkpointed().0.map_or(0, |position| position.seq));
        Lane {
            reader,
            rounds: VecDeque::new(),
            front: 0,
            sent_seq: 0,
            delivered: None,
            checkpointed_at: Instant::now(),
        }
    }

    /// Forgets what is on its way: it is read again from the checkpoint.
    fn rewind(&mut self) {
        self.checkpoint();
        self.front += self.rounds.len() as u64;
        self.rounds.clear();
        self.sent_seq = self.sent_seq.max(self.reader.read_seq());
        let start = Position { edge_id: self.reader.edge_id(), seq: 0 };
        if let Err(cause) = self.reader.seek(self.reader.checkpointed().0.unwrap_or(start)) {
            error!(%cause, "failed to go back in the journal");
        }
    }

    fn delivered_one(&mut self, round: u64) {
        let Some(at) = round.checked_sub(self.front) else { return };
        if let Some(round) = self.rounds.get_mut(at as usize) {
            round.messages_left -= 1;
        }
        while let Some(round) = self.rounds.pop_front_if(|round| round.messages_left == 0) {
            self.front += 1;
            self.delivered = Some(round.last);
            set_delivered(self.reader.edge_id(), round.last.seq);
        }
    }

    fn checkpoint_when_due(&mut self) {
        if self.delivered.is_some() && self.checkpointed_at.elapsed() >= CHECKPOINT_INTERVAL {
            self.checkpoint();
        }
    }

    fn checkpoint(&mut self) {
        let Some(position) = self.delivered else { return };
        self.checkpointed_at = Instant::now();
        match self.reader.checkpoint(position, b"") {
            Ok(()) => self.delivered = None,
            // Nothing is lost: the journal keeps what no checkpoint has passed.
            Err(cause) => warn!(%cause, "failed to checkpoint the journal"),
        }
    }
}

struct Shipping<'a> {
    producer: &'a Producer,
    partitions: u32,
    pace: Pace,
    read_at: Instant,
    /// The last time at which nothing was on its way, or something was heard of it.
    heard_at: Instant,
    messages: HashMap<u64, Message>,
    next_id: u64,
    /// Formed, but not taken by the producer yet.
    unsent: VecDeque<u64>,
    /// The message that is being filled for each partition.
    filling: Vec<(Vec<u8>, u64)>,
    shipped_events: Counter,
    shipped_messages: Counter,
}

impl<'a> Shipping<'a> {
    fn new(producer: &'a Producer, partitions: u32, pace: Pace) -> Self {
        Shipping {
            producer,
            partitions,
            pace,
            read_at: Instant::now(),
            heard_at: Instant::now(),
            messages: HashMap::new(),
            next_id: 0,
            unsent: VecDeque::new(),
            filling: vec![(Vec::new(), 0); partitions as usize],
            shipped_events: counter!("edge_shipped_events_total"),
            shipped_messages: counter!("edge_shipped_messages_total"),
        }
    }

    fn run(
        mut self,
        lanes: &mut [Lane],
        shutdown: &CancellationToken,
        stop_at: &mut Option<Instant>,
    ) -> Ended {
        loop {
            let read = self.read_when_due(lanes, shutdown.is_cancelled());
            if let Ended::ProducerDied = self.send() {
                return Ended::ProducerDied;
            }
            self.collect(lanes);
            lanes.iter_mut().for_each(Lane::checkpoint_when_due);
            if self.producer.is_fatal() {
                return Ended::ProducerDied;
            }
            if self.messages.is_empty() {
                self.heard_at = Instant::now();
            } else if self.heard_at.elapsed() > self.pace.stalled_after {
                return Ended::Stalled;
            }
            if shutdown.is_cancelled() {
                let stop_at = *stop_at.get_or_insert_with(|| Instant::now() + self.pace.deadline);
                let left = self.messages.len();
                if (left == 0 && read == Some(0)) || Instant::now() >= stop_at {
                    if left > 0 {
                        warn!(messages = left, "not delivered before the deadline, kept in the journal");
                    }
                    return Ended::Done;
                }
            }
        }
    }

    /// Reads a round of every journal that may have one more on its way. Between two reads lies the linger, in
    /// which events gather, unless the last read found more than it could take. `None` when it was too early.
    fn read_when_due(&mut self, lanes: &mut [Lane], hurry: bool) -> Option<usize> {
        // What is formed goes first: the producer's queue is full.
        if !self.unsent.is_empty() || (!hurry && Instant::now() < self.read_at) {
            return None;
        }
        let mut events = 0;
        let formed = self.next_id;
        for (n, lane) in lanes.iter_mut().enumerate() {
            if lane.rounds.len() < ROUNDS_MAX {
                events += self.read_round(n, lane);
            }
        }
        let full = self.next_id - formed > u64::from(self.partitions);
        self.read_at = if full { Instant::now() } else { Instant::now() + self.pace.linger };
        Some(events)
    }

    /// Reads what there is, up to a round, and forms messages of it. Returns the count of events.
    fn read_round(&mut self, n: usize, lane: &mut Lane) -> usize {
        let round = lane.front + lane.rounds.len() as u64;
        let mut last = None;
        let mut messages = 0;
        let read = lane.reader.read(ROUND_BYTES_MAX, |frame| {
            last = Some(frame.position());
            let recipient = event::recipient_of(frame.payload);
            let partition = event::partition(recipient, frame.edge_id, frame.seq, self.partitions);
            let (batch, events) = &mut self.filling[partition as usize];
            if frame.replay || frame.seq <= lane.sent_seq {
                let mut marked = frame.payload.to_vec();
                event::mark_replay(&mut marked);
                Batch::push(batch, &marked);
            } else {
                Batch::push(batch, frame.payload);
            }
            *events += 1;
            if batch.len() + event::limits::EVENT >= MESSAGE_BYTES_MAX {
                messages += 1;
                self.seal(n, round, partition);
            }
        });
        if let Err(cause) = &read {
            error!(%cause, "failed to read the journal");
        }
        let Some(last) = last else { return 0 };
        for partition in 0..self.partitions {
            if self.filling[partition as usize].1 > 0 {
                messages += 1;
                self.seal(n, round, partition);
            }
        }
        lane.rounds.push_back(Round { last, messages_left: messages });
        read.unwrap_or(1)
    }

    /// Makes a message of what a partition has gathered.
    fn seal(&mut self, lane: usize, round: u64, partition: u32) {
        let (payload, events) = std::mem::take(&mut self.filling[partition as usize]);
        let id = self.next_id;
        self.next_id += 1;
        self.messages.insert(id, Message { lane, round, partition, events, payload });
        self.unsent.push_back(id);
    }

    fn send(&mut self) -> Ended {
        while let Some(&id) = self.unsent.front() {
            let message = &self.messages[&id];
            match self.producer.send(message.partition, &message.payload, id) {
                Ok(()) => _ = self.unsent.pop_front(),
                Err(SendError::Full) => break,
                Err(cause @ SendError::Fatal { .. }) => {
                    error!(%cause, "kafka producer failed");
                    return Ended::ProducerDied;
                }
                // Only a topic whose limits are below ours refuses a message for good: an operator must act, and
                // the journal keeps the events until then.
                Err(cause) => {
                    error!(%cause, bytes = message.payload.len(), "kafka refuses a message, trying again");
                    counter!("edge_shipper_retries_total", "what" => "message").increment(1);
                    break;
                }
            }
        }
        Ended::Done
    }

    /// Takes the delivery reports; waits for the linger when there are none.
    fn collect(&mut self, lanes: &mut [Lane]) {
        let (messages, unsent) = (&mut self.messages, &mut self.unsent);
        let (shipped_events, shipped_messages) = (&self.shipped_events, &self.shipped_messages);
        let heard_at = &mut self.heard_at;
        self.producer.deliveries(self.pace.linger, |Delivery { position: id, result }| match result {
            Ok(_) => {
                *heard_at = Instant::now();
                if let Some(message) = messages.remove(&id) {
                    lanes[message.lane].delivered_one(message.round);
                    shipped_events.increment(message.events);
                    shipped_messages.increment(1);
                }
            }
            Err(cause) => {
                warn!(%cause, "kafka did not take a message, trying again");
                counter!("edge_shipper_retries_total", "what" => "message").increment(1);
                unsent.push_back(id);
            }
        });
    }
}

/// Reaches Kafka, however long it takes; `None` when the program is to end before.
fn connect(kafka: &kafka::Config, shutdown: &CancellationToken) -> Option<(Producer, u32)> {
    let mut wait = Duration::from_millis(100);
    loop {
        let reached = Producer::new(kafka).and_then(|producer| Ok((producer.partitions()?, producer)));
        match reached {
            Ok((partitions, producer)) => {
                info!(partitions, topic = kafka.topic, "shipping to kafka");
                return Some((producer, partitions));
            }
            Err(cause) => warn!(%cause, "kafka is not reached, events stay in the journal"),
        }
        let until = Instant::now() + wait;
        wait = (wait * 2).min(RECONNECT_WAIT_MAX);
        while Instant::now() < until {
            if shutdown.is_cancelled() {
                return None;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}
