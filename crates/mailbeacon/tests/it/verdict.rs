//! `mailbeacon verdict score`: what it counts, what it names, and what it says of a line that it cannot read.

use std::path::Path;

use serde_json::{Value, json};

use crate::program::{command, refuses, run_with_input, says};

const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
     Version/18.5 Mobile/15E148 Safari/604.1";
const IPAD: &str =
    "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148";
const GMAIL: &str =
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";

fn write(dir: &Path, name: &str, lines: &[Value]) {
    let text: Vec<String> = lines.iter().map(Value::to_string).collect();
    std::fs::write(dir.join(name), text.join("\n")).unwrap();
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_set_is_counted_by_itself_and_all_together() {
    let dir = tempfile::tempdir().unwrap();
    let lines = [
        // right: a bot, and a person with the device that is expected
        json!({"user_agent": "Googlebot/2.1 (+http://www.google.com/bot.html)", "kind": "click", "expected": "bot", "set": "a"}),
        json!({"user_agent": IPHONE, "kind": "open", "expected": "human", "device": "phone", "set": "a", "note": 1}),
        // a person's agent where a bot is expected, and the other way round
        json!({"user_agent": IPHONE, "kind": "click", "expected": "bot", "device": "tablet", "set": "a"}),
        json!({"user_agent": "curl/8.5.0", "kind": "download", "expected": "human", "set": "a"}),
        // a proxy is a person on an open, and a machine on a click
        json!({"user_agent": GMAIL, "kind": "open", "expected": "proxy"}),
        json!({"user_agent": GMAIL, "kind": "open", "expected": "human", "device": "unknown"}),
        json!({"user_agent": GMAIL, "kind": "click", "expected": "bot"}),
        json!({"user_agent": IPHONE, "kind": "open", "expected": "proxy"}),
        // the network decides: Microsoft's filters
        json!({"user_agent": IPHONE, "kind": "open", "expected": "bot", "address": "40.92.3.4"}),
        json!({"user_agent": IPAD, "kind": "open", "expected": "human", "device": "phone"}),
    ];
    write(dir.path(), "mine.jsonl", &lines);
    let found = objects(&says(dir.path(), &["verdict", "score", "mine.jsonl", "--json"]));
    let right = |phone: Value, tablet: Value, unknown: Value| {
        json!({"phone": phone, "tablet": tablet, "desktop": null, "tv": null, "console": null, "wearable": null,
            "other": null, "unknown": unknown})
    };
    let set = |name: &str, lines: u64, shares: [Value; 3], right: Value, tablets: Value| {
        let [bots, humans, proxies] = shares;
        json!({"set": name, "lines": lines, "bot_recall": bots, "human_false_positive": humans,
            "proxy_recall": proxies, "device_right": right, "phones_called_tablets": tablets})
    };
    let none = || Value::Null;
    assert_eq!(
        found,
        [
            set("a", 4, [json!(0.5), json!(0.5), none()], right(json!(1.0), json!(0.0), none()), json!(0.0)),
            set(
                "mine",
                6,
                [json!(1.0), json!(0.0), json!(0.5)],
                right(json!(0.0), none(), json!(1.0)),
                json!(1.0)
            ),
            set(
                "all",
                10,
                [json!(0.75), json!(0.25), json!(0.5)],
                right(json!(0.5), json!(0.0), json!(1.0)),
                json!(0.5)
            ),
        ]
    );

    // The same for people, from standard input and a file.
    let text = std::fs::read_to_string(dir.path().join("mine.jsonl")).unwrap();
    let output = run_with_input(dir.path(), &["verdict", "score", "-", "mine.jsonl"], &text);
    let said = String::from_utf8(output.stdout).unwrap();
    let row = |set: &str| said.lines().find(|line| line.starts_with(set)).unwrap();
    let shares = |set: &str| row(set).split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    // A line with a set of its own counts there, wherever it comes from: twice here.
    assert_eq!(shares("stdin "), shares("mine "));
    assert!(shares("a ").starts_with("8 50.00 % of 4 50.00 % of 4 - "), "{said}");
    assert!(
        shares("all ").starts_with("20 75.00 % of 8 ") && shares("a ").contains("tablet 0.00 % of 2"),
        "{said}"
    );
}

#[test]
fn misses_are_named_without_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let address = "198.51.100.77";
    let lines = [
        json!({"user_agent": IPHONE, "kind": "open", "expected": "human", "device": "phone"}),
        json!({"user_agent": "curl/8.5.0\u{1b}[2J", "kind": "click", "expected": "human", "address": address}),
        json!({"user_agent": IPAD, "kind": "open", "expected": "bot", "device": "phone", "address": address}),
    ];
    write(dir.path(), "mine.jsonl", &lines);
    let said = says(dir.path(), &["verdict", "score", "--misses", "mine.jsonl"]);
    let misses: Vec<&str> = said.lines().filter(|line| line.starts_with("mine.jsonl:")).collect();
    assert_eq!(
        misses,
        [
            r#"mine.jsonl:2: expected human, found bot (library-agent): "curl/8.5.0\u{1b}[2J""#,
            &format!(
                "mine.jsonl:3: expected bot, found human (no rule), expected a phone, found tablet: {IPAD:?}"
            ),
        ]
    );
    let output =
        command(dir.path(), &["verdict", "score", "--misses", "--json", "mine.jsonl"]).output().unwrap();
    let (out, aside) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(objects(&out).len(), 2);
    assert_eq!(aside.lines().collect::<Vec<_>>(), misses);
    assert!(!said.contains(address) && !aside.contains(address));
}

#[test]
fn a_line_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let good = json!({"user_agent": IPHONE, "kind": "open", "expected": "human"}).to_string();
    let with = |field: &str, value: Value| {
        let mut line: Value = serde_json::from_str(&good).unwrap();
        line[field] = value;
        line.to_string()
    };
    let without = |field: &str| {
        let mut line: Value = serde_json::from_str(&good).unwrap();
        line.as_object_mut().unwrap().remove(field);
        line.to_string()
    };
    for (line, said) in [
        ("nothing".to_owned(), "expected ident"),
        (without("user_agent"), "missing field `user_agent`"),
        (without("kind"), "missing field `kind`"),
        (without("expected"), "missing field `expected`"),
        (with("kind", json!("sent")), "expected one of `open`, `click`, `download`"),
        (with("expected", json!("scanner")), "expected one of `human`, `proxy`, `bot`"),
        (with("device", json!("fridge")), "expected one of `phone`, `tablet`, `desktop`"),
        (with("address", json!("198.51.100.777")), "holds no address: expected IPv4 or IPv6"),
        (with("set", json!("all")), "expected another name"),
        (with("user_agent", json!("x".repeat(70_000))), "the line is too long: expected at most 65536 bytes"),
    ] {
        std::fs::write(dir.path().join("bad.jsonl"), format!("{good}\n\n{line}\n{good}\n")).unwrap();
        let complaint = refuses(dir.path(), &["verdict", "score", "bad.jsonl"]);
        assert!(complaint.contains("bad.jsonl:3") && complaint.contains(said), "{complaint}");
        assert!(!complaint.contains("198.51"), "{complaint}");
    }
    assert!(refuses(dir.path(), &["verdict", "score", "gone.jsonl"]).contains("gone.jsonl"));
    // An agent that is longer than an event carries is cut as the edge cuts it; the settings play no part.
    std::fs::write(dir.path().join("long.jsonl"), with("user_agent", json!("é".repeat(1_000)))).unwrap();
    says(dir.path(), &["--config", "gone.toml", "verdict", "score", "long.jsonl"]);
}
