//! A topic of its own for each test, and waiting with an end.

use std::time::{Duration, Instant};

use kafka::{Config, Consumer, Delivery, FirstStart, Message, Polled, Producer, TopicSpec};

/// No step of a test takes longer.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const SLICE: Duration = Duration::from_millis(50);

pub fn brokers() -> String {
    testkit::kafka().bootstrap()
}

/// A configuration for a topic that exists and that no other test uses.
pub fn topic(name: &str, partitions: u32) -> Config {
    topic_at(brokers(), name, partitions)
}

pub fn topic_at(brokers: String, name: &str, partitions: u32) -> Config {
    let config = Config::new(brokers, name);
    kafka::create_topics(&config, &[TopicSpec::events(&config, partitions, 1, 0)]).unwrap();
    config
}

/// Calls `step` until it says that it is done.
pub fn until<T>(what: &str, mut step: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(done) = step() {
            return done;
        }
        assert!(Instant::now() < deadline, "gave up waiting for {what}");
    }
}

/// Sends one message to each of the given partitions, with the index as position and as text.
pub fn send(producer: &Producer, partitions: &[u32]) {
    for (index, partition) in partitions.iter().enumerate() {
        producer.send(*partition, format!("message {index}").as_bytes(), index as u64).unwrap();
    }
}

/// So many deliveries, in the order of their positions.
pub fn deliveries(producer: &Producer, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    until("deliveries", || {
        producer.deliveries(SLICE, |delivery| all.push(delivery));
        (all.len() >= count).then_some(())
    });
    all.sort_by_key(|delivery| delivery.position);
    all
}

pub fn consumer(config: &Config, group: &str) -> Consumer {
    Consumer::new(config, group, None, FirstStart::Earliest).unwrap()
}

/// Polls until `wanted` takes something; errors that may pass are let pass.
pub fn poll_for<T>(consumer: &Consumer, what: &str, mut wanted: impl FnMut(Polled) -> Option<T>) -> T {
    until(what, || match consumer.poll(SLICE) {
        None => None,
        Some(Polled::Error(error)) if error.is_retry() => None,
        Some(polled) => wanted(polled),
    })
}

pub fn assigned(consumer: &Consumer) -> Vec<kafka::Assignment> {
    poll_for(consumer, "an assignment", |polled| match polled {
        Polled::Assigned(assigned) => Some(assigned),
        other => panic!("expected an assignment, not {other:?}"),
    })
}

pub fn messages(consumer: &Consumer, count: usize) -> Vec<Message> {
    let mut all = Vec::new();
    poll_for(consumer, "messages", |polled| {
        if let Polled::Message(message) = polled {
            all.push(message);
        }
        (all.len() >= count).then_some(())
    });
    all
}
