//! The writer: every column there and back, one copy per token, and what each failure asks for.

use std::net::Ipv6Addr;

use bytes::Bytes;
use store::{Block, Config, Correction, InsertError, Range, Row, Store, StoreError, month};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::engine::{self, block, open, today_ms, value};

#[tokio::test]
async fn every_column_comes_back() {
    let store = engine::migrated("insert_columns").await;
    let ip: Ipv6Addr = "2001:db8:1::".parse().unwrap();
    let full = Row {
        workspace: 1,
        message: u64::MAX,
        recipient: 3,
        received_at_ms: today_ms() + 123,
        kind: 3,
        link: 4,
        target: "https://example.com/ä?b=c",
        sent_at_ms: 1_764_000_000_999,
        position: 2,
        mode: 3,
        region_claim: 1,
        trap: true,
        method: 2,
        verdict: 4,
        reasons: &["trap", "burst"],
        confidence: 3,
        ruleset: 12,
        network: "google",
        device: 6,
        os: "Android",
        os_version: "15",
        client: "Gmail",
        client_version: "2.1",
        device_trust: 1,
        country: "CH",
        region: "ZH",
        city: "Zürich",
        latitude: 47.5,
        longitude: -8.25,
        accuracy_km: 50,
        time_zone: "Europe/Zurich",
        geo_trust: 2,
        geo_version: "dbip-2026-11",
        region_class: 2,
        local_hour: 23,
        local_weekday: 7,
        address: ip.octets(),
        user_agent: "Mozilla/5.0",
        accept_language: "de-CH",
        referer: "https://mail.example/",
        host: "m.example.com",
        http_version: 20,
        dnt: true,
        sec_gpc: true,
        replay: true,
        domain: 5,
        profile_country: "IN",
        profile_time_zone: "Asia/Kolkata",
        corrects: &[Correction {
            edge_id: 1,
            seq: 2,
            received_at_ms: 1_764_000_000_123,
            recipient: 3,
            kind: 3,
            link: 4,
            verdict: 4,
            confidence: 2,
            reason: "link-sweep",
        }],
        k_topic: "events",
        k_part: 7,
        k_off: 1 << 40,
        edge_id: u64::MAX - 1,
        seq: 300,
    };
    let unknown = Row { received_at_ms: today_ms(), kind: 1, seq: 301, ..Row::default() };
    store.insert(0, "columns", &block([full, unknown])).await.unwrap();

    let rows =
        "SELECT * REPLACE (toUnixTimestamp64Milli(received_at) AS received_at) FROM events ORDER BY seq";
    let expected = format!(
        "1\t18446744073709551615\t3\t{}\tclick\t4\thttps://example.com/ä?b=c\t2025-11-24 16:00:00\tbottom\tdate\teu\t\
         true\tHEAD\tscanner\t['trap','burst']\tcertain\t12\tgoogle\twearable\tAndroid\t15\tGmail\t2.1\tlow\tCH\tZH\tZürich\t\
         47.5\t-8.25\t50\tEurope/Zurich\thigh\tdbip-2026-11\tother\t23\t7\t2001:db8:1::\tMozilla/5.0\tde-CH\t\
         https://mail.example/\tm.example.com\t20\ttrue\ttrue\ttrue\t5\tIN\tAsia/Kolkata\t\
         [(1,2,'2025-11-24 16:00:00.123',3,'click',4,'scanner','probable','link-sweep')]\tevents\t7\t1099511627776\t\
         18446744073709551614\t300\n\
         0\t0\t0\t{}\tsent\t0\t\t1970-01-01 00:00:00\tunknown\tunspecified\tunknown\t\
         false\tother\tnone\t[]\tnone\t0\t\tunknown\t\t\t\t\tnone\t\t\t\t\
         nan\tnan\t0\t\tnone\t\tunknown\t255\t0\t::\t\t\t\
         \t\t0\tfalse\tfalse\tfalse\t0\t\t\t[]\t\t0\t0\t\
         0\t301",
        today_ms() + 123,
        today_ms()
    );
    assert_eq!(value(&store, rows).await, expected);
}

/// Their numbers take one byte, two or four.
#[tokio::test]
async fn however_many_names_there_are_each_comes_back() {
    let store = engine::migrated("insert_names").await;
    for count in [1, 255, 256, 70_000_u64] {
        let hosts: Vec<String> = (0..count).map(|n| format!("h{n}")).collect();
        let half = hosts.len() / 2;
        let blocks = [&hosts[..half], &hosts[half..]].map(|hosts| {
            let mut block = Block::new(month(today_ms()));
            for host in hosts {
                let seq = host[1..].parse().unwrap();
                block.push(&Row { host, edge_id: count, seq, ..open(1) });
            }
            block
        });
        store.insert(0, &format!("{count}"), &Block::together(&blocks.each_ref())).await.unwrap();
        let sql = format!(
            "SELECT count(), countIf(host = 'h' || toString(seq)), uniqExact(host) FROM events WHERE edge_id = {count}"
        );
        assert_eq!(value(&store, &sql).await, format!("{count}\t{count}\t{count}"));
    }
}

#[tokio::test]
async fn months_are_those_of_clickhouse() {
    let store = engine::migrated("insert_months").await;
    // Every 10 days and 1 hour from 1970 to 2105: all months, both sides of most borders.
    let step = 868_000_000_i64;
    let of_server = format!(
        "SELECT toYYYYMM(fromUnixTimestamp64Milli(toInt64(number * {step}), 'UTC')) FROM numbers({})",
        4_290_000_000_000 / step
    );
    let of_server = value(&store, &of_server).await;
    assert!(of_server.lines().count() > 4_900);
    for (n, line) in of_server.lines().enumerate() {
        assert_eq!(month(n as i64 * step).to_string(), line);
    }
}

/// Copies in the table and in what every view made of it.
pub async fn copies(store: &Store) -> [String; 5] {
    [
        value(store, "SELECT count() FROM events").await,
        value(store, "SELECT sum(events) FROM message_hourly").await,
        value(store, "SELECT sum(opens) FROM message_totals").await,
        value(store, "SELECT count() FROM recipient_events").await,
        value(store, "SELECT count() FROM recipient_regions").await,
    ]
}

pub fn active(n: u64) -> Row<'static> {
    Row { local_hour: 8, local_weekday: 2, time_zone: "Asia/Kolkata", ..open(n) }
}

#[tokio::test]
async fn one_token_is_one_copy_everywhere() {
    let store = engine::migrated("insert_token").await;
    let rows = block((0..20).map(active));
    for _ in 0..3 {
        store.insert(0, "events/4/0-20", &rows).await.unwrap();
    }
    assert_eq!(copies(&store).await, ["20"; 5]);
    let audit = "SELECT events, duplicates, missing, first_seq, last_seq FROM events_audit";
    assert_eq!(value(&store, audit).await, "20\t0\t0\t0\t19");
    // The same rows under another token are other rows: it is the token that names them.
    store.insert(0, "events/4/20-40", &rows).await.unwrap();
    assert_eq!(value(&store, "SELECT count() FROM events").await, "40");
    assert_eq!(value(&store, "SELECT sum(events) FROM message_hourly").await, "40");
    store.insert(0, "events/4/40-41", &block([active(22)])).await.unwrap();
    assert_eq!(value(&store, audit).await, "41\t20\t2\t0\t22");
}

/// Who inserts rows of several sources together relies on this: whoever comes first under the token is all that ever
/// comes in under it.
#[tokio::test]
async fn a_token_is_taken_by_whatever_comes_first_under_it() {
    let store = engine::migrated("insert_together").await;
    let of = |zone: &'static str, range: std::ops::Range<u64>| {
        let mut block = Block::new(month(today_ms()));
        range.for_each(|n| block.push(&Row { time_zone: zone, reasons: &["a"], ..active(n) }));
        block
    };
    let blocks = [of("Asia/Kolkata", 0..20), of("Asia/Tokyo", 20..30), of("America/Lima", 30..37)];
    let together = Block::together(&blocks.each_ref());
    for _ in 0..2 {
        store.insert(0, "group/1", &together).await.unwrap();
    }
    assert_eq!(copies(&store).await, ["37"; 5]);
    let parts = "SELECT groupUniqArray(n) FROM (SELECT table, count() AS n FROM system.parts WHERE active \
                 AND database = currentDatabase() AND table NOT LIKE 'schema%' GROUP BY table)";
    assert_eq!(value(&store, parts).await, "[1]", "one part of the events and of each view");
    let zones = "SELECT time_zone, count(), min(seq), arrayDistinct(groupArray(reasons)) FROM events \
                 GROUP BY 1 ORDER BY 3";
    let expected = "Asia/Kolkata\t20\t0\t[['a']]\nAsia/Tokyo\t10\t20\t[['a']]\nAmerica/Lima\t7\t30\t[['a']]";
    assert_eq!(value(&store, zones).await, expected);

    let (one, other) = (of("Asia/Kolkata", 40..41), of("Asia/Tokyo", 41..42));
    store.insert(0, "group/2", &Block::together(&[&one])).await.unwrap();
    store.insert(0, "group/2", &Block::together(&[&one, &other])).await.unwrap();
    store.insert(0, "group/2", &Block::together(&[&other])).await.unwrap();
    assert_eq!(copies(&store).await, ["38"; 5]);
}

#[tokio::test]
async fn an_insert_that_failed_in_a_view_is_completed_by_its_token() {
    let store = engine::migrated("insert_half").await;
    value(&store, "CREATE TABLE broken (n UInt8) ENGINE = Null").await;
    value(
        &store,
        "CREATE MATERIALIZED VIEW broken_fill TO broken AS SELECT throwIf(link = 0) AS n FROM events",
    )
    .await;
    let rows = block((0..20).map(active));
    let error = store.insert(0, "half", &rows).await.unwrap_err();
    assert!(matches!(error, InsertError::Retry(_)), "{error}");
    value(&store, "DROP VIEW broken_fill").await;
    for _ in 0..2 {
        store.insert(0, "half", &rows).await.unwrap();
        assert_eq!(copies(&store).await, ["20"; 5]);
    }
}

#[tokio::test]
async fn stored_counts_a_range_and_nothing_else() {
    let store = engine::migrated("insert_stored").await;
    let other_part = Row { k_part: 5, ..open(3) };
    let other_source = Row { k_topic: "it's another", ..open(3) };
    store.insert(0, "a", &block((0..20).map(open).chain([other_part, other_source]))).await.unwrap();
    let range = |source, part, from, to| Range { source, part, from, to, month: month(today_ms()) };
    for (range, rows) in [
        (range("events", 4, 0, 20), 20),
        (range("events", 4, 5, 7), 2),
        (range("events", 4, 20, 99), 0),
        (range("events", 5, 0, 20), 1),
        (range("it's another", 4, 0, 20), 1),
        (Range { month: 197001, ..range("events", 4, 0, 20) }, 0),
    ] {
        assert_eq!(store.stored(0, &range).await.unwrap(), rows, "{range:?}");
    }
    assert!(matches!(
        store.stored(1, &range("events", 4, 0, 1)).await,
        Err(StoreError::NoShard { shard: 1, shards: 1 })
    ));
}

#[tokio::test]
async fn stored_ids_are_found_outside_their_own_range() {
    let store = engine::migrated("insert_ids").await;
    store.insert(0, "a", &block((0..20).map(open))).await.unwrap();
    let known = |n: u64| ((9, n), open(n).received_at_ms);
    let asked = [known(3), known(19), known(20), ((8, 3), open(3).received_at_ms)];
    let own = Range { source: "events", part: 4, from: 19, to: 30, month: 0 };
    assert_eq!(store.stored_ids(0, &own, &asked).await.unwrap(), [(9, 3)]);
    assert_eq!(store.stored_ids(0, &own, &[]).await.unwrap(), []);
    // As many, and as long, as a batch may have.
    let many = (0..10_000).map(|n| ((u64::MAX, u64::MAX - n), open(3).received_at_ms));
    let asked_with_many: Vec<_> = many.chain(asked).collect();
    assert_eq!(store.stored_ids(0, &own, &asked_with_many).await.unwrap(), [(9, 3)]);
    let both = Range { source: "other", ..own };
    let mut found = store.stored_ids(0, &both, &asked).await.unwrap();
    found.sort_unstable();
    assert_eq!(found, [(9, 3), (9, 19)]);
}

#[tokio::test]
async fn a_server_says_when_it_started() {
    let store = engine::migrated("insert_started").await;
    let (first, again) = (store.started(0).await.unwrap(), store.started(0).await.unwrap());
    assert!(first > 0 && (first - again).abs() <= 1, "{first} {again}");
}

#[tokio::test]
async fn bytes_that_are_no_rows_are_rejected() {
    let store = engine::migrated("insert_reject").await;
    let good = block((0..3).map(open));
    let cut = good.slice(..good.len() - 9);
    let unknown_kind = block([Row { kind: 99, target: "person@example.com", ..open(1) }]);
    for (what, bytes) in
        [("garbage", Bytes::from_static(b"\x02\x01garbage")), ("cut", cut), ("kind", unknown_kind)]
    {
        match store.insert(0, what, &bytes).await {
            Err(InsertError::Reject(cause)) => assert!(!cause.text.contains('@'), "{cause}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    assert_eq!(value(&store, "SELECT count() FROM events").await, "0");
    store.insert(0, "good", &good).await.unwrap();
    assert_eq!(copies(&store).await[..3], ["3"; 3]);
}

#[tokio::test]
async fn what_an_operator_must_mend_is_fatal() {
    let config = engine::empty("insert_fatal");
    let rows = block([open(1)]);
    let fatal = async |config: Config| match Store::new(config).unwrap().insert(0, "t", &rows).await {
        Err(InsertError::Fatal(cause)) => cause,
        other => panic!("{other:?}"),
    };
    assert_eq!(fatal(config.clone()).await.code, Some(81));
    engine::run(&Config { database: "default".into(), ..config.clone() }, "CREATE DATABASE insert_fatal")
        .await;
    assert_eq!(fatal(config).await.code, Some(60));
}

#[tokio::test]
async fn addresses_go_after_a_month_and_events_after_two_years() {
    let store = engine::migrated("insert_ttl").await;
    let day_ms = 86_400_000;
    for (days, token) in [(1, "new"), (40, "old"), (800, "gone")] {
        let received_at_ms = today_ms() - days * day_ms;
        let mut block = Block::new(month(received_at_ms));
        block.push(&Row { received_at_ms, address: [0xfd; 16], seq: days as u64, ..open(1) });
        store.insert(0, token, &block.finish()).await.unwrap();
    }
    value(&store, "OPTIMIZE TABLE events FINAL").await;
    let kept = value(&store, "SELECT seq, address != toIPv6('::') FROM events ORDER BY seq").await;
    assert_eq!(kept, "1\t1\n40\t0");
}

/// A server that answers the first question of a writer and takes all else without a word.
async fn silent(listener: TcpListener, answers: usize) {
    let mut held = Vec::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        if held.len() < answers {
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n1\n")
                .await
                .unwrap();
        }
        held.push(stream);
    }
}

#[tokio::test]
async fn a_server_that_is_away_or_silent_is_tried_again() {
    let rows = block((0..20_000).map(open));
    for answers in [0, 1] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let config = Config { url, request_timeout_ms: 300, ..Config::default() };
        let server = tokio::spawn(silent(listener, answers));
        let store = Store::new(config).unwrap();
        let error = store.insert(0, "t", &rows).await.unwrap_err();
        assert!(matches!(error, InsertError::Retry(_)), "{error}");
        assert!(matches!(store.ping().await, Err(StoreError::Server(_))));
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
        // Its port is closed now.
        let error = store.insert(0, "t", &rows).await.unwrap_err();
        assert!(matches!(error, InsertError::Retry(_)), "{error}");
        assert!(error.cause().text.to_lowercase().contains("refused"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let store = engine::migrated("insert_long").await;
    let error = store.query("SELECT repeat('x', 1000) FROM numbers(1000000)").await.unwrap_err();
    assert!(matches!(error, StoreError::TooLong { .. }), "{error}");
}
