//! Several consumers in one group: partitions move while events flow.

use crate::law::{check_views, open};
use crate::running::{self, Watched, config, rows, until};
use crate::topic::Topic;

#[test]
fn partitions_move_and_nothing_comes_twice() {
    let mut topic = Topic::new("group", 4);
    let store = running::store("group");
    let mut next = 1;
    let mut put = |topic: &mut Topic, messages: u64| {
        for message in 0..messages {
            let partition = (message % 4) as u32;
            let events: Vec<_> = (next..next + 20).map(|seq| open(1 + u64::from(partition), seq)).collect();
            topic.put(partition, &events);
            next += 20;
        }
    };
    let (source, first_traffic) = Watched::new(topic.source());
    let first = running::start(&config(), source, &store);
    put(&mut topic, 40);
    until("the first has all", || first_traffic.lock().unwrap().assigned.len() == 4);

    let (source, second_traffic) = Watched::new(topic.source());
    let second = running::start(&config(), source, &store);
    until("the second has its part", || {
        put(&mut topic, 4);
        second_traffic.lock().unwrap().assigned.len() == 2
    });
    until("the first has given it up", || {
        put(&mut topic, 4);
        first.metric("consumer_owned_partitions") == 2
    });
    // Both take their part, also those that have stayed where they were.
    put(&mut topic, 40);
    until("all rows", || rows(&store) == topic.ledger.events.len() as u64);
    assert!(second_traffic.lock().unwrap().messages > 0);
    put(&mut topic, 40);
    let mut counted = vec![first.finish()];
    until("the second has all", || {
        put(&mut topic, 4);
        second.metric("consumer_owned_partitions") == 4
    });
    put(&mut topic, 40);
    until("all rows", || rows(&store) == topic.ledger.events.len() as u64);
    counted.push(second.finish());
    topic.ledger.check_rows(&store);
    check_views(&store);
    assert_eq!(counted.iter().map(|c| c.stored).sum::<u64>(), topic.ledger.total);
    let committed = topic.committed();
    let ends = topic.ledger.events.values().fold(
        std::collections::BTreeMap::<u32, u64>::new(),
        |mut ends, place| {
            let end = ends.entry(place.1).or_default();
            *end = (*end).max(place.2 + 1);
            ends
        },
    );
    assert!(
        ends.iter().all(|(partition, end)| committed[partition] == (Some(*end), String::new())),
        "{committed:?}"
    );
}
