//! Two servers as two shards: a partition's events are on the shard of its number.

use store::Cluster;

use crate::law::open;
use crate::running::{self, RUNTIME, config, query, rows, store_of, until};
use crate::topic::Topic;

#[test]
fn a_partition_goes_to_its_shard() {
    // Each must know the other's port before either runs.
    let ports = local::free_ports(2).unwrap();
    let shard =
        |port: &u16| format!("<shard><replica><host>127.0.0.1</host><port>{port}</port></replica></shard>");
    let shards: String = ports.iter().map(shard).collect();
    let engines = [0, 1].map(|index| {
        testkit::clickhouse_with(|options| {
            options.tcp_port = Some(ports[index]);
            options.config = Some(format!("<remote_servers><pair>{shards}</pair></remote_servers>"));
        })
    });
    let urls = engines.each_ref().map(|engine| engine.http_url());
    let cluster = Cluster { name: "pair".into(), shards: urls.to_vec(), replicated: false };
    let store = store_of(store::Config {
        url: urls[1].clone(),
        database: "spread".into(),
        cluster: Some(cluster),
        ..store::Config::default()
    });
    let mut topic = Topic::new("cluster", 4);
    // One partition comes with an intent of which nothing was written.
    let started = RUNTIME.block_on(store.started(1)).unwrap();
    topic.commit(3, 0, &format!("v1|0|2|{started}"));
    let running = running::start(&config(), topic.source(), &store);
    for message in 0..5 {
        for partition in 0..4 {
            let events: Vec<_> = (1..=10 + u64::from(partition))
                .map(|n| open(1 + u64::from(partition), message * 100 + n))
                .collect();
            topic.put(partition, &events);
        }
    }
    until("all rows", || rows(&store) == topic.ledger.events.len() as u64);
    // One of each edge again, to be found on its own shard.
    for partition in 0..4 {
        topic.put(partition, &[open(1 + u64::from(partition), 1), open(1 + u64::from(partition), 900)]);
    }
    until("all rows", || rows(&store) == topic.ledger.events.len() as u64);
    let counted = running.finish();
    topic.ledger.check(&store, counted);
    assert_eq!(counted.duplicate, 4);
    for (shard, engine) in engines.iter().enumerate() {
        let parts =
            engine.query("SELECT arraySort(groupUniqArray(k_part)) FROM spread.events_local").unwrap();
        assert_eq!(parts.trim(), format!("[{},{}]", shard, shard + 2));
    }
    assert_eq!(query(&store, "SELECT count() FROM events"), topic.ledger.events.len().to_string());
}
