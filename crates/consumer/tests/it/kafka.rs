//! From a topic: once, from the right place, and committed only after the write.

use crate::law::{old, open};
use crate::running::{self, Watched, config, query, rows, until};
use crate::topic::Topic;

#[test]
fn batches_of_several_partitions_and_months_arrive_once() {
    let mut topic = Topic::new("once", 3);
    let store = running::store("once");
    let (mut source, traffic) = Watched::new(topic.source());
    // What a commit passes must be stored.
    let of_commit = store.clone();
    let sent: u64 = 3 * 20 * 50;
    source.on_commit = Box::new(move |part, offset, _| {
        let stored = query(
            &of_commit,
            &format!(
                "SELECT uniqExact(k_off) FROM events WHERE k_part = {} AND k_off < {offset}",
                part.number
            ),
        );
        assert_eq!(stored, offset.to_string(), "commit of partition {} at {offset}", part.number);
    });
    let running = running::start(&config(), source, &store);
    for message in 0..20 {
        for partition in 0..3 {
            let events: Vec<_> = (0..50)
                .map(|n| (u64::from(partition) + 1, message * 50 + n + 1))
                .map(|(edge, seq)| if seq % 3 == 0 { old(edge, seq) } else { open(edge, seq) })
                .collect();
            topic.put(partition, &events);
        }
    }
    until("all rows", || rows(&store) == sent);
    // Without a word from anyone the offset follows when the topic is idle.
    until("idle commits", || {
        let commits = &traffic.lock().unwrap().commits;
        (0..3).all(|partition| commits.iter().any(|commit| *commit == (partition, 20, String::new())))
    });
    assert_eq!(running.health.ready(), Ok(()));
    assert_eq!(running.metric("consumer_owned_partitions"), 3);
    assert_eq!(running.metric("consumer_inflight_events"), 0);
    let counted = running.finish();
    topic.ledger.check(&store, counted);

    // Each write was intended first, from where the last one ended.
    let traffic = traffic.lock().unwrap();
    for partition in 0..3 {
        let mut at = 0;
        for (_, offset, note) in traffic.commits.iter().filter(|(of, ..)| *of == partition) {
            assert_eq!(*offset, at, "{note}");
            if let Some(range) = note.strip_prefix(&format!("v1|{offset}|")) {
                at = range.split('|').next().unwrap().parse().unwrap();
            } else {
                assert_eq!(note, "");
            }
        }
        assert_eq!(at, 20);
    }
    assert_eq!(query(&store, "SELECT uniqExact(_partition_id) FROM events"), "2");
    assert!(topic.committed().values().all(|committed| *committed == (Some(20), String::new())));
}

#[test]
fn many_events_in_one_message_are_cut_at_messages_only() {
    let mut topic = Topic::new("bulk", 1);
    let store = running::store("bulk");
    for message in 0..12 {
        let events: Vec<_> = (0..1_000).map(|n| open(7, message * 1_000 + n + 1)).collect();
        topic.put(0, &events);
    }
    // Three messages go over the bound of rows each time: four batches at least, and the first of them asks for
    // more ids than one query takes.
    let small = consumer::Config { batch_rows_max: 4_500, linger_ms: 60_000, ..config() };
    let (source, traffic) = Watched::new(topic.source());
    let running = running::start(&small, source, &store);
    until("all messages", || traffic.lock().unwrap().messages == 12 && rows(&store) >= 10_000);
    let counted = running.finish();
    topic.ledger.check(&store, counted);
    let intents = traffic.lock().unwrap().commits.iter().filter(|(_, _, note)| !note.is_empty()).count();
    assert_eq!(intents, 3, "5 + 5 + 2 messages");
}
