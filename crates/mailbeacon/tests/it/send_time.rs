//! `mailbeacon send-time` on a workspace of simulated people: what the engine stores gives what the estimator gives in
//! process, to everybody who may have it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use jiff::Timestamp;
use link::Keys;
use loadtest::simulate::evidence::Known;
use loadtest::simulate::history::{self, Event, Kind};
use loadtest::simulate::person::{Person, Span};
use loadtest::simulate::{estimate, world::WorldName};
use send_time::evidence::Seen;
use send_time::{Options, Refused, Weekday, Window, zone};
use serde_json::Value;
use store::{Block, Row, Store, month};

use crate::program::says;
use crate::services::Servers;

const WEEK_MS: i64 = 7 * 86_400_000;
/// A Monday.
const MONDAY_MS: i64 = 4 * 86_400_000;

/// What the pipeline stores of a person's events, and the verdicts that came later.
struct Stored {
    blocks: BTreeMap<u32, Block>,
    corrections: String,
    seq: u64,
}

/// Verdicts, as rows have them.
const HUMAN: u8 = 1;
const PROXY: u8 = 2;
const PREFETCH: u8 = 3;
const SCANNER: u8 = 4;

impl Stored {
    fn person(&mut self, keys: &Keys, person: &Person, index: usize, events: &[Event], known: &Known) {
        let mut acts = known.acts.iter();
        let recipient = keys.recipient(1, &person.name);
        for event in events {
            self.seq += 1;
            let local = zone::rules(&event.time_zone)
                .map(|rules| rules.to_datetime(Timestamp::from_millisecond(event.at_ms).unwrap()));
            let sent = event.kind == Kind::Sent;
            let seen = if sent { None } else { acts.next().unwrap().seen };
            let kind = match event.kind {
                Kind::Sent => 1,
                Kind::Open => 2,
                Kind::Click => 3,
                Kind::Download => 4,
            };
            let message = (index * 1000 + event.mail + 1) as u64;
            let known_now = match (kind, seen) {
                (1, _) => 0,
                (2, None) => PREFETCH,
                (_, None) => SCANNER,
                (_, Some(Seen::Proxy)) => PROXY,
                (_, Some(_)) => HUMAN,
            };
            // Every other request of a machine is taken for a person's at first.
            let late = !sent && seen.is_none() && self.seq.is_multiple_of(2);
            if late {
                let comma = if self.corrections.is_empty() { "" } else { "," };
                let (seq, at_s) = (self.seq, event.at_ms / 1000);
                let month = month(event.at_ms);
                write!(
                    self.corrections,
                    "{comma} (1, {message}, 7, {seq}, 1, toDateTime64({at_s}, 3, 'UTC'), {recipient}, {kind}, 1, \
                     {known_now}, 2, {month})"
                )
                .unwrap();
            }
            let verdict = if late { HUMAN } else { known_now };
            let row = Row {
                workspace: 1,
                message,
                recipient,
                received_at_ms: event.at_ms,
                kind,
                verdict,
                confidence: if sent { 0 } else { 2 },
                mode: 1,
                // Two of a hundred are in the EU by one sign among many, two are nowhere that is known.
                region_class: match index % 50 {
                    0 if event.mail == 0 => 1,
                    1 => 0,
                    _ => 2,
                },
                time_zone: &event.time_zone,
                local_hour: local.map_or(255, |local| local.hour() as u8),
                local_weekday: local.map_or(0, |local| local.weekday().to_monday_one_offset() as u8),
                domain: if sent { keys.domain(1, &person.domain) } else { 0 },
                profile_time_zone: if sent { &person.recorded } else { "" },
                k_topic: "simulated",
                k_off: self.seq,
                edge_id: 7,
                seq: self.seq,
                ..Row::default()
            };
            let month = month(event.at_ms);
            self.blocks.entry(month).or_insert_with(|| Block::new(month)).push(&row);
        }
    }
}

#[test]
fn everybody_gets_what_the_estimator_gives_in_process() {
    let servers = Servers::new("send_time_all");
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    says(dir, &["keys", "new"]);
    says(dir, &servers.args(&["kafka.brokers="], &["migrate"]));
    let keys = Keys::from_toml(&std::fs::read_to_string(dir.join("keys.toml")).unwrap()).unwrap();

    let now_ms = Timestamp::now().as_millisecond();
    let until_ms = now_ms - (now_ms - MONDAY_MS).rem_euclid(WEEK_MS);
    let span = Span { people: 300, weeks: 10, seed: 42, until_ms };
    let world = WorldName::Real.world();
    let (mut people, mut all_known) = (Vec::new(), Vec::new());
    let mut stored = Stored { blocks: BTreeMap::new(), corrections: String::new(), seq: 0 };
    let (mut refused, mut names) = (HashMap::new(), Vec::new());
    for index in 0..span.people {
        let person = Person::draw(&world, &span, index);
        let events = history::of(&person, &world, &span, index);
        let mut known = Known::read(&events, until_ms);
        stored.person(&keys, &person, index, &events, &known);
        // What the sender has on file comes before what travels tell.
        known.time_zone = known.time_zone.map(|_| person.recorded.clone());
        names.push(person.name.clone());
        if events.is_empty() {
            continue;
        }
        match index % 50 {
            0 => _ = refused.insert(keys.recipient(1, &person.name), "eu"),
            1 => _ = refused.insert(keys.recipient(1, &person.name), "region_unknown"),
            _ => {
                people.push(person);
                all_known.push(known);
            }
        }
    }
    let database = &servers.database;
    let config = store::Config {
        url: testkit::clickhouse().http_url(),
        database: database.clone(),
        ..store::Config::default()
    };
    let store = Store::new(config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (month, mut block) in stored.blocks {
        runtime.block_on(store.insert(0, &format!("simulated-{month}"), &block.finish())).unwrap();
    }
    testkit::query(&format!(
        "INSERT INTO {database}.corrections (workspace, message, edge_id, seq, version, received_at, recipient, kind, \
         link, verdict, confidence, month) VALUES {}",
        stored.corrections
    ));

    let at = Timestamp::from_millisecond(until_ms).unwrap().to_string();
    for (days, weekday) in
        [("any", Weekday::Any), ("weekday", Weekday::Weekday), ("weekend", Weekday::Weekend)]
    {
        let said =
            says(dir, &servers.args(&[], &["send-time", "--all", "--at", at.as_str(), "--days", days]));
        let mut lines: HashMap<u64, Value> = said
            .lines()
            .map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                (line["recipient"].as_str().unwrap().parse().unwrap(), line)
            })
            .collect();
        assert_eq!(lines.len(), said.lines().count());
        for (recipient, why) in &refused {
            let line = lines.remove(recipient).unwrap();
            assert_eq!(line["refused"], *why, "{line}");
            assert_eq!(line["windows"].as_array().unwrap().len(), 0, "{line}");
        }
        let answers = estimate::all(&people, &all_known, false, &Options { weekday, quiet: None });
        let mut levels = HashMap::new();
        for (person, answer) in people.iter().zip(&answers) {
            let line = lines.remove(&keys.recipient(1, &person.name)).unwrap();
            same(&line, answer, weekday);
            *levels.entry(line["windows"][0]["level"].as_str().unwrap_or("none").to_owned()).or_insert(0) +=
                1;
        }
        assert!(lines.is_empty(), "{lines:?}");
        assert!(levels["recipient"] > 20 && levels.len() > 1 && !levels.contains_key("none"), "{levels:?}");
    }

    // One by one, for people and for programs.
    let ask = |name: &str, more: &[&str]| {
        says(dir, &servers.args(&[], &[&["send-time", name, "--at", at.as_str()], more].concat()))
    };
    let answers = estimate::all(&people, &all_known, false, &Options::default());
    let wanted = &answers[0].as_ref().unwrap()[0];
    let (line, shown) = (ask(&people[0].name, &["--json"]), ask(&people[0].name, &[]));
    same(&serde_json::from_str(&line).unwrap(), &answers[0], Weekday::Any);
    let first = format!("{:02}:00-{:02}:00 {}", wanted.start_hour, wanted.end_hour, wanted.time_zone);
    assert_eq!(shown.lines().next().unwrap(), first, "{shown}");
    assert!(shown.contains(&wanted.reasons[0]) && shown.contains('█'), "{shown}");
    for (name, why) in [(&*names[50], "eu"), (&names[51], "region_unknown"), ("nobody", "unknown_recipient")]
    {
        let shown = ask(name, &[]);
        assert!(
            shown.contains(&format!("no recommendation ({why})")) && shown.lines().count() == 1,
            "{shown}"
        );
        let line: Value = serde_json::from_str(&ask(name, &["--json"])).unwrap();
        assert_eq!(line["refused"], why);
    }
}

/// Whether a line says what the estimator says, to 1e-9.
fn same(line: &Value, answer: &Result<Vec<Window>, Refused>, weekday: Weekday) {
    let windows = match answer {
        Ok(windows) => windows,
        Err(why) => return assert_eq!(line["refused"], why.as_str(), "{line}"),
    };
    let found = line["windows"].as_array().unwrap();
    assert_eq!(found.len(), windows.len(), "{line}\n{windows:?}");
    for (found, wanted) in found.iter().zip(windows) {
        assert_eq!(found["weekday"].is_null(), weekday == Weekday::Any, "{line}");
        for (name, number) in [
            ("start_hour", wanted.start_hour.into()),
            ("end_hour", wanted.end_hour.into()),
            ("beats_hour", wanted.beats_hour.into()),
            ("p_open_1h", wanted.p_open_1h.unwrap()),
            ("lift", wanted.lift),
            ("confidence", wanted.confidence),
            ("observed", wanted.observed),
            ("expected", wanted.expected),
        ] {
            let found = found[name].as_f64().unwrap();
            assert!((found - number).abs() < 1e-9, "{name} {found} is not {number}: {line}\n{windows:?}");
        }
        assert_eq!(found["time_zone"], wanted.time_zone, "{line}");
        assert_eq!(found["level"], wanted.level.as_str(), "{line}");
    }
}
