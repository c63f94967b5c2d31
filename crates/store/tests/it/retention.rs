//! How long each class of data is kept: as the server has it, and as it then does.

use crate::engine;

/// Events, and what is known of single recipients, in months.
const PERSONAL_MONTHS_MAX: u32 = 25;
/// Sums that name nobody, in months.
const AGGREGATE_MONTHS_MAX: u32 = 37;
/// What stands for a person or comes from one. Columns of a new table with one of these names are found.
const PERSONAL: &str = "('recipient', 'address', 'user_agent', 'accept_language', 'referer', 'latitude')";

#[tokio::test]
async fn every_table_ends_what_it_holds_by_itself() {
    let store = engine::migrated("retention").await;
    let tables = format!(
        "SELECT name, extract(engine_full, 'TTL .*toIntervalMonth\\\\((\\\\d+)\\\\)'), name IN (
            SELECT table FROM system.columns WHERE database = currentDatabase() AND name IN {PERSONAL})
        FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' ORDER BY name"
    );
    let mut seen = Vec::new();
    for line in engine::value(&store, &tables).await.lines() {
        let [name, months, personal] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        seen.push(name.to_owned());
        if name == "schema_migrations" {
            assert_eq!((months, personal), ("", "0"), "it tells of the schema, and of nobody");
            continue;
        }
        if name == "withdrawals" {
            assert_eq!((months, personal), ("", "1"), "a refusal must outlive every event of who gave it");
            continue;
        }
        let months_max = if personal == "1" { PERSONAL_MONTHS_MAX } else { AGGREGATE_MONTHS_MAX };
        assert!(months.parse().is_ok_and(|months: u32| (1..=months_max).contains(&months)), "{line}");
    }
    let personal = ["last_opens", "recipient_events", "send_times", "explorations", "withdrawals"];
    for name in ["events", "message_hourly_states"].iter().chain(&personal) {
        assert!(seen.iter().any(|seen| seen == name), "no table {name}: {seen:?}");
    }
    // No table holds an address but the one whose column clears it.
    let holders = "SELECT DISTINCT table FROM system.columns WHERE database = currentDatabase()
        AND type IN ('IPv4', 'IPv6') AND table IN
            (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree')";
    assert_eq!(engine::value(&store, holders).await, "events");
    let table = engine::value(&store, "SHOW CREATE TABLE events FORMAT TSVRaw").await;
    let column = table.lines().find(|line| line.contains("`address` IPv6")).unwrap();
    assert!(column.contains(" TTL toDateTime(received_at) + toIntervalDay(30)"), "{column}");
    assert!(table.contains("\nTTL toDateTime(received_at) + toIntervalMonth(25)\n"), "{table}");
}

#[tokio::test]
async fn what_is_too_old_goes() {
    let store = engine::migrated("retention_done").await;
    for (seq, days) in [(1, 1), (2, 29), (3, 31), (4, 750), (5, 800)] {
        let insert = format!(
            "INSERT INTO events (workspace, message, received_at, kind, address, edge_id, seq)
            SETTINGS async_insert = 0 SELECT 1, 1, now() - INTERVAL {days} DAY, 'open', '2001:db8::', 1, {seq}"
        );
        engine::value(&store, &insert).await;
    }
    // The server does this by itself, too, when it gets to it: maybe before this.
    engine::value(&store, "OPTIMIZE TABLE events FINAL").await;
    let left = "SELECT seq, toString(address) FROM events ORDER BY seq";
    assert_eq!(engine::value(&store, left).await, "1\t2001:db8::\n2\t2001:db8::\n3\t::\n4\t::");
}
