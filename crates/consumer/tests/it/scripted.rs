//! What real sources do too rarely to wait for: a source that follows a script, before the real ClickHouse.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consumer::{CommitError, DeadLetter, Part, Payload, Polled, Source, SourceError, Taken};
use local::engine::Engine;

use crate::law::{Ledger, batch, check_views, open};
use crate::running::{self, Watched, config, query, rows, until};

enum Step {
    Assigned(Option<u64>, String),
    Message(u64, Vec<u8>),
    Lost,
}

#[derive(Clone, Default)]
struct Script {
    steps: Arc<Mutex<VecDeque<Step>>>,
    /// What commits are answered, before they go through.
    answers: Arc<Mutex<VecDeque<CommitError>>>,
    rewound: Arc<Mutex<Vec<u64>>>,
}

fn part() -> Part {
    Part { topic: Arc::from("scripted"), number: 0 }
}

impl Script {
    fn then(&self, step: Step) -> &Self {
        self.steps.lock().unwrap().push_back(step);
        self
    }

    /// A message with one event of each number.
    fn message(&self, ledger: &mut Ledger, offset: u64, seqs: std::ops::Range<u64>) -> &Self {
        let events: Vec<_> = seqs.map(|seq| open(1, seq)).collect();
        events.iter().for_each(|event| ledger.enter((1, event.seq), ("scripted".to_owned(), 0, offset)));
        self.then(Step::Message(offset, batch(&events)))
    }
}

impl Source for Script {
    fn poll(&mut self, wait: Duration, take: &mut dyn FnMut(Polled<'_>) -> Taken) -> Result<(), SourceError> {
        let (step, part) = (self.steps.lock().unwrap().pop_front(), part());
        match step {
            Some(Step::Assigned(committed, note)) => take(Polled::Assigned { part, committed, note }),
            Some(Step::Message(offset, bytes)) => {
                take(Polled::Message { part: &part, offset, payload: Payload::Batch(&bytes) })
            }
            Some(Step::Lost) => take(Polled::Lost(vec![part])),
            None => {
                std::thread::park_timeout(wait);
                Taken::Room
            }
        };
        Ok(())
    }

    fn commit(&mut self, _: &Part, _: u64, _: &str) -> Result<(), CommitError> {
        self.answers.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }

    fn pause(&mut self, _: &Part, _: bool) {}

    fn rewind(&mut self, _: &Part, offset: u64) -> Result<(), SourceError> {
        self.rewound.lock().unwrap().push(offset);
        Ok(())
    }

    fn release(&mut self, _: &[Part]) {}

    fn dead_letters(&mut self, _: &[DeadLetter]) -> Result<(), SourceError> {
        Ok(())
    }

    fn drains(&self) -> bool {
        false
    }
}

#[test]
fn commits_that_are_refused_only_delay() {
    let (script, store, mut ledger) = (Script::default(), running::store("refused"), Ledger::default());
    // As in a group that is being rearranged; and as it never should be.
    script.answers.lock().unwrap().extend([
        CommitError::Fenced("illegal generation".to_owned()),
        CommitError::Retry("rebalance in progress".to_owned()),
        CommitError::Fatal("not allowed".to_owned()),
    ]);
    script.then(Step::Assigned(Some(5), String::new())).message(&mut ledger, 5, 1..10);
    let running = running::start(&config(), script.clone(), &store);
    until("a word about it", || running.health.ready().is_err_and(|parts| parts[0].1.contains("commit")));
    until("rows", || rows(&store) == 9);
    until("health", || running.health.ready().is_ok());
    let counted = running.finish();
    ledger.check(&store, counted);
}

#[test]
fn messages_that_are_handed_out_again_are_left_out() {
    let (script, store, mut ledger) = (Script::default(), running::store("repeated"), Ledger::default());
    script.then(Step::Assigned(Some(3), String::new()));
    for offset in 3..8 {
        script.message(&mut ledger, offset, offset * 10..offset * 10 + 5);
    }
    // From before the assignment, and from the middle; then with a gap, as compaction leaves them.
    for offset in [2, 3, 6, 7] {
        script.then(Step::Message(offset, batch(&[open(1, 500 + offset)])));
    }
    script.message(&mut ledger, 20, 100..105);
    let running = running::start(&config(), script.clone(), &store);
    until("rows", || rows(&store) == 30);
    assert_eq!(running.metric("consumer_repeated_messages_total"), 4);
    let counted = running.finish();
    ledger.check(&store, counted);
}

#[test]
fn a_partition_that_is_lost_and_comes_back_goes_on_from_its_intent() {
    let (script, store, mut ledger) = (Script::default(), running::store("lost"), Ledger::default());
    script.then(Step::Assigned(None, String::new())).message(&mut ledger, 0, 1..50).message(
        &mut ledger,
        1,
        50..90,
    );
    let (source, traffic) = Watched::new(script.clone());
    let running = running::start(&config(), source, &store);
    until("rows", || rows(&store) == 89);
    let intents: Vec<_> =
        traffic.lock().unwrap().commits.iter().filter(|commit| !commit.2.is_empty()).cloned().collect();
    // Lost with its last batch written and not acknowledged; back with the intent, and the messages from there on.
    let (_, from, note) = intents.last().unwrap().clone();
    script.then(Step::Lost).then(Step::Assigned(Some(from), note));
    if from == 0 {
        script.then(Step::Message(0, batch(&(1..50).map(|seq| open(1, seq)).collect::<Vec<_>>())));
    }
    script.then(Step::Message(1, batch(&(50..90).map(|seq| open(1, seq)).collect::<Vec<_>>())));
    script.message(&mut ledger, 2, 90..95);
    until("rows", || rows(&store) == 94);
    assert_eq!(running.metric("consumer_fenced_partitions_total"), 1);
    running.finish();
    ledger.check_rows(&store);
    check_views(&store);
}

#[test]
fn a_note_that_is_not_understood_stops_its_partition_only() {
    let (script, store) = (Script::default(), running::store("note"));
    script
        .then(Step::Assigned(Some(3), "v9|whatever".to_owned()))
        .then(Step::Message(3, batch(&[open(1, 1)])));
    let (source, traffic) = Watched::new(script);
    let running = running::start(&config(), source, &store);
    until("a word about it", || {
        running.health.ready().is_err_and(|parts| parts[0].1.contains("v9|whatever"))
    });
    until("it is paused", || traffic.lock().unwrap().paused.contains(&0));
    let counted = running.finish();
    assert_eq!((counted.stored, rows(&store)), (0, 0));
    assert!(traffic.lock().unwrap().commits.is_empty());
}

#[test]
fn an_insert_that_cannot_work_stands_still_until_it_can() {
    let (script, store, mut ledger) = (Script::default(), running::store("fatal"), Ledger::default());
    query(&store, "RENAME TABLE events TO elsewhere");
    script.then(Step::Assigned(None, String::new())).message(&mut ledger, 0, 1..50);
    let running = running::start(&config(), script.clone(), &store);
    until("a word about it", || running.health.ready().is_err_and(|parts| parts[0].1.contains("cannot")));
    assert_eq!(running.metric("consumer_stalled_partitions"), 1);
    query(&store, "RENAME TABLE elsewhere TO events");
    until("rows", || rows(&store) == 49);
    let counted = running.finish();
    ledger.check(&store, counted);
}

/// With ClickHouse away a shutdown ends when its time is over, and what was not written stays intended.
#[test]
fn a_shutdown_without_clickhouse_is_bounded() {
    let engine = testkit::fresh_clickhouse();
    let store = running::store_of(store::Config {
        url: engine.http_url(),
        database: "bounded".into(),
        request_timeout_ms: 60_000,
        ..store::Config::default()
    });
    let (script, mut ledger) = (Script::default(), Ledger::default());
    script.then(Step::Assigned(None, String::new())).message(&mut ledger, 0, 1..50);
    let (mut source, traffic) = Watched::new(script.clone());
    let frozen = Arc::new(engine);
    let of_hook: Arc<testkit::Fresh<Engine>> = frozen.clone();
    source.on_commit = Box::new(move |_, _, _| of_hook.suspend().unwrap());
    let hasty = consumer::Config { drain_ms: 300, ..config() };
    let running = running::start(&hasty, source, &store);
    until("the intent", || !traffic.lock().unwrap().commits.is_empty());
    running.stop.cancel();
    until("the end", || running.has_ended());
    running.ended_with().unwrap();
    let commits = traffic.lock().unwrap().commits.clone();
    assert_eq!(commits.len(), 1);
    assert!(commits[0].2.starts_with("v1|0|1|"), "{commits:?}");
    frozen.resume().unwrap();

    // The next owner.
    let script = Script::default();
    script.then(Step::Assigned(Some(0), commits[0].2.clone()));
    script.then(Step::Message(0, batch(&(1..50).map(|seq| open(1, seq)).collect::<Vec<_>>())));
    let running = running::start(&config(), script, &store);
    until("rows", || rows(&store) == 49);
    running.finish();
    ledger.check_rows(&store);
    check_views(&store);
}
