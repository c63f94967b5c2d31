//! ClickHouse away: frozen with an insert in its hands, and killed. Exactly once, in bounded memory, by itself.

use std::sync::{Arc, Mutex};

use crate::law::open;
use crate::running::{self, Watched, config, query, rows, store_of, until};
use crate::topic::Topic;

/// Events of a message, and rows of a full batch.
const EVENTS: u64 = 100;
const ROWS_MAX: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// Right before an insert, which then gets no answer.
    Frozen,
    /// Right before an insert, which then finds nobody.
    Killed,
    /// Whenever.
    KilledAnytime,
}

#[test]
fn what_comes_meanwhile_waits_in_kafka() {
    let engine = testkit::fresh_clickhouse();
    let store = store_of(store::Config {
        url: engine.http_url(),
        database: "away".into(),
        request_timeout_ms: 1_500,
        ..store::Config::default()
    });
    let mut topic = Topic::new("away", 2);
    let (mut source, traffic) = Watched::new(topic.source());
    let (engine, armed) = (Arc::new(Mutex::new(engine)), Arc::<Mutex<Option<Fault>>>::default());
    let (of_hook, fault) = (engine.clone(), armed.clone());
    source.on_commit = Box::new(move |_, _, note| {
        if note.is_empty() {
            return;
        }
        match fault.lock().unwrap().take() {
            Some(Fault::Frozen) => of_hook.lock().unwrap().suspend().unwrap(),
            Some(Fault::Killed) => of_hook.lock().unwrap().kill().unwrap(),
            _ => {}
        }
    });
    let small = consumer::Config { batch_rows_max: ROWS_MAX, ..config() };
    let running = running::start(&small, source, &store);
    let mut next = 1;
    let mut put = |topic: &mut Topic, messages: u64| {
        for message in 0..messages {
            let events: Vec<_> = (next..next + EVENTS).map(|seq| open(1 + message % 2, seq)).collect();
            topic.put((message % 2) as u32, &events);
            next += EVENTS;
        }
    };
    put(&mut topic, 20);
    until("the first rows", || rows(&store) == 20 * EVENTS);

    for fault in [Fault::Frozen, Fault::Killed, Fault::KilledAnytime] {
        let retries = running.metric("consumer_insert_retries_total");
        *armed.lock().unwrap() = Some(fault);
        put(&mut topic, 10);
        if fault == Fault::KilledAnytime {
            engine.lock().unwrap().kill().unwrap();
        }
        put(&mut topic, 100);
        until("all partitions paused", || traffic.lock().unwrap().paused.len() == 2);
        until("a word about it", || {
            running.health.ready().is_err_and(|parts| parts[0].1.contains("stands still"))
        });
        if fault != Fault::KilledAnytime {
            until("an insert that failed", || running.metric("consumer_insert_retries_total") > retries);
        }
        // Three batches of each of two partitions, each a message larger than its bound at the most.
        let bound = 3 * 2 * (ROWS_MAX as u64 + EVENTS);
        let inflight = running.metric("consumer_inflight_events");
        assert!(inflight <= bound, "{inflight} events in flight");
        // Paused is paused: no more comes, however much there is.
        let taken = traffic.lock().unwrap().messages;
        let polls = traffic.lock().unwrap().polls;
        put(&mut topic, 20);
        until("more polls", || traffic.lock().unwrap().polls > polls + 10);
        assert_eq!(traffic.lock().unwrap().messages, taken);
        match fault {
            Fault::Frozen => engine.lock().unwrap().resume().unwrap(),
            _ => engine.lock().unwrap().restart().unwrap(),
        }
        until(&format!("all rows after {fault:?}"), || {
            // One that was frozen with a request in its hands may abort when it finds the client gone.
            engine.lock().unwrap().revive().unwrap();
            rows(&store) == topic.ledger.events.len() as u64
        });
        until("health", || running.health.ready().is_ok());
    }
    let counted = running.finish();
    topic.ledger.check(&store, counted);
    assert_eq!(
        query(&store, "SELECT sum(duplicates), sum(missing) FROM events_audit").split('\t').next(),
        Some("0")
    );
}
