//! Where recipients are, by the store's SQL and by the one function that is the rule: every pair of signs, both orders.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use consumer::JournalSource;
use enrich::{Evidence, RegionClass, Tables, region_at};
use event::{Event, Kind, Region};
use tokio::sync::watch;

use crate::journal::{append, open_journal};
use crate::law::{encode, open, today_ms};
use crate::running::{self, RUNTIME, config, query};

const DAY_MS: i64 = 86_400_000;

/// A place that can be trusted, as the visitor's address or as the sender says it.
#[derive(Debug, Clone, Copy)]
enum Place {
    Nowhere,
    Visit(RegionClass),
    Profile(RegionClass),
}

#[derive(Debug, Clone, Copy)]
struct Sign {
    age_days: i64,
    claim: Region,
    place: Place,
}

impl Sign {
    fn event(&self, recipient: u64, edge_id: u64, seq: u64) -> Event<'static> {
        let at_ms = today_ms() - self.age_days * DAY_MS;
        let event = Event { received_at_ms: at_ms, recipient, region: self.claim, ..open(edge_id, seq) };
        match self.place {
            Place::Nowhere => Event { client_ip: &[], ..event },
            // London and Milton in the test database.
            Place::Visit(RegionClass::Eu) => Event { client_ip: &[81, 2, 69, 160], ..event },
            Place::Visit(_) => Event { client_ip: &[216, 160, 83, 56], ..event },
            Place::Profile(class) => {
                let country = if class == RegionClass::Eu { "IS" } else { "JP" };
                Event { kind: Kind::Sent, country, client_ip: &[], user_agent: "", ..event }
            }
        }
    }

    fn evidence(&self) -> Evidence {
        let none = RegionClass::Unknown;
        let (place, profile) = match self.place {
            Place::Nowhere => (none, none),
            Place::Visit(class) => (class, none),
            Place::Profile(class) => (none, class),
        };
        Evidence { at_ms: today_ms() - self.age_days * DAY_MS, claim: self.claim, place, profile }
    }
}

/// A day on either side of the bound keeps a test at midnight right.
fn signs() -> Vec<Sign> {
    use RegionClass::{Eu, Other};
    let places =
        [Place::Nowhere, Place::Visit(Eu), Place::Visit(Other), Place::Profile(Eu), Place::Profile(Other)];
    let mut signs = Vec::new();
    for age_days in [1, 398, 402] {
        for claim in [Region::Unspecified, Region::Eu, Region::Other] {
            signs.extend(places.map(|place| Sign { age_days, claim, place }));
        }
    }
    signs
}

#[test]
fn the_store_says_of_every_pair_of_signs_what_the_rule_says() {
    let signs = signs();
    let pairs: Vec<[Sign; 2]> =
        signs.iter().flat_map(|first| signs.iter().map(|second| [*first, *second])).collect();
    let dir = tempfile::tempdir().unwrap();
    let store = running::store("regions");
    let (log, reader) = open_journal(&dir.path().join("journal"));
    for (n, pair) in pairs.iter().enumerate() {
        for sign in pair {
            append(&log, |edge_id, seq, out| out.extend(encode(&sign.event(n as u64 + 1, edge_id, seq))));
        }
    }
    let city =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../enrich/tests/data/maxmind/GeoIP2-City-Test.mmdb");
    let tables = Arc::new(Tables::load(&[city]).unwrap());
    let source = JournalSource::new(vec![reader], dir.path().join("dead.jsonl"), RUNTIME.handle().clone());
    let running = running::start_with(&config(), source, &store, watch::channel(tables).1);
    let counted = running.finish();
    assert_eq!((counted.stored, counted.dead), (2 * pairs.len() as u64, 0));

    let text = query(&store, "SELECT recipient, region FROM recipient_regions");
    let stored: BTreeMap<u64, &str> = text
        .lines()
        .map(|line| line.split_once('\t').unwrap())
        .map(|(recipient, region)| (recipient.parse().unwrap(), region))
        .collect();
    let mut seen = BTreeMap::<&str, u64>::new();
    for (n, pair) in pairs.iter().enumerate() {
        let wanted = region_at(pair.iter().map(Sign::evidence), today_ms()).as_str();
        assert_eq!(stored.get(&(n as u64 + 1)), Some(&wanted), "{pair:?}");
        *seen.entry(wanted).or_default() += 1;
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}
