//! All recipients of a workspace: their groups, and the answer for each.

use std::collections::BTreeMap;

use anyhow::bail;
use send_time::counts::BINS;
use send_time::evidence::{Machines, clicks_per_open};
use send_time::{Counts, Fitted, Habits, Options, Own, Refused, Region, Window};
use store::{Engagement, Store};

use super::person::Person;

/// Recipients of one workspace, at most: each takes some hundred bytes.
const RECIPIENTS_MAX: usize = 5_000_000;
/// Of one recipient's events the latest ones are read, up to so many.
const EVENTS_MAX: usize = 50_000;

/// What is known of everybody for whom there may be a send time.
pub struct Workspace {
    /// By recipient key.
    members: Vec<Member>,
    /// IANA names; `""` for whoever's zone is not known.
    zone_names: Vec<String>,
    habits: Fitted,
}

/// One of them.
struct Member {
    recipient: u64,
    zone: u32,
    /// 0 when there is none that would be a company's.
    domain: u64,
    machines: Machines,
    counts: Packed,
}

/// What there is to say of a recipient.
pub struct Answer {
    /// Their key.
    pub recipient: u64,
    /// Windows, the best first, or why there are none.
    pub windows: Result<Vec<Window>, Refused>,
    /// For each hour, how likely mail sent then is opened soon, when there are windows.
    pub by_hour: Option<send_time::Hours>,
}

impl Workspace {
    /// Reads a workspace as it was at an instant, one recipient after another. Domains for which `is_free` holds are no
    /// companies.
    pub async fn read(
        store: &Store,
        workspace: u32,
        at_ms: i64,
        is_free: impl Fn(u64) -> bool,
    ) -> anyhow::Result<Workspace> {
        let sends_are_told = store.has_sends(workspace, at_ms).await?;
        let mut rows = store.engagements(workspace, at_ms)?;
        let mut reading = Reading::default();
        let mut events: Vec<Engagement> = Vec::new();
        loop {
            let row = rows.next().await?;
            let goes_on =
                row.as_ref().zip(events.first()).is_some_and(|(row, first)| row.recipient == first.recipient);
            if !goes_on && !events.is_empty() {
                // The latest ones come first, so that they are those that are kept.
                events.reverse();
                reading.take(Person::of(&events, at_ms, sends_are_told), &is_free)?;
                events.clear();
            }
            match row {
                Some(row) if events.len() < EVENTS_MAX => events.push(row),
                Some(_) => {}
                None => return Ok(reading.finish()),
            }
        }
    }

    /// Whether a recipient is one of them: the place of their answer.
    pub fn place(&self, recipient: u64) -> Option<usize> {
        self.members.binary_search_by_key(&recipient, |member| member.recipient).ok()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// The answer for one of them.
    pub fn answer(&self, place: usize, options: &Options) -> Answer {
        let member = &self.members[place];
        let near = self.habits.near(&self.zone_names[member.zone as usize], member.domain);
        let counts = member.counts.open();
        let own = Own { counts: &counts, machines: member.machines, region: Region::Allowed };
        let windows = near.recommend(&own, options);
        let by_hour = windows.as_ref().ok().and_then(|_| near.by_hour(&own, options.weekday));
        Answer { recipient: member.recipient, windows, by_hour }
    }
}

/// A workspace of which more may come.
#[derive(Default)]
struct Reading {
    members: Vec<Member>,
    zones: BTreeMap<String, u32>,
    opened: f64,
    clicked: f64,
}

impl Reading {
    fn take(&mut self, person: Option<Person>, is_free: impl Fn(u64) -> bool) -> anyhow::Result<()> {
        let Some(person) = person else { return Ok(()) };
        if self.members.len() >= RECIPIENTS_MAX {
            bail!(
                "the workspace has more recipients than are estimated at once, expected at most {RECIPIENTS_MAX}"
            );
        }
        self.opened += person.opened;
        self.clicked += person.clicked;
        let next = self.zones.len() as u32;
        let zone = *self.zones.entry(person.time_zone.unwrap_or_default()).or_insert(next);
        self.members.push(Member {
            recipient: person.recipient,
            zone,
            domain: if is_free(person.domain) { 0 } else { person.domain },
            machines: person.machines,
            counts: Packed::of(&person.counts),
        });
        Ok(())
    }

    fn finish(self) -> Workspace {
        let Reading { members, zones, opened, clicked } = self;
        let mut zone_names = vec![String::new(); zones.len()];
        zones.into_iter().for_each(|(name, zone)| zone_names[zone as usize] = name);
        let habits = Habits::learn(clicks_per_open(opened, clicked), || {
            members.iter().map(|member| send_time::Member {
                recipient: member.recipient,
                counts: member.counts.open(),
                machines: member.machines,
                time_zone: &zone_names[member.zone as usize],
                domain: member.domain,
            })
        });
        Workspace { habits: habits.fit(), members, zone_names }
    }
}

/// [`Counts`] without its zeros, of which most recipients have many.
struct Packed(Box<[(u8, f64)]>);

impl Packed {
    fn of(counts: &Counts) -> Packed {
        let all = counts.sent.iter().chain(&counts.spent).chain(&counts.acts).chain(&counts.repeats);
        Packed((0_u8..).zip(all).filter(|(_, sum)| **sum != 0.0).map(|(place, sum)| (place, *sum)).collect())
    }

    fn open(&self) -> Counts {
        let mut counts = Counts::default();
        for (place, sum) in &self.0 {
            let (which, bin) = (usize::from(*place) / BINS, usize::from(*place) % BINS);
            let bins = match which {
                0 => &mut counts.sent,
                1 => &mut counts.spent,
                2 => &mut counts.acts,
                _ => &mut counts.repeats,
            };
            bins[bin] = *sum;
        }
        counts
    }
}
