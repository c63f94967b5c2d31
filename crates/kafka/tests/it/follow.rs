use std::collections::BTreeMap;

use kafka::{Followed, Follower, Message, Producer, Record, TopicSpec};

use crate::broker::{PATIENCE, SLICE, deliveries, topic, until};

fn next(follower: &mut Follower) -> Followed {
    until("what follows", || {
        follower.poll(SLICE).filter(|f| !matches!(f, Followed::Error(e) if e.is_retry()))
    })
}

fn apply(set: &mut BTreeMap<Vec<u8>, Vec<u8>>, message: Message) {
    let key = message.key.unwrap();
    match message.payload.is_empty() {
        true => set.remove(&key),
        false => set.insert(key, message.payload),
    };
}

#[test]
fn each_follower_reads_everything_and_then_what_comes() {
    let config = topic("follow", 1);
    kafka::create_topics(&config, &[TopicSpec::withdrawals(&config, 2, 1)]).unwrap();
    let config = config.withdrawals();
    let producer = Producer::new(&config).unwrap();
    let put = |key: u8, value: Option<&[u8]>| {
        let partition = u32::from(key % 2);
        producer.send_record(&Record {
            partition,
            key: Some(&[key]),
            payload: value,
            headers: &[],
            position: 0,
        })
    };
    for key in 0..10 {
        put(key, Some(b"withdrawn")).unwrap();
    }
    put(3, None).unwrap();
    deliveries(&producer, 11);

    for _ in 0..2 {
        let mut follower = Follower::new(&config, PATIENCE).unwrap();
        let mut set = BTreeMap::new();
        loop {
            match next(&mut follower) {
                Followed::Message(message) => apply(&mut set, message),
                Followed::CaughtUp => break,
                Followed::Error(error) => panic!("{error}"),
            }
        }
        assert_eq!(set.len(), 9);
        assert!(!set.contains_key([3].as_slice()));

        put(3, Some(b"again")).unwrap();
        put(3, None).unwrap();
        deliveries(&producer, 2);
        for expected in [b"again".as_slice(), b""] {
            let Followed::Message(message) = next(&mut follower) else {
                panic!("it says once that it caught up")
            };
            assert_eq!(message.payload, expected);
        }
    }
}

#[test]
fn a_topic_that_is_not_there_is_not_followed() {
    let config = kafka::Config::new(crate::broker::brokers(), "follow-missing");
    let error = Follower::new(&config, PATIENCE).unwrap_err();
    assert!(error.to_string().contains("follow-missing"), "{error}");
}
