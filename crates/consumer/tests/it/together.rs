//! Rows of several partitions in one insert, and what becomes of them when nobody knows what became of it.

use event::Event;
use store::{Block, month};

use crate::law::{check_views, open, row, today_ms};
use crate::running::{self, RUNTIME, config, query, rows, until};
use crate::topic::Topic;

#[test]
fn batches_of_all_partitions_go_in_one_insert() {
    let mut topic = Topic::new("together", 6);
    let store = running::store("together");
    let slow = consumer::Config { linger_ms: 500, ..config() };
    let running = running::start(&slow, topic.source(), &store);
    for round in 0..20 {
        for partition in 0..6 {
            let events: Vec<_> = (1..=10).map(|n| open(1 + u64::from(partition), round * 10 + n)).collect();
            topic.put(partition, &events);
        }
    }
    until("all rows", || rows(&store) == 1_200);
    let (batches, inserts) =
        (running.metric("consumer_batches_total"), running.metric("consumer_inserts_total"));
    assert!(inserts >= 1 && 2 * inserts <= batches, "{inserts} inserts of {batches} batches");
    let counted = running.finish();
    topic.ledger.check(&store, counted);
}

/// Two partitions with an intent each for one insert of both, of which this was done.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Done {
    Nothing,
    /// The insert of both.
    Together,
    /// The first partition's rows went alone.
    Alone,
}

#[test]
fn an_insert_of_several_is_taken_up_by_each_of_them() {
    let this_month = month(today_ms());
    let token = format!("group/00000000000000aa/{this_month}");
    for (done, restarted) in [
        (Done::Nothing, false),
        (Done::Together, false),
        (Done::Alone, false),
        (Done::Nothing, true),
        (Done::Together, true),
        (Done::Alone, true),
    ] {
        let mut topic = Topic::new("taken", 2);
        let store = running::store("taken");
        let mut block = |partition: u32| {
            let mut block = Block::new(this_month);
            for message in 0..3 {
                let events: Vec<Event<'static>> =
                    (1..=10).map(|n| open(1 + u64::from(partition), message * 10 + n)).collect();
                let offset = topic.put(partition, &events);
                events.iter().for_each(|event| block.push(&row(topic.name(), partition, offset, event)));
            }
            block
        };
        let blocks = [block(0), block(1)];
        let insert = |blocks: &[&Block]| {
            RUNTIME.block_on(store.insert(0, &token, &Block::together(blocks))).unwrap();
        };
        match done {
            Done::Nothing => (),
            Done::Together => insert(&[&blocks[0], &blocks[1]]),
            Done::Alone => insert(&[&blocks[0]]),
        }
        let server = RUNTIME.block_on(store.started(0)).unwrap() - if restarted { 1_000 } else { 0 };
        for partition in 0..2 {
            let note = format!("v1|0|3|{server}||group=00000000000000aa/{this_month}");
            topic.commit(partition, 0, &note);
        }
        let running = running::start(&config(), topic.source(), &store);
        until(&format!("all stored, {done:?}, restarted {restarted}"), || {
            running.metric("consumer_stored_events_total") == 60
        });
        let counted = running.finish();
        topic.ledger.check(&store, counted);
        assert_eq!(topic.committed()[&1], (Some(3), String::new()), "{done:?}");
        // And whatever was still on its way comes in no more.
        insert(&[&blocks[0], &blocks[1]]);
        assert_eq!(query(&store, "SELECT count() FROM events"), "60", "{done:?} {restarted}");
        topic.ledger.check_rows(&store);
        check_views(&store);
    }
}
