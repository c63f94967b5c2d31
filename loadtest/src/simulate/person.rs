//! A recipient: who they are, and how likely they open.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use send_time::zone;

use super::chance::Chance;
use super::habit::{Habit, KINDS, STEPS};
use super::world::{Shared, WEEKEND_SHARE, World};

/// Where people live: zone, country, weight, and the zones taken for it by mistake. None is in the EU, the EEA or the
/// UK: there is no send time for people there.
pub(super) const PLACES: [(&str, &str, f64, [&str; 2]); 10] = [
    ("America/New_York", "US", 0.30, ["America/Chicago", "America/Denver"]),
    ("America/Chicago", "US", 0.15, ["America/New_York", "America/Los_Angeles"]),
    ("America/Denver", "US", 0.05, ["America/Los_Angeles", "America/Chicago"]),
    ("America/Los_Angeles", "US", 0.15, ["America/Denver", "America/New_York"]),
    ("America/Sao_Paulo", "BR", 0.10, ["America/Manaus", "America/New_York"]),
    ("Asia/Kolkata", "IN", 0.10, ["Asia/Kathmandu", "Asia/Singapore"]),
    ("Asia/Tokyo", "JP", 0.05, ["Asia/Singapore", "Asia/Shanghai"]),
    ("Australia/Sydney", "AU", 0.06, ["Australia/Adelaide", "Asia/Tokyo"]),
    ("Australia/Adelaide", "AU", 0.02, ["Australia/Sydney", "Australia/Perth"]),
    ("Asia/Kathmandu", "NP", 0.02, ["Asia/Kolkata", "Asia/Dhaka"]),
];

/// Free mail providers.
const FREE: [&str; 4] = ["gmail.com", "yahoo.com", "outlook.com", "icloud.com"];

/// People of a company.
const COMPANY_PEOPLE: usize = 25;

const DAY_MS: f64 = 86_400_000.0;

/// How someone's opens are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// A program on their own device.
    Own,
    /// Through a proxy that fetches when the mail is shown.
    Proxy,
    /// All is fetched ahead; an open is never seen.
    Prefetched,
}

/// A recipient.
#[derive(Debug, Clone)]
pub struct Person {
    /// Their key in events.
    pub name: String,
    /// Mail domain.
    pub domain: String,
    /// Whether the domain is a company's.
    pub company: bool,
    /// The zone they live by.
    pub zone: TimeZone,
    /// The zone that is recorded for them.
    pub recorded: String,
    /// ISO 3166-1 alpha-2.
    pub country: &'static str,
    /// Two weeks elsewhere.
    pub travel: Option<Travel>,
    /// How their opens are seen.
    pub client: Client,
    /// Whether their company scans mail.
    pub scanned: bool,
    /// What they do.
    pub habit: Habit,
    /// What they did before, and until when.
    pub before: Option<(Habit, i64)>,
    /// Probability that a look at the inbox opens a mail that just came.
    pub attention: f64,
    /// How fast a mail sinks in their inbox, hours.
    pub sink_hours: f64,
    /// Mails in the whole time.
    pub mails: usize,
}

/// Two weeks in another zone.
#[derive(Debug, Clone)]
pub struct Travel {
    /// Unix milliseconds.
    pub from_ms: i64,
    /// Unix milliseconds.
    pub until_ms: i64,
    /// IANA name of the zone.
    pub name: &'static str,
    /// Its rules.
    pub zone: TimeZone,
}

/// How many people, for how long, of which chance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// How many people there are.
    pub people: usize,
    /// Weeks of history.
    pub weeks: usize,
    /// Of all chance.
    pub seed: u64,
    /// End of the history, Unix milliseconds.
    pub until_ms: i64,
}

impl Span {
    /// Begin of the history, Unix milliseconds.
    pub fn from_ms(&self) -> i64 {
        self.until_ms - (self.weeks as f64 * 7.0 * DAY_MS) as i64
    }
}

impl Person {
    /// Person `index`, the same each time.
    pub fn draw(world: &World, span: &Span, index: usize) -> Person {
        let mut chance = Chance::new(span.seed, "person", index as u64);
        let place = chance.weighted(&PLACES.map(|place| place.2));
        let (name, country, _, mistaken) = PLACES[place];
        let company = !chance.happens(world.free_mail);
        let companies = (span.people / COMPANY_PEOPLE).max(1);
        let number = chance.below(companies);
        let domain = if company {
            format!("company-{number}.example")
        } else {
            FREE[chance.below(FREE.len())].to_owned()
        };
        let mix = mix(world, span, company.then_some(number), place);
        let habit = Habit::draw(&mut chance, world.shared, &mix);
        let (from_ms, until_ms) = (span.from_ms(), span.until_ms);
        let length = (until_ms - from_ms) as f64;
        let before = chance.happens(world.changed).then(|| {
            let before = Habit::draw(&mut chance, world.shared, &mix);
            (before, from_ms + (length * 2.0 / 3.0) as i64)
        });
        let mut recorded =
            if chance.happens(world.wrong_zone) { mistaken[chance.below(2)] } else { name }.to_owned();
        if world.fixed_offset {
            recorded = fixed(&recorded, from_ms).unwrap_or(recorded);
        }
        let travel = chance.happens(world.travel).then(|| {
            let begins = from_ms + (chance.part() * length) as i64;
            let name = PLACES[(place + 1 + chance.below(PLACES.len() - 1)) % PLACES.len()].0;
            let zone = zone::rules(name).unwrap_or(TimeZone::UTC);
            Travel { from_ms: begins, until_ms: begins + (14.0 * DAY_MS) as i64, name, zone }
        });
        let client = match chance.part() {
            part if part < world.prefetched => Client::Prefetched,
            part if part < world.prefetched + world.proxied => Client::Proxy,
            _ => Client::Own,
        };
        let scanned = company && Chance::new(span.seed, "scanner", number as u64).happens(world.scanned);
        let attention = chance.gamma(2.5);
        let attention = attention / (attention + chance.gamma(7.5));
        let weeks = span.weeks as f64 / 26.0;
        let mails = (1.0 + chance.exponential((world.mails_mean - 1.0) * weeks))
            .min(world.mails_max * weeks)
            .max(1.0);
        Person {
            name: format!("person-{index}"),
            domain,
            company,
            // Every zone of the table is known, as a test checks.
            zone: zone::rules(name).unwrap_or(TimeZone::UTC),
            recorded,
            country,
            travel,
            client,
            scanned,
            habit,
            before,
            attention,
            sink_hours: chance.between(3.0, 7.0),
            mails: mails as usize,
        }
    }

    /// Opens per hour of a mail of an age, at an instant.
    pub fn hazard(&self, at_ms: i64, age_hours: f64) -> f64 {
        let habit = match &self.before {
            Some((before, until_ms)) if at_ms < *until_ms => before,
            _ => &self.habit,
        };
        let (weekend, step) = self.clock(at_ms);
        self.attention * habit.at(weekend, step) * (-age_hours / self.sink_hours).exp()
    }

    /// The truth: the probability that a mail sent at an instant is opened within an hour.
    pub fn opens_within_hour(&self, at_ms: i64) -> f64 {
        const PARTS: i32 = 6;
        let summed: f64 = (0..PARTS)
            .map(|part| {
                let age = (f64::from(part) + 0.5) / f64::from(PARTS);
                self.hazard(at_ms + (age * 3_600_000.0) as i64, age) / f64::from(PARTS)
            })
            .sum();
        -(-summed).exp_m1()
    }

    /// Where they travel at an instant, if they do.
    pub fn away(&self, at_ms: i64) -> Option<&Travel> {
        self.travel.as_ref().filter(|travel| (travel.from_ms..travel.until_ms).contains(&at_ms))
    }

    /// What the clock shows where they live or travel: whether it is a day of the weekend, and the step of the day.
    fn clock(&self, at_ms: i64) -> (bool, usize) {
        let zone = self.away(at_ms).map_or(&self.zone, |travel| &travel.zone);
        let offset =
            Timestamp::from_millisecond(at_ms).map_or(0, |at| i64::from(zone.to_offset(at).seconds()));
        let local = at_ms.div_euclid(1000) + offset;
        let (day, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        // 1 January 1970 was a Thursday.
        let weekend = (day + 3).rem_euclid(7) >= 5;
        (weekend, second as usize * STEPS / 86_400)
    }
}

/// Which shared habits are how common around a person.
fn mix(world: &World, span: &Span, company: Option<usize>, place: usize) -> Vec<f64> {
    match (world.shared, company) {
        (Shared::Domain, Some(number)) => {
            Chance::new(span.seed, "company", number as u64).dirichlet(KINDS, world.alike)
        }
        (Shared::Zone, _) => Chance::new(span.seed, "place", place as u64).dirichlet(KINDS, world.alike),
        _ => Chance::new(span.seed, "everyone", 0).dirichlet(KINDS, 4.0),
    }
}

/// The zone of fixed offset that a zone has at an instant, where there is one: whole hours only.
fn fixed(name: &str, at_ms: i64) -> Option<String> {
    let seconds = zone::rules(name)?.to_offset(Timestamp::from_millisecond(at_ms).ok()?).seconds();
    // By the rules of POSIX, Etc/GMT+5 lies west.
    (seconds % 3600 == 0 && seconds != 0).then(|| format!("Etc/GMT{:+}", -seconds / 3600))
}

/// The share of weekdays and of days of the weekend among the days of sending, with which a figure for each is joined.
pub fn join_days(weekday: f64, weekend: f64) -> f64 {
    (1.0 - WEEKEND_SHARE) * weekday + WEEKEND_SHARE * weekend
}
