//! All recipients of a workspace: their groups, and the answer for each.

use std::collections::BTreeMap;

use anyhow::bail;
use send_time::counts::BINS;
use send_time::evidence::Machines;
use send_time::{Counts, Group, Level, Likeness, Options, Refused, Region, Window, by_hour, recommend};
use store::{Engagement, Store};

use super::person::{Person, seen_share};

/// Recipients of one workspace, at most: each takes some hundred bytes.
const RECIPIENTS_MAX: usize = 5_000_000;
/// Of one recipient's events the latest ones are read, up to so many.
const EVENTS_MAX: usize = 50_000;

/// Clicks for each open, where nobody's opens can be seen.
const CLICKS_PER_OPEN: f64 = 0.15;

/// What is known of everybody for whom there may be a send time.
pub struct Workspace {
    /// By recipient key.
    members: Vec<Member>,
    /// IANA names; `""` for whoever's zone is not known.
    zone_names: Vec<String>,
    clicks_per_open: f64,
    whole: Group,
    /// In the order of `zone_names`.
    zones: Vec<Group>,
    domains: BTreeMap<u64, Counts>,
    domain_strength: f64,
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
        let counts = member.counts(self.clicks_per_open);
        let zone = &self.zones[member.zone as usize];
        let domain = self.domains.get(&member.domain);
        let domain = domain.map(|sums| zone.part(Level::Domain, sums, self.domain_strength));
        let mut groups = vec![&self.whole, zone];
        groups.extend(domain.as_ref());
        let time_zone = Some(self.zone_names[member.zone as usize].as_str()).filter(|name| !name.is_empty());
        let asked =
            send_time::Person { counts: &counts, groups: &groups, time_zone, region: Region::Allowed };
        let windows = recommend(&asked, options);
        let by_hour = windows.as_ref().ok().and_then(|_| by_hour(&asked, options.weekday));
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
        let clicks_per_open = if opened > 0.0 { clicked / opened } else { CLICKS_PER_OPEN };
        let mut zone_names = vec![String::new(); zones.len()];
        zones.into_iter().for_each(|(name, zone)| zone_names[zone as usize] = name);

        let mut whole = Counts::default();
        let mut of_zones: Vec<(Counts, Vec<usize>)> = vec![Default::default(); zone_names.len()];
        let mut of_domains: BTreeMap<u64, (Counts, Vec<usize>)> = BTreeMap::new();
        for (place, member) in members.iter().enumerate() {
            let counts = member.counts(clicks_per_open);
            let voice = counts.voice();
            whole.merge(&counts, voice);
            let domain = (member.domain != 0).then(|| of_domains.entry(member.domain).or_default());
            for (sums, places) in [&mut of_zones[member.zone as usize]].into_iter().chain(domain) {
                sums.merge(&counts, voice);
                places.push(place);
            }
        }
        let whole = Group::workspace(&whole);
        let own = |place: &usize| members[*place].counts(clicks_per_open);
        let mut likeness = Likeness::default();
        for (_, places) in &of_zones {
            likeness.add(places.iter().map(|place| (&whole, own(place))));
        }
        let strength = likeness.strength();
        let zones: Vec<Group> =
            of_zones.iter().map(|(sums, _)| whole.part(Level::Zone, sums, strength)).collect();
        let mut likeness = Likeness::default();
        for (_, places) in of_domains.values() {
            likeness.add(places.iter().map(|place| (&zones[members[*place].zone as usize], own(place))));
        }
        let domain_strength = likeness.strength();
        let domains = of_domains.into_iter().map(|(domain, (sums, _))| (domain, sums)).collect();
        Workspace { members, zone_names, clicks_per_open, whole, zones, domains, domain_strength }
    }
}

impl Member {
    fn counts(&self, clicks_per_open: f64) -> Counts {
        seen_share(self.counts.open(), self.machines, clicks_per_open)
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
