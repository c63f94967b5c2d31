//! Migrations: once, twice, two at once, half done, edited, newer; and what they leave behind.

use store::{Config, Row, Store, StoreError};

use crate::engine;

#[tokio::test]
async fn a_second_run_finds_nothing_to_do() {
    let config = engine::empty("schema_twice");
    let store = Store::new(config.clone()).unwrap();
    let before = store.schema().await.unwrap();
    assert_eq!((before.servers[0].version, before.servers[0].pending.len() as u32), (0, before.latest));
    assert!(store.ping().await.unwrap().starts_with(|c: char| c.is_ascii_digit()));

    let applied = store.migrate().await.unwrap();
    let versions: Vec<u32> = applied.iter().map(|applied| applied.version).collect();
    assert_eq!(versions, (1..=before.latest).collect::<Vec<_>>());
    assert_eq!(store.migrate().await.unwrap(), []);
    let after = store.schema().await.unwrap();
    assert_eq!((after.servers[0].version, &after.servers[0].pending[..]), (after.latest, &[][..]));
}

#[tokio::test]
async fn two_runs_at_once_end_well() {
    let config = engine::empty("schema_race");
    let (one, two) = (Store::new(config.clone()).unwrap(), Store::new(config).unwrap());
    let (first, second) = tokio::join!(one.migrate(), two.migrate());
    first.unwrap();
    second.unwrap();
    let latest = one.schema().await.unwrap().latest.to_string();
    assert_eq!(engine::value(&one, "SELECT count() FROM schema_migrations").await, latest);
}

#[tokio::test]
async fn a_run_that_was_cut_off_is_completed_by_the_next() {
    let store = engine::migrated("schema_half").await;
    let objects = "SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name";
    let whole = engine::value(&store, objects).await;
    for lost in [
        "TABLE schema_migrations",
        "VIEW message_totals",
        "VIEW recipient_events_fill",
        "TABLE recipient_events",
        "VIEW last_opens_fill",
    ] {
        engine::value(&store, &format!("DROP {lost}")).await;
    }
    let applied = store.migrate().await.unwrap();
    assert_eq!(applied.len() as u32, store.schema().await.unwrap().latest);
    assert_eq!(engine::value(&store, objects).await, whole);
}

#[tokio::test]
async fn an_edited_past_and_a_newer_schema_are_refused_by_name() {
    let store = engine::migrated("schema_refused").await;
    engine::value(
        &store,
        "ALTER TABLE schema_migrations UPDATE checksum = 'x' WHERE version = 2 SETTINGS mutations_sync = 1",
    )
    .await;
    match store.migrate().await {
        Err(StoreError::Edited { version: 2, name, .. }) => assert_eq!(name, "corrections"),
        other => panic!("{other:?}"),
    }
    engine::value(&store, "TRUNCATE TABLE schema_migrations").await;
    engine::value(
        &store,
        "INSERT INTO schema_migrations (version, name) SETTINGS async_insert = 0 VALUES (99, 'moon')",
    )
    .await;
    match store.schema().await {
        Err(StoreError::Newer { version: 99, name, .. }) => assert_eq!(name, "moon"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_table_view_and_column_is_described() {
    let store = engine::migrated("schema_described").await;
    let bare = "SELECT name FROM system.tables WHERE database = currentDatabase() AND comment = ''";
    assert_eq!(engine::value(&store, bare).await, "");
    // Views that pass the columns of a table on, and ones that fill a table, are described there.
    let bare = "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND comment = ''
        AND table NOT LIKE '%\\_fill'
        AND table NOT IN ('events_current', 'events_people', 'events_human', 'message_hourly_current', 'recipient_events_current')";
    assert_eq!(engine::value(&store, bare).await, "");
}

#[tokio::test]
async fn the_row_has_the_columns_of_the_table() {
    let store = engine::migrated("schema_columns").await;
    let names = "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = 'events' ORDER BY position";
    let names = engine::value(&store, names).await;
    let of_row: Vec<&str> = Row::COLUMNS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.lines().collect::<Vec<_>>(), of_row);
}

/// Replication cannot run in the engine of these tests: it has no keeper, so no replicated table can be made. What
/// can be seen is that the server reads every statement, and that the first of them fails at the keeper and at
/// nothing before it.
#[tokio::test]
async fn replicated_tables_need_a_keeper_and_nothing_else() {
    let mut config = engine::pair("schema_replicated");
    if let Some(cluster) = &mut config.cluster {
        cluster.replicated = true;
    }
    let outside = Config { database: "default".into(), ..config.clone() };
    let store = Store::new(config).unwrap();
    match store.migrate().await {
        Err(StoreError::Server(cause)) => assert_eq!(cause.code, Some(NO_ZOOKEEPER), "{cause}"),
        other => panic!("{other:?}"),
    }
    let statements = store.statements();
    assert_eq!(
        statements.iter().filter(|(_, sql)| sql.contains("AggregatingMergeTree('/clickhouse/")).count(),
        8
    );
    for (_, statement) in statements {
        let read = engine::run(&outside, &format!("EXPLAIN AST {statement}")).await;
        assert!(read.starts_with("CreateQuery"), "{read}");
    }
}

/// ClickHouse's code for a replicated table without a keeper.
const NO_ZOOKEEPER: u32 = 225;
