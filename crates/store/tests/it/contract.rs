//! The topic's format is one that ClickHouse reads by itself: anyone may attach a Kafka engine table to it.

use event::{Batch, Event, Kind, Method, Region};

use crate::engine;

/// The contract as it is published, not a copy.
const PROTO: &str = include_str!("../../../../proto/mailbeacon/v1/event.proto");

#[tokio::test]
async fn clickhouse_reads_a_batch_of_events() {
    let config = engine::empty("contract");
    engine::run(&store::Config { database: "default".into(), ..config.clone() }, "CREATE DATABASE contract")
        .await;
    let table = "CREATE TABLE topic (recipient UInt64, edge_id UInt64, seq UInt64, received_at_ms Int64, workspace UInt32, \
         kind Enum8('KIND_UNSPECIFIED' = 0, 'KIND_SENT' = 1, 'KIND_OPEN' = 2, 'KIND_CLICK' = 3), target String, \
         method Enum8('METHOD_UNSPECIFIED' = 0, 'METHOD_GET' = 1), client_ip String, trap Bool, user_agent String, \
         region Enum8('REGION_UNSPECIFIED' = 0, 'REGION_EU' = 1, 'REGION_OTHER' = 2), replay Bool, domain UInt64) \
         ENGINE = Memory";
    engine::run(&config, table).await;

    let click = Event {
        recipient: 1 << 63,
        edge_id: 2,
        seq: 300,
        kind: Kind::Click,
        received_at_ms: 1_764_000_000_123,
        workspace: 7,
        target: "https://example.com/ä",
        method: Method::Get,
        region: Region::Other,
        client_ip: &[192, 0, 2, 1],
        trap: true,
        user_agent: "Mozilla/5.0",
        ..Event::default()
    };
    let sent = Event { kind: Kind::Sent, seq: 301, domain: u64::MAX, ..Event::default() };
    let mut batch = Vec::new();
    for (event, replay) in [(click, true), (sent, false)] {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        if replay {
            event::mark_replay(&mut bytes);
        }
        Batch::push(&mut batch, &bytes);
    }
    let client = clickhouse::Client::default().with_url(&config.url).with_database("contract");
    let mut insert = client
        .insert_formatted_with("INSERT INTO topic FORMAT Protobuf")
        .with_setting("async_insert", "0")
        .with_setting("format_schema_source", "string")
        .with_setting("format_schema", PROTO)
        .with_setting("format_schema_message_name", "Event");
    insert.send(batch.into()).await.unwrap();
    insert.end().await.unwrap();

    let rows =
        engine::run(&config, "SELECT * REPLACE (hex(client_ip) AS client_ip) FROM topic ORDER BY seq").await;
    let expected = "9223372036854775808\t2\t300\t1764000000123\t7\tKIND_CLICK\thttps://example.com/ä\tMETHOD_GET\tC0000201\ttrue\tMozilla/5.0\tREGION_OTHER\ttrue\t0\n\
         0\t0\t301\t0\t0\tKIND_SENT\t\tMETHOD_UNSPECIFIED\t\tfalse\t\tREGION_UNSPECIFIED\tfalse\t18446744073709551615\n";
    assert_eq!(rows, expected);
}
