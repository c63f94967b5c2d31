//! One recipient: from what happened to the sums that the estimator reads.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use send_time::counts::bin;
use send_time::evidence::{Kind, Machines, Seen, act, repeats};
use send_time::model::decay;
use send_time::{Act, Counts, Mail, zone};
use store::Engagement;

const DAY_MS: f64 = 86_400_000.0;
const HOUR_MS: f64 = 3_600_000.0;

/// Kinds of events, as [`Engagement::kind`] has them.
const SENT: u8 = 1;
const OPEN: u8 = 2;
/// Verdicts, as [`Engagement::verdict`] has them.
const HUMAN: u8 = 1;
const PROXY: u8 = 2;
const PREFETCH: u8 = 3;
const SCANNER: u8 = 4;
const BOT: u8 = 5;

/// What is known of a recipient.
#[derive(Clone)]
pub struct Person {
    /// The zone they live by: what the sender has on file, else that of most recent weight.
    pub time_zone: Option<String>,
    /// Key of their mail domain; 0 when unknown.
    pub domain: u64,
    /// Their sums, as if every mail of theirs could have been seen to be answered.
    pub counts: Counts,
    /// What machines do with their mail.
    pub machines: Machines,
    /// Mails opened where opens can be seen.
    pub opened: f64,
    /// Of these, the ones in which a link was followed or a file fetched.
    pub clicked: f64,
}

impl Person {
    /// From all events of a recipient, by time. Where sends are told, what was done with a mail of which no send is
    /// known has no exposure to be held against, and says nothing.
    pub fn of(events: &[Engagement], at_ms: i64, sends_are_told: bool) -> Option<Person> {
        let weight = |then_ms: i64| decay((at_ms - then_ms) as f64 / DAY_MS);
        let machines = machines(events);
        let time_zone = home(events, weight);
        let clock = Clock(time_zone.as_deref().and_then(zone::rules));
        let mails = Told::all(events);
        let (opened, clicked) = opened_and_clicked(&mails, machines);
        let mut counts = Counts::default();
        for mail in &mails {
            let Some(first_ms) = mail.sent.map(|sent| sent.at_ms).or(mail.acts.first().map(|e| e.at_ms))
            else {
                continue;
            };
            let age_ms =
                |event: &Engagement| if mail.sent.is_some() { event.at_ms - first_ms } else { i64::MAX };
            let acts: Vec<(i64, Act)> = mail
                .acts
                .iter()
                .filter_map(|event| {
                    let (kind, seen) = person(event)?;
                    let age_ms = age_ms(event);
                    let weight = act(kind, seen, machines, age_ms);
                    let act = Act { bin: clock.bin(event)?, age_hours: age_ms as f64 / HOUR_MS, weight };
                    (weight > 0.0).then_some((event.at_ms, act))
                })
                .collect();
            let times: Vec<i64> = acts.iter().map(|(at_ms, _)| *at_ms).collect();
            let first = acts.first().map(|(_, act)| *act);
            let later: Vec<Act> = repeats(&times).into_iter().map(|place| acts[place].1).collect();
            match mail.sent {
                Some(sent) => {
                    let Some(sent) = clock.bin(sent) else { continue };
                    let weight = weight(first_ms);
                    counts.add(&Mail { sent, act: first, repeats: &later, visible: 1.0, weight });
                }
                None if !sends_are_told => {
                    if let Some(act) = first {
                        counts.acts[act.bin] += weight(first_ms) * act.weight;
                    }
                    later.iter().for_each(|act| counts.repeats[act.bin] += weight(first_ms) * act.weight);
                }
                None => {}
            }
        }
        let domain = events.iter().rev().map(|event| event.domain).find(|domain| *domain != 0).unwrap_or(0);
        events.first()?;
        Some(Person { time_zone, domain, counts, machines, opened, clicked })
    }
}

/// The clock of where a person lives.
pub struct Clock(pub Option<TimeZone>);

impl Clock {
    /// The bin of an event: by where it happened, if that is told of the person. A proxy's place is not.
    pub fn bin(&self, event: &Engagement) -> Option<usize> {
        match event.local_hour {
            0..24 if (event.kind == SENT || event.verdict == HUMAN) && event.local_weekday > 0 => {
                Some(bin(event.local_weekday, event.local_hour))
            }
            _ => zone::local_bin(event.at_ms, self.0.as_ref()?),
        }
    }
}

/// Mails sent from an instant on, each with how much it was opened within an hour: by a person, as [`act`] weighs it;
/// not at all: 0.
pub fn opened_within_hour(events: &[Engagement], from_ms: i64) -> impl Iterator<Item = (&Engagement, f64)> {
    let machines = machines(events);
    Told::all(events).into_iter().filter_map(move |mail| {
        let sent = mail.sent.filter(|sent| sent.at_ms >= from_ms)?;
        let weights = mail.acts.iter().filter_map(|event| {
            let ((kind, seen), age_ms) = (person(event)?, event.at_ms - sent.at_ms);
            (age_ms < HOUR_MS as i64).then(|| act(kind, seen, machines, age_ms))
        });
        Some((sent, weights.into_iter().find(|weight| *weight > 0.0).unwrap_or(0.0)))
    })
}

/// A person's act, if it is one.
pub fn person(event: &Engagement) -> Option<(Kind, Seen)> {
    let kind = match event.kind {
        OPEN => Kind::Open,
        3 => Kind::Click,
        4 => Kind::Download,
        _ => return None,
    };
    match event.verdict {
        HUMAN if event.weak => Some((kind, Seen::Unsure)),
        HUMAN => Some((kind, Seen::Human)),
        PROXY => Some((kind, Seen::Proxy)),
        _ => None,
    }
}

/// What machines do with someone's mail. A bot that follows links is a scanner that does not say so.
pub fn machines(events: &[Engagement]) -> Machines {
    let mut machines = Machines::default();
    for event in events.iter().filter(|event| event.kind > SENT) {
        match event.verdict {
            PREFETCH => machines.prefetches += 1,
            SCANNER => machines.scans += 1,
            BOT if event.kind > OPEN => machines.scans += 1,
            _ => {}
        }
    }
    machines
}

/// The zone of the latest send that has one, else that of most recent weight of the person's own devices.
fn home(events: &[Engagement], weight: impl Fn(i64) -> f64) -> Option<String> {
    let told = events.iter().rev().filter(|event| event.kind == SENT).map(|event| &event.profile_time_zone);
    if let Some(zone) = told.into_iter().find(|zone| zone::rules(zone).is_some()) {
        return Some(zone.clone());
    }
    let mut weights: Vec<(&str, f64)> = Vec::new();
    for event in events.iter().filter(|event| event.kind > SENT && event.verdict == HUMAN) {
        match weights.iter_mut().find(|(zone, _)| *zone == event.time_zone) {
            Some((_, sum)) => *sum += weight(event.at_ms),
            None => weights.push((&event.time_zone, weight(event.at_ms))),
        }
    }
    zone::home(weights).map(str::to_owned)
}

/// What is told of a mail.
#[derive(Default)]
struct Told<'a> {
    /// Its first send.
    sent: Option<&'a Engagement>,
    /// All that followed, by time, machines' requests included.
    acts: Vec<&'a Engagement>,
}

impl<'a> Told<'a> {
    /// The mails that any of the events is about, the earliest first.
    fn all(events: &'a [Engagement]) -> Vec<Told<'a>> {
        let mut places: HashMap<u64, usize> = HashMap::new();
        let mut mails: Vec<Told<'a>> = Vec::new();
        // What belongs to no message tells nothing of one.
        for event in events.iter().filter(|event| event.message != 0) {
            let place = *places.entry(event.message).or_insert(mails.len());
            if place == mails.len() {
                mails.push(Told::default());
            }
            let mail = &mut mails[place];
            if event.kind == SENT {
                mail.sent = mail.sent.or(Some(event));
            } else {
                mail.acts.push(event);
            }
        }
        mails
    }
}

/// How many mails a person opened whose opens can be seen, and in how many of them they followed a link.
fn opened_and_clicked(mails: &[Told<'_>], machines: Machines) -> (f64, f64) {
    let (mut opened, mut clicked) = (0.0, 0.0);
    for mail in mails.iter().filter(|_| !machines.prefetched()) {
        let kinds: Vec<Kind> = mail.acts.iter().filter_map(|event| Some(person(event)?.0)).collect();
        opened += f64::from(u8::from(!kinds.is_empty()));
        clicked += f64::from(u8::from(kinds.iter().any(|kind| *kind != Kind::Open)));
    }
    (opened, clicked)
}
