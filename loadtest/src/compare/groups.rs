//! What is compared with what, and the bars.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context;

use super::SHORT_SHARE;
use super::bench::{Bench, PARTITIONS};
use super::consumers::{ClickHouse, KAFKA_ENGINE, KafkaEngine, Ours};
use super::feed::{Feed, Packed};
use super::group::Group;
use super::options::{CompareOptions, Only};
use super::report::Bar;
use super::served::{Requests, Served, Server};
use super::side::Side;
use super::{ours, peers};
use crate::crowd::Crowd;
use crate::mint::Mint;

/// A comparison of servers.
struct Asked {
    one: Only,
    name: &'static str,
    does: &'static str,
    mix: &'static str,
    fresh: bool,
    /// Each peer of ours with its bar.
    peers: &'static [(&'static str, Option<f64>)],
}

const ASKED: [Asked; 4] = [
    Asked {
        one: Only::Pixel,
        name: "pixel",
        does: "a pixel over a kept connection",
        mix: "open=1",
        fresh: false,
        peers: &[
            ("nginx-log", Some(0.80)),
            ("nginx-buffered", None),
            ("nginx-rsyslog", Some(0.33)),
            ("nginx-kcat", None),
            ("day-edge", None),
        ],
    },
    Asked {
        one: Only::Short,
        name: "short",
        does: "a pixel over a connection of its own",
        mix: "open=1",
        fresh: true,
        peers: &[("nginx-log", Some(0.85)), ("nginx-buffered", None), ("day-edge", None)],
    },
    Asked {
        one: Only::Redirect,
        name: "redirect",
        does: "a click over a kept connection, answered with a redirect",
        mix: "click=1",
        fresh: false,
        peers: &[("nginx-log", Some(1.0)), ("nginx-buffered", None), ("day-edge", None)],
    },
    Asked {
        one: Only::Itself,
        name: "self",
        does: "a pixel over a kept connection, by two edges of ours",
        mix: "open=1",
        fresh: false,
        peers: &[("ours-again", None)],
    },
];

/// A comparison of consumers.
const FED: [(Only, &str, &str, usize, f64); 2] = [
    (Only::One, "one", "an event into ClickHouse, one in each Kafka message", 1, 0.20),
    (Only::Hundred, "hundred", "an event into ClickHouse, a hundred in each Kafka message", 100, 0.85),
];

const OURS: &str = "ours";

/// Starts what is asked for.
///
/// # Errors
/// When a side of ours does not start. A peer that does not is missing.
pub fn start(options: &CompareOptions, bench: &Rc<Bench>, mint: &Mint) -> anyhow::Result<Vec<Group>> {
    let crowd = Arc::new(Crowd::load()?);
    let size = options.size();
    let mut groups = Vec::new();
    // ClickHouse first: it looks at the cores only once.
    let fed: Vec<_> = FED.iter().filter(|(one, ..)| options.wants(*one)).collect();
    if !fed.is_empty() {
        let clickhouse = Rc::new(ClickHouse::start(bench)?);
        for (_, name, does, per_message, at_most) in fed {
            let packed = Packed { per_message: *per_message, partitions: PARTITIONS };
            let feed = Rc::new(Feed::new(name, &crowd, size.events, packed)?);
            let peer = KafkaEngine::new(bench, &clickhouse, &feed);
            let sides: [Box<dyn Side>; 2] = [Box::new(Ours::new(bench, &clickhouse, &feed)?), Box::new(peer)];
            groups.push(Group {
                name,
                does,
                unit: "event",
                sides: sides.into(),
                missing: BTreeMap::new(),
                bars: vec![Bar { of: OURS, to: KAFKA_ENGINE, at_most: Some(*at_most) }],
                kept: Vec::new(),
                starved: Vec::new(),
            });
        }
    }
    let asked: Vec<_> = ASKED.iter().filter(|asked| options.wants(asked.one)).collect();
    if asked.is_empty() {
        return Ok(groups);
    }
    let mut servers = BTreeMap::from([(OURS, Rc::new(ours::start(bench, OURS, 1)?))]);
    let mut missing = BTreeMap::new();
    for (peer, _) in asked.iter().flat_map(|asked| asked.peers) {
        if servers.contains_key(peer) || missing.contains_key(peer) {
            continue;
        }
        match server(options, bench, peer) {
            Ok(server) => _ = servers.insert(*peer, Rc::new(server)),
            Err(error) => _ = missing.insert(*peer, format!("{error:#}")),
        }
    }
    for asked in asked {
        let rate = if asked.fresh { size.rate * SHORT_SHARE } else { size.rate };
        let requests = Requests { rate, seconds: size.seconds, mix: asked.mix, fresh: asked.fresh };
        let plan = Arc::new(requests.plan(crowd.clone(), mint)?);
        let names = [OURS].into_iter().chain(asked.peers.iter().map(|(name, _)| *name));
        let sides = names.clone().filter_map(|name| {
            let (bench, server, plan) = (bench.clone(), servers.get(name)?.clone(), plan.clone());
            Some(Box::new(Served { bench, server, plan }) as Box<dyn Side>)
        });
        groups.push(Group {
            name: asked.name,
            does: asked.does,
            unit: "request",
            sides: sides.collect(),
            missing: names.filter_map(|name| Some((name, missing.get(name)?.clone()))).collect(),
            bars: asked.peers.iter().map(|(to, at_most)| Bar { of: OURS, to, at_most: *at_most }).collect(),
            kept: Vec::new(),
            starved: Vec::new(),
        });
    }
    Ok(groups)
}

fn server(options: &CompareOptions, bench: &Bench, name: &str) -> anyhow::Result<Server> {
    match name {
        "nginx-log" => peers::nginx_log(bench),
        "nginx-buffered" => peers::nginx_buffered(bench),
        "nginx-rsyslog" => peers::nginx_rsyslog(bench),
        "nginx-kcat" => peers::nginx_kcat(bench),
        "day-edge" => {
            let this = std::env::current_exe().context("failed to find this program")?;
            peers::day_edge(bench, options.loadtest.as_ref().unwrap_or(&this))
        }
        "ours-again" => ours::start(bench, "ours-again", 1),
        name => unreachable!("{name} is in no comparison"),
    }
}
