//! `verdict rerun` over rows that an older ruleset judged, in a real ClickHouse.

use store::{Block, Config, Row, Store};

use crate::program::says;
use crate::services::Servers;

const BROWSER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/126.0.0.0 Safari/537.36";

/// A click that was taken for a person's.
fn click(seq: u64, link: u32, at_ms: i64) -> Row<'static> {
    Row {
        workspace: 1,
        message: 7,
        recipient: 5,
        received_at_ms: at_ms + seq as i64 * 1_000,
        kind: 3,
        link,
        mode: 1,
        method: 1,
        verdict: 1,
        confidence: 2,
        ruleset: 0,
        user_agent: BROWSER,
        address: std::net::Ipv4Addr::new(81, 2, 69, 0).to_ipv6_mapped().octets(),
        k_topic: "old",
        k_off: seq,
        edge_id: 9,
        seq,
        ..Row::default()
    }
}

#[test]
fn todays_rules_are_shown_first_and_written_as_corrections_once() {
    let (servers, dir) = (Servers::new("rerun"), testkit::fresh_dir("rerun"));
    let dir = dir.path();
    says(dir, &["keys", "new"]);
    says(dir, &servers.args(&[], &["migrate"]));
    // The start of a day, so that all is of one month; three days ago.
    let day_ms = 86_400_000;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let at_ms = now_ms - now_ms % day_ms - 3 * day_ms;
    let rows = [
        click(1, 1, at_ms),
        click(2, 2, at_ms),
        click(3, 3, at_ms),
        Row { user_agent: "curl/8.5.0", recipient: 6, ..click(4, 1, at_ms) },
        // Judged by its network, which a cleared address does not tell any more.
        Row {
            verdict: 4,
            reasons: &["scanner-network"],
            address: [0; 16],
            recipient: 7,
            ..click(5, 1, at_ms)
        },
        // Its header is not stored, and is remembered by the reason.
        Row { verdict: 3, reasons: &["purpose-header"], confidence: 3, recipient: 8, ..click(6, 1, at_ms) },
        // Taken for a machine's once, and a person's by today's rules.
        Row { verdict: 5, reasons: &["whim"], recipient: 9, ..click(7, 1, at_ms) },
        click(8, 1, at_ms + 100_000),
    ];
    let url = testkit::clickhouse().http_url();
    let store = Store::new(Config { url, database: servers.database.clone(), ..Config::default() }).unwrap();
    let mut block = Block::new(store::month(at_ms));
    rows.iter().for_each(|row| block.push(row));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(store.insert(0, "rerun", &block.finish())).unwrap();

    let query = |sql: &str| {
        let text = testkit::query(&sql.replace("FROM ", &format!("FROM {}.", servers.database)));
        text.trim_end().to_owned()
    };
    let rerun = |more: &[&str]| {
        says(dir, &servers.args(&[], &[&["verdict", "rerun", "--from", "5d"], more].concat()))
    };
    let said = rerun(&[]);
    for line in [
        "8 visits judged, 1 kept",
        "click  human  bot      library-agent       1",
        "click  human  scanner  link-sweep          3",
        "click  bot    human    no rule             1",
        "nothing was written",
    ] {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert!(words(&said).contains(&words(line)), "{line}: {said}");
    }
    assert_eq!(query("SELECT count() FROM corrections"), "0");
    assert!(rerun(&["--write"]).contains("5 corrections written"));
    assert_eq!(
        query("SELECT seq, verdict, reasons, first_verdict FROM events_current ORDER BY seq"),
        "1\tscanner\t['link-sweep']\thuman\n2\tscanner\t['link-sweep']\thuman\n3\tscanner\t['link-sweep']\thuman\n\
         4\tbot\t['library-agent']\thuman\n5\tscanner\t['scanner-network']\tscanner\n\
         6\tprefetch\t['purpose-header']\tprefetch\n7\thuman\t[]\tbot\n8\thuman\t[]\thuman"
    );
    assert_eq!(query("SELECT clicks, clicks_all, clickers FROM message_totals"), "2\t8\t2");
    assert!(rerun(&["--write"]).contains("nothing changes"));
    let json: serde_json::Value = serde_json::from_str(&rerun(&["--json"])).unwrap();
    assert_eq!(
        (&json["visits"], &json["kept"], &json["changes"]),
        (&8.into(), &1.into(), &serde_json::json!([]))
    );
    let drifts = runtime.block_on(store.view_drift()).unwrap();
    assert!(drifts.iter().all(|drift| drift.differing == 0), "{drifts:?}");
}
