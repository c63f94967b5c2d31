//! What the people of a workspace have in common, and what it says of one of them.

use std::collections::BTreeMap;

use crate::Hours;
use crate::counts::{BINS, Counts, Weekday};
use crate::evidence::{Machines, visible};
use crate::group::{DAYS, Group, Level, Likeness, Moments};
use crate::learn::{Example, Place, learn, seen};
use crate::model::{
    DOMAIN_CONCENTRATION, PART_STRENGTH, PROFILE_COMPANY_MAX, PROFILE_PEOPLE, PROFILES, SETTLE_ROUNDS,
    ZONE_CONCENTRATION,
};
use crate::policy::{mix, scaled};
use crate::profiles::{self, Acted, Following, Logs, Mix, Profile, posterior};
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
    /// By key, of companies of two people or more: one alone has nothing in common with others.
    pub domains: BTreeMap<u64, Counts>,
    /// What people do, see [`crate::profiles`]. Empty: nothing was learned, and the sums alone speak.
    pub profiles: Vec<Profile>,
    /// How many people the shares of everybody count for in those of a zone.
    pub zone_concentration: f64,
    /// How many people the shares of a zone count for in those of a company.
    pub domain_concentration: f64,
    /// Who has which profile, by zone.
    pub zone_mixes: BTreeMap<String, Mix>,
    /// Who has which profile, by company.
    pub domain_mixes: BTreeMap<u64, Mix>,
}

impl Habits {
    /// Reads everybody, several times over: sums first, then how alike the people of a zone or a company are, then
    /// profiles and who has them. Holds some kilobytes for each zone, each company and each of [`PROFILE_PEOPLE`]
    /// people, and 44 bytes for each member.
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
            profiles: Vec::new(),
            zone_concentration: ZONE_CONCENTRATION,
            domain_concentration: DOMAIN_CONCENTRATION,
            zone_mixes: BTreeMap::new(),
            domain_mixes: BTreeMap::new(),
        };
        let mut people: BTreeMap<u64, usize> = BTreeMap::new();
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
            *people.entry(member.domain).or_default() += 1;
            if member.domain != 0 {
                habits.domains.entry(member.domain).or_default().merge(&counts, voice);
            }
        }
        habits.domains.retain(|domain, _| people[domain] > 1);
        let whole = Group::workspace(&habits.whole);
        let mut parts: BTreeMap<&str, Moments> = BTreeMap::new();
        for member in members() {
            let counts = habits.seen(member.counts, member.machines);
            parts.entry(member.time_zone).or_default().add(&whole, &counts);
        }
        habits.zone_strength = Likeness::of(parts.values()).strength();
        let zones = habits.fit_zones(&whole);
        let mut parts: BTreeMap<u64, Moments> = BTreeMap::new();
        for member in members().filter(|member| habits.domains.contains_key(&member.domain)) {
            let counts = habits.seen(member.counts, member.machines);
            parts.entry(member.domain).or_default().add(&zones[member.time_zone], &counts);
        }
        habits.domain_strength = Likeness::of(parts.values()).strength();
        habits.learn_profiles(&whole, &people, members);
        habits
    }

    fn learn_profiles<'a, I>(&mut self, whole: &Group, people: &BTreeMap<u64, usize>, members: impl Fn() -> I)
    where
        I: Iterator<Item = Member<'a>>,
    {
        let zones: Vec<&str> = self.zones.keys().map(String::as_str).collect();
        let domains: Vec<u64> = self.domains.keys().copied().collect();
        let place = |member: &Member<'_>| Place {
            zone: zones.binary_search(&member.time_zone).unwrap_or(0) as u32,
            domain: domains.binary_search(&member.domain).ok().map(|domain| domain as u32),
        };
        let count: usize = people.values().sum();
        let drawn = |member: &Member<'_>| {
            let together = member.domain != 0 && people[&member.domain] <= PROFILE_COMPANY_MAX;
            let key = if together { member.domain } else { member.recipient };
            scaled(mix(key), count as u64) < PROFILE_PEOPLE as u64
        };
        let examples: Vec<Example> = members()
            .filter(|member| drawn(member))
            .map(|member| {
                let place = place(&member);
                let counts = self.seen(member.counts, member.machines);
                Example { read: DAYS.map(|days| whole.read(&counts, days)), place }
            })
            .collect();
        let (profiles, mut spread) = learn(whole, &examples, zones.len(), domains.len());
        drop(examples);
        let mut logs: Vec<f32> = Vec::with_capacity(count * PROFILES);
        let mut places = Vec::with_capacity(count);
        for member in members() {
            places.push(place(&member));
            let (acts, offered) = whole.read(&self.seen(member.counts, member.machines), Weekday::Any);
            logs.extend(seen(&profiles, &acts, &offered).0.iter().map(|log| *log as f32));
        }
        for _ in 0..SETTLE_ROUNDS {
            spread = spread.settle(&profiles, places.iter().copied().zip(logs.chunks_exact(PROFILES)));
        }
        self.zone_mixes = self.zones.keys().cloned().zip(spread.zones).collect();
        self.domain_mixes = domains.into_iter().zip(spread.domains).collect();
        self.zone_concentration = spread.zone_concentration;
        self.domain_concentration = spread.domain_concentration;
        self.profiles = profiles;
    }

    /// With the hazards of all zones, for whoever asks about many people.
    pub fn fit(self) -> Fitted {
        let whole = Group::workspace(&self.whole);
        let logs = self.profiles.iter().map(Logs::of).collect();
        Fitted { zones: self.fit_zones(&whole), whole, logs, habits: self }
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

/// [`Habits`] whose hazards have been figured out.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// What they are of.
    pub habits: Habits,
    whole: Group,
    zones: BTreeMap<String, Group>,
    logs: Vec<Logs>,
}

impl Fitted {
    /// What is known of people of a zone and a company before they act. 0 is no company.
    pub fn near<'a>(&'a self, time_zone: &'a str, domain: u64) -> Near<'a> {
        let Fitted { habits, whole, zones, logs } = self;
        let mut groups = vec![whole.clone()];
        let mut shares: Vec<Vec<f64>> = vec![habits.profiles.iter().map(|profile| profile.share).collect()];
        if let Some(zone) = zones.get(time_zone) {
            groups.push(zone.clone());
            shares.push(match habits.zone_mixes.get(time_zone) {
                Some(mix) => profiles::shares(&shares[0], habits.zone_concentration, mix),
                None => shares[0].clone(),
            });
        }
        let company = habits.domains.get(&domain).map(|sums| {
            let wider = &groups[groups.len() - 1];
            groups.push(wider.part(Level::Domain, sums, habits.domain_strength));
            habits.domain_mixes.get(&domain).map_or(&[] as &[f64], Vec::as_slice)
        });
        Near { habits, logs, groups, shares, company, time_zone }
    }
}

/// What is known of a person before they act.
#[derive(Debug, Clone, PartialEq)]
pub struct Near<'a> {
    habits: &'a Habits,
    logs: &'a [Logs],
    groups: Vec<Group>,
    /// Of each profile, in each of the groups but the company.
    shares: Vec<Vec<f64>>,
    /// The last of the groups is a company, of this mix.
    company: Option<&'a [f64]>,
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
        let following = self.following(own.counts);
        let following = Some(&following).filter(|following| !following.profiles.is_empty());
        question(&Person { counts: &counts, groups: &groups, time_zone, region: own.region, following })
    }

    /// Which profiles the person may have. Of their company only the others say so: what it knows of them is taken off
    /// before it is asked.
    fn following(&self, own: &Counts) -> Following<'_> {
        let acted = Acted::of(own);
        let seen: Vec<f64> = self.logs.iter().map(|logs| logs.likelihood(&acted)).collect();
        let mut groups = self.shares.clone();
        if let Some(mix) = self.company {
            let zone = &groups[groups.len() - 1];
            let of = |mix: &[f64]| profiles::shares(zone, self.habits.domain_concentration, mix);
            let others = mix.iter().zip(posterior(&of(mix), &seen)).map(|(mix, own)| (mix - own).max(0.0));
            let company = if mix.is_empty() { zone.clone() } else { of(&others.collect::<Vec<f64>>()) };
            groups.push(company);
        }
        let own = posterior(&groups[groups.len() - 1], &seen);
        Following { profiles: &self.habits.profiles, groups, own }
    }
}
