//! For every country, and every place that its sign has among others: whoever may be in the EU, the EEA or the UK is in
//! no table of send times, in no sum of others, and gets no window by any way of asking.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use serde_json::{Value, json};

use crate::api::{new_key, post};
use crate::program::{BOUND, says, until};
use crate::up::Up;

/// Whether the sign of a mail, by its number, is the country's.
type OfMail = fn(usize) -> bool;
/// Of a recipient: where the country's sign comes among signs of the United States.
const ORDERS: [(&str, OfMail); 4] = [
    ("only", |_| true),
    ("first", |mail| mail == 0),
    ("middle", |mail| mail == 2),
    ("last", |mail| mail == MAILS - 1),
];
const MAILS: usize = 5;

fn countries() -> Vec<&'static str> {
    let text = include_str!("../../../enrich/data/countries.tsv");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('\t').next().unwrap()).collect()
}

/// Mails at eight in the evening of Chicago, and opens half an hour after, with the country that the sender has on file.
fn history(now_ms: i64) -> (String, usize) {
    let (mut lines, mut count) = (String::new(), 0);
    for country in countries() {
        for (order, is_its) in ORDERS {
            for mail in 0..MAILS {
                let day_ms = now_ms - now_ms % 86_400_000 - (MAILS - mail) as i64 * 86_400_000;
                let place = if is_its(mail) { country } else { "US" };
                for (kind, minutes) in [("sent", 120), ("open", 150)] {
                    let at = jiff::Timestamp::from_millisecond(day_ms + minutes * 60_000).unwrap();
                    writeln!(
                        lines,
                        r#"{{"kind": "{kind}", "time": "{at}", "recipient": "{country}-{order}", "message": "day-{mail}", "time_zone": "America/Chicago", "country": "{place}", "domain": "{country}.example"}}"#
                    )
                    .unwrap();
                    count += 1;
                }
            }
        }
    }
    (lines, count)
}

#[test]
fn nobody_of_a_barred_country_is_in_anything() {
    let dir = testkit::fresh_dir("every_country");
    let dir = dir.path();
    let up = Up::start(dir, &["--no-geo", "--set", "api.listen=127.0.0.1:0"]);
    let (lines, count) = history(jiff::Timestamp::now().as_millisecond());
    std::fs::write(dir.join("history.jsonl"), lines).unwrap();
    let run = |command: &[&str]| says(dir, &[&["--config", "data/up.toml"], command].concat());
    run(&["import", "history.jsonl"]);
    until("the history", BOUND, || {
        let rows = "SELECT count() FROM recipient_events WHERE message != 0";
        Some(up.query(rows)).filter(|rows| *rows == count.to_string())
    });
    run(&["send-time", "--refresh"]);

    let keys = link::Keys::from_toml(&std::fs::read_to_string(&up.keys).unwrap()).unwrap();
    let everybody: BTreeMap<u64, String> = countries()
        .iter()
        .flat_map(|country| ORDERS.map(|(order, _)| format!("{country}-{order}")))
        .map(|name| (keys.recipient(1, &name), name))
        .collect();
    let is_barred = |name: &str| enrich::is_eu_eea_uk(&name[..2]);
    let allowed: HashSet<u64> =
        everybody.iter().filter(|(_, name)| !is_barred(name)).map(|(key, _)| *key).collect();
    assert_eq!((everybody.len(), everybody.len() - allowed.len()), (250 * 4, 43 * 4));

    // In tables, views and sums.
    for table in ["send_times", "recommended_send_times", "recipient_counts(workspace = 1, at = now64(3))"] {
        let said = up.query(&format!("SELECT DISTINCT recipient FROM {table}"));
        let listed: HashSet<u64> = said.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(listed, allowed, "{table}");
    }
    let barred_domains: Vec<String> = countries()
        .iter()
        .filter(|country| is_barred(country))
        .map(|country| keys.domain(1, &format!("{country}.example")).to_string())
        .collect();
    let domains = barred_domains.join(", ");
    for table in ["send_time_habits", "send_time_sums(workspace = 1, at = now64(3))"] {
        let said =
            up.query(&format!("SELECT countIf(domain IN ({domains})), countIf(domain > 0) FROM {table}"));
        let (barred, all) = said.split_once('\t').unwrap();
        // A company is of two people or more: those of every allowed country are, of a barred one nobody is left.
        assert_eq!((barred, all), ("0", "207"), "{table}");
    }
    let told = "SELECT count() FROM recipient_events WHERE region = 'eu' AND (local_hour != 255 OR time_zone != '' \
        OR profile_time_zone != '' OR domain != 0)";
    assert_eq!(up.query(told), "0");

    // By the command, all at once and one by one.
    let mut lines = 0;
    for line in run(&["send-time", "--all", "--message", "spring", "--explore", "0.5"]).lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let key = line["recipient"].as_str().unwrap().parse().unwrap();
        no_window_if(!allowed.contains(&key), &line, &line["refused"]);
        lines += 1;
    }
    assert_eq!(lines, everybody.len());
    let explored = up.query("SELECT DISTINCT recipient FROM explorations");
    let mut explored = explored.lines().map(|line| line.parse::<u64>().unwrap()).peekable();
    assert!(explored.peek().is_some() && explored.all(|key| allowed.contains(&key)));
    for name in ["DE-last", "GI-middle", "AX-only", "US-only"] {
        let line: Value = serde_json::from_str(&run(&["send-time", name, "--json"])).unwrap();
        no_window_if(is_barred(name), &line, &line["refused"]);
    }

    // By the API.
    let said = up.program.said();
    let api = said.lines().find_map(|line| line.strip_prefix("  api ")).unwrap().split_whitespace().next();
    let (key, line) = new_key(dir, "1");
    std::fs::write(dir.join("data/api-keys.toml"), line).unwrap();
    let ask = |names: &[&String]| {
        let body = json!({"recipients": names, "wishes": {"message": "spring", "quiet": "23-5"}});
        post(api.unwrap(), &key, "/v1/send-times", &body.to_string())
    };
    let names: Vec<&String> = everybody.values().collect();
    until("the key to be taken up", BOUND, || (ask(&names[..1]).0 == 200).then_some(()));
    for some in names.chunks(100) {
        let (status, told) = ask(some);
        assert_eq!(status, 200, "{told}");
        for (name, told) in some.iter().zip(told["send_times"].as_array().unwrap()) {
            no_window_if(is_barred(name), told, &told["refused"]["reason"]);
        }
    }
}

fn no_window_if(is_barred: bool, answer: &Value, refused: &Value) {
    if is_barred {
        assert_eq!(
            (refused, answer["windows"].as_array().map(Vec::len)),
            (&json!("eu"), Some(0)),
            "{answer}"
        );
        assert!(answer.get("send_at").is_none(), "{answer}");
    } else {
        assert!(answer["windows"].as_array().is_some_and(|windows| !windows.is_empty()), "{answer}");
    }
}
