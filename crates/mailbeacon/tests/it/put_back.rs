//! Dead letters of the embedded form go back while `up` runs or not, and each is stored once.

use event::{Event, Kind};

use crate::program::{BOUND, command, says, until};
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
    let file = dir.join("data/journal/dead-letters.jsonl");
    std::fs::write(&file, [event(1), event(2), event(3), letter(9, b"\xff not an event")].concat()).unwrap();
    up.program.interrupt();
    assert!(up.program.wait().success());
    for _ in 0..2 {
        // ClickHouse is down with `up`: the consumer looks for what is stored.
        let output = command(dir, &replay).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("3 events put back, marked as replayed"), "{said}");
        assert!(said.contains("1 letters hold something that cannot be read"), "{said}");
    }
    let up = Up::start(dir, &["--no-geo"]);
    assert_eq!(settled(&up, 6), (3, 3), "stored and duplicate");
    std::fs::write(&file, [event(1), event(2), event(3), event(4)].concat()).unwrap();
    let said = says(dir, &replay);
    assert!(said.contains("1 events put back") && said.contains("3 events are stored already"), "{said}");
    assert_eq!(settled(&up, 7), (4, 3));
    let rows = "SELECT seq, count(), any(replay) FROM events WHERE edge_id = 0x77 GROUP BY seq ORDER BY seq";
    assert_eq!(up.query(rows), "1\t1\ttrue\n2\t1\ttrue\n3\t1\ttrue\n4\t1\ttrue");
}

/// The letter of an event that can be stored by now.
fn event(seq: u64) -> String {
    let received_at_ms = jiff::Timestamp::now().as_millisecond();
    let event =
        Event { edge_id: 0x77, seq, kind: Kind::Open, workspace: 1, received_at_ms, ..Event::default() };
    let mut bytes = Vec::new();
    event.encode(&mut bytes);
    letter(seq, &bytes)
}

/// How many events were stored, and how many dropped as duplicates, once there are so many in all.
fn settled(up: &Up, events: u64) -> (u64, u64) {
    until("the events to be settled", BOUND, || {
        let page = up.metrics();
        let [stored, duplicate] = ["consumer_stored_events_total", "consumer_duplicate_events_total"]
            .map(|name| metric(&page, name));
        (stored + duplicate == events).then_some((stored, duplicate))
    })
}
