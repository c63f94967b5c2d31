//! The ClickHouse engine as a child.

use std::net::TcpListener;

use local::engine::{self, EngineOptions};

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

#[test]
fn clean_stop_flushes_what_is_only_in_memory() {
    let mut engine = testkit::fresh_clickhouse();
    for sql in [
        "CREATE DATABASE kept",
        "CREATE TABLE kept.rows (n UInt64) ENGINE = MergeTree ORDER BY n",
        // Flushes after an hour or a million rows, or when the engine ends.
        "CREATE TABLE kept.buffer (n UInt64) ENGINE = Buffer(kept, rows, 1, 3600, 3600, 1e6, 1e6, 1e9, 1e9)",
        "INSERT INTO kept.buffer VALUES (1), (2), (3)",
    ] {
        engine.query(sql).unwrap();
    }
    assert_eq!(engine.query("SELECT count() FROM kept.rows").unwrap(), "0\n");
    engine.restart().unwrap();
    assert_eq!(engine.query("SELECT count() FROM kept.rows").unwrap(), "3\n");
}

#[test]
fn mutations_run_in_the_small_pool() {
    let database = testkit::database("mutation");
    testkit::query(&format!("CREATE TABLE {database}.rows (n UInt64) ENGINE = MergeTree ORDER BY n"));
    testkit::query(&format!("INSERT INTO {database}.rows SELECT number FROM numbers(100)"));
    testkit::query(&format!("ALTER TABLE {database}.rows DELETE WHERE n < 40 SETTINGS mutations_sync = 1"));
    assert_eq!(testkit::query(&format!("SELECT count() FROM {database}.rows")), "60\n");
}

#[test]
fn two_engines_are_two_shards_of_one_table() {
    let ports = local::free_ports(2).unwrap();
    let shard =
        |port: &u16| format!("<shard><replica><host>127.0.0.1</host><port>{port}</port></replica></shard>");
    let shards: String = ports.iter().map(shard).collect();
    let engines: Vec<_> = ports
        .iter()
        .map(|port| {
            testkit::clickhouse_with(|options| {
                options.tcp_port = Some(*port);
                options.config = Some(format!("<remote_servers><pair>{shards}</pair></remote_servers>"));
            })
        })
        .collect();
    for engine in &engines {
        engine.query("CREATE DATABASE sharded").unwrap();
        engine.query("CREATE TABLE sharded.rows (n UInt64) ENGINE = MergeTree ORDER BY n").unwrap();
    }
    engines[0]
        .query("CREATE TABLE sharded.all AS sharded.rows ENGINE = Distributed(pair, sharded, rows, n)")
        .unwrap();
    engines[0]
        .query("INSERT INTO sharded.all SETTINGS distributed_foreground_insert = 1 SELECT number FROM numbers(100)")
        .unwrap();
    for engine in &engines {
        assert_eq!(engine.query("SELECT count() FROM sharded.rows").unwrap(), "50\n");
    }
    assert_eq!(engines[0].query("SELECT sum(n) FROM sharded.all").unwrap(), "4950\n");
}

#[test]
fn suspended_engine_answers_again_when_resumed() {
    let engine = testkit::fresh_clickhouse();
    engine.suspend().unwrap();
    assert!(engine.is_alive());
    let state = std::fs::read_to_string(format!("/proc/{}/stat", engine.pid())).unwrap();
    assert!(state.contains(") T "), "not stopped: {state}");
    engine.resume().unwrap();
    assert_eq!(engine.query("SELECT 1").unwrap(), "1\n");
}

#[test]
fn engine_that_cannot_start_says_why() {
    let dir = testkit::fresh_dir("torn");
    let mut options = EngineOptions::new(dir.path().to_owned(), testkit::helper(), testkit::cache());
    options.config = Some("<torn>".into());
    let error = engine::start(options).err().expect("a torn configuration is refused").to_string();
    assert!(error.starts_with("clickhouse ended (exit status: 1)"), "{error}");
    assert!(error.contains("Tag mismatch") && error.contains("config.xml"), "{error}");
}

#[test]
fn port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = testkit::fresh_dir("taken");
    let mut options = EngineOptions::new(dir.path().to_owned(), testkit::helper(), testkit::cache());
    let port = taken.local_addr().unwrap().port();
    (options.http_port, options.tcp_port) = (Some(port), Some(local::free_ports(1).unwrap()[0]));
    let error = engine::start(options).err().expect("a taken port is refused").to_string();
    assert!(error.contains(&format!("Address already in use: 127.0.0.1:{port}")), "{error}");
}

#[test]
fn missing_helper_is_named() {
    let dir = testkit::fresh_dir("helper");
    let options = EngineOptions::new(dir.path().to_owned(), dir.path().join("absent"), testkit::cache());
    let error = engine::start(options).err().expect("a missing program is refused").to_string();
    assert!(error.contains("absent: build it with `cargo build -p mailbeacon`"), "{error}");
}
