//! A crash after the intent: written before it or not, and with a server that is another one since.

use std::sync::Arc;

use event::Event;
use store::{Block, Store, month};

use crate::law::{check_views, old, open, row};
use crate::running::{self, RUNTIME, config, query, rows, store_of, until};
use crate::topic::Topic;

/// The rows that the messages `from..to` of partition 0 become, as far as identity goes, under the token that the
/// consumer gives them.
fn write(
    store: &Store,
    topic: &Topic,
    messages: &[Vec<Event<'_>>],
    from: u64,
    to: u64,
    only_month: Option<u32>,
) {
    let mut months: std::collections::BTreeMap<u32, Block> = Default::default();
    for offset in from..to {
        for event in &messages[offset as usize] {
            let of = month(event.received_at_ms);
            months.entry(of).or_insert_with(|| Block::new(of)).push(&row(topic.name(), 0, offset, event));
        }
    }
    for (of, mut block) in months {
        if only_month.is_none_or(|only| only == of) {
            let token = format!("{}/0/{from}-{to}/{of}", topic.name());
            RUNTIME.block_on(store.insert(0, &token, &block.finish())).unwrap();
        }
    }
}

fn messages(topic: &mut Topic) -> Vec<Vec<Event<'static>>> {
    let messages: Vec<Vec<Event<'static>>> = (0..6)
        .map(|m| {
            (1..=10).map(|n| if n % 2 == 0 { old(1, m * 10 + n) } else { open(1, m * 10 + n) }).collect()
        })
        .collect();
    messages.iter().for_each(|events| _ = topic.put(0, events));
    messages
}

fn started(store: &Store) -> i64 {
    RUNTIME.block_on(store.started(0)).unwrap()
}

fn take_over(topic: &Topic, store: &Arc<Store>) {
    let running = running::start(&config(), topic.source(), store);
    until("all rows", || rows(store) == topic.ledger.events.len() as u64);
    let counted = running.finish();
    topic.ledger.check(store, counted);
    assert_eq!(topic.committed()[&0], (Some(6), String::new()));
}

#[test]
fn an_intent_is_taken_up_by_the_next_owner() {
    let this_month = month(crate::law::today_ms());
    // What of the range [1, 4) was written, and whether the server that it was written to is another now.
    for (case, written, only_month, restarted) in [
        ("nothing", false, None, false),
        ("all", true, None, false),
        ("one month of two", true, Some(this_month), false),
        ("nothing, restarted", false, None, true),
        ("all, restarted", true, None, true),
        ("one month of two, restarted", true, Some(this_month), true),
    ] {
        let mut topic = Topic::new("crash", 1);
        let store = running::store("crash");
        let messages = messages(&mut topic);
        write(&store, &topic, &messages, 0, 1, None);
        if written {
            write(&store, &topic, &messages, 1, 4, only_month);
        }
        let server = started(&store) - if restarted { 1_000 } else { 0 };
        topic.commit(0, 1, &format!("v1|1|4|{server}"));
        // The first message is before the commit: not this owner's.
        let running = running::start(&config(), topic.source(), &store);
        until(case, || rows(&store) == 60);
        let counted = running.finish();
        topic.ledger.check_rows(&store);
        check_views(&store);
        assert_eq!((counted.stored, counted.duplicate, counted.unverified), (50, 0, 0), "{case}");
        assert_eq!(topic.committed()[&0], (Some(6), String::new()), "{case}");
    }
}

/// Between the server's note of a token and the rows lies a moment in which it can be killed.
#[test]
fn a_token_without_its_rows_is_not_believed() {
    let mut topic = Topic::new("burnt", 1);
    let store = running::store("burnt");
    let messages = messages(&mut topic);
    // The tokens of [0, 6) are known to the server, by rows that are gone.
    write(&store, &topic, &messages, 0, 6, None);
    for table in ["events", "message_hourly_states", "recipient_events"] {
        query(&store, &format!("DELETE FROM {table} WHERE 1 SETTINGS lightweight_deletes_sync = 2"));
    }
    assert_eq!(rows(&store), 0);
    topic.commit(0, 0, &format!("v1|0|6|{}", started(&store) - 1_000));
    take_over(&topic, &store);
}

#[test]
fn a_server_that_is_killed_between_the_two_changes_nothing() {
    let mut engine = testkit::fresh_clickhouse();
    let config = |database: &str| store::Config {
        url: engine.http_url(),
        database: database.into(),
        ..store::Config::default()
    };
    let [with, without] = ["with", "without"].map(|database| store_of(config(database)));
    let cases: Vec<_> = [(with, true), (without, false)]
        .into_iter()
        .map(|(store, written)| {
            let mut topic = Topic::new("killed", 1);
            let messages = messages(&mut topic);
            if written {
                write(&store, &topic, &messages, 0, 5, None);
            }
            topic.commit(0, 0, &format!("v1|0|5|{}", started(&store)));
            (topic, store)
        })
        .collect();
    let before = started(&cases[0].1);
    // The start of a server is known to the second, give or take two.
    until("time for another start", || {
        let text = engine.query("SELECT toUnixTimestamp(now())").unwrap();
        text.trim().parse::<i64>().unwrap() > before + 4
    });
    engine.kill().unwrap();
    engine.restart().unwrap();
    for (topic, store) in cases {
        take_over(&topic, &store);
    }
}
