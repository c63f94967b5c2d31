use std::collections::BTreeMap;
use std::time::Duration;

use kafka::{Compression, Config, DeadLetter, DeadLetters, DeliveryError, Producer, Record, SendError};

use crate::broker::{PATIENCE, consumer, deliveries, messages, send, topic, until};

#[test]
fn what_is_sent_comes_back_in_order_with_the_same_bytes() {
    let mut all_codecs = topic("produce-order", 3);
    let partitions: Vec<u32> = (0..300).map(|i| i % 3).collect();
    let codecs = [Compression::Lz4, Compression::Zstd, Compression::None];
    for codec in codecs {
        all_codecs.compression = codec;
        let producer = Producer::new(&all_codecs).unwrap();
        assert_eq!(producer.partitions().unwrap(), 3);
        send(&producer, &partitions);
        let delivered = deliveries(&producer, partitions.len());
        assert_eq!(delivered.len(), partitions.len());
        for (position, delivery) in delivered.iter().enumerate() {
            let (partition, _) = delivery.result.clone().unwrap();
            assert_eq!((delivery.position, partition), (position as u64, partitions[position]));
        }
    }
    let got = messages(&consumer(&all_codecs, "order"), codecs.len() * partitions.len());
    for partition in 0..3 {
        let of_partition: Vec<_> = got.iter().filter(|m| m.partition == partition).collect();
        for (offset, message) in of_partition.iter().enumerate() {
            let index = (offset % 100) * 3 + partition as usize;
            assert_eq!(message.offset, offset as u64, "no gap and nothing twice");
            assert_eq!(message.payload, format!("message {index}").as_bytes());
            assert!(message.timestamp_ms > 1_700_000_000_000);
        }
    }
}

#[test]
fn keys_headers_and_tombstones_are_kept() {
    let config = topic("produce-records", 1);
    let producer = Producer::new(&config).unwrap();
    let headers = [("a", b"1".as_slice()), ("b", b"\xff\0")];
    let full = Record { partition: 0, key: Some(b"k"), payload: Some(b"v"), headers: &headers, position: 7 };
    producer.send_record(&full).unwrap();
    producer.send_record(&Record { payload: None, headers: &[], position: u64::MAX, ..full }).unwrap();
    let positions: Vec<u64> = deliveries(&producer, 2).iter().map(|d| d.position).collect();
    assert_eq!(positions, [7, u64::MAX]);
    let got = messages(&consumer(&config, "records"), 2);
    assert_eq!(got[0].key.as_deref(), Some(b"k".as_slice()));
    assert_eq!(got[0].payload, b"v");
    assert_eq!(got[0].headers, [("a".into(), b"1".to_vec()), ("b".into(), b"\xff\0".to_vec())]);
    assert_eq!((got[1].key.as_deref(), got[1].payload.len()), (Some(b"k".as_slice()), 0));
    assert!(got[1].headers.is_empty());
}

#[test]
fn a_full_queue_takes_nothing_and_loses_nothing() {
    let config = Config { queue_messages_max: 10, ..Config::new("127.0.0.1:1", "events") };
    let producer = Producer::new(&config).unwrap();
    for position in 0..10 {
        producer.send(0, b"x", position).unwrap();
    }
    assert_eq!(producer.send(0, b"x", 10), Err(SendError::Full));
    assert_eq!(producer.outstanding(), 10);
    assert_eq!(producer.flush(Duration::from_millis(20)), 10, "nobody took any");
    assert_eq!(producer.deliveries(Duration::ZERO, |d| panic!("{d:?}")), 0);

    let config = Config { queue_kbytes_max: 1, ..config };
    let producer = Producer::new(&config).unwrap();
    let half = vec![0; 600];
    producer.send(0, &half, 0).unwrap();
    assert_eq!(producer.send(0, &half, 1), Err(SendError::Full), "by bytes as well");
}

#[test]
fn reports_that_nobody_took_count_as_queued() {
    let config = Config { queue_messages_max: 2, ..topic("produce-reports", 1) };
    let producer = Producer::new(&config).unwrap();
    send(&producer, &[0, 0]);
    assert_eq!(producer.flush(PATIENCE), 0, "both are stored");
    assert_eq!(producer.send(0, b"x", 2), Err(SendError::Full), "and their reports wait");
    assert_eq!(deliveries(&producer, 2).len(), 2);
    producer.send(0, b"x", 2).unwrap();
    assert_eq!(producer.flush(PATIENCE), 0);
}

#[test]
fn a_message_that_is_too_large_is_rejected_here_or_by_the_broker() {
    let config =
        Config { message_bytes_max: 2_000, ..Config::new(crate::broker::brokers(), "produce-large") };
    kafka::create_topics(&config, &[kafka::TopicSpec::events(&config, 1, 1, 0)]).unwrap();
    let large = vec![1; 4_000];
    let producer = Producer::new(&config).unwrap();
    assert!(matches!(producer.send(0, &large, 1), Err(SendError::Rejected(_))));
    assert_eq!(producer.outstanding(), 0);

    let config = Config { message_bytes_max: 100_000, compression: Compression::None, ..config };
    let producer = Producer::new(&config).unwrap();
    producer.send(0, &large, 1).unwrap();
    let delivered = deliveries(&producer, 1);
    assert!(matches!(delivered[0].result, Err(DeliveryError::Rejected(_))), "{delivered:?}");

    producer.send(0, b"small", 2).unwrap();
    assert_eq!(deliveries(&producer, 1)[0].result, Ok((0, 0)), "the next is stored all the same");
}

#[test]
fn an_unknown_partition_or_topic_stores_nothing_and_says_so() {
    let config = topic("produce-unknown", 1);
    let producer = Producer::new(&config).unwrap();
    producer.partitions().unwrap();
    let at_once = producer.send(5, b"x", 1);
    let later = at_once.is_ok().then(|| deliveries(&producer, 1).remove(0).result);
    assert!(at_once.is_err() || later.is_some_and(|result| result.is_err()));

    let producer = Producer::new(&Config { topic: "produce-missing".into(), ..config.clone() }).unwrap();
    assert!(producer.partitions().unwrap_err().to_string().contains("produce-missing"));
    let info = kafka::probe(&Config { topic: "produce-missing".into(), ..config }, PATIENCE).unwrap();
    assert_eq!(info.partitions, None, "asking does not create it");
}

#[test]
fn a_dead_letter_is_stored_with_its_origin_before_write_returns() {
    let config = topic("produce-poison", 2);
    kafka::create_topics(&config, &[kafka::TopicSpec::dead_letters(&config, 2, 1)]).unwrap();
    let mut dead = DeadLetters::new(&config).unwrap();
    // As large as a message of events can be: what is added must not make it too large.
    let raw = vec![0xfe; config.message_bytes_max as usize - 100];
    let reason = "é".repeat(1_000);
    let letter =
        DeadLetter { payload: &raw, topic: &config.topic, partition: 1, offset: 41, reason: &reason };
    dead.write(&[letter, DeadLetter { offset: 42, payload: b"", ..letter }], PATIENCE).unwrap();
    dead.write(&[], PATIENCE).unwrap();

    let got = messages(&consumer(&config.dead_letters(), "dead"), 2);
    assert_eq!(got.iter().map(|m| (m.partition, m.offset)).collect::<Vec<_>>(), [(1, 0), (1, 1)]);
    assert_eq!(got[0].payload, raw);
    let headers: BTreeMap<_, _> = got[0].headers.iter().cloned().collect();
    assert_eq!(headers["origin-topic"], config.topic.as_bytes());
    assert_eq!(headers["origin-partition"], b"1");
    assert_eq!(headers["origin-offset"], b"41");
    assert_eq!(headers["reason"], "é".repeat(512).as_bytes(), "cut between characters");
}

#[test]
fn dead_letters_that_are_not_stored_in_time_may_be_tried_again() {
    let mut dead = DeadLetters::new(&Config::new("127.0.0.1:1", "events")).unwrap();
    let letter = DeadLetter { payload: b"x", topic: "events", partition: 0, offset: 0, reason: "r" };
    let error = until("an error", || dead.write(&[letter], Duration::from_millis(10)).err());
    assert!(error.is_retry(), "{error}");
}
