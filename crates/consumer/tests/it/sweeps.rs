//! Sweeps and followed traps: what a later event says of earlier ones is stored once, counted by the views, and the
//! same whether or not another owner took over in between.

use event::{Event, Kind, Method, Mode};

use crate::law::{check_views, today_ms};
use crate::running::{self, config, query, rows, until};
use crate::topic::Topic;

const BROWSER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/126.0.0.0 Safari/537.36";

fn click(seq: u64, recipient: u64, link: u32, at_ms: i64) -> Event<'static> {
    Event {
        edge_id: 1,
        seq,
        kind: Kind::Click,
        received_at_ms: today_ms() + at_ms,
        workspace: 1,
        message: 7,
        recipient,
        link,
        target: "https://example.com/",
        mode: Mode::Full,
        method: Method::Get,
        user_agent: BROWSER,
        client_ip: &[81, 2, 69, 160],
        ..Event::default()
    }
}

/// A sweep by recipient 5, a person (6), a trap that is followed after a click (7), and a click after that.
fn campaign() -> Vec<Event<'static>> {
    vec![
        click(1, 5, 1, 0),
        click(2, 6, 1, 100),
        click(3, 5, 2, 900),
        click(4, 7, 1, 1_000),
        click(5, 5, 3, 1_800),
        Event { message: 8, ..click(6, 7, 2, 2_000) },
        Event { message: 8, trap: true, ..click(7, 7, 9, 3_000) },
        Event { message: 8, ..click(8, 7, 3, 400_000) },
        click(9, 6, 2, 500_000),
    ]
}

const STANDS: &str = "SELECT seq, verdict, reasons FROM events_current ORDER BY seq";
const CORRECTED: &str = "SELECT seq, verdict, reasons, k_topic != '' FROM corrections ORDER BY ALL";

#[test]
fn a_sweep_and_a_trap_are_corrected_once_and_alike_after_a_restart() {
    let stands = "1\tscanner\t['link-sweep']\n2\thuman\t[]\n3\tscanner\t['link-sweep']\n4\thuman\t[]\n\
         5\tscanner\t['link-sweep']\n6\tscanner\t['trap-taint']\n7\tscanner\t['trap-link']\n\
         8\tscanner\t['trap-taint']\n9\thuman\t[]";
    let corrected =
        "1\tscanner\t['link-sweep']\t1\n3\tscanner\t['link-sweep']\t1\n6\tscanner\t['trap-taint']\t1";
    // One owner; another owner after each message.
    for owners in [1, 9] {
        let topic = Topic::new("sweeps", 1);
        let store = running::store(&format!("sweeps_{owners}"));
        let mut sent = 0;
        for some in campaign().chunks(9 / owners) {
            let running = running::start(&config(), topic.source(), &store);
            for event in some {
                topic.send(0, &crate::law::batch(std::slice::from_ref(event)));
                sent += 1;
            }
            until("rows", || rows(&store) == sent);
            running.finish();
        }
        assert_eq!(query(&store, STANDS), stands, "{owners} owners");
        assert_eq!(query(&store, CORRECTED), corrected, "{owners} owners");
        let totals = "SELECT message, clicks, clicks_all, clickers FROM message_totals ORDER BY message";
        assert_eq!(query(&store, totals), "7\t3\t6\t2\n8\t0\t3\t0");
        check_views(&store);
    }
}

#[test]
fn an_owner_waits_for_the_past_while_clickhouse_is_away() {
    let topic = Topic::new("past", 1);
    let store = running::store("past");
    let events = campaign();
    let running = running::start(&config(), topic.source(), &store);
    topic.send(0, &crate::law::batch(&events[..3]));
    until("the first rows", || rows(&store) == 3);
    running.finish();
    // The table cannot be read: what comes waits, and is judged by what was before.
    query(&store, "RENAME TABLE events TO elsewhere");
    let running = running::start(&config(), topic.source(), &store);
    topic.send(0, &crate::law::batch(&events[3..5]));
    until("it to stand still", || running.metric("consumer_stalled_partitions") == 1);
    query(&store, "RENAME TABLE elsewhere TO events");
    until("all rows", || rows(&store) == 5);
    running.finish();
    assert_eq!(
        query(&store, "SELECT groupArray(seq) FROM (SELECT seq FROM corrections ORDER BY seq)"),
        "[1,3]"
    );
    check_views(&store);
}
