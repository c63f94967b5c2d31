//! Runs the estimator over a whole simulated workspace, in process.

use std::collections::BTreeMap;

use send_time::{Counts, Group, Level, Likeness, Options, Refused, Region, Window, recommend};

use super::evidence::Known;
use super::person::Person;

/// The answer for each person.
pub fn all(
    people: &[Person],
    known: &[Known],
    without_sends: bool,
    options: &Options,
) -> Vec<Result<Vec<Window>, Refused>> {
    let (opened, clicked) = known.iter().fold((0.0, 0.0), |sum, known| {
        let (opened, clicked) = known.opened_and_clicked();
        (sum.0 + opened, sum.1 + clicked)
    });
    let clicks_per_open = if opened > 0.0 { clicked / opened } else { 0.15 };
    let mut counts: Vec<Counts> = known.iter().map(|known| known.counts(clicks_per_open)).collect();
    if without_sends {
        for own in &mut counts {
            own.sent.fill(0.0);
            own.spent.fill(0.0);
        }
    }
    let zone_of = |index: usize| known[index].time_zone.as_deref().unwrap_or("");
    let mut everybody = Counts::default();
    let mut zones: BTreeMap<&str, Part> = BTreeMap::new();
    let mut domains: BTreeMap<&str, Part> = BTreeMap::new();
    for (index, own) in counts.iter().enumerate() {
        everybody.merge(own, own.voice());
        zones.entry(zone_of(index)).or_default().add(index, own);
        // Free mail providers are no companies.
        if people[index].company {
            domains.entry(&people[index].domain).or_default().add(index, own);
        }
    }
    let workspace = Group::workspace(&everybody);
    let mut likeness = Likeness::default();
    for part in zones.values() {
        likeness.add(part.members.iter().map(|index| (&workspace, &counts[*index])));
    }
    let strength = likeness.strength();
    let zones: BTreeMap<&str, Group> = zones
        .into_iter()
        .map(|(name, part)| (name, workspace.part(Level::Zone, &part.counts, strength)))
        .collect();
    let mut likeness = Likeness::default();
    for part in domains.values() {
        likeness.add(part.members.iter().map(|index| (&zones[zone_of(*index)], &counts[*index])));
    }
    let strength = likeness.strength();
    let mut answers = Vec::with_capacity(people.len());
    for (index, own) in counts.iter().enumerate() {
        let zone = &zones[zone_of(index)];
        let domain = domains.get(people[index].domain.as_str());
        let domain = domain.map(|part| zone.part(Level::Domain, &part.counts, strength));
        let mut groups = vec![&workspace, zone];
        groups.extend(domain.as_ref());
        let asked = send_time::Person {
            counts: own,
            groups: &groups,
            time_zone: known[index].time_zone.as_deref(),
            region: Region::Allowed,
        };
        answers.push(recommend(&asked, options));
    }
    answers
}

/// The people of a zone or a domain.
#[derive(Default)]
struct Part {
    counts: Counts,
    members: Vec<usize>,
}

impl Part {
    fn add(&mut self, index: usize, counts: &Counts) {
        self.counts.merge(counts, counts.voice());
        self.members.push(index);
    }
}
