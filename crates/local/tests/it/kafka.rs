//! Apache Kafka as a child. ClickHouse's own Kafka client puts rows in and takes them out.

use local::engine::Engine;
use local::kafka::Kafka;

const ROWS: u32 = 500;

fn table(name: &str, bootstrap: &str, topic: &str, group: &str) -> String {
    format!(
        "CREATE TABLE {name} (n UInt32) ENGINE = Kafka SETTINGS kafka_broker_list = '{bootstrap}', \
         kafka_topic_list = '{topic}', kafka_group_name = '{group}', kafka_format = 'JSONEachRow'"
    )
}

fn produce(engine: &Engine, database: &str, rows: u32) {
    engine.query(&format!("INSERT INTO {database}.put SELECT number FROM numbers({rows})")).unwrap();
}

/// Reads until `rows` have come, within the bound of a query each time.
fn consume(engine: &Engine, database: &str, rows: u32) -> u32 {
    const READS_MAX: usize = 40;
    let mut total = 0;
    for _ in 0..READS_MAX {
        if total >= rows {
            break;
        }
        let read = format!(
            "SELECT count() FROM {database}.take SETTINGS stream_like_engine_allow_direct_select = 1, \
             stream_flush_interval_ms = 500"
        );
        total += engine.query(&read).unwrap().trim_end().parse::<u32>().unwrap();
    }
    total
}

fn connect(engine: &Engine, kafka: &Kafka, topic: &str) -> String {
    let database = testkit::database("kafka");
    for table in [
        table(&format!("{database}.put"), &kafka.bootstrap(), topic, "put"),
        table(&format!("{database}.take"), &kafka.bootstrap(), topic, &database),
    ] {
        engine.query(&table).unwrap();
    }
    database
}

#[test]
fn one_broker_keeps_its_messages_over_a_stop_and_a_kill() {
    let engine = testkit::clickhouse();
    let mut kafka = testkit::fresh_kafka(1);
    let topic = testkit::topic("kept");
    kafka.create_topic(&topic, 2).unwrap();
    assert!(kafka.create_topic(&topic, 2).unwrap_err().to_string().contains("already exists"));
    let database = connect(engine, &kafka, &topic);
    produce(engine, &database, ROWS);

    kafka.stop_broker(0).unwrap();
    assert!(!kafka.is_alive(0));
    kafka.start_broker(0).unwrap();
    produce(engine, &database, ROWS);

    kafka.kill(0).unwrap();
    kafka.start_broker(0).unwrap();
    assert_eq!(consume(engine, &database, 2 * ROWS), 2 * ROWS);
}

#[test]
fn three_brokers_go_on_without_one() {
    let engine = testkit::clickhouse();
    let mut kafka = testkit::fresh_kafka(3);
    let topic = testkit::topic("replicated");
    kafka.create_topic(&topic, 3).unwrap();
    in_sync(&kafka, &topic, 3);
    kafka.kill(0).unwrap();
    assert!(!kafka.is_alive(0) && kafka.is_alive(1) && kafka.is_alive(2));
    in_sync(&kafka, &topic, 2);
    let database = connect(engine, &kafka, &topic);
    produce(engine, &database, ROWS);
    kafka.start_broker(0).unwrap();
    in_sync(&kafka, &topic, 3);
    assert_eq!(consume(engine, &database, ROWS), ROWS);
}

/// Waits until each partition has as many copies in sync.
fn in_sync(kafka: &Kafka, topic: &str, copies: usize) {
    const ASKED_MAX: usize = 2_000;
    let seen = |_| {
        let seen = kafka.copies_in_sync(&[topic]);
        std::thread::park_timeout(std::time::Duration::from_millis(25));
        seen.is_ok_and(|seen| seen == copies)
    };
    assert!((0..ASKED_MAX).any(seen), "{:?}", kafka.copies_in_sync(&[topic]));
}
