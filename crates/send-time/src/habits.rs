//! What the people of a workspace have in common, and what it says of one of them.

use std::collections::BTreeMap;

use crate::Hours;
use crate::counts::{BINS, Counts, Weekday};
use crate::evidence::{Machines, visible};
use crate::group::{Group, Level, Likeness, Moments};
use crate::model::PART_STRENGTH;
use crate::recommend::{Options, Person, Refused, Region, Window, by_hour, recommend};

/// One of those from whom is learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Member<'a> {
    /// Their key.
    pub recipient: u64,
    /// Their sums, as if every mail of theirs could have been seen to be answered.
    pub counts: Counts,
    /// What machines do with their mail.
    pub machines: Machines,
    /// IANA name of the zone that they live by; empty when unknown.
    pub time_zone: &'a str,
    /// Key of their company's mail domain; 0 when there is none, as at a free provider.
    pub domain: u64,
}

/// All that is needed beside one's own [`Counts`] to answer for one of them.
///
/// Plain sums, so that they can be kept in a table: one row for the workspace, one for each zone and one for each
/// domain. Read back with one zone and one domain only, they give the people of these the same answers. Whoever's
/// zone or domain is not held is answered for by the next wider group.
#[derive(Debug, Clone, PartialEq)]
pub struct Habits {
    /// Clicks for each open, where opens can be seen.
    pub clicks_per_open: f64,
    /// Of all people.
    pub whole: Counts,
    /// How many acts the workspace's profile counts for in a zone's.
    pub zone_strength: f64,
    /// How many acts a zone's profile counts for in a domain's.
    pub domain_strength: f64,
    /// By IANA name, the empty one for whoever's zone is unknown.
    pub zones: BTreeMap<String, Counts>,
    /// By key.
    pub domains: BTreeMap<u64, Counts>,
}

impl Habits {
    /// Reads everybody, several times over: sums first, then how alike the people of a zone or a company are. Holds
    /// some kilobytes for each zone and each company, and nothing for each member.
    pub fn learn<'a, I>(clicks_per_open: f64, members: impl Fn() -> I) -> Habits
    where
        I: Iterator<Item = Member<'a>>,
    {
        let mut habits = Habits {
            clicks_per_open,
            whole: Counts::default(),
            zone_strength: PART_STRENGTH,
            domain_strength: PART_STRENGTH,
            zones: BTreeMap::new(),
            domains: BTreeMap::new(),
        };
        for member in members() {
            let counts = habits.seen(member.counts, member.machines);
            let voice = counts.voice();
            habits.whole.merge(&counts, voice);
            match habits.zones.get_mut(member.time_zone) {
                Some(sums) => sums.merge(&counts, voice),
                None => {
                    habits.zones.entry(member.time_zone.to_owned()).or_default().merge(&counts, voice);
                }
            }
            if member.domain != 0 {
                habits.domains.entry(member.domain).or_default().merge(&counts, voice);
            }
        }
        let whole = Group::workspace(&habits.whole);
        let mut parts: BTreeMap<&str, Moments> = BTreeMap::new();
        for member in members() {
            let counts = habits.seen(member.counts, member.machines);
            parts.entry(member.time_zone).or_default().add(&whole, &counts);
        }
        habits.zone_strength = Likeness::of(parts.values()).strength();
        let zones = habits.fit_zones(&whole);
        let mut parts: BTreeMap<u64, Moments> = BTreeMap::new();
        for member in members().filter(|member| member.domain != 0) {
            let counts = habits.seen(member.counts, member.machines);
            parts.entry(member.domain).or_default().add(&zones[member.time_zone], &counts);
        }
        habits.domain_strength = Likeness::of(parts.values()).strength();
        habits
    }

    /// With the profiles of all zones, for whoever asks about many people.
    pub fn fit(self) -> Fitted {
        let whole = Group::workspace(&self.whole);
        Fitted { zones: self.fit_zones(&whole), whole, habits: self }
    }

    fn fit_zones(&self, whole: &Group) -> BTreeMap<String, Group> {
        let fit = |sums: &Counts| whole.part(Level::Zone, sums, self.zone_strength);
        self.zones.iter().map(|(name, sums)| (name.clone(), fit(sums))).collect()
    }

    /// Sums, with what could not be seen of a recipient's mail taken off their exposure.
    fn seen(&self, mut counts: Counts, machines: Machines) -> Counts {
        let visible = visible(machines, self.clicks_per_open);
        for b in 0..BINS {
            counts.sent[b] *= visible;
            counts.spent[b] *= visible;
        }
        counts
    }
}

/// [`Habits`] whose profiles have been figured out.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// What they are of.
    pub habits: Habits,
    whole: Group,
    zones: BTreeMap<String, Group>,
}

impl Fitted {
    /// What is known of people of a zone and a company before they act. 0 is no company.
    pub fn near<'a>(&'a self, time_zone: &'a str, domain: u64) -> Near<'a> {
        let mut groups = vec![self.whole.clone()];
        groups.extend(self.zones.get(time_zone).cloned());
        if let Some(sums) = self.habits.domains.get(&domain) {
            let wider = &groups[groups.len() - 1];
            groups.push(wider.part(Level::Domain, sums, self.habits.domain_strength));
        }
        Near { habits: &self.habits, groups, time_zone }
    }
}

/// What is known of a person before they act.
#[derive(Debug, Clone, PartialEq)]
pub struct Near<'a> {
    habits: &'a Habits,
    groups: Vec<Group>,
    time_zone: &'a str,
}

/// The person themselves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Own<'a> {
    /// Their sums, as if every mail of theirs could have been seen to be answered.
    pub counts: &'a Counts,
    /// What machines do with their mail.
    pub machines: Machines,
    /// Where they are.
    pub region: Region,
}

impl Near<'_> {
    /// Recommends windows, see [`recommend`].
    ///
    /// # Errors
    /// The reason when nothing can be recommended.
    pub fn recommend(&self, own: &Own<'_>, options: &Options) -> Result<Vec<Window>, Refused> {
        self.ask(own, |person| recommend(person, options))
    }

    /// How likely mail is opened within an hour, by the hour of its send, see [`by_hour`].
    pub fn by_hour(&self, own: &Own<'_>, weekday: Weekday) -> Option<Hours> {
        self.ask(own, |person| by_hour(person, weekday))
    }

    fn ask<T>(&self, own: &Own<'_>, question: impl Fn(&Person<'_>) -> T) -> T {
        let counts = self.habits.seen(own.counts.clone(), own.machines);
        let groups: Vec<&Group> = self.groups.iter().collect();
        let time_zone = Some(self.time_zone).filter(|name| !name.is_empty());
        question(&Person { counts: &counts, groups: &groups, time_zone, region: own.region })
    }
}
