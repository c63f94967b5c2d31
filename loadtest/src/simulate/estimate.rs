//! Runs the estimator over a whole simulated workspace, in process.

use std::collections::BTreeSet;

use send_time::evidence::clicks_per_open;
use send_time::{Counts, Habits, Member, Options, Own, Refused, Region, Window};

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
    let mut counts: Vec<Counts> = known.iter().map(Known::counts).collect();
    if without_sends {
        for own in &mut counts {
            own.sent.fill(0.0);
            own.spent.fill(0.0);
        }
    }
    // Free mail providers are no companies.
    let companies = people.iter().filter(|person| person.company).map(|person| person.domain.as_str());
    let companies: Vec<&str> = companies.collect::<BTreeSet<&str>>().into_iter().collect();
    let member = |index: usize| Member {
        recipient: index as u64,
        counts: counts[index].clone(),
        machines: known[index].machines,
        time_zone: known[index].time_zone.as_deref().unwrap_or(""),
        domain: match companies.binary_search(&people[index].domain.as_str()) {
            Ok(place) if people[index].company => 1 + place as u64,
            _ => 0,
        },
    };
    let habits = Habits::learn(clicks_per_open(opened, clicked), || (0..people.len()).map(member)).fit();
    let answer = |index| {
        let Member { counts, machines, time_zone, domain, .. } = member(index);
        let own = Own { counts: &counts, machines, region: Region::Allowed };
        habits.near(time_zone, domain).recommend(&own, options)
    };
    (0..people.len()).map(answer).collect()
}
