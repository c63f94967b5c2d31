//! A workspace of simulated people, stored in the real engine as the pipeline stores events.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::Path;

use jiff::Timestamp;
use link::Keys;
use loadtest::simulate::evidence::Known;
use loadtest::simulate::history::{self, Event, Kind};
use loadtest::simulate::person::{Person, Span};
use loadtest::simulate::world::{World, WorldName};
use send_time::evidence::Seen;
use send_time::zone;
use store::{Block, Row, Store, month};

use crate::program::says;
use crate::services::Servers;

const WEEK_MS: i64 = 7 * 86_400_000;
/// A Monday.
const MONDAY_MS: i64 = 4 * 86_400_000;

/// People whose events are in a database, and what is known of them.
pub struct Simulated {
    /// Those who may have a send time, and what the estimator knows of each.
    pub people: Vec<Person>,
    /// See `people`.
    pub known: Vec<Known>,
    /// Those who may not, by key, and why.
    pub refused: HashMap<u64, &'static str>,
    /// Names of all, those without events included.
    pub names: Vec<String>,
    /// The end of their history: a Monday.
    pub until_ms: i64,
    /// With which their names were keyed.
    pub keys: Keys,
}

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

impl Simulated {
    /// Draws people, makes the schema and stores what they were sent and did in ten weeks.
    pub fn new(servers: &Servers, dir: &Path, people: usize) -> Simulated {
        let now_ms = Timestamp::now().as_millisecond();
        let until_ms = now_ms - (now_ms - MONDAY_MS).rem_euclid(WEEK_MS);
        let span = Span { people, weeks: 10, seed: 42, until_ms };
        Simulated::of(servers, dir, &WorldName::Real.world(), &span, |_| true)
    }

    /// The same of a world and a span of time, but for events that are not wanted.
    pub fn of(
        servers: &Servers,
        dir: &Path,
        world: &World,
        span: &Span,
        wanted: impl Fn(&Event) -> bool,
    ) -> Simulated {
        let until_ms = span.until_ms;
        says(dir, &["keys", "new"]);
        says(dir, &servers.args(&["kafka.brokers="], &["migrate"]));
        let keys = Keys::from_toml(&std::fs::read_to_string(dir.join("keys.toml")).unwrap()).unwrap();
        let (mut allowed, mut all_known) = (Vec::new(), Vec::new());
        let mut stored = Stored { blocks: BTreeMap::new(), corrections: String::new(), seq: 0 };
        let (mut refused, mut names) = (HashMap::new(), Vec::new());
        for index in 0..span.people {
            let person = Person::draw(world, span, index);
            let mut events = history::of(&person, world, span, index);
            events.retain(&wanted);
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
                    allowed.push(person);
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
        if stored.corrections.is_empty() {
            return Simulated { people: allowed, known: all_known, refused, names, until_ms, keys };
        }
        testkit::query(&format!(
            "INSERT INTO {database}.corrections (workspace, message, edge_id, seq, version, received_at, recipient, kind, \
             link, verdict, confidence, month) VALUES {}",
            stored.corrections
        ));
        Simulated { people: allowed, known: all_known, refused, names, until_ms, keys }
    }
}
