//! The API on the real thing: a key, a link that the edge follows, sends that become rows once.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::http;
use crate::program::{BOUND, Program, refuses, says, until};
use crate::services::Servers;
use crate::up::{Up, metric};

/// What `new-key` printed: the key and the line.
pub fn new_key(dir: &Path, workspace: &str) -> (String, String) {
    let said = says(dir, &["api", "new-key", "--workspace", workspace]);
    let printed: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let [key, line] = printed[..] else { panic!("{said}") };
    assert!(!line.contains(key));
    (key.to_owned(), format!("{line}\n"))
}

pub fn post(api: &str, key: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(api.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[test]
fn a_link_is_followed_and_sends_are_rows_once() {
    let dir = testkit::fresh_dir("api");
    let dir = dir.path();
    let up = Up::start(dir, &["--no-geo", "--set", "api.listen=127.0.0.1:0"]);
    let said = up.program.said();
    let line = said.lines().find(|line| line.starts_with("  api ")).unwrap();
    let api = line.split_whitespace().nth(1).unwrap();
    let (key, line) = new_key(dir, "1");
    let link =
        r#"{"kind": "click", "recipient": "ann", "message": "spring", "target": "https://example.com/a"}"#;
    assert_eq!(post(api, &key, "/v1/links", link).0, 401);
    let mut file = OpenOptions::new().append(true).open(dir.join("data/api-keys.toml")).unwrap();
    file.write_all(line.as_bytes()).unwrap();
    let (_, minted) = until("a link with the new key", BOUND, || {
        Some(post(api, &key, "/v1/links", link)).filter(|(status, _)| *status == 200)
    });
    let followed = http::get(minted["url"].as_str().unwrap(), "").unwrap();
    assert_eq!((followed.status, followed.header("location")), (302, "https://example.com/a"));

    let now = jiff::Timestamp::now();
    let send = |n: u32, zone: &str| {
        format!(
            r#"{{"time": "{now}", "recipient": "customer-{n}@example.com", "message": "spring", "time_zone": "{zone}"}}"#
        )
    };
    let mut sends: Vec<String> = (0..20).map(|n| send(n, "Asia/Tokyo")).collect();
    sends.push(send(20, "Mars/Crater"));
    let sends = format!(r#"{{"sends": [{}]}}"#, sends.join(","));
    for round in 1..=2 {
        let error = json!({"index": 20, "code": "invalid", "field": "time_zone",
                           "message": "expected an IANA name such as Europe/Paris"});
        let reply = post(api, &key, "/v1/sends", &sends);
        assert_eq!(reply, (202, json!({"recorded": 20, "errors": [error]})));
        // The click is one of the stored.
        let settled = || {
            let page = up.metrics();
            let [stored, duplicate] = ["consumer_stored_events_total", "consumer_duplicate_events_total"]
                .map(|name| metric(&page, name));
            (stored + duplicate == round * 20 + 1).then_some((stored, duplicate))
        };
        assert_eq!(until("the sends to be settled", BOUND, settled), (21, (round - 1) * 20));
    }
    assert_eq!(
        up.query("SELECT kind, count(), uniq(recipient) FROM events GROUP BY ALL ORDER BY ALL"),
        "sent\t20\t20\nclick\t1\t1"
    );

    let asked = format!("{api}/v1/recipients/nobody/send-time");
    let reply = http::get(&asked, &format!("Authorization: Bearer {key}\r\n")).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.text().contains("\"unknown_recipient\""), "{reply:?}");
    the_command_says_the_same(&up, dir, api, &key);
    let page = up.metrics();
    let tables = [edge::METRICS, consumer::METRICS, api::METRICS];
    assert_eq!(telemetry::undocumented(&page, &tables), Vec::<String>::new());
    // Neither a key nor a recipient is in a log.
    let said = up.program.said();
    assert!(!said.contains(&key) && !said.contains("customer-"), "{said}");
}

/// Forty days of mail at nine in the evening of New York, opened half an hour after by nine of ten people.
fn the_command_says_the_same(up: &Up, dir: &Path, api: &str, key: &str) {
    let (mut lines, mut count) = (String::new(), 0);
    let now_ms = jiff::Timestamp::now().as_millisecond();
    for day in 1..=40 {
        for n in 0..10 {
            let at = |minutes: i64| {
                let at_ms = now_ms - now_ms % 86_400_000 - day * 86_400_000 + minutes * 60_000;
                jiff::Timestamp::from_millisecond(at_ms).unwrap()
            };
            let about = format!(
                r#""recipient": "reader-{n}", "message": "day-{day}", "time_zone": "America/New_York", "country": "US""#
            );
            lines += &format!("{{\"kind\": \"sent\", \"time\": \"{}\", {about}}}\n", at(60));
            count += 1;
            if n > 0 {
                lines += &format!("{{\"kind\": \"open\", \"time\": \"{}\", {about}}}\n", at(90));
                count += 1;
            }
        }
    }
    std::fs::write(dir.join("history.jsonl"), lines).unwrap();
    says(dir, &["--config", "data/up.toml", "import", "history.jsonl"]);
    // Filled from the events, a moment after they are there.
    let rows = "SELECT count() FROM recipient_events WHERE profile_time_zone = 'America/New_York'";
    until("the history", BOUND, || Some(up.query(rows)).filter(|rows| *rows == count.to_string()));
    let asked = ["reader-1", "reader-0", "customer-1@example.com", "nobody"];
    let body = json!({ "recipients": asked }).to_string();
    let (status, told) = post(api, key, "/v1/send-times", &body);
    assert_eq!(status, 200, "{told}");
    for (recipient, told) in asked.iter().zip(told["send_times"].as_array().unwrap()) {
        let said = says(dir, &["--config", "data/up.toml", "send-time", recipient, "--json"]);
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(told["refused"]["reason"], said["refused"], "{recipient}");
        let windows = |answer: &Value| {
            let windows = answer["windows"].as_array().unwrap().clone();
            // Some seconds lie between the two questions, and evidence grows older.
            let exact = |window: &Value| {
                (window["start_hour"].clone(), window["time_zone"].clone(), window["level"].clone())
            };
            windows.iter().map(exact).collect::<Vec<_>>()
        };
        assert_eq!(windows(told), windows(&said), "{recipient}");
    }
    assert!(!told["send_times"][0]["windows"].as_array().unwrap().is_empty(), "{told}");
    assert_eq!(told["send_times"][3]["refused"]["reason"], "unknown_recipient");
}

#[test]
fn the_program_starts_with_a_key_and_not_without() {
    let servers = Servers::new("api");
    let dir = testkit::fresh_dir("api_alone");
    let dir = dir.path();
    says(dir, &["keys", "new"]);
    says(dir, &servers.args(&[], &["migrate"]));
    let more = ["api.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0"];
    let args = servers.args(&more, &["api"]);
    let complaint = refuses(dir, &args);
    assert!(complaint.contains("api.keys_file = api-keys.toml"), "{complaint}");
    std::fs::write(dir.join("api-keys.toml"), "").unwrap();
    assert!(refuses(dir, &args).contains("holds no key"));

    let (key, line) = new_key(dir, "3");
    std::fs::write(dir.join("api-keys.toml"), line).unwrap();
    let mut program = Program::start(dir, &args);
    let up = program.line("api is up", BOUND);
    let listen = up.split_whitespace().find_map(|word| word.strip_prefix("listen=")).unwrap();
    let now = jiff::Timestamp::now();
    let send = format!(r#"{{"time": "{now}", "recipient": "ann", "message": "spring"}}"#);
    // Acknowledged by Kafka.
    let reply = post(&format!("http://{listen}"), &key, "/v1/sends", &send);
    assert_eq!(reply, (202, json!({"recorded": 1, "errors": []})));
    program.interrupt();
    assert!(program.wait().success());

    // Links need no Kafka, and nobody is told that a send is safe which is not.
    let args = servers.args(&["kafka.brokers=127.0.0.1:1", more[0], more[1]], &["api"]);
    let mut program = Program::start(dir, &args);
    let up = program.line("api is up", BOUND);
    let listen = up.split_whitespace().find_map(|word| word.strip_prefix("listen=")).unwrap();
    let api = format!("http://{listen}");
    let (status, answer) = post(&api, &key, "/v1/sends", &send);
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("unavailable")), "{answer}");
    let link = r#"{"kind": "open", "recipient": "ann", "message": "spring"}"#;
    assert_eq!(post(&api, &key, "/v1/links", link).0, 200);
    program.interrupt();
    assert!(program.wait().success());
}
