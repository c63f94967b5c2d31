//! From events to what the estimator reads, as a consumer and ClickHouse do it: machines out, local hours by the zone
//! of each event, the first act of a person on each mail.

use jiff::tz::TimeZone;
use send_time::evidence::{Kind as ActKind, Machines, Seen, act, repeats};
use send_time::model::decay;
use send_time::{Act, Counts, Mail, zone};

use super::history::{Event, Kind};

const DAY_MS: f64 = 86_400_000.0;

/// Links followed within [`BURST_MS`] that make a sweep of a scanner.
const BURST_LINKS: usize = 3;
const BURST_MS: i64 = 10_000;

/// An open, a click or a download.
#[derive(Debug, Clone)]
pub struct Done {
    /// Which mail.
    pub mail: usize,
    /// What.
    pub kind: ActKind,
    /// Bin of the local week.
    pub bin: usize,
    /// Local time of the day, hours.
    pub hour: f64,
    /// Hours since the send.
    pub age_hours: f64,
    /// Who, as the verdict has it: none for a machine.
    pub seen: Option<Seen>,
    /// Decay with age.
    pub weight: f64,
}

/// What is known of a person.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Zone of most recent weight.
    pub time_zone: Option<String>,
    /// Bin, decay and number of each mail sent.
    pub sent: Vec<(usize, f64, usize)>,
    /// What happened, by time.
    pub acts: Vec<Done>,
    /// What machines do with their mail.
    pub machines: Machines,
}

impl Known {
    /// Reads the events of one person.
    pub fn read(events: &[Event], until_ms: i64) -> Known {
        let mut known = Known::default();
        let sent: Vec<&Event> = events.iter().filter(|event| event.kind == Kind::Sent).collect();
        let Some(first) = sent.first() else { return known };
        let profile = first.time_zone.clone();
        let profile_zone = zone::rules(&profile).unwrap_or(TimeZone::UTC);
        let weight = |at_ms: i64| decay((until_ms - at_ms) as f64 / DAY_MS);
        let mut zones: Vec<(&str, f64)> = vec![(&profile, 1e-6)];
        for event in events {
            let (name, rules) = match event.time_zone.as_str() {
                "" => (profile.as_str(), profile_zone.clone()),
                name => (name, zone::rules(name).unwrap_or(TimeZone::UTC)),
            };
            let Some(bin) = zone::local_bin(event.at_ms, &rules) else { continue };
            let kind = match event.kind {
                Kind::Sent => {
                    known.sent.push((bin, weight(event.at_ms), event.mail));
                    continue;
                }
                Kind::Open => ActKind::Open,
                Kind::Click => ActKind::Click,
                Kind::Download => ActKind::Download,
            };
            let seen = verdict(event, events);
            match (seen, event.kind) {
                (None, Kind::Open) => known.machines.prefetches += 1,
                (None, _) => known.machines.scans += 1,
                _ => {}
            }
            if seen == Some(Seen::Human) {
                zones.push((name, weight(event.at_ms)));
            }
            let minute = (event.at_ms.rem_euclid(3_600_000)) as f64 / 3_600_000.0;
            let sent_ms =
                sent.iter().find(|send| send.mail == event.mail).map_or(event.at_ms, |send| send.at_ms);
            known.acts.push(Done {
                mail: event.mail,
                kind,
                bin,
                hour: (bin % 24) as f64 + minute,
                age_hours: (event.at_ms - sent_ms) as f64 / 3_600_000.0,
                seen,
                weight: weight(event.at_ms),
            });
        }
        let mut sums: Vec<(&str, f64)> = Vec::new();
        for (name, weight) in zones {
            match sums.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += weight,
                None => sums.push((name, weight)),
            }
        }
        known.time_zone = zone::home(sums).map(str::to_owned);
        known
    }

    /// The sums by local hour, as if every mail could have been seen to be answered.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (bin, weight, mail) in &self.sent {
            let acts: Vec<(i64, Act)> = self
                .acts
                .iter()
                .filter(|done| done.mail == *mail)
                .filter_map(|done| {
                    let age_ms = (done.age_hours * 3_600_000.0) as i64;
                    let weight = act(done.kind, done.seen?, self.machines, age_ms);
                    let act = Act { bin: done.bin, age_hours: done.age_hours, weight };
                    (weight > 0.0).then_some((age_ms, act))
                })
                .collect();
            let times: Vec<i64> = acts.iter().map(|(at_ms, _)| *at_ms).collect();
            let first = acts.first().map(|(_, act)| *act);
            let later: Vec<Act> = repeats(&times).into_iter().map(|place| acts[place].1).collect();
            counts.add(&Mail { sent: *bin, act: first, repeats: &later, visible: 1.0, weight: *weight });
        }
        counts
    }

    /// Mails opened by a person whose opens can be seen, and those of them clicked or fetched from.
    pub fn opened_and_clicked(&self) -> (f64, f64) {
        if self.machines.prefetched() {
            return (0.0, 0.0);
        }
        let mails = |wanted: fn(ActKind) -> bool| {
            let mut all: Vec<usize> = self
                .acts
                .iter()
                .filter(|act| act.seen.is_some() && wanted(act.kind))
                .map(|act| act.mail)
                .collect();
            all.sort_unstable();
            all.dedup();
            all.len() as f64
        };
        (mails(|_| true), mails(|kind| kind != ActKind::Open))
    }
}

/// The verdict that a consumer would give: by user agent, and sweeps over many links.
fn verdict(event: &Event, events: &[Event]) -> Option<Seen> {
    if event.user_agent == "Mozilla/5.0" {
        return None;
    }
    if event.user_agent.ends_with("GoogleImageProxy)") {
        return Some(Seen::Proxy);
    }
    let near = events.iter().filter(|other| {
        other.kind == Kind::Click && other.mail == event.mail && (other.at_ms - event.at_ms).abs() < BURST_MS
    });
    if event.kind == Kind::Click && near.count() >= BURST_LINKS { None } else { Some(Seen::Human) }
}
