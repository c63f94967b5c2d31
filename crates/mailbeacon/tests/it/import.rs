//! History comes in by `mailbeacon import`, through `up` with and without Kafka, once however often it is told.

use std::fmt::Write;

use crate::program::{BOUND, command, says, until};
use crate::up::{Up, metric};

const IPHONE: &str =
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148";

/// Five days of one message a day to twenty people, of whom every other one opens an hour later, and some lines that
/// are none.
fn history() -> String {
    let day_ms = 86_400_000;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let at = |ms: i64| jiff::Timestamp::from_millisecond(ms).unwrap().to_string();
    let mut lines = String::new();
    for day in 1..=5 {
        let sent_ms = now_ms - now_ms % day_ms - day * day_ms;
        for n in 0..20 {
            let about = format!(r#""recipient": "customer-{n}@example.com", "message": "day-{day}""#);
            let place = r#""time_zone": "America/New_York", "country": "US""#;
            writeln!(lines, r#"{{"kind": "sent", "time": "{}", {about}, {place}}}"#, at(sent_ms)).unwrap();
            if n % 2 == 0 {
                let agent = if n % 4 == 0 { format!(r#", "user_agent": "{IPHONE}""#) } else { String::new() };
                let time = at(sent_ms + 3_600_000);
                writeln!(lines, r#"{{"kind": "open", "time": "{time}", {about}, {place}{agent}}}"#).unwrap();
            }
        }
    }
    lines + "{\"kind\": \"open\"}\nnot a line\n"
}

#[test]
fn history_comes_in_once_without_kafka() {
    story("import", &["--no-geo"]);
}

#[test]
fn history_comes_in_once_with_kafka() {
    story("import_kafka", &["--no-geo", "--kafka"]);
}

fn story(name: &str, flags: &[&str]) {
    let dir = testkit::fresh_dir(name);
    let dir = dir.path();
    let up = Up::start(dir, flags);
    std::fs::write(dir.join("history.jsonl"), history()).unwrap();
    let import = ["--config", "data/up.toml", "import", "history.jsonl"];
    for round in 1..=2 {
        let output = command(dir, &import).output().unwrap();
        let (said, named) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(
            said.contains("150 events of 152 lines") && said.contains("2 lines cannot be read"),
            "{said}"
        );
        assert!(
            named.contains("history.jsonl line 151: ") && named.contains("missing field `time`"),
            "{named}"
        );
        let kept = std::fs::read_to_string(dir.join("rejected.jsonl")).unwrap();
        assert!(kept.lines().count() == 2 && kept.contains("not a line"), "{kept}");
        let settled = || {
            let page = up.metrics();
            let [stored, duplicate] = ["consumer_stored_events_total", "consumer_duplicate_events_total"]
                .map(|name| metric(&page, name));
            (stored + duplicate == round * 150).then_some((stored, duplicate))
        };
        assert_eq!(until("the history to be settled", BOUND, settled), (150, (round - 1) * 150));
    }
    assert_eq!(
        up.query("SELECT kind, verdict, device, local_hour < 24, region_class, count(), uniq(recipient) FROM events GROUP BY ALL ORDER BY ALL"),
        "sent\tnone\tunknown\t1\tother\t100\t20\n\
         open\thuman\tunknown\t1\tother\t25\t5\n\
         open\thuman\tphone\t1\tother\t25\t5"
    );
    assert_eq!(up.query("SELECT uniq(domain) FROM events WHERE kind = 'sent' AND domain != 0"), "1");
    assert_eq!(up.query("SELECT count(), sum(sent), sum(openers) FROM message_totals"), "5\t100\t50");
    // Names are no numbers: none is missing.
    let ledger = says(dir, &["--config", "data/up.toml", "ledger", "--from", "6d"]);
    assert!(ledger.contains("were imported"), "{ledger}");
    // Whoever comes with a history has something to recommend from; five days of ten readers are too few.
    let about = says(dir, &["--config", "data/up.toml", "send-time", "customer-4@example.com"]);
    assert!(about.contains("not_enough_events"), "{about}");
}
