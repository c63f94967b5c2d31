//! What is said of parts, against a real engine.

use std::net::{Ipv4Addr, SocketAddr};

use loadtest::clickhouse::{ClickHouse, Secret};
use loadtest::parts::{self, Parts};

#[tokio::test]
async fn inserts_make_parts_and_merges_take_them_away() {
    let engine = testkit::fresh_clickhouse();
    let clickhouse = ClickHouse {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, engine.http_port())),
        database: "default".to_owned(),
        table: "counted".to_owned(),
        user: String::new(),
        password: Secret::default(),
    };
    assert!(parts::look(&clickhouse).await.unwrap().is_empty());
    engine
        .query("CREATE TABLE counted (day UInt8) ENGINE = MergeTree PARTITION BY day ORDER BY day")
        .unwrap();
    engine.query("SYSTEM STOP MERGES counted").unwrap();
    // One of them has rows of two partitions.
    for values in ["(1)", "(2)", "(1), (2)"] {
        engine.query(&format!("INSERT INTO counted VALUES {values}")).unwrap();
    }
    let looked = async || parts::look(&clickhouse).await.unwrap()["counted"];
    let before = looked().await;
    assert_eq!((before.active, before.merging), (4, 0));
    engine.query("INSERT INTO counted VALUES (1)").unwrap();
    let one_more = Parts { active: 5, blocks: before.blocks + 1, merging: 0 };
    assert_eq!(looked().await, one_more);
    engine.query("SYSTEM START MERGES counted").unwrap();
    engine.query("OPTIMIZE TABLE counted FINAL").unwrap();
    let merged = looked().await;
    assert_eq!((merged.active, merged.blocks), (2, one_more.blocks), "a merge takes no number");
}
