//! The shipper on a real Kafka: what the journal held arrives, in batches of one partition, and is let go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use edge::Pace;
use event::{Batch, Event, Kind};
use journal::Class;
use kafka::{Consumer, FirstStart, Polled};
use tokio_util::sync::CancellationToken;

const EVENTS: u64 = 5_000;
const PARTITIONS: u32 = 4;
const PACE: Pace = Pace {
    linger: Duration::from_millis(5),
    stalled_after: Pace::STALLED_AFTER,
    deadline: Duration::from_secs(60),
};

#[test]
fn everything_arrives_once_and_in_its_partition() {
    let topic = testkit::topic("ship");
    let config = kafka::Config::new(testkit::kafka().bootstrap(), &topic);
    kafka::create_topics(&config, &[kafka::TopicSpec::events(&config, PARTITIONS, 1, 0)]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = journal::Options::new(dir.path().join("000"));

    let (log, reader) = journal::open(options.clone()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let append = |log: &journal::Log, recipients: std::ops::Range<u64>| {
        for recipient in recipients {
            log.append(Class::Open, |edge_id, seq, out| {
                Event { kind: Kind::Open, recipient, edge_id, seq, ..Event::default() }.encode(out);
            })
            .unwrap();
        }
        runtime.block_on(log.flush()).unwrap();
    };
    append(&log, 1..EVENTS / 2 + 1);
    drop((log, reader));

    // The first half was left by an earlier process: it is shipped as a replay.
    let (log, reader) = journal::open(options.clone()).unwrap();
    append(&log, EVENTS / 2 + 1..EVENTS + 1);
    let stop = CancellationToken::new();
    stop.cancel();
    edge::ship(&config, vec![reader], PACE, &stop);

    let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
    let mut replays = BTreeSet::new();
    let mut messages = 0;
    let consumer = Consumer::new(&config, "ship", None, FirstStart::Earliest).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while seen.len() < EVENTS as usize && Instant::now() < deadline {
        let Some(Polled::Message(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        messages += 1;
        for bytes in Batch::new(&message.payload) {
            let event = Event::decode(bytes.unwrap()).unwrap();
            assert_eq!(
                event::partition(event.recipient, event.edge_id, event.seq, PARTITIONS),
                message.partition
            );
            *seen.entry(event.recipient).or_default() += 1;
            if event.replay {
                replays.insert(event.recipient);
            }
        }
    }
    assert_eq!(seen.len() as u64, EVENTS);
    assert!(seen.values().all(|&times| times == 1));
    assert!(replays.into_iter().eq(1..EVENTS / 2 + 1));
    assert!(messages < EVENTS / 10, "{messages} messages");

    // Nothing is left for the next start.
    drop(log);
    let (_log, mut reader) = journal::open(options).unwrap();
    assert_eq!(reader.read(usize::MAX, |_| ()).unwrap(), 0);
}

/// A busy journal once starved the others: they were shipped when it had nothing.
#[test]
fn a_busy_journal_leaves_room_for_the_others() {
    let topic = testkit::topic("fair");
    let config = kafka::Config::new(testkit::kafka().bootstrap(), &topic);
    kafka::create_topics(&config, &[kafka::TopicSpec::events(&config, 1, 1, 0)]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // Several rounds of the shipper in the first journal, one event in the second.
    let user_agent = "a".repeat(500);
    let mut readers = Vec::new();
    for (number, events) in [(1, 8_000), (2, 1)] {
        let (log, reader) =
            journal::open(journal::Options::new(dir.path().join(number.to_string()))).unwrap();
        for _ in 0..events {
            let event =
                Event { kind: Kind::Open, recipient: number, user_agent: &user_agent, ..Event::default() };
            log.append(Class::Open, |edge_id, seq, out| Event { edge_id, seq, ..event }.encode(out)).unwrap();
        }
        runtime.block_on(log.flush()).unwrap();
        readers.push(reader);
    }
    let stop = CancellationToken::new();
    stop.cancel();
    edge::ship(&config, readers, PACE, &stop);

    let consumer = Consumer::new(&config, "fair", None, FirstStart::Earliest).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut recipients = Vec::new();
    while recipients.len() < 8_001 && Instant::now() < deadline {
        let Some(Polled::Message(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        recipients.extend(Batch::new(&message.payload).map(|bytes| event::recipient_of(bytes.unwrap())));
    }
    let at = recipients.iter().position(|&recipient| recipient == 2).unwrap();
    assert!(at < 6_000, "the other journal's event came at {at} of {}", recipients.len());
}

/// A broker that was silent for long can leave a producer that never sends again: then another takes its place.
#[test]
fn a_producer_that_says_nothing_is_given_up() {
    let kafka = testkit::fresh_kafka(1);
    let config = kafka::Config::new(kafka.bootstrap(), "stalled");
    kafka::create_topics(&config, &[kafka::TopicSpec::events(&config, 1, 1, 0)]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (log, reader) = journal::open(journal::Options::new(dir.path().join("000"))).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let append = |recipient: u64| {
        log.append(Class::Open, |edge_id, seq, out| {
            Event { kind: Kind::Open, recipient, edge_id, seq, ..Event::default() }.encode(out);
        })
        .unwrap();
        runtime.block_on(log.flush()).unwrap();
    };
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let (metrics, stop) = (recorder.handle(), CancellationToken::new());
    let (thread_config, thread_stop) = (config.clone(), stop.clone());
    let shipper = std::thread::spawn(move || {
        metrics::with_local_recorder(&recorder, || {
            let impatient = Pace { stalled_after: Duration::from_millis(500), ..PACE };
            edge::ship(&thread_config, vec![reader], impatient, &thread_stop);
        });
    });
    let until = |what: &str| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !metrics.render().lines().any(|line| line.starts_with(what)) {
            assert!(Instant::now() < deadline, "never came: {what}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    };
    append(1);
    until("edge_shipped_events_total 1");
    kafka.suspend(0).unwrap();
    append(2);
    until("edge_shipper_retries_total{what=\"stalled\"}");
    kafka.resume(0).unwrap();
    append(3);
    until("edge_shipped_events_total 3");
    stop.cancel();
    shipper.join().unwrap();

    // What the frozen broker had in its hands may have come as well; the copy says that it is one.
    let consumer = Consumer::new(&config, "stalled", None, FirstStart::Earliest).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut seen: BTreeMap<u64, bool> = BTreeMap::new();
    while seen.len() < 3 && Instant::now() < deadline {
        let Some(Polled::Message(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        for bytes in Batch::new(&message.payload) {
            let event = Event::decode(bytes.unwrap()).unwrap();
            *seen.entry(event.recipient).or_default() |= event.replay;
        }
    }
    assert_eq!(seen.into_keys().collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn without_kafka_the_journal_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let options = journal::Options::new(dir.path().join("000"));
    let (log, reader) = journal::open(options.clone()).unwrap();
    log.append(Class::Click, |edge_id, seq, out| Event { edge_id, seq, ..Event::default() }.encode(out))
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(log.flush()).unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let config = kafka::Config::new("127.0.0.1:1", "nowhere");
    let hasty = Pace { deadline: Duration::from_millis(100), ..PACE };
    edge::ship(&config, vec![reader], hasty, &stop);
    drop(log);
    let (_log, mut reader) = journal::open(options).unwrap();
    assert_eq!(reader.read(usize::MAX, |frame| assert!(frame.replay)).unwrap(), 1);
}
