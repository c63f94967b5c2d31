//! Dead letters of the embedded form go back while `up` does not run, and its next start stores each once.

use std::fmt::Write;

use event::{Event, Kind};

use crate::program::{BOUND, command, refuses, until};
use crate::up::{Up, metric};

/// A letter as the consumer keeps it.
fn letter(offset: u64, bytes: &[u8]) -> String {
    let line = serde_json::json!({
        "origin_topic": "journal/0000000000000077", "origin_partition": 0, "origin_offset": offset,
        "reason": "rejected by clickhouse: TYPE_MISMATCH", "bytes": hex::encode(bytes),
    });
    format!("{line}\n")
}

#[test]
fn letters_of_the_embedded_form_are_put_back_once() {
    let dir = testkit::fresh_dir("put_back");
    let dir = dir.path();
    let mut up = Up::start(dir, &["--no-geo"]);
    let replay = ["--config", "data/up.toml", "dead-letters", "replay", "--all"];
    let mut letters = String::new();
    for seq in 1..=3 {
        let received_at_ms = jiff::Timestamp::now().as_millisecond();
        let event =
            Event { edge_id: 0x77, seq, kind: Kind::Open, workspace: 1, received_at_ms, ..Event::default() };
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        letters.write_str(&letter(seq, &bytes)).unwrap();
    }
    letters.write_str(&letter(4, b"\xff not an event")).unwrap();
    std::fs::write(dir.join("data/journal/dead-letters.jsonl"), letters).unwrap();
    let complaint = refuses(dir, &replay);
    assert!(complaint.contains("while `mailbeacon up` does not run"), "{complaint}");
    for round in 1..=2 {
        up.program.interrupt();
        assert!(up.program.wait().success());
        let output = command(dir, &replay).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        // ClickHouse ended with `up`: the consumer looks for what is stored.
        assert!(said.contains("3 events put back, marked as replayed"), "{round}: {said}");
        assert!(said.contains("1 letters hold something that cannot be read"), "{round}: {said}");
        up = Up::start(dir, &["--no-geo"]);
        let settled = || {
            let page = up.metrics();
            let [stored, duplicate] = ["consumer_stored_events_total", "consumer_duplicate_events_total"]
                .map(|name| metric(&page, name));
            (stored + duplicate == 3).then_some((stored, duplicate))
        };
        let wanted = if round == 1 { (3, 0) } else { (0, 3) };
        assert_eq!(until("the events to be settled", BOUND, settled), wanted);
        let rows = up.query(
            "SELECT seq, count(), any(replay) FROM events WHERE edge_id = 0x77 GROUP BY seq ORDER BY seq",
        );
        assert_eq!(rows, "1\t1\ttrue\n2\t1\ttrue\n3\t1\ttrue");
    }
}
