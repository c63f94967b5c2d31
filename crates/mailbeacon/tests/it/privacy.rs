//! What may be found where: requests with texts of their own in every part, in every mode, under every policy, and
//! then a search through all that the programs have written, said and sent.

mod needles;
mod places;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use event::{Batch, Event, Kind, Mode, Region};
use kafka::Producer;
use link::{Keys, Link, Site};

use crate::http;
use crate::program::{BOUND, Program, START, command, refuses, says, until_ok};
use crate::services::Servers;
use crate::up::Up;
use needles::{Needle, Needles, What};
use places::Places;

/// What an edge makes of DNT, of Sec-GPC.
const EDGES: [(&str, &str); 3] = [("ignore", "ignore"), ("anonymous", "off"), ("off", "anonymous")];
/// What a consumer stores of addresses. Each has a database of that name.
const POLICIES: [&str; 4] = ["drop", "truncate", "hash", "keep"];
const WISHES: [(&str, &str); 4] =
    [("", ""), ("DNT: 1\r\n", ""), ("", "Sec-GPC: 1\r\n"), ("DNT: 1\r\n", "Sec-GPC: 1\r\n")];
const MODES: [Mode; 4] = [Mode::Full, Mode::Anonymous, Mode::Date, Mode::Off];
const SECRET: &str = "a secret of forty-two bytes and nobody's.";

/// How much is recorded of a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Record {
    All,
    Count,
    Day,
    Nothing,
}

/// What the wishes of a visitor come to: ignored, anonymous, off.
const OUTCOMES: [(&str, [Record; 4]); 3] = {
    use Record::{All, Count, Day, Nothing};
    [
        // Of a link that is full, anonymous, date, off.
        ("ignore", [All, Count, Day, Nothing]),
        ("anonymous", [Count, Count, Nothing, Nothing]),
        ("off", [Nothing, Nothing, Nothing, Nothing]),
    ]
};

/// Where each part of a visit may be found, and then is. `db:` is a database, by its policy for addresses.
fn found_in(record: Record, what: What) -> Vec<&'static str> {
    const EVERYWHERE: [&str; 4] = ["db:drop", "db:truncate", "db:hash", "db:keep"];
    let with = |more: &[&'static str]| [&["journal", "topic"], more].concat();
    match (record, what) {
        (Record::All, What::Address) => with(&["db:keep"]),
        (Record::All, What::Network) => vec!["db:truncate", "db:keep"],
        (Record::All, What::Recipient | What::Text | What::Target) => with(&EVERYWHERE),
        (Record::All, What::Header) => with(&[]),
        (Record::Day, What::Recipient) => with(&EVERYWHERE),
        _ => vec![],
    }
}

#[test]
fn what_a_mode_or_a_policy_forbids_is_nowhere() {
    let run = Run::start();
    let mut needles = Needles::default();
    let visits = run.visits(&mut needles);
    for (_, said) in &run.edges {
        ill(&base_url(said), &needles.add(&run.keys, false));
    }
    let letter = needles.add(&run.keys, false);
    send_broken(&run.topic(), &letter);
    run.wait(&visits);
    let places = run.places(&visits);

    judge(&places, &needles, &visits, |needle, what| match visits.get(&needle.number) {
        Some(visit) => found_in(visit.record, what),
        // What a message of Kafka carried is in the letter, byte for byte, and is shown to nobody.
        None if needle.number == letter.number && matches!(what, What::Address | What::Recipient) => {
            vec!["dead", "topic"]
        }
        None => vec![],
    });
}

#[test]
fn nor_is_it_where_one_process_does_it_all() {
    let dir = testkit::fresh_dir("privacy-up");
    std::fs::write(dir.path().join("address.key"), SECRET).unwrap();
    let settings = [
        "privacy.address=hash",
        "privacy.address_key_file=address.key",
        "edge.dnt=anonymous",
        "log.filter=trace",
        "journal.segment_bytes=2097152",
    ];
    let flags: Vec<&str> =
        settings.iter().flat_map(|setting| ["--set", setting]).chain(["--no-geo"]).collect();
    let mut up = Up::start(dir.path(), &flags);
    let keys = Keys::from_toml(&std::fs::read_to_string(&up.keys).unwrap()).unwrap();
    let (mut needles, mut visits) = (Needles::default(), BTreeMap::new());
    for (wishes, outcome) in [("", "ignore"), ("DNT: 1\r\n", "anonymous")] {
        visits.append(&mut visit_all(&keys, &up.edge, &mut needles, wishes, outcome));
    }
    let rows = visits.values().filter(|visit| visit.record != Record::Nothing).count();
    until_ok("every row", BOUND, || match up.query("SELECT count() FROM events") {
        seen if seen == rows.to_string() => Ok(()),
        seen => Err(seen),
    });
    let mut places = Places::default();
    places.add("db:hash", places::database(&up.clickhouse, "mailbeacon"));
    places.add("metrics", vec![up.metrics().into_bytes()]);
    for name in ["ledger", "config", "doctor"] {
        let output = command(dir.path(), &["--config", "data/up.toml", name]).output().unwrap();
        places.add("commands", vec![output.stdout, output.stderr]);
    }
    up.program.interrupt();
    assert!(up.program.wait().success());
    places.add("log", vec![up.program.said().into_bytes()]);
    let data = dir.path().join("data");
    assert!(is_private(&data) && is_private(&data.join("journal")));
    places.add("journal", places::files(&data.join("journal")));
    places.add("server logs", places::logs(&data.join("clickhouse")));
    places.add("settings", vec![std::fs::read(data.join("up.toml")).unwrap()]);
    judge(&places, &needles, &visits, |needle, what| {
        let mut wanted = found_in(visits[&needle.number].record, what);
        wanted.retain(|place| ["journal", "db:hash"].contains(place));
        wanted
    });
}

/// Everything is where it may be, and there it is found.
fn judge(
    places: &Places,
    needles: &Needles,
    visits: &BTreeMap<u16, Visit>,
    wanted: impl Fn(&Needle, What) -> Vec<&'static str>,
) {
    let found = places.search(needles);
    let mut wrong = Vec::new();
    for needle in &needles.all {
        for what in needle.parts() {
            let wanted = wanted(needle, what).into_iter().map(str::to_owned).collect();
            let seen = found.get(&(needle.number, what)).cloned().unwrap_or_default();
            if seen != wanted {
                let visit = visits.get(&needle.number);
                wrong.push(format!("{what:?} of {visit:?}: in {seen:?}, not {wanted:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let secret = places.holding(SECRET.as_bytes());
    assert!(secret.is_empty(), "the secret is in {secret:?}");
    assert_eq!(places.holding(b"TRACE "), ["log"], "nothing was kept back from the logs");
}

/// Every mode to one edge, as an open over IPv4 and as a click over IPv6, where the visitor's wishes come to this.
fn visit_all(
    keys: &Keys,
    edge: &str,
    needles: &mut Needles,
    wishes: &str,
    outcome: &str,
) -> BTreeMap<u16, Visit> {
    let (_, records) = OUTCOMES.into_iter().find(|(name, _)| *name == outcome).unwrap();
    let mut visits = BTreeMap::new();
    for (mode, record) in MODES.into_iter().zip(records) {
        for kind in [Kind::Open, Kind::Click] {
            let needle = needles.add(keys, kind == Kind::Click);
            send(keys, edge, &needle, kind, mode, wishes);
            // Of links a date says nothing.
            let is_nothing = record == Record::Day && kind == Kind::Click;
            let record = if is_nothing { Record::Nothing } else { record };
            let about = format!("{kind:?} in mode {mode:?} under the policy {outcome}");
            visits.insert(needle.number, Visit { record, about });
        }
    }
    visits
}

/// A request, and what is to become of it.
#[derive(Debug)]
struct Visit {
    record: Record,
    #[allow(dead_code, reason = "named when a check fails")]
    about: String,
}

/// Edges of every policy for wishes, and consumers of every policy for addresses, on one topic.
struct Run {
    servers: Servers,
    dir: tempfile::TempDir,
    keys: Keys,
    edges: Vec<(Program, String)>,
    consumers: Vec<(Program, String)>,
}

impl Run {
    fn start() -> Run {
        let (servers, dir) = (Servers::new("privacy"), testkit::fresh_dir("privacy"));
        let at = dir.path();
        std::fs::write(at.join("address.key"), SECRET).unwrap();
        says(at, &["keys", "new"]);
        let keys = Keys::from_toml(&std::fs::read_to_string(at.join("keys.toml")).unwrap()).unwrap();
        let consumers = POLICIES.iter().map(|policy| {
            let database = format!("clickhouse.database={}_{policy}", servers.database);
            says(at, &servers.args(&[&database], &["migrate"]));
            let (group, address) = (format!("consumer.group={policy}"), format!("privacy.address={policy}"));
            let settings = [&database, &group, &address, "privacy.address_key_file=address.key"];
            start(&servers, at, "consume", &settings)
        });
        let consumers = consumers.collect();
        let edges = EDGES.iter().enumerate().map(|(n, (dnt, gpc))| {
            let settings =
                [format!("journal.dir=journal-{n}"), format!("edge.dnt={dnt}"), format!("edge.gpc={gpc}")];
            start(&servers, at, "edge", &settings.each_ref().map(String::as_str))
        });
        let edges = edges.collect();
        Run { servers, dir, keys, edges, consumers }
    }

    fn topic(&self) -> String {
        self.servers.setting("kafka.topic").to_owned()
    }

    fn database(&self, policy: &str) -> String {
        format!("{}_{policy}", self.servers.database)
    }

    /// Every mode, wish and policy.
    fn visits(&self, needles: &mut Needles) -> BTreeMap<u16, Visit> {
        let mut visits = BTreeMap::new();
        for ((_, said), (dnt, gpc)) in self.edges.iter().zip(EDGES) {
            for (dnt_header, gpc_header) in WISHES {
                let heard = |header: &str, policy| if header.is_empty() { "ignore" } else { policy };
                let wishes = [heard(dnt_header, dnt), heard(gpc_header, gpc)];
                let outcome = ["off", "anonymous"].into_iter().find(|policy| wishes.contains(policy));
                let (edge, headers) = (base_url(said), format!("{dnt_header}{gpc_header}"));
                let outcome = outcome.unwrap_or("ignore");
                visits.append(&mut visit_all(&self.keys, &edge, needles, &headers, outcome));
            }
        }
        visits
    }

    /// Waits until every consumer has stored what is to be stored, and set the dead letter aside.
    fn wait(&self, visits: &BTreeMap<u16, Visit>) {
        let of = |record| visits.values().filter(|visit| visit.record == record).count();
        let (all, days, rows) = (of(Record::All), of(Record::Day), visits.len() - of(Record::Nothing));
        for policy in POLICIES {
            let addresses = if policy == "drop" { 0 } else { all };
            let wanted = format!("{rows}\t{all}\t{days}\t{rows}\t{addresses}");
            let counts = format!(
                "SELECT count(), countIf(mode = 'full'), countIf(mode = 'date'), uniqExact(edge_id, seq), \
                 countIf(address != toIPv6('::')) FROM {}.events",
                self.database(policy)
            );
            until_ok(policy, BOUND, || match testkit::query(&counts).trim() {
                seen if seen == wanted => Ok(()),
                seen => Err(format!("{seen}, not {wanted}")),
            });
        }
        let hashes = testkit::query(&format!(
            "SELECT countIf(startsWith(hex(address), 'FD')), uniqExact(address) FROM {}.events WHERE mode = 'full'",
            self.database("hash")
        ));
        assert_eq!(hashes.trim(), format!("{all}\t{all}"), "each address has a value of its own");
        let dead = format!("{}.dead", self.topic());
        until_ok("a dead letter by each consumer", BOUND, || match places::topic(&dead).len() {
            letters if letters == POLICIES.len() => Ok(()),
            letters => Err(letters),
        });
    }

    /// All that the run leaves behind, when it has ended.
    fn places(self, visits: &BTreeMap<u16, Visit>) -> Places {
        let mut places = Places::default();
        places.add("topic", places::topic(&self.topic()));
        places.add("dead", places::topic(&format!("{}.dead", self.topic())));
        for policy in POLICIES {
            places.add(
                &format!("db:{policy}"),
                places::database(&testkit::clickhouse().http_url(), &self.database(policy)),
            );
        }
        for n in 0..EDGES.len() {
            let journal = self.dir.path().join(format!("journal-{n}"));
            assert!(is_private(&journal));
            places.add("journal", places::files(&journal));
        }
        let list = self.says(&["dead-letters", "list", "--json"]);
        let json: serde_json::Value = serde_json::from_slice(&list[0]).unwrap();
        let id = json["listed"][0]["id"].as_str().unwrap();
        places.add("commands", list);
        for command in [
            &["dead-letters", "list"][..],
            &["dead-letters", "show", id],
            &["dead-letters", "show", id, "--json"],
            &["ledger"],
            &["doctor"],
            &["config"],
        ] {
            places.add("commands", self.says(command));
        }
        let programs: Vec<(Program, String)> = self.edges.into_iter().chain(self.consumers).collect();
        let pages: Vec<String> = programs
            .iter()
            .map(|(_, said)| {
                http::get(&format!("http://{}/metrics", value(said, "admin")), "").unwrap().text()
            })
            .collect();
        let refused = |reason: &str| -> usize {
            let start = format!("edge_refused_events_total{{reason=\"{reason}\"}} ");
            pages
                .iter()
                .flat_map(|page| page.lines())
                .filter_map(|line| line.strip_prefix(&start)?.parse::<usize>().ok())
                .sum()
        };
        let nothing = visits.values().filter(|visit| visit.record == Record::Nothing).count();
        let counts = ["mode", "dnt", "gpc"].map(refused);
        assert!(counts.iter().sum::<usize>() == nothing && !counts.contains(&0), "{counts:?} of {nothing}");
        places.add("metrics", pages.into_iter().map(String::into_bytes).collect());
        for (mut program, _) in programs {
            program.interrupt();
            assert!(program.wait().success());
            places.add("log", vec![program.said().into_bytes()]);
        }
        for server in [testkit::clickhouse().dir(), testkit::kafka().dir()] {
            places.add("server logs", places::logs(server));
        }
        places
    }

    fn says(&self, command_line: &[&str]) -> Vec<Vec<u8>> {
        let output = command(self.dir.path(), &self.servers.args(&[], command_line)).output().unwrap();
        vec![output.stdout, output.stderr]
    }
}

/// A program that says all that it can say.
fn start(servers: &Servers, dir: &std::path::Path, name: &str, more: &[&str]) -> (Program, String) {
    let fixed = [
        "edge.listen=127.0.0.1:0",
        "edge.workers=1",
        "edge.trusted_proxies=[\"127.0.0.0/8\"]",
        "admin.listen=127.0.0.1:0",
        "log.filter=trace",
        "journal.segment_bytes=2097152",
    ];
    let mut program = Program::start(dir, &servers.args(&[&fixed, more].concat(), &[name]));
    let line = program.line(" is up", START);
    (program, line)
}

/// `admin=127.0.0.1:4711` in a line of the log.
fn value<'a>(line: &'a str, name: &str) -> &'a str {
    let start = format!("{name}=");
    line.split(' ')
        .find_map(|word| word.strip_prefix(&start))
        .unwrap_or_else(|| panic!("no {name} in {line}"))
}

/// Whether nobody but the owner can look into a directory.
fn is_private(dir: &std::path::Path) -> bool {
    dir.metadata().unwrap().mode() & 0o077 == 0
}

fn base_url(said: &str) -> String {
    format!("http://{}", value(said, "listen"))
}

/// One request, which is answered as ever.
fn send(keys: &Keys, edge: &str, needle: &Needle, kind: Kind, mode: Mode, wishes: &str) {
    let target = if kind == Kind::Click { needle.target() } else { String::new() };
    let link = Link {
        kind,
        workspace: 1,
        message: 5,
        recipient: needle.recipient,
        link: u32::from(kind == Kind::Click),
        target: target.clone(),
        sent_at_ms: 0,
        mode,
        region: Region::Other,
        ..Link::default()
    };
    let url = Site::new(edge).unwrap().url(keys, &link).unwrap();
    let reply =
        http::get(&format!("{url}?{}", needle.never()), &format!("{}{wishes}", needle.headers())).unwrap();
    match kind {
        Kind::Click => assert_eq!((reply.status, reply.header("location")), (302, &*target)),
        _ => assert_eq!((reply.status, &reply.body[..]), (200, &edge::reply::PIXEL[..])),
    }
}

/// Requests that are no link of ours, or no HTTP: whatever is said of them says nothing of whom they are from.
fn ill(edge: &str, needle: &Needle) {
    let headers = needle.headers();
    for path in
        [format!("/c/{}", needle.never()), format!("/{}", needle.never()), format!("/o/{}", needle.never())]
    {
        let reply = http::get(&format!("{edge}{path}"), &headers).unwrap();
        assert!(!reply.text().contains(&needle.never()), "{path}");
    }
    // A line that is no header, one that is too long, and an end in the middle.
    let never = needle.never();
    for broken in
        [format!("{never}\r\n"), format!("X-Long: {}\r\n", never.repeat(2_000)), format!("\0{never}: a\r\n")]
    {
        let _ = http::get(&format!("{edge}/o/{never}"), &format!("{headers}{broken}"));
    }
}

/// A message whose framing is broken behind an event that carries everything.
fn send_broken(topic: &str, needle: &Needle) {
    let address = needle.address_bytes();
    let event = Event {
        edge_id: 0x77,
        seq: 1,
        kind: Kind::Open,
        workspace: 1,
        recipient: needle.recipient,
        client_ip: &address,
        received_at_ms: 1_764_000_000_000,
        ..Event::default()
    };
    let (mut bytes, mut message) = (Vec::new(), Vec::new());
    event.encode(&mut bytes);
    Batch::push(&mut message, &bytes);
    message.push(99);
    let producer = Producer::new(&kafka::Config::new(testkit::kafka().bootstrap(), topic)).unwrap();
    producer.send(1, &message, 0).unwrap();
    assert_eq!(producer.flush(BOUND), 0);
}

#[test]
fn a_secret_that_cannot_be_stops_the_start_and_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let secrets = [
        ("short.key", "seventeen secrets"),
        ("same.key", "tttttttttttttttttttttttttttttttttttttttt"),
        ("good.key", SECRET),
    ];
    for (name, secret) in secrets {
        std::fs::write(dir.join(name), secret).unwrap();
    }
    std::fs::write(dir.join("long.key"), SECRET.repeat(200)).unwrap();
    let consume = |key: &str, more: &[&str]| {
        let key = format!("privacy.address_key_file={key}");
        let fixed = ["kafka.brokers=127.0.0.1:1", "clickhouse.url=http://127.0.0.1:1", "geo.off=true"];
        let settings = [&fixed[..], &[&key], more].concat();
        let args: Vec<&str> =
            settings.iter().flat_map(|setting| ["--set", setting]).chain(["consume"]).collect();
        refuses(dir, &args)
    };
    let hash = ["privacy.address=hash"];
    for (file, named) in [
        ("", "privacy.address_key_file is empty"),
        ("nowhere.key", "privacy.address_key_file = nowhere.key"),
        ("short.key", "short.key: has 17 bytes, expected at least 32"),
        ("same.key", "same.key: is one byte repeated"),
        ("long.key", "long.key: expected at most 4096 bytes"),
    ] {
        let complaint = consume(file, &hash);
        assert!(complaint.contains(named), "{file}: {complaint}");
        assert!(secrets.iter().all(|(_, secret)| !complaint.contains(secret)), "{complaint}");
    }
    // The same key, and what stops the start is the next thing that is wrong.
    let complaint = consume("good.key", &["privacy.address=hash", "geo.off=false"]);
    assert!(complaint.contains("geo.files"), "{complaint}");
    assert!(consume("nowhere.key", &["privacy.address=truncate", "geo.off=false"]).contains("geo.files"));
    for (flag, named) in [
        ("privacy.address=mask", "privacy.address = \"mask\""),
        ("edge.dnt=honour", "edge.dnt = \"honour\""),
        ("edge.gpc=1", "edge.gpc"),
    ] {
        let complaint = refuses(dir, &["--set", flag, "config"]);
        assert!(complaint.contains(named), "{flag}: {complaint}");
    }
    let up = ["--set", "privacy.address=hash", "--set", "privacy.address_key_file=short.key", "up"];
    assert!(refuses(dir, &up).contains("short.key: has 17 bytes"));
    let shown =
        says(dir, &["--set", "privacy.address=hash", "--set", "privacy.address_key_file=good.key", "config"]);
    assert!(shown.contains("address_key_file = \"good.key\"") && !shown.contains(SECRET), "{shown}");
}

#[test]
fn a_link_holds_no_recipient_that_its_mode_may_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    says(dir, &["keys", "new"]);
    let mint = |mode: &str, recipient: &[&str]| {
        let link = ["link", "open", "--message", "5", "--sent", "2026-11-01T08:00:00Z", "--mode", mode];
        says(dir, &[&link[..], recipient].concat())
    };
    let (ann, bob) = (["--recipient", "ann"], ["--recipient", "bob"]);
    for mode in ["anonymous", "off"] {
        assert!(mint(mode, &ann) == mint(mode, &bob) && mint(mode, &ann) == mint(mode, &[]), "{mode}");
    }
    for mode in ["full", "date"] {
        assert_ne!(mint(mode, &ann), mint(mode, &bob), "{mode}");
    }
}

/// Passwords that stand where they are of no use, or where they cannot be read.
#[test]
fn a_wrong_configuration_is_told_without_the_secrets_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (text, named) in [
        ("[clickhouse]\npassword = hunter2\n", "line 2 is not TOML"),
        (
            "[clickhouse]\npassword = \"hunter2\"\npassword = \"hunter2\"\n",
            "line 3 is not TOML: duplicate key",
        ),
        ("[clickhouse]\npassword = 72272272\n", "clickhouse.password: expected a string"),
        ("[clickhouse]\npassword = [\"hunter2\"]\n", "clickhouse.password"),
        ("clickhouse = \"hunter2\"\n", "configuration: clickhouse"),
        ("[clickhouse]\npasswort = \"hunter2\"\n", "unknown field `passwort`"),
        ("[clickhouse]\nurl = \"http://ann:hunter2@127.0.0.1\"\n", "[clickhouse]: url holds credentials"),
        ("[clickhouse]\ncluster = \"c\"\nshards = [\"http://ann:hunter2@127.0.0.1\"]\n", "shards"),
        ("[kafka]\nproperties = \"sasl.password=hunter2\"\n", "kafka.properties: expected a map"),
        (
            "[kafka.properties]\n\"sasl.password\" = 72272272\n",
            "kafka.properties.sasl.password: expected a string",
        ),
        ("[kafka]\nbrokers = \"h:1\"\nproperties = { \"sasl.pasword\" = \"hunter2\" }\n", "sasl.pasword"),
    ] {
        std::fs::write(dir.join("m.toml"), text).unwrap();
        for command in ["config", "doctor", "consume"] {
            let complaint = refuses(dir, &["--config", "m.toml", command]);
            assert!(complaint.contains(named), "{text}{command}: {complaint}");
            assert!(
                !complaint.contains("hunter") && !complaint.contains("7227"),
                "{text}{command}: {complaint}"
            );
        }
    }
    // As the settings file tells to keep them out of it.
    let properties = "{\"sasl.username\" = \"ann\", \"sasl.password\" = \"hunter2\"}";
    let output = command(dir, &["config"]).env("MAILBEACON_KAFKA_PROPERTIES", properties).output().unwrap();
    let shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(shown.contains("\"sasl.password\" = \"***\"") && !shown.contains("hunter2"), "{shown}");
}
