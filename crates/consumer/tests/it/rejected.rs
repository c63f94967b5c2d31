//! What ClickHouse does not take: a row that it rejects becomes a dead letter and nothing else does; what is refused
//! for a time waits, in one piece.

use store::Store;

use crate::journal::{append, consume, open_journal};
use crate::law::{Ledger, encode, old, open};
use crate::running::{self, Running, config, query, rows, until};
use crate::topic::Topic;

const RULE: &str = "ALTER TABLE events ADD CONSTRAINT no_thirteen CHECK seq % 13 != 0";

/// A message of events of this month and of an older one; those that are rejected are counted as unreadable.
fn put(topic: &mut Topic, message: u64) {
    let events: Vec<_> = (1..=8)
        .map(|n| if n % 3 == 0 { old(1, message * 8 + n) } else { open(1, message * 8 + n) })
        .collect();
    let offset = topic.send(0, &crate::law::batch(&events));
    for event in events {
        match event.seq % 13 {
            0 => {
                (topic.ledger.total, topic.ledger.unreadable) =
                    (topic.ledger.total + 1, topic.ledger.unreadable + 1)
            }
            _ => topic.ledger.enter((1, event.seq), (topic.name().to_owned(), 0, offset)),
        }
    }
}

fn all_rows(what: &str, store: &Store, ledger: &Ledger) {
    until(what, || rows(store) == ledger.events.len() as u64);
}

#[test]
fn a_row_that_is_rejected_is_found_among_many() {
    let mut topic = Topic::new("rejected", 1);
    let store = running::store("rejected");
    query(&store, RULE);
    for message in 0..40 {
        put(&mut topic, message);
    }
    let running = running::start(&config(), topic.source(), &store);
    all_rows("what is not rejected", &store, &topic.ledger);
    // After it batches are whole again.
    for message in 40..44 {
        put(&mut topic, message);
    }
    all_rows("what came later", &store, &topic.ledger);
    let counted = running.finish();
    topic.ledger.check(&store, counted);
    let dead = topic.dead();
    assert_eq!(dead.len() as u64, topic.ledger.unreadable);
    for (_, _, reason, bytes) in &dead {
        assert!(reason.contains("rejected by clickhouse: VIOLATED_CONSTRAINT"), "{reason}");
        assert_eq!(event::Event::decode(bytes).unwrap().seq % 13, 0, "its bytes are those of the event");
    }
    assert_eq!(topic.committed()[&0], (Some(44), String::new()));
}

#[test]
fn an_owner_that_stops_while_a_row_is_looked_for_loses_and_doubles_nothing() {
    let mut topic = Topic::new("rejected", 1);
    let store = running::store("rejected_handover");
    query(&store, RULE);
    for message in 0..30 {
        put(&mut topic, message);
    }
    let hasty = consumer::Config { drain_ms: 0, ..config() };
    let mut enough = 0;
    while rows(&store) < topic.ledger.events.len() as u64 {
        let running = running::start(&hasty, topic.source(), &store);
        // Each owner gets a little further.
        enough += 40;
        let all = topic.ledger.events.len() as u64;
        until("some rows", || rows(&store) >= all.min(enough));
        running.finish();
    }
    running::start(&config(), topic.source(), &store).finish();
    topic.ledger.check_rows(&store);
    crate::law::check_views(&store);
    let mut dead: Vec<Vec<u8>> = topic.dead().into_iter().map(|(_, _, _, bytes)| bytes).collect();
    dead.dedup();
    assert_eq!(dead.len() as u64, topic.ledger.unreadable);
}

#[test]
fn a_journal_is_read_again_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = running::store("rejected_journal");
    query(&store, RULE);
    let (log, reader) = open_journal(&dir.path().join("j"));
    let mut ledger = Ledger::default();
    for _ in 0..200 {
        let place = append(&log, |edge_id, seq, out| out.extend(encode(&open(edge_id, seq))));
        match place.seq % 13 {
            0 => (ledger.total, ledger.unreadable) = (ledger.total + 1, ledger.unreadable + 1),
            _ => {
                let topic = format!("journal/{:016x}", place.edge_id);
                ledger.enter((place.edge_id, place.seq), (topic, 0, place.seq));
            }
        }
    }
    let running = consume(vec![reader], &dir.path().join("dead.jsonl"), &store);
    all_rows("what is not rejected", &store, &ledger);
    let counted = running.finish();
    ledger.check(&store, counted);
}

/// A topic that was made anew under its name begins at offset 0 again, under tokens that are known.
#[test]
fn a_topic_that_begins_anew_stands_still() {
    let mut topic = Topic::new("anew", 1);
    let store = running::store("anew");
    topic.put(0, &[open(1, 1)]);
    let running = running::start(&config(), topic.source(), &store);
    all_rows("the first", &store, &topic.ledger);
    running.finish();
    // To a group without commits it is as if it were new.
    topic.group = format!("{}-other", topic.group);
    let running = running::start(&config(), topic.source(), &store);
    until("a word about it", || unready(&running).contains("made anew"));
    let counted = running.finish();
    assert_eq!((counted.stored, rows(&store)), (0, 1));
}

fn unready(running: &Running) -> String {
    running.health.ready().err().map_or_else(String::new, |parts| parts[0].1.clone())
}

/// The database says no for a time, in a way that says so.
#[test]
fn refusals_are_waited_out() {
    let store = running::store("refusals");
    let mut topic = Topic::new("refusals", 1);
    topic.put(0, &[open(1, 1), old(1, 2)]);
    let running = running::start(&config(), topic.source(), &store);
    all_rows("the first", &store, &topic.ledger);
    let mut seq = 2;
    for (refuse, word, allow) in [
        (
            "ALTER TABLE events MODIFY SETTING parts_to_throw_insert = 1",
            "code 252",
            "ALTER TABLE events MODIFY SETTING parts_to_throw_insert = 3000",
        ),
        (
            "ALTER TABLE events MODIFY SETTING table_readonly = 1",
            "code 774",
            "ALTER TABLE events MODIFY SETTING table_readonly = 0",
        ),
        // The events are stored by then: what is missing are the views behind the one that fails.
        (
            "CREATE MATERIALIZED VIEW a_fill TO message_hourly_states AS \
             SELECT throwIf(seq > 0) AS events FROM events",
            "code 395",
            "DROP VIEW a_fill",
        ),
    ] {
        query(&store, refuse);
        for _ in 0..20 {
            seq += 1;
            topic.put(0, &[open(1, seq)]);
        }
        until(refuse, || unready(&running).contains(word));
        assert_eq!(running.metric("consumer_stalled_partitions"), 1);
        query(&store, allow);
        all_rows(allow, &store, &topic.ledger);
        until("health", || running.health.ready().is_ok());
    }
    let counted = running.finish();
    topic.ledger.check(&store, counted);
}
