//! The commands that ask ClickHouse and Kafka: `migrate`, `doctor`, `send-time`.

use std::path::Path;

use link::Keys;

use crate::program::{command, refuses, says};

/// Settings for the servers that all tests here share, with a database and a topic of one's own.
pub struct Servers {
    pub database: String,
    settings: Vec<String>,
}

impl Servers {
    pub fn new(name: &str) -> Servers {
        let database = testkit::database(name);
        let settings = vec![
            format!("clickhouse.url={}", testkit::clickhouse().http_url()),
            format!("clickhouse.database={database}"),
            format!("kafka.brokers={}", testkit::kafka().bootstrap()),
            format!("kafka.topic={}", testkit::topic(name)),
            "kafka.partitions=3".to_owned(),
            "kafka.replication=1".to_owned(),
            "geo.off=true".to_owned(),
        ];
        Servers { database, settings }
    }

    /// What one of them is set to.
    pub fn setting(&self, name: &str) -> &str {
        let found = self.settings.iter().find_map(|setting| setting.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {name}"))
    }

    /// The command with these settings, and with `more` of them, which win.
    pub fn args<'a>(&'a self, more: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
        let settings = self.settings.iter().map(String::as_str).chain(more.iter().copied());
        settings.flat_map(|setting| ["--set", setting]).chain(command.iter().copied()).collect()
    }
}

#[test]
fn migrate_makes_what_is_missing_and_doctor_sees_it() {
    let servers = Servers::new("doctor");
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    says(dir, &["keys", "new"]);
    let failed = failures(dir, &servers.args(&[], &["doctor"]));
    assert!(matches!(&failed[..], [a, b] if a.contains("clickhouse") && b.contains("kafka")), "{failed:?}");
    assert!(failed.iter().all(|line| line.contains("mailbeacon migrate")), "{failed:?}");

    let first = says(dir, &servers.args(&[], &["migrate"]));
    assert!(first.contains("created topic") && first.contains("applied 0001"), "{first}");
    let second = says(dir, &servers.args(&[], &["migrate"]));
    assert!(!second.contains("created") && !second.contains("applied"), "{second}");
    assert!(second.contains("is there") && second.contains("schema is up to date"), "{second}");

    let well = says(dir, &servers.args(&[], &["doctor"]));
    assert_eq!(well.lines().filter(|line| line.starts_with("ok ")).count(), 8, "{well}");
    assert!(!well.contains("FAIL"), "{well}");
    for (wrong, named) in [
        ("clickhouse.url=http://127.0.0.1:1", "FAIL  clickhouse"),
        ("kafka.brokers=127.0.0.1:1", "FAIL  kafka"),
        ("kafka.partitions=4", "kafka.partitions = 4"),
        ("keys.file=nowhere.toml", "nowhere.toml"),
        ("geo.off=false", "geo.files"),
        ("privacy.address=hash", "FAIL  privacy: privacy.address_key_file is empty"),
    ] {
        let failed = failures(dir, &servers.args(&[wrong], &["doctor"]));
        assert!(matches!(&failed[..], [line] if line.contains(named)), "{wrong}: {failed:?}");
    }
    let complaint = refuses(dir, &servers.args(&["clickhouse.url=http://127.0.0.1:1"], &["migrate"]));
    assert!(complaint.contains("127.0.0.1:1"), "{complaint}");
}

/// The lines of a doctor that fails.
fn failures(dir: &Path, args: &[&str]) -> Vec<String> {
    let output = command(dir, args).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said.lines().filter(|line| line.starts_with("FAIL ")).map(str::to_owned).collect()
}

#[test]
fn consume_refuses_a_database_without_its_tables() {
    let servers = Servers::new("bare");
    let dir = tempfile::tempdir().unwrap();
    let complaint = refuses(dir.path(), &servers.args(&["admin.listen=127.0.0.1:0"], &["consume"]));
    assert!(complaint.contains("mailbeacon migrate"), "{complaint}");
}

#[test]
fn send_time_answers_with_a_window_or_with_the_reason() {
    let servers = Servers::new("send_time");
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    says(dir, &["keys", "new"]);
    says(dir, &servers.args(&["kafka.brokers="], &["migrate"]));
    let keys = Keys::from_toml(&std::fs::read_to_string(dir.join("keys.toml")).unwrap()).unwrap();
    let opens = |recipient: u64, count: u32, hour: u32, zone: &str, region: &str| {
        testkit::query(&format!(
            "INSERT INTO {}.events (workspace, message, recipient, received_at, kind, mode, verdict, time_zone, \
             region_class, local_hour, local_weekday, edge_id, seq) SELECT 1, number + 1, {recipient}, now() - INTERVAL number \
             DAY, 'open', 'full', 'human', '{zone}', '{region}', {hour}, number % 7 + 1, {recipient}, number + 1 \
             FROM numbers({count})",
            servers.database
        ));
    };
    // A workspace of morning readers, and one who reads in the evening.
    (1..=20).for_each(|recipient| opens(recipient, 10, 9, "America/Chicago", "other"));
    opens(keys.recipient(1, "ann"), 30, 20, "America/Chicago", "other");
    opens(keys.recipient(1, "dirk"), 30, 20, "Europe/Berlin", "eu");
    opens(keys.recipient(1, "una"), 30, 20, "", "unknown");
    opens(keys.recipient(1, "new"), 1, 9, "America/Chicago", "other");

    let ask = |recipient: &str| says(dir, &servers.args(&[], &["send-time", recipient]));
    let ann = ask("ann");
    let window = ann.lines().next().unwrap();
    let (hours, zone) = window.split_once(' ').unwrap();
    let (start, end) = hours.split_once('-').unwrap();
    assert!(start <= "20:00" && end >= "21:00" && zone == "America/Chicago", "{ann}");
    assert!(ann.contains("the recipient's own") && ann.contains("sends are not known"), "{ann}");
    let new = ask("new");
    assert!(
        new.starts_with("09:00-10:00 America/Chicago") && new.contains("that of all recipients"),
        "{new}"
    );
    for (recipient, reason) in
        [("dirk", "(eu)"), ("una", "(region_unknown)"), ("nobody", "(unknown_recipient)")]
    {
        let answer = ask(recipient);
        assert!(answer.contains(reason) && !answer.contains(":00"), "{recipient}: {answer}");
    }
}
