//! Whom the pipeline takes for a person, held to who it was.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use serde::Serialize;

use super::super::answers;
use super::super::history::{self, Asker, Kind};
use super::Simulated;
use super::instance::Instance;

/// Requests by who made them in truth, and by what they were taken for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    /// Requests of machines.
    pub machines: u64,
    /// Of these, known as such by the pipeline.
    pub machines_known: u64,
    /// And by the simulation's own rules, which the estimator in this process reads.
    pub machines_known_in_process: u64,
    /// Requests of people, also those through a proxy.
    pub people: u64,
    /// Of these, taken for machines by the pipeline.
    pub people_mistaken: u64,
    /// And by the simulation's own rules.
    pub people_mistaken_in_process: u64,
}

impl Verdicts {
    /// Adds those of another history.
    pub fn add(&mut self, other: &Verdicts) {
        self.machines += other.machines;
        self.machines_known += other.machines_known;
        self.machines_known_in_process += other.machines_known_in_process;
        self.people += other.people;
        self.people_mistaken += other.people_mistaken;
        self.people_mistaken_in_process += other.people_mistaken_in_process;
    }
}

/// What a row says of itself: recipient, message, kind, time, link.
type Name = (u64, u64, &'static str, i64, u32);

/// Reads the verdicts that stand on a history.
pub(super) fn read(instance: &Instance, workspace: u32, simulated: &Simulated) -> anyhow::Result<Verdicts> {
    let keys = answers::keys(&instance.keys)?;
    let sql = format!(
        "SELECT recipient, message, kind, toUnixTimestamp64Milli(received_at), link, verdict IN ('human', 'proxy') \
         FROM `{}`.events_current WHERE workspace = {workspace} AND kind != 'sent'",
        instance.database()
    );
    let mut found: HashMap<Name, bool> = HashMap::new();
    let answer = instance.query(&sql)?;
    for line in answer.lines() {
        let (name, person) = row(line).with_context(|| format!("a row of events_current: {line}"))?;
        found.insert(name, person);
    }
    let mut verdicts = Verdicts::default();
    for ((person, events), known) in simulated.people.iter().zip(&simulated.events).zip(&simulated.known) {
        let recipient = keys.recipient(workspace, &person.name);
        let acts = events.iter().filter(|event| event.kind != Kind::Sent);
        for (event, known) in acts.zip(&known.acts) {
            let message = keys.message(workspace, &history::message(person, event.mail));
            let name = (recipient, message, word(event.kind), event.at_ms, event.link.unwrap_or_default());
            let by_person = found.remove(&name).context("an event of the history is no row")?;
            let by_person_in_process = known.seen.is_some();
            match event.asker {
                Asker::Machine => {
                    verdicts.machines += 1;
                    verdicts.machines_known += u64::from(!by_person);
                    verdicts.machines_known_in_process += u64::from(!by_person_in_process);
                }
                Asker::Person => {
                    verdicts.people += 1;
                    verdicts.people_mistaken += u64::from(!by_person);
                    verdicts.people_mistaken_in_process += u64::from(!by_person_in_process);
                }
            }
        }
    }
    ensure!(found.is_empty(), "{} rows are no event of the history", found.len());
    Ok(verdicts)
}

fn row(line: &str) -> Option<(Name, bool)> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [recipient, message, kind, at_ms, link, person] = fields[..] else { return None };
    let kind = [Kind::Open, Kind::Click, Kind::Download].map(word).into_iter().find(|word| *word == kind)?;
    let name =
        (recipient.parse().ok()?, message.parse().ok()?, kind, at_ms.parse().ok()?, link.parse().ok()?);
    Some((name, person == "1"))
}

/// As in `events`.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Sent => "sent",
        Kind::Open => "open",
        Kind::Click => "click",
        Kind::Download => "download",
    }
}
