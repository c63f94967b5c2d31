//! Errors that a healthy broker does not make, injected by librdkafka's mock cluster.

use kafka::{Config, DeliveryError, Producer, SendError};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Injected};

use crate::broker::{deliveries, send};

/// What the broker answers to the first produce requests, and whether the messages are stored in the end.
const CASES: [(&[Injected], Expected); 5] = [
    (&[Injected::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION], Expected::Stored),
    (&[Injected::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 3], Expected::Stored),
    (&[Injected::RD_KAFKA_RESP_ERR__TRANSPORT; 2], Expected::Stored),
    (&[Injected::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE], Expected::Rejected),
    (&[Injected::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED], Expected::Fatal),
];

#[derive(Debug, PartialEq)]
enum Expected {
    Stored,
    Rejected,
    Fatal,
}

#[test]
fn injected_produce_errors_are_retried_or_reported() {
    for (errors, expected) in CASES {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("events", 1, 1).unwrap();
        cluster.request_errors(RDKafkaApiKey::Produce, errors);
        let producer = Producer::new(&Config::new(cluster.bootstrap_servers(), "events")).unwrap();
        send(&producer, &[0]);
        let delivered = deliveries(&producer, 1).remove(0);
        let got = match &delivered.result {
            Ok(_) => Expected::Stored,
            Err(DeliveryError::Rejected(_)) => Expected::Rejected,
            Err(DeliveryError::Fatal(_)) => Expected::Fatal,
            Err(DeliveryError::Retry(reason)) => panic!("{errors:?}: {reason}"),
        };
        assert_eq!(got, expected, "{errors:?}: {delivered:?}");
    }
}

#[test]
fn a_producer_that_lost_its_sequence_is_fatal_and_a_new_one_works() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("events", 1, 1).unwrap();
    let config = Config::new(cluster.bootstrap_servers(), "events");
    let producer = Producer::new(&config).unwrap();
    send(&producer, &[0]);
    assert!(deliveries(&producer, 1)[0].result.is_ok());
    assert!(!producer.is_fatal());

    cluster
        .request_errors(RDKafkaApiKey::Produce, &[Injected::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    send(&producer, &[0, 0]);
    for delivery in deliveries(&producer, 2) {
        assert!(matches!(delivery.result, Err(DeliveryError::Fatal(_))), "{delivery:?}");
    }
    assert!(producer.is_fatal());
    assert!(matches!(producer.send(0, b"x", 9), Err(SendError::Fatal(_))));

    let producer = Producer::new(&config).unwrap();
    send(&producer, &[0, 0]);
    assert!(deliveries(&producer, 2).iter().all(|d| d.result.is_ok()));
}
