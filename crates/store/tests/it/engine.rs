//! Databases of the tests, and rows for them.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use local::engine::Engine;
use store::{Block, Cluster, Config, Row, Store, month};
use testkit::Fresh;

/// The configuration of a database of the test's own, which does not exist yet.
pub fn empty(database: &str) -> Config {
    Config { url: testkit::clickhouse().http_url(), database: database.into(), ..Config::default() }
}

/// A migrated database of the test's own.
pub async fn migrated(database: &str) -> Store {
    let store = Store::new(empty(database)).unwrap();
    store.migrate().await.unwrap();
    store
}

/// The configuration of a database on two servers that form a cluster; it does not exist yet.
pub fn pair(database: &str) -> Config {
    static PAIR: OnceLock<[Fresh<Engine>; 2]> = OnceLock::new();
    let shards = PAIR.get_or_init(start_pair).each_ref().map(|engine| engine.http_url());
    let url = shards[1].clone();
    let cluster = Cluster { name: "pair".into(), shards: shards.into(), replicated: false };
    Config { url, database: database.into(), cluster: Some(cluster), ..Config::default() }
}

/// Two servers, each of which knows both as the shards of the cluster `pair`, and itself by macros.
fn start_pair() -> [Fresh<Engine>; 2] {
    // Each must know the other's port before either runs.
    let ports = local::free_ports(2).unwrap();
    let shard =
        |port: &u16| format!("<shard><replica><host>127.0.0.1</host><port>{port}</port></replica></shard>");
    let shards: String = ports.iter().map(shard).collect();
    [0, 1].map(|index| {
        testkit::clickhouse_with(|options| {
            options.tcp_port = Some(ports[index]);
            options.config = Some(format!(
                "<remote_servers><pair>{shards}</pair></remote_servers>
                <macros><shard>{index}</shard><replica>one</replica></macros>"
            ));
        })
    })
}

/// Runs a statement outside of any store.
pub async fn run(config: &Config, sql: &str) -> String {
    Store::new(config.clone()).unwrap().query(sql).await.unwrap_or_else(|e| panic!("{e}\n{sql}"))
}

/// Runs a query that answers with one value.
pub async fn value(store: &Store, sql: &str) -> String {
    store.query(sql).await.unwrap_or_else(|e| panic!("{e}\n{sql}")).trim_end().to_owned()
}

/// The start of today, UTC: young enough that no TTL clears a test's rows, and all of a test's rows are of one month.
pub fn today_ms() -> i64 {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    now_ms - now_ms % 86_400_000
}

/// A block of rows of today's month.
pub fn block<'a>(rows: impl IntoIterator<Item = Row<'a>>) -> bytes::Bytes {
    let mut block = Block::new(month(today_ms()));
    for row in rows {
        block.push(&row);
    }
    block.finish()
}

/// Row `n` of a batch: an open by a person outside the EU, one second after the one before.
pub fn open(n: u64) -> Row<'static> {
    Row {
        workspace: 1,
        message: 10 + n % 3,
        recipient: 1_000 + n,
        received_at_ms: today_ms() + n as i64 * 1_000,
        kind: 2,
        verdict: 1,
        mode: 1,
        method: 1,
        region_class: 2,
        k_topic: "events",
        k_part: 4,
        k_off: n,
        edge_id: 9,
        seq: n,
        ..Row::default()
    }
}
