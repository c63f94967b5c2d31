//! The crowd that a run plays: user agents and the addresses they come from, from the tables in `data/`.

use std::net::Ipv4Addr;

use anyhow::{Context, bail, ensure};
use event::Kind;
use ipnet::Ipv4Net;

use crate::draw::{For, draw};

const USER_AGENTS: &str = include_str!("../data/user-agents.tsv");
const ADDRESSES: &str = include_str!("../data/addresses.tsv");

/// A user agent and the blocks it comes from.
#[derive(Debug)]
pub struct Agent {
    /// The header's value.
    pub user_agent: &'static str,
    /// Where it comes from.
    pub blocks: Vec<Ipv4Net>,
}

/// Everyone, by what they do.
#[derive(Debug)]
pub struct Crowd {
    agents: Vec<Agent>,
    opening: Weighted,
    clicking: Weighted,
    /// Those who only click: scanners, previews, scripts.
    scanning: Weighted,
}

/// Agents by their place in the list, with the running sum of their weights.
#[derive(Debug, Default)]
struct Weighted {
    places: Vec<usize>,
    sums: Vec<u64>,
}

impl Crowd {
    /// Reads the tables.
    pub fn load() -> anyhow::Result<Crowd> {
        let mut blocks: Vec<(&str, Ipv4Net)> = Vec::new();
        for row in rows(ADDRESSES) {
            let [network, _country, block] = row[..] else { bail!("addresses: {row:?} is not of 3 columns") };
            blocks.push((network, block.parse().with_context(|| format!("addresses: block `{block}`"))?));
        }
        let mut crowd = Crowd {
            agents: Vec::new(),
            opening: Weighted::default(),
            clicking: Weighted::default(),
            scanning: Weighted::default(),
        };
        for row in rows(USER_AGENTS) {
            let [weight, does, network, user_agent] = row[..] else {
                bail!("user agents: {row:?} is not of 4 columns")
            };
            let weight: u64 = weight.parse().with_context(|| format!("user agents: weight `{weight}`"))?;
            let own: Vec<Ipv4Net> = blocks.iter().filter(|(n, _)| *n == network).map(|(_, b)| *b).collect();
            ensure!(!own.is_empty(), "user agents: network `{network}` has no block");
            ensure!(
                matches!(does, "open" | "click" | "both"),
                "user agents: `{does}` is not open, click or both"
            );
            let place = crowd.agents.len();
            if does != "click" {
                crowd.opening.add(place, weight);
            }
            if does != "open" {
                crowd.clicking.add(place, weight);
            }
            if does == "click" {
                crowd.scanning.add(place, weight);
            }
            crowd.agents.push(Agent { user_agent, blocks: own });
        }
        Ok(crowd)
    }

    /// Who makes request `index`, and from which address.
    pub fn pick(&self, kind: Kind, seed: u64, index: u64) -> (&Agent, Ipv4Addr) {
        let weighted = if kind == Kind::Open { &self.opening } else { &self.clicking };
        self.of(weighted, seed, index)
    }

    /// Who asks for the head of a link in request `index`, and from which address.
    pub fn pick_scanner(&self, seed: u64, index: u64) -> (&Agent, Ipv4Addr) {
        self.of(&self.scanning, seed, index)
    }

    fn of(&self, weighted: &Weighted, seed: u64, index: u64) -> (&Agent, Ipv4Addr) {
        let agent = &self.agents[weighted.at(draw(seed, For::Agent, index))];
        let block = agent.blocks[draw(seed, For::Block, index) as usize % agent.blocks.len()];
        let host_bits = 32 - u32::from(block.prefix_len());
        let host = draw(seed, For::Host, index) as u32 & ((1_u64 << host_bits) - 1) as u32;
        (agent, Ipv4Addr::from_bits(block.network().to_bits() | host))
    }
}

impl Weighted {
    fn add(&mut self, place: usize, weight: u64) {
        self.places.push(place);
        self.sums.push(self.sums.last().copied().unwrap_or(0) + weight);
    }

    fn at(&self, bits: u64) -> usize {
        let total = self.sums.last().copied().expect("the table has agents of both sorts");
        let at = bits % total;
        self.places[self.sums.partition_point(|sum| *sum <= at)]
    }
}

/// The rows under the heading, comments left out.
fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.skip(1).map(|line| line.split('\t').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_hold_together() {
        let crowd = Crowd::load().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..20_000 {
            for kind in [Kind::Open, Kind::Download] {
                let (agent, address) = crowd.pick(kind, 1, index);
                assert!(agent.blocks.iter().any(|block| block.contains(&address)));
                assert!(!address.is_private() && !address.is_loopback() && !address.is_multicast());
                seen.insert(agent.user_agent);
            }
        }
        assert_eq!(seen.len(), crowd.agents.len(), "everyone comes at least once");
    }

    #[test]
    fn image_proxies_do_not_click() {
        let crowd = Crowd::load().unwrap();
        for index in 0..5_000 {
            let (agent, _) = crowd.pick(Kind::Click, 1, index);
            assert!(!agent.user_agent.contains("Proxy"), "{}", agent.user_agent);
            let (scanner, _) = crowd.pick_scanner(1, index);
            assert!(!scanner.user_agent.contains("iPhone"), "{}", scanner.user_agent);
        }
    }
}
