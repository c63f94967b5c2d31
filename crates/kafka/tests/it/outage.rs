//! A broker that is killed and comes back.

use std::time::Duration;

use kafka::{CommitError, Config, Polled, Producer};

use crate::broker::{SLICE, assigned, consumer, deliveries, topic_at, until};

#[test]
fn everything_sent_around_an_outage_is_stored_once() {
    let mut broker = testkit::fresh_kafka(1);
    let config = Config { session_timeout_ms: 2_000, ..topic_at(broker.bootstrap(), "outage", 2) };
    let producer = Producer::new(&config).unwrap();
    let reader = consumer(&config, "outage");
    assert_eq!(assigned(&reader).len(), 2);
    let send = |positions: std::ops::Range<u64>| {
        for position in positions {
            producer.send((position % 2) as u32, &position.to_le_bytes(), position).unwrap();
        }
    };

    send(0..100);
    let mut delivered = deliveries(&producer, 100);
    // These are somewhere between here and the disk when the broker dies.
    send(100..1_000);
    broker.kill(0).unwrap();
    send(1_000..2_000);
    producer.deliveries(Duration::ZERO, |delivery| delivered.push(delivery));
    assert!(delivered.len() < 2_000, "there is nobody to store them");
    let unknown = reader.commit(0, 1, "");
    assert!(matches!(unknown, Err(CommitError::Retry { .. })), "{unknown:?}");
    broker.start_broker(0).unwrap();
    delivered.extend(deliveries(&producer, 2_000 - delivered.len()));

    delivered.sort_by_key(|delivery| delivery.position);
    assert!(delivered.iter().map(|d| d.position).eq(0..2_000), "each position once");
    let failed: Vec<_> = delivered.iter().filter(|d| d.result.is_err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(!producer.is_fatal());

    // The reader lived through it: every offset follows the one before, in the order of sending.
    let mut next = [0u64; 2];
    until("all messages", || {
        match reader.poll(SLICE) {
            Some(Polled::Message(message)) => {
                let next = &mut next[message.partition as usize];
                let position = *next * 2 + u64::from(message.partition);
                assert_eq!((message.offset, message.payload), (*next, position.to_le_bytes().to_vec()));
                *next += 1;
            }
            Some(Polled::Error(error)) => assert!(error.is_retry(), "{error}"),
            // It may have been away for longer than its session.
            Some(Polled::Lost(_)) | None => {}
            Some(Polled::Assigned(again)) => {
                for assignment in again {
                    next[assignment.partition as usize] = assignment.committed.unwrap_or(0);
                }
            }
            Some(Polled::Revoked(partitions)) => reader.release(&partitions).unwrap(),
        }
        (next == [1_000, 1_000]).then_some(())
    });
    for partition in 0..2 {
        assert_eq!(reader.end(partition).unwrap(), 1_000, "and nothing twice");
        let done = until("a commit", || match reader.commit(partition, 1_000, "") {
            Err(CommitError::Retry { .. }) => None,
            done => Some(done),
        });
        done.unwrap();
    }
}
