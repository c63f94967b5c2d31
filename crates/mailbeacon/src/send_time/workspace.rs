//! All recipients of a workspace: their groups, and the answer for each.

use std::collections::{BTreeMap, VecDeque};

use anyhow::bail;
use send_time::counts::BINS;
use send_time::evidence::{Machines, clicks_per_open};
use send_time::{Counts, Fitted, Habits, Options, Own, Refused, Region, Window};
use store::{Barred, Engagement, HISTORY_MAX, Store};

use super::kept::Learned;
use super::person::Person;
use super::show::Why;
use super::standing::{why_barred, why_not};

/// Recipients of one workspace, at most: each takes some 850 bytes, so that is 8.5 GB.
const RECIPIENTS_MAX: usize = 10_000_000;
/// Progress is told after so many recipients.
const TOLD_EVERY: usize = 10_000;

/// What is known of everybody for whom there may be a send time.
pub struct Workspace {
    /// By recipient key.
    members: Vec<Member>,
    /// IANA names; `""` for whoever's zone is not known.
    zone_names: Vec<String>,
    habits: Fitted,
    /// Those for whom there may be none, and why.
    pub refused: Vec<(u64, Why)>,
    /// Events that were read, of everybody.
    pub events: u64,
    /// Whether sends are told.
    pub sends_are_told: bool,
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
        progress: impl Fn(usize),
    ) -> anyhow::Result<Workspace> {
        Workspace::read_beside(store, workspace, at_ms, is_free, progress, |_, _| {}).await
    }

    /// The same, and shows all events of each one of them, also those after the instant.
    pub async fn read_beside(
        store: &Store,
        workspace: u32,
        at_ms: i64,
        is_free: impl Fn(u64) -> bool,
        progress: impl Fn(usize),
        mut beside: impl FnMut(&Person, &[Engagement]),
    ) -> anyhow::Result<Workspace> {
        // Read first and last: whoever is barred in between is left out as well.
        let barred = store.barred(workspace, None).await?;
        let sends_are_told = store.has_sends(workspace, at_ms).await?;
        let mut rows = store.histories(workspace)?;
        let mut reading = Reading { sends_are_told, at_ms, ..Reading::default() };
        let mut events: VecDeque<Engagement> = VecDeque::new();
        loop {
            let row = rows.next().await?;
            let goes_on =
                row.as_ref().zip(events.front()).is_some_and(|(row, first)| row.recipient == first.recipient);
            if !goes_on && !events.is_empty() {
                reading.take(events.make_contiguous(), &barred, &is_free, &mut beside)?;
                if reading.recipients().is_multiple_of(TOLD_EVERY) {
                    progress(reading.recipients());
                }
                events.clear();
            }
            let Some(row) = row else { break };
            if events.len() == HISTORY_MAX {
                events.pop_front();
            }
            events.push_back(row);
            reading.events += 1;
        }
        let barred = store.barred(workspace, None).await?;
        Ok(reading.finish(&barred))
    }

    /// What was learned, to be kept.
    pub fn learned(&self) -> Learned {
        let Workspace { habits, events, sends_are_told, .. } = self;
        Learned { habits: habits.habits.clone(), events: *events, sends_are_told: *sends_are_told }
    }

    /// The answer for a recipient, by their key, or why there is none.
    pub fn of(&self, recipient: u64, options: &Options) -> Result<Answer, Why> {
        if let Some((_, why)) = self.refused.iter().find(|(refused, _)| *refused == recipient) {
            return Err(*why);
        }
        match self.members.binary_search_by_key(&recipient, |member| member.recipient) {
            Ok(place) => Ok(self.answer(place, options)),
            Err(_) => Err(Why::UnknownRecipient),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// The key of one of them: they are in the order of keys.
    pub fn recipient(&self, place: usize) -> u64 {
        self.members[place].recipient
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
    at_ms: i64,
    sends_are_told: bool,
    members: Vec<Member>,
    zones: BTreeMap<String, u32>,
    refused: Vec<(u64, Why)>,
    events: u64,
    opened: f64,
    clicked: f64,
}

impl Reading {
    fn recipients(&self) -> usize {
        self.members.len() + self.refused.len()
    }

    /// Takes a recipient, by all of their events.
    fn take(
        &mut self,
        events: &[Engagement],
        barred: &Barred,
        is_free: impl Fn(u64) -> bool,
        beside: impl FnOnce(&Person, &[Engagement]),
    ) -> anyhow::Result<()> {
        if self.recipients() >= RECIPIENTS_MAX {
            bail!(
                "the workspace has more recipients than are estimated at once, expected at most {RECIPIENTS_MAX}"
            );
        }
        let recipient = events[0].recipient;
        if let Some(why) = why_not(recipient, events, barred, self.at_ms) {
            self.refused.push((recipient, why));
            return Ok(());
        }
        let known = &events[..events.partition_point(|event| event.at_ms < self.at_ms)];
        let Some(person) = Person::of(known, self.at_ms, self.sends_are_told) else { return Ok(()) };
        beside(&person, events);
        self.opened += person.opened;
        self.clicked += person.clicked;
        let next = self.zones.len() as u32;
        let zone = *self.zones.entry(person.time_zone.unwrap_or_default()).or_insert(next);
        self.members.push(Member {
            recipient,
            zone,
            domain: if is_free(person.domain) { 0 } else { person.domain },
            machines: person.machines,
            counts: Packed::of(&person.counts),
        });
        Ok(())
    }

    fn finish(self, barred: &Barred) -> Workspace {
        let Reading { mut members, zones, mut refused, events, sends_are_told, opened, clicked, .. } = self;
        let mut zone_names = vec![String::new(); zones.len()];
        zones.into_iter().for_each(|(name, zone)| zone_names[zone as usize] = name);
        members.retain(|member| {
            let why = why_barred(member.recipient, barred);
            refused.extend(why.map(|why| (member.recipient, why)));
            why.is_none()
        });
        let habits = Habits::learn(clicks_per_open(opened, clicked), || {
            members.iter().map(|member| send_time::Member {
                recipient: member.recipient,
                counts: member.counts.open(),
                machines: member.machines,
                time_zone: &zone_names[member.zone as usize],
                domain: member.domain,
            })
        });
        Workspace { habits: habits.fit(), members, zone_names, refused, events, sends_are_told }
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
