//! The ClickHouse engine as a child.

#[test]
fn answers() {
    assert_eq!(testkit::query("SELECT 1"), "1\n");
}

#[test]
fn what_is_written_survives_a_stop_and_a_kill() {
    let mut engine = testkit::fresh_clickhouse();
    engine.query("CREATE DATABASE kept").unwrap();
    engine.query("CREATE TABLE kept.rows (n UInt64) ENGINE = MergeTree ORDER BY n").unwrap();
    engine.query("INSERT INTO kept.rows SELECT number FROM numbers(1000)").unwrap();
    let before = (engine.http_url(), engine.tcp_port(), engine.pid());

    engine.restart().unwrap();
    assert_eq!((engine.http_url(), engine.tcp_port()), (before.0, before.1));
    assert_ne!(engine.pid(), before.2);
    assert_eq!(engine.query("SELECT count() FROM kept.rows").unwrap(), "1000\n");

    engine.query("INSERT INTO kept.rows SELECT number FROM numbers(1000)").unwrap();
    engine.kill().unwrap();
    assert!(!engine.is_alive());
    engine.restart().unwrap();
    assert_eq!(engine.query("SELECT count() FROM kept.rows").unwrap(), "2000\n");
}
