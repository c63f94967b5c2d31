//! What happens to the mails of a person: the events that a sender's system would have seen.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::chance::Chance;
use super::person::{Client, Person, Span};
use super::world::{CLICK_SHARE, DOWNLOAD_SHARE, WEEKEND_SHARE, World};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// The sender's own clock, in which mail goes out: New York's in winter, all year.
pub const SENDER_ZONE: &str = "Etc/GMT+5";
const SENDER_OFFSET_HOURS: f64 = -5.0;

/// A mail is looked at in steps of this length, and for three days.
const LOOK_MS: i64 = 10 * MINUTE_MS;
const LOOKED_AT_MS: i64 = 3 * DAY_MS;

/// How likely a mail once opened is opened again at a look, of the likelihood for a fresh one.
const AGAIN: f64 = 0.15;

const PREFETCH: &str = "Mozilla/5.0";
const PROXY: &str =
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                     Version/26.0 Mobile/15E148 Safari/604.1";
const DESKTOP: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                       Chrome/126.0.0.0 Safari/537.36";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "as in events")]
pub enum Kind {
    Sent,
    Open,
    Click,
    Download,
}

/// Who asked, as the truth has it. Not written: an import has to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// The person, or nobody: a send.
    Person,
    /// A machine.
    Machine,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// Which of the person's mails.
    pub mail: usize,
    /// The link followed.
    pub link: Option<u32>,
    /// What asked. Empty for a send.
    pub user_agent: &'static str,
    /// From where, as the first three parts of an IPv4 address. Empty for a send.
    pub network: &'static str,
    /// The zone that the address gives; empty where it tells nothing about the person.
    pub time_zone: String,
    /// Who it was in truth.
    pub asker: Asker,
}

/// The events of a person, by time. The same each time.
pub fn of(person: &Person, world: &World, span: &Span, index: usize) -> Vec<Event> {
    let mut chance = Chance::new(span.seed, "history", index as u64);
    let mut events = Vec::new();
    let mut sends: Vec<i64> = (0..person.mails).filter_map(|_| send_ms(&mut chance, world, span)).collect();
    sends.sort_unstable();
    sends.dedup();
    for (mail, sent_ms) in sends.into_iter().enumerate() {
        let event = |kind, at_ms, link| Event {
            kind,
            at_ms,
            mail,
            link,
            user_agent: "",
            network: "",
            time_zone: String::new(),
            asker: Asker::Person,
        };
        events.push(Event { time_zone: person.recorded.clone(), ..event(Kind::Sent, sent_ms, None) });
        machines(
            person,
            world,
            &mut chance,
            &mut events,
            &|kind, at_ms, link| Event { asker: Asker::Machine, ..event(kind, at_ms, link) },
            sent_ms,
        );
        let Some(opened_ms) = opened(person, &mut chance, sent_ms, span.until_ms) else { continue };
        let zone = |at_ms| match person.away(at_ms) {
            Some(travel) => travel.name.to_owned(),
            None => person.recorded.clone(),
        };
        let device = if chance.happens(0.6) { (PHONE, "73.12.7") } else { (DESKTOP, "71.161.3") };
        let act = |kind, at_ms, link| Event {
            user_agent: device.0,
            network: device.1,
            time_zone: zone(at_ms),
            ..event(kind, at_ms, link)
        };
        match person.client {
            // The image is there already.
            Client::Prefetched => {}
            Client::Proxy => events.push(Event {
                user_agent: PROXY,
                network: "66.249.84",
                ..event(Kind::Open, opened_ms, None)
            }),
            Client::Own => {
                events.push(act(Kind::Open, opened_ms, None));
                if let Some(again_ms) = again(person, &mut chance, opened_ms, span.until_ms) {
                    events.push(act(Kind::Open, again_ms, None));
                }
            }
        }
        let minutes_ms = (chance.between(0.3, 5.0) * MINUTE_MS as f64) as i64;
        if chance.happens(CLICK_SHARE) {
            let link = 1 + chance.below(5) as u32;
            events.push(act(Kind::Click, opened_ms + minutes_ms, Some(link)));
        }
        if chance.happens(DOWNLOAD_SHARE) {
            events.push(act(Kind::Download, opened_ms + 2 * minutes_ms, Some(9)));
        }
    }
    events.retain(|event| event.at_ms < span.until_ms);
    events.sort_by_key(|event| event.at_ms);
    events
}

/// When a mail is sent: by the sender's habit, mostly on weekdays.
fn send_ms(chance: &mut Chance, world: &World, span: &Span) -> Option<i64> {
    let hours = world.sending[chance.weighted(&world.sending.iter().map(|slot| slot.2).collect::<Vec<_>>())];
    let hour = chance.between(hours.0, hours.1) - SENDER_OFFSET_HOURS;
    let week = chance.below(span.weeks) as i64;
    let weekend = chance.happens(WEEKEND_SHARE);
    let day = if weekend { 5 + chance.below(2) } else { chance.below(5) } as i64;
    // The history begins at 00:00 UTC of a Monday.
    let at_ms = span.from_ms() + (week * 7 + day) * DAY_MS + (hour * HOUR_MS as f64) as i64;
    (at_ms < span.until_ms).then_some(at_ms)
}

/// When the person first opens a mail, if they do.
fn opened(person: &Person, chance: &mut Chance, sent_ms: i64, until_ms: i64) -> Option<i64> {
    let until_ms = until_ms.min(sent_ms + LOOKED_AT_MS);
    happens(chance, sent_ms, until_ms, |at_ms| {
        person.hazard(at_ms, (at_ms - sent_ms) as f64 / HOUR_MS as f64)
    })
}

/// When the person comes back to a mail they opened, if they do: at one of their looks in the two days after.
fn again(person: &Person, chance: &mut Chance, opened_ms: i64, until_ms: i64) -> Option<i64> {
    let from_ms = opened_ms + HOUR_MS / 2;
    happens(chance, from_ms, until_ms.min(from_ms + 2 * DAY_MS), |at_ms| AGAIN * person.hazard(at_ms, 0.0))
}

/// A first time at a hazard per hour.
fn happens(chance: &mut Chance, from_ms: i64, until_ms: i64, hazard: impl Fn(i64) -> f64) -> Option<i64> {
    let step_hours = LOOK_MS as f64 / HOUR_MS as f64;
    // One draw decides: the hazard has to add up to it.
    let mut left = chance.exponential(1.0);
    let mut at_ms = from_ms;
    while at_ms < until_ms {
        let hazard = hazard(at_ms + LOOK_MS / 2) * step_hours;
        if hazard > left {
            return Some(at_ms + (left / hazard * LOOK_MS as f64) as i64);
        }
        left -= hazard;
        at_ms += LOOK_MS;
    }
    None
}

/// What machines do with a mail.
fn machines(
    person: &Person,
    world: &World,
    chance: &mut Chance,
    events: &mut Vec<Event>,
    event: &dyn Fn(Kind, i64, Option<u32>) -> Event,
    sent_ms: i64,
) {
    if person.client == Client::Prefetched {
        let hours =
            if chance.happens(0.5) { chance.between(0.0, 1.0 / 6.0) } else { chance.between(0.0, 12.0) };
        let user_agent = if chance.happens(world.detected) { PREFETCH } else { PHONE };
        let at_ms = sent_ms + (hours * HOUR_MS as f64) as i64;
        events.push(Event { user_agent, network: "104.28.30", ..event(Kind::Open, at_ms, None) });
    }
    if person.scanned {
        // In one sweep all links; else one here and there, which nothing tells from a person.
        let sweep = chance.happens(world.detected);
        let links: &[u32] = if sweep { &[1, 2, 3, 4] } else { &[1] };
        let delay_ms = chance.between(5.0, 90.0) * 1000.0;
        for (number, link) in links.iter().enumerate() {
            let at_ms = sent_ms + delay_ms as i64 + number as i64 * 400;
            events.push(Event {
                user_agent: DESKTOP,
                network: "52.7.19",
                ..event(Kind::Click, at_ms, Some(*link))
            });
        }
    }
}

/// One line of a history to be imported.
#[derive(Serialize)]
struct Line<'a> {
    kind: Kind,
    time: String,
    recipient: &'a str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    address: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    time_zone: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    country: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
}

/// Writes the events of a person as lines of JSON. With `zones` what a person did says in which zone: what a place
/// database tells by the address, had these addresses been theirs.
pub fn write(out: &mut impl Write, person: &Person, events: &[Event], zones: bool) -> io::Result<()> {
    for event in events {
        let sent = event.kind == Kind::Sent;
        let own = |text| if sent { text } else { "" };
        let host = 1 + person.name.bytes().map(u32::from).sum::<u32>() % 250;
        let line = Line {
            kind: event.kind,
            time: time(event.at_ms),
            recipient: &person.name,
            message: message(person, event.mail),
            link: event.link,
            user_agent: event.user_agent,
            address: if sent { String::new() } else { format!("{}.{host}", event.network) },
            time_zone: if sent || zones { &event.time_zone } else { "" },
            country: own(person.country),
            domain: own(&person.domain),
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// The name of a person's mail.
pub fn message(person: &Person, mail: usize) -> String {
    format!("{}-mail-{mail}", person.name)
}

fn time(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(|_| String::new(), |at| at.to_string())
}
