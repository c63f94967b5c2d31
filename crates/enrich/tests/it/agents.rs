//! How many machines are found, how many people are taken for one and how many devices are right, over public sets of
//! user agents: the lines that `mailbeacon verdict score` reads as well.
//!
//! Ruleset 2 finds, on every kind of visit, 99.0 % of crawler-user-agents, all of uap-core's robots and spiders and of
//! the mail machines; tells all proxies and prefetchers apart; flags no mail client, none of 1,382 phones and tablets
//! with a browser's agent, and 1.1 % of all that is no spider in uap-core's list of devices: links in WhatsApp, and
//! names of phones and nothing else. Rows of `data/agents.tsv` and `data/models.tsv` that were written after a look at
//! these sets say so there.

use std::collections::{BTreeMap, BTreeSet};

use enrich::{DeviceType, Verdict};
use event::{Event, Kind, Method, Mode};
use serde::Deserialize;

use crate::{enricher, file};

const VISITS: [Kind; 3] = [Kind::Open, Kind::Click, Kind::Download];

/// A line of a set.
#[derive(Debug, Deserialize)]
struct Line {
    user_agent: String,
    kind: String,
    expected: String,
    device: Option<String>,
    set: String,
    #[serde(default)]
    family: String,
}

/// All the sets.
fn lines() -> Vec<Line> {
    let files =
        ["crawlers/crawler-user-agents", "agents/uap-agents", "agents/uap-devices", "agents/mail-agents"];
    let texts = files.map(|name| std::fs::read_to_string(file(&format!("data/{name}.jsonl"))).unwrap());
    texts.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Verdict and device of an agent on a visit whose address says nothing.
fn judged(kind: Kind, agents: &[&str]) -> Vec<(Verdict, DeviceType)> {
    let mut enricher = enricher();
    let one = |agent: &&str| {
        let event = Event { kind, method: Method::Get, user_agent: agent, ..Event::default() };
        let found = enricher.enrich(&event);
        (found.verdict, found.device)
    };
    agents.iter().map(one).collect()
}

fn is_machine(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Prefetch | Verdict::Scanner | Verdict::Bot)
}

/// The agents that are taken for machines, on any kind of visit.
fn flagged<'a>(agents: &[&'a str]) -> BTreeSet<&'a str> {
    let on = |kind| {
        let judged = judged(kind, agents);
        agents
            .iter()
            .zip(judged)
            .filter(|(_, found)| is_machine(found.0))
            .map(|(agent, _)| *agent)
            .collect::<Vec<_>>()
    };
    VISITS.into_iter().flat_map(on).collect()
}

fn share(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}

#[test]
fn machines_are_found_on_every_kind_of_visit() {
    let lines = lines();
    let mut sets: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.expected == "bot" && line.kind == "open") {
        sets.entry(&line.set).or_default().push(&line.user_agent);
    }
    for line in lines.iter().filter(|line| line.set == "uap-libraries") {
        sets.entry(&line.set).or_default().push(&line.user_agent);
    }
    assert!(sets.len() >= 6, "{:?}", sets.keys());
    for (set, agents) in sets {
        for kind in VISITS {
            let judged = judged(kind, &agents);
            let missed: Vec<&str> = agents
                .iter()
                .zip(judged)
                .filter(|(_, found)| !is_machine(found.0))
                .map(|(agent, _)| *agent)
                .collect();
            let found = share(agents.len() - missed.len(), agents.len());
            println!("{set} {kind:?}: {found:.1} % of {}\n{}", agents.len(), missed.join("\n"));
            assert!(found >= 97.0, "{set} {kind:?}: {found:.1} % of {}", agents.len());
        }
    }
}

#[test]
fn proxies_and_prefetchers_are_told_apart() {
    let lines = lines();
    let of = |line: &&Line| line.expected == "proxy" || line.set == "mail-prefetch";
    let mut seen = 0;
    for line in lines.iter().filter(of) {
        let found = |kind| judged(kind, &[&line.user_agent])[0];
        let wanted = if line.expected == "proxy" { Verdict::Proxy } else { Verdict::Prefetch };
        assert_eq!(found(Kind::Open), (wanted, DeviceType::Unknown), "{line:?}");
        for kind in [Kind::Click, Kind::Download] {
            assert!(is_machine(found(kind).0), "{kind:?} {line:?}");
        }
        seen += 1;
    }
    assert!(seen > 15, "{seen}");
}

#[test]
fn people_are_not_taken_for_machines() {
    let lines = lines();
    let people = |set: &str, of: &dyn Fn(&str) -> bool| -> Vec<&str> {
        let lines = lines.iter().filter(|line| line.expected == "human" && line.set == set);
        lines.map(|line| line.user_agent.as_str()).filter(|agent| of(agent)).collect()
    };
    let handheld = |agent: &str| {
        agent.starts_with("Mozilla/") && ["Android", "iPhone", "iPad"].iter().any(|os| agent.contains(os))
    };
    for (what, agents, percent_max, least) in [
        ("mail clients", people("mail-people", &|_| true), 0.0, 60),
        ("uap-core's mail clients", people("uap-mail", &|_| true), 0.0, 60),
        ("uap-core's browsers", people("uap-browsers", &|_| true), 1.0, 200),
        ("phones and tablets", people("uap-devices", &handheld), 0.5, 1_000),
        // Names of phones and nothing else, and what fetches links for WhatsApp.
        ("all devices", people("uap-devices", &|_| true), 2.0, 2_000),
    ] {
        let flagged = flagged(&agents);
        let found = share(flagged.len(), agents.len());
        println!("{what}: {found:.2} % of {}\n{flagged:#?}", agents.len());
        assert!(agents.len() >= least && found <= percent_max, "{what}: {found:.2} % of {}", agents.len());
    }
}

#[test]
fn devices_are_right() {
    let lines = lines();
    let mut wrong: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for line in &lines {
        let Some(wanted) = &line.device else { continue };
        let found = judged(Kind::Open, &[&line.user_agent])[0].1;
        if found.as_str() != wanted {
            wrong.entry(&line.set).or_default().push(format!("{} {found:?} {line:?}", line.family));
        }
    }
    // A browser that renders elsewhere, and says nothing of the telephone in hand.
    let elsewhere = wrong.remove("uap-devices").unwrap_or_default();
    assert!(elsewhere.len() <= 1 && elsewhere.iter().all(|line| line.contains("Puffin/")), "{elsewhere:#?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What stands in place of an agent in mode anonymous leads to the same verdict, and there are few of them.
#[test]
fn a_crowd_has_the_verdict_of_each_of_its_agents() {
    let lines = lines();
    let agents: Vec<&str> = lines.iter().map(|line| line.user_agent.as_str()).collect();
    let crowds: Vec<&str> = agents.iter().map(|agent| enrich::crowd(agent).agent).collect();
    let mut enricher = enricher();
    for (agent, crowd) in agents.iter().zip(&crowds) {
        for kind in VISITS {
            let mut found = |user_agent: &str| {
                let event = Event { kind, method: Method::Get, user_agent, ..Event::default() };
                let found = enricher.enrich(&event);
                (found.verdict, found.confidence, found.reasons, enrich::crowd(user_agent))
            };
            assert_eq!(found(agent), found(crowd), "{agent}: {crowd}");
        }
        let is_machine = is_machine(judged(Kind::Open, &[agent])[0].0);
        assert_eq!(enrich::crowd(agent).is_people, !is_machine, "{agent}");
    }
    let different: BTreeSet<_> = crowds.iter().collect();
    assert!(different.len() <= 22 && different.len() > 15, "{different:?}");
}

/// In mode date the edge has seen the agent, and leaves it out with everything else.
#[test]
fn an_open_of_which_only_the_date_is_known_is_a_persons() {
    let mut enricher = enricher();
    for (mode, wanted) in [(Mode::Date, Verdict::Human), (Mode::Full, Verdict::Bot)] {
        let event = Event { kind: Kind::Open, mode, method: Method::Get, ..Event::default() };
        assert_eq!(enricher.enrich(&event).verdict, wanted, "{mode:?}");
    }
}
