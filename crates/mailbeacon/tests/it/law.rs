//! The law, event by event, and the way back for what was dead-lettered: on a real edge, Kafka, consumer and ClickHouse.

use std::path::Path;

use event::{Batch, Event, Kind};
use kafka::Producer;

use crate::ledger::Ledger;
use crate::program::{BOUND, Program, START, command, says, until_ok};
use crate::services::Servers;

/// An edge that is not there: its numbers are written by the test.
const FOREIGN: u64 = 0x77;
const SECRET_RECIPIENT: u64 = 8_888_777_766_665_555;

struct Bench {
    servers: Servers,
    dir: tempfile::TempDir,
    topic: String,
}

impl Bench {
    fn new(name: &str) -> Bench {
        let (servers, dir) = (Servers::new(name), testkit::fresh_dir(name));
        says(dir.path(), &["keys", "new"]);
        says(dir.path(), &servers.args(&[], &["migrate"]));
        let topic = servers.setting("kafka.topic").to_owned();
        Bench { servers, dir, topic }
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a program, and returns it with what it says of where it is: `admin`, and `listen` of an edge.
    fn start(&self, name: &str, more: &[&str]) -> (Program, String) {
        let fixed = ["edge.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0", "edge.workers=1"];
        let mut program = Program::start(self.dir(), &self.servers.args(&[&fixed, more].concat(), &[name]));
        let line = program.line(" is up", START);
        (program, line)
    }

    /// The ledger, which these programs are asked for.
    fn ledger(&self, admins: &[&str], more: &[&str]) -> (bool, String) {
        let urls: Vec<String> =
            admins.iter().map(|line| format!("http://{}", value(line, "admin"))).collect();
        let urls = urls.iter().flat_map(|url| ["--metrics", url]);
        let args: Vec<&str> = ["ledger"].into_iter().chain(urls).chain(more.iter().copied()).collect();
        // Whatever listens on the usual port of this machine is none of theirs.
        let nobody = ["admin.listen=127.0.0.1:1"];
        let output = command(self.dir(), &self.servers.args(&nobody, &args)).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    /// Waits until the ledger says this.
    fn comes_to(&self, admins: &[&str], wanted: &[&str]) -> String {
        until_ok(&format!("the ledger says {wanted:?}"), BOUND, || {
            let (_, said) = self.ledger(admins, &[]);
            if wanted.iter().all(|part| said.contains(part)) { Ok(said) } else { Err(said) }
        })
    }

    fn dead_letters(&self, more: &[&str], args: &[&str]) -> String {
        says(self.dir(), &self.servers.args(more, &[&["dead-letters"], args].concat()))
    }

    fn rows(&self) -> String {
        let database = &self.servers.database;
        testkit::query(&format!(
            "SELECT seq, count() FROM {database}.events WHERE edge_id = {FOREIGN} GROUP BY seq ORDER BY seq"
        ))
    }

    /// Sends one message of the foreign edge's events, and what else is in it.
    fn send(&self, seqs: &[u64], rest: &[u8]) {
        let producer = Producer::new(&kafka::Config::new(testkit::kafka().bootstrap(), &self.topic)).unwrap();
        let mut message = Vec::new();
        for seq in seqs {
            let event = Event {
                edge_id: FOREIGN,
                seq: *seq,
                kind: Kind::Open,
                workspace: 1,
                recipient: SECRET_RECIPIENT,
                client_ip: &[203, 0, 113, 77],
                received_at_ms: now_ms(),
                ..Event::default()
            };
            let mut bytes = Vec::new();
            event.encode(&mut bytes);
            Batch::push(&mut message, &bytes);
        }
        message.extend(rest);
        producer.send(1, &message, 0).unwrap();
        assert_eq!(producer.flush(BOUND), 0);
    }
}

fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

/// `admin=127.0.0.1:4711` in a line of the log.
fn value<'a>(line: &'a str, name: &str) -> &'a str {
    let start = format!("{name}=");
    line.split(' ')
        .find_map(|word| word.strip_prefix(&start))
        .unwrap_or_else(|| panic!("no {name} in {line}"))
}

#[test]
fn every_event_is_somewhere() {
    let bench = Bench::new("law");
    let (edge, edge_at) = bench.start("edge", &[]);
    let (mut consumer, consumer_at) = bench.start("consume", &[]);
    let mut sent =
        Ledger::new(&bench.dir().join("keys.toml"), &format!("http://{}", value(&edge_at, "listen")));
    sent.send(30);
    let said = bench
        .comes_to(&[&edge_at, &consumer_at], &["every event is stored, once", "accepted 30 = stored 30"]);
    assert!(bench.ledger(&[&edge_at, &consumer_at], &[]).0, "{said}");
    assert!(said.contains("dropped 0 + in flight 0\n") && !said.contains("differs"), "{said}");

    // Delivered, and nobody consumes.
    stop(&mut consumer);
    sent.send(5);
    let said = bench.comes_to(&[&edge_at], &["balanced: 5", "in kafka, partition "]);
    assert!(!said.contains("LOST:"), "{said}");

    // Not delivered: Kafka is out of the edge's reach, not out of ours.
    let mut edge = edge;
    stop(&mut edge);
    let (mut edge, edge_at) = bench.start("edge", &["kafka.brokers=127.0.0.1:1"]);
    sent.moved(&format!("http://{}", value(&edge_at, "listen")));
    sent.send(4);
    bench.comes_to(&[&edge_at], &["balanced: 9", "still in its journal"]);
    // An edge that is not asked keeps to itself what it has, and nothing seems lost.
    assert!(bench.ledger(&[], &[]).1.contains("no edge answered"));

    stop(&mut edge);
    let (_edge, edge_at) = bench.start("edge", &[]);
    let (_consumer, consumer_at) = bench.start("consume", &[]);
    bench.comes_to(&[&edge_at, &consumer_at], &["every event is stored, once", " 39 "]);
}

fn stop(program: &mut Program) {
    program.interrupt();
    assert!(program.wait().success());
}

#[test]
fn a_dead_letter_is_listed_shown_and_put_back_once() {
    let bench = Bench::new("letters");
    let (_consumer, at) = bench.start("consume", &[]);
    assert!(bench.dead_letters(&[], &["list"]).starts_with("0 dead letters"));
    bench.send(&[1, 2, 5], b"");
    bench.send(&[3, 4], b"\xc8\x01abc");
    let said = bench
        .comes_to(&[&at], &["dead-lettered: mailbeacon dead-letters show 1-1-", ": 2 events are not stored"]);
    assert!(said.contains("numbers 3 to 4 (2)"), "{said}");

    let list = bench.dead_letters(&[], &["list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!((&list["letters"], &list["reasons"][0]["readable"]), (&1.into(), &1.into()), "{list}");
    let id = list["listed"][0]["id"].as_str().unwrap();
    let table =
        bench.dead_letters(&[], &["list", "--reason", "broken batch", "--partition", "1", "--from", "1h"]);
    assert!(table.contains(id) && table.contains("2 readable, 1 not"), "{table}");
    for none in [["--reason", "no kind"], ["--partition", "0"], ["--to", "1h"]] {
        let table = bench.dead_letters(&[], &[&["list"], &none[..]].concat());
        assert!(table.starts_with("0 dead letters"), "{none:?}: {table}");
    }

    for json in [&[][..], &["--json"]] {
        let shown = bench.dead_letters(&[], &[&["show", id], json].concat());
        for part in ["broken batch", "client_ip", "4 bytes", "recipient", "seq"] {
            assert!(shown.contains(part), "no {part}: {shown}");
        }
        let address = [203, 0, 113, 77].map(|byte: u8| format!("{byte:02x}")).concat();
        for secret in [&SECRET_RECIPIENT.to_string(), &format!("{SECRET_RECIPIENT:x}"), "203.0.113", &address]
        {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    }
    bench.dead_letters(&[], &["show", id, "--raw", "raw"]);
    let raw = std::fs::read(bench.dir().join("raw")).unwrap();
    assert!(raw.ends_with(b"\xc8\x01abc"), "{raw:?}");
    let refused = |args: &[&str]| {
        let args = bench.servers.args(&[], &[&["dead-letters"], args].concat());
        crate::program::refuses(bench.dir(), &args)
    };
    assert!(refused(&["show", id, "--raw", "raw"]).contains("--raw raw"), "never over what is there");
    assert!(refused(&["show", "1-1-00000000"]).contains("1-1-00000000"));
    assert!(refused(&["replay", "--id", "9-9-00000000"]).contains("9-9-00000000"));
    assert!(refused(&["replay"]).contains("--all"));

    let dry = bench.dead_letters(&[], &["replay", "--all", "--dry-run"]);
    assert!(dry.contains("2 events would be put back"), "{dry}");
    assert_eq!(bench.rows().trim(), "1\t1\n2\t1\n5\t1");
    let replayed = bench.dead_letters(&[], &["replay", "--id", id]);
    assert!(
        replayed.contains("2 events put back") && replayed.contains(&format!("{id}: 2 readable")),
        "{replayed}"
    );
    let all = "1\t1\n2\t1\n3\t1\n4\t1\n5\t1";
    until_ok("five rows", BOUND, || match bench.rows() {
        rows if rows.trim() == all => Ok(()),
        rows => Err(rows),
    });
    let again = bench.dead_letters(&[], &["replay", "--all"]);
    assert!(again.contains("0 events put back") && again.contains("2 events are stored already"), "{again}");
    // Put back once more, unlooked: the consumer finds out.
    let blind = bench.dead_letters(&["clickhouse.url=http://127.0.0.1:1"], &["replay", "--reason", "broken"]);
    assert!(blind.contains("2 events put back"), "{blind}");
    bench.comes_to(&[&at], &["duplicate 2 ", "every event is stored, once"]);
    assert_eq!(bench.rows().trim(), all);
}

#[test]
fn what_is_lost_or_twice_is_named() {
    let bench = Bench::new("lost");
    let (_consumer, at) = bench.start("consume", &[]);
    bench.send(&[1, 2, 3, 5, 6, 9], b"");
    let wanted = [
        "number 4 LOST",
        "numbers 7 to 8 (2) LOST",
        "NOT BALANCED as far as could be looked: 3 lost, 0 stored twice",
    ];
    bench.comes_to(&[&at], &wanted);
    let (well, said) = bench.ledger(&[&at], &[]);
    assert!(!well && said.contains("unexplained: 3 events lost"), "{said}");
    let database = &bench.servers.database;
    testkit::query(&format!(
        "INSERT INTO {database}.events SELECT * FROM {database}.events WHERE edge_id = {FOREIGN} AND seq = 2"
    ));
    let (well, said) = bench.ledger(&[&at], &["--edge", "77"]);
    assert!(
        !well && said.contains("1 rows too many: numbers 2") && said.contains("1 stored twice"),
        "{said}"
    );
    let (_, json) = bench.ledger(&[&at], &["--json"]);
    let json: serde_json::Value = serde_json::from_str(json.split("\nmailbeacon:").next().unwrap()).unwrap();
    assert_eq!(
        (&json["lost"], &json["duplicated"], &json["edges"][0]["edge"]),
        (&3.into(), &1.into(), &"0000000000000077".into())
    );
    assert!(bench.ledger(&[&at], &["--edge", "78"]).0, "another edge is well");
    assert!(bench.ledger(&[&at], &["--to", "1h"]).0, "an hour ago there was nothing");
}

#[test]
fn letters_of_the_embedded_form_are_read_from_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let list = |args: &[&str]| says(dir, &[&["dead-letters"], args].concat());
    let refused = |args: &[&str]| crate::program::refuses(dir, &[&["dead-letters"], args].concat());
    assert!(refused(&["list"]).contains("journal.dir"), "there is no journal");
    std::fs::create_dir(dir.join("journal")).unwrap();
    assert!(list(&["list"]).starts_with("0 dead letters"));
    let line = |offset: u64, reason: &str, bytes: &str| {
        format!(
            "{{\"origin_topic\":\"journal/0000000000000077\",\"origin_partition\":0,\"origin_offset\":{offset},\
             \"reason\":\"{reason}\",\"bytes\":\"{bytes}\"}}\n"
        )
    };
    // Kept, kept again after a crash that cut a line short, and another.
    let lines = [line(3, "no kind", "1803"), line(4, "no", "18")[..20].to_owned() + "\n"].concat();
    let lines = lines + &line(3, "no kind", "1803") + &line(4, "field 3 cannot be read", "18");
    std::fs::write(dir.join("journal/dead-letters.jsonl"), lines).unwrap();
    let said = list(&["list", "--oldest"]);
    assert!(said.starts_with("2 dead letters") && said.contains("(3 copies)"), "{said}");
    let id =
        said.lines().find_map(|line| line.split(' ').next().filter(|id| id.starts_with("0-3-"))).unwrap();
    let shown = list(&["show", id]);
    assert!(shown.contains("2 copies") && shown.contains("seq") && shown.contains("no kind"), "{shown}");
    assert!(list(&["replay", "--all", "--dry-run"]).contains("2 letters hold something that cannot be read"));
}
