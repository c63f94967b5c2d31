//! The questions of the README, each run over a campaign whose answers are known.

use store::{Block, Config, Row, Store};

use crate::program::says;
use crate::services::Servers;

const HOUR_MS: i64 = 3_600_000;

/// What the README shows of a heading, in order.
fn questions() -> Vec<(String, String)> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    let block = readme.split("Ten questions").nth(1).unwrap().split("```").nth(1).unwrap();
    let question = |text: &str| {
        let (title, sql) = text.split_once('\n').unwrap();
        (title.to_owned(), sql.trim().trim_end_matches(';').to_owned())
    };
    block.trim_start_matches("sql").split("-- ").skip(1).map(question).collect()
}

/// A message to ten people, sent at nine three days ago, and what came of it.
fn campaign(sent_ms: i64) -> Vec<Row<'static>> {
    let sent = |n: u64| Row {
        kind: 1,
        recipient: n,
        received_at_ms: sent_ms,
        sent_at_ms: sent_ms,
        ..Row::default()
    };
    let open = |recipient: u64, minutes: i64| Row {
        kind: 2,
        verdict: 1,
        recipient,
        received_at_ms: sent_ms + minutes * 60_000,
        sent_at_ms: sent_ms,
        ..Row::default()
    };
    let iphone =
        |minutes| Row { client: "apple mail", device: 1, country: "GB", geo_trust: 2, ..open(1, minutes) };
    let outlook =
        |minutes| Row { client: "outlook", device: 3, country: "US", geo_trust: 2, ..open(4, minutes) };
    let gmail = Row { client: "gmail", verdict: 2, ..open(2, 125) };
    let apple = |n| Row { client: "apple mail", network: "apple-egress", verdict: 3, ..open(n, 2) };
    let scanner = |n| Row { network: "microsoft-eop", verdict: 4, ..open(n, 1) };
    let follow = |row: Row<'static>, kind, link, target| Row { kind, link, target, ..row };
    let rows = [
        iphone(30),
        iphone(300),
        outlook(60),
        gmail,
        apple(3),
        apple(6),
        apple(7),
        scanner(5),
        follow(iphone(31), 3, 1, "https://example.com/a"),
        follow(iphone(32), 3, 2, "https://example.com/b"),
        follow(outlook(61), 3, 1, "https://example.com/a"),
        follow(scanner(5), 3, 1, "https://example.com/a"),
        follow(outlook(70), 4, 3, "https://example.com/price.pdf"),
        // Half a year ago, another message.
        Row { message: 8, ..open(9, -60 * 24 * 200) },
    ];
    (1..=10).map(sent).chain(rows).collect()
}

#[test]
fn the_questions_of_the_readme_are_answered() {
    let (servers, dir) = (Servers::new("questions"), testkit::fresh_dir("questions"));
    says(dir.path(), &["keys", "new"]);
    says(dir.path(), &servers.args(&[], &["migrate"]));
    let day_ms = 24 * HOUR_MS;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let sent_ms = now_ms - now_ms % day_ms - 3 * day_ms + 9 * HOUR_MS;
    let url = testkit::clickhouse().http_url();
    let store = Store::new(Config { url, database: servers.database.clone(), ..Config::default() }).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (seq, row) in campaign(sent_ms).into_iter().enumerate() {
        let message = if row.message == 0 { 7 } else { row.message };
        let row = Row {
            workspace: 1,
            message,
            edge_id: 1,
            seq: seq as u64,
            k_topic: "t",
            k_off: seq as u64,
            ..row
        };
        let mut block = Block::new(store::month(row.received_at_ms));
        block.push(&row);
        runtime.block_on(store.insert(0, &format!("questions/{seq}"), &block.finish())).unwrap();
    }
    let hour = |hours: i64| {
        let at = jiff::Timestamp::from_millisecond(sent_ms + hours * HOUR_MS).unwrap();
        at.strftime("%Y-%m-%d %H:00:00").to_string()
    };
    let expected = [
        format!("{}\t1\t0.1\n{}\t1\t0.1\n{}\t1\t0.1\n{}\t1\t0.1", hour(0), hour(1), hour(2), hour(5)),
        "apple mail\tphone\t1\ngmail\tunknown\t1\noutlook\tdesktop\t1".to_owned(),
        "GB\t1\nUS\t1".to_owned(),
        "7\t3\t2\t0.667\n8\t1\t0\t0".to_owned(),
        "[30,60,125]".to_owned(),
        "people\t4\t0.5\napple-egress\t3\t0.375\nmicrosoft-eop\t1\t0.125".to_owned(),
        "7\t3\t4\t7\t8\t2\t3\t4\n8\t1\t1\t1\t1\t0\t0\t0".to_owned(),
        "1\thttps://example.com/a\t2\t2\n2\thttps://example.com/b\t1\t1".to_owned(),
        "https://example.com/price.pdf\t1\t1".to_owned(),
        "a week\t3\nlonger\t1".to_owned(),
    ];
    let questions = questions();
    assert_eq!(questions.len(), expected.len());
    for ((title, sql), expected) in questions.iter().zip(expected) {
        let answer = runtime.block_on(store.query(sql)).unwrap_or_else(|cause| panic!("{title}: {cause}"));
        assert_eq!(answer.trim_end(), expected, "{title}");
    }
}
