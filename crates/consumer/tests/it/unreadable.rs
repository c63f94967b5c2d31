//! What cannot be read is kept aside with origin and reason before the offset passes it; the rest is stored.

use event::{Batch, Event, Kind};

use crate::journal::{append, consume, open_journal};
use crate::law::{Ledger, encode, open};
use crate::running::{self, Watched, config, rows, until};
use crate::topic::Topic;

/// Bytes that are no event, and why.
fn broken() -> Vec<(Vec<u8>, &'static str)> {
    vec![
        (vec![0xff; 7], "cannot be read"),
        (encode(&Event { kind: Kind::Unspecified, ..open(1, 900) }), "no kind"),
        (encode(&Event { received_at_ms: -1, ..open(1, 901) }), "receive time out of range"),
        (encode(&Event { received_at_ms: i64::MAX, ..open(1, 902) }), "receive time out of range"),
        (vec![0x82, 0x01, 0x02, 0xc3, 0x28], "not UTF-8"),
    ]
}

#[test]
fn of_a_topic() {
    let mut topic = Topic::new("unreadable", 2);
    let store = running::store("unreadable");
    let mut expected = Vec::new();
    topic.put(1, &[open(1, 1), open(1, 2)]);

    // Framing that breaks after a good event: the message is one thing, or its first event would come twice.
    let mut cut = Vec::new();
    Batch::push(&mut cut, &encode(&open(1, 3)));
    cut.extend([200, 1, 2, 3]);
    let offset = topic.send(1, &cut);
    expected.push((1, offset, "broken batch", cut));
    // Good events around each broken one.
    for (n, (bytes, reason)) in broken().into_iter().enumerate() {
        let [before, after] = [open(1, 10 + 2 * n as u64), open(1, 11 + 2 * n as u64)];
        let mut payload = Vec::new();
        Batch::push(&mut payload, &encode(&before));
        Batch::push(&mut payload, &bytes);
        Batch::push(&mut payload, &encode(&after));
        let offset = topic.send(1, &payload);
        for event in [before, after] {
            topic.ledger.enter((1, event.seq), (topic.name().to_owned(), 1, offset));
        }
        expected.push((1, offset, reason, bytes));
    }
    topic.put(0, &[open(2, 1)]);
    topic.ledger.unreadable = expected.len() as u64;
    topic.ledger.total += topic.ledger.unreadable;

    let running = running::start(&config(), topic.source(), &store);
    until("the readable ones", || rows(&store) == topic.ledger.events.len() as u64);
    let counted = running.finish();
    topic.ledger.check(&store, counted);
    let dead = topic.dead();
    assert_eq!(dead.len(), expected.len());
    for ((partition, offset, reason, bytes), letter) in expected.iter().zip(&dead) {
        assert_eq!((letter.0, letter.1, &letter.3), (*partition, *offset, bytes));
        assert!(letter.2.contains(reason), "{} is not {reason}", letter.2);
    }
    assert_eq!(topic.committed()[&1].0, Some(expected.len() as u64 + 1));
}

#[test]
fn of_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let store = running::store("unreadable");
    let mut ledger = Ledger::default();
    let (log, reader) = open_journal(&dir.path().join("j"));
    let dead = dir.path().join("dead.jsonl");
    // As a crash left it.
    std::fs::write(&dead, "{\"reason\":\"cut").unwrap();
    let topic = format!("journal/{:016x}", log.edge_id());
    for (bytes, _) in broken() {
        append(&log, |_, _, out| out.extend(bytes));
        let place = append(&log, |edge_id, seq, out| out.extend(encode(&open(edge_id, seq))));
        ledger.enter((place.edge_id, place.seq), (topic.clone(), 0, place.seq));
    }
    ledger.unreadable = broken().len() as u64;
    ledger.total += ledger.unreadable;
    let running = consume(vec![reader], &dead, &store);
    until("the readable ones", || rows(&store) == 5);
    let counted = running.finish();
    ledger.check(&store, counted);

    let text = std::fs::read_to_string(&dead).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), broken().len());
    for (n, ((bytes, reason), line)) in broken().iter().zip(&lines).enumerate() {
        assert_eq!(line["origin_topic"], topic);
        assert_eq!((&line["origin_partition"], &line["origin_offset"]), (&0.into(), &(2 * n + 1).into()));
        assert_eq!(line["bytes"], hex::encode(bytes));
        assert!(line["reason"].as_str().unwrap().contains(reason), "{line}");
    }
}

#[test]
fn a_partition_stands_still_when_unreadable_is_all_there_is() {
    let mut topic = Topic::new("drained", 2);
    let store = running::store("drained");
    let mut payload = Vec::new();
    (0..1_001).for_each(|_| Batch::push(&mut payload, &[0xff; 7]));
    topic.send(0, &payload);
    topic.put(1, &[open(1, 1)]);
    let (source, traffic) = Watched::new(topic.source());
    let running = running::start(&consumer::Config { drain_ms: 0, ..config() }, source, &store);
    until("the other partition", || rows(&store) == 1);
    until("a word about it", || {
        running.health.ready().is_err_and(|parts| parts[0].1.contains("partition 0 stands still"))
    });
    assert_eq!(running.metric("consumer_stalled_partitions"), 1);
    until("the other's commit", || traffic.lock().unwrap().commits.contains(&(1, 1, String::new())));
    let counted = running.finish();
    assert_eq!((counted.stored, counted.dead), (1, 0));
    assert_eq!(topic.dead().len(), 0);
    assert_eq!(topic.committed()[&0], (None, String::new()));
}

#[test]
fn nothing_passes_a_letter_that_cannot_be_kept() {
    let mut topic = Topic::new("kept", 1);
    let store = running::store("kept");
    topic.send(0, &[9]);
    topic.put(0, &[open(1, 1)]);
    (topic.ledger.total, topic.ledger.unreadable) = (2, 1);
    let (source, traffic) = Watched::new(topic.source());
    traffic.lock().unwrap().letters_refused = true;
    let running = running::start(&config(), source, &store);
    until("a word about it", || running.health.ready().is_err_and(|parts| parts[0].1.contains("no place")));
    assert_eq!((traffic.lock().unwrap().commits.len(), rows(&store)), (0, 0));
    traffic.lock().unwrap().letters_refused = false;
    until("the row", || rows(&store) == 1);
    until("health", || running.health.ready().is_ok());
    let counted = running.finish();
    topic.ledger.check(&store, counted);
    assert_eq!(topic.dead().len(), 1);
}
