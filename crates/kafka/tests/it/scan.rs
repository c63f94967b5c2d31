use std::ops::ControlFlow;

use kafka::{DeadLetter, DeadLetters, Producer, Stretch, TopicSpec};

use crate::broker::{PATIENCE, assigned, consumer, deliveries, send, topic};

fn read(config: &kafka::Config, stretches: &[Stretch]) -> Vec<(u32, u64)> {
    let mut seen = Vec::new();
    kafka::scan(config, stretches, PATIENCE, |message| {
        seen.push((message.partition, message.offset));
        ControlFlow::Continue(())
    })
    .unwrap();
    seen.sort_unstable();
    seen
}

#[test]
fn what_a_group_has_not_committed_is_read_without_joining_it() {
    let config = topic("scan", 2);
    let producer = Producer::new(&config).unwrap();
    send(&producer, &[0, 0, 0, 1, 1]);
    deliveries(&producer, 5);
    let all = kafka::whole(&config, PATIENCE).unwrap();
    let stretch = |partition, from, to| Stretch { partition, from, to };
    assert_eq!(all, [stretch(0, 0, 3), stretch(1, 0, 2)]);
    assert_eq!(kafka::uncommitted(&config, "scan-group", PATIENCE).unwrap(), all, "a group that never was");

    let member = consumer(&config, "scan-group");
    assert_eq!(assigned(&member).len(), 2);
    member.commit(0, 2, "note").unwrap();
    member.commit(1, 2, "").unwrap();
    let left = kafka::uncommitted(&config, "scan-group", PATIENCE).unwrap();
    assert_eq!(left, [stretch(0, 2, 3), stretch(1, 2, 2)]);
    assert_eq!(read(&config, &left), [(0, 2)]);
    assert_eq!(read(&config, &[stretch(0, 1, 3), stretch(1, 0, 1)]), [(0, 1), (0, 2), (1, 0)]);

    let mut first = None;
    kafka::scan(&config, &all, PATIENCE, |message| {
        assert_eq!(first.replace(message), None, "one was enough");
        ControlFlow::Break(())
    })
    .unwrap();
}

#[test]
fn a_dead_letter_is_read_as_it_was_written() {
    let config = topic("scan-dead", 1);
    kafka::create_topics(&config, &[TopicSpec::dead_letters(&config, 2, 1)]).unwrap();
    let letter =
        DeadLetter { payload: b"\xff\x00", topic: "scan-dead", partition: 3, offset: 17, reason: "no kind" };
    DeadLetters::new(&config).unwrap().write(&[letter], PATIENCE).unwrap();
    let dead = config.dead_letters();
    let foreign = Producer::new(&dead).unwrap();
    send(&foreign, &[0]);
    deliveries(&foreign, 1);
    let (mut letters, mut others) = (0, 0);
    kafka::scan(&dead, &kafka::whole(&dead, PATIENCE).unwrap(), PATIENCE, |message| {
        match DeadLetter::read(&message) {
            Some(read) => {
                assert_eq!((read, message.partition), (letter, 1));
                letters += 1;
            }
            None => others += 1,
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((letters, others), (1, 1));
}
