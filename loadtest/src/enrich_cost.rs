//! What an enriched event costs, beside its parts without a memory: woothee and a look-up in the place databases.
//!
//! Our side is what the consumer runs: verdict, device, network, place and region, from an enricher that has seen the
//! agents and the places before. The peer's side finds out less (a device, a crawler, a city) and remembers nothing.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::hint::black_box;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use enrich::{Enricher, Tables};
use event::{Event, Kind, Method, Mode};
use maxminddb::{Reader, geoip2};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::cpu;

/// For `--help`.
pub const EXAMPLES: &str = "\
Both sides run over the same events: agents of a mix that is built in, and with --geo addresses of the database. Without
--geo neither side looks for a place: a released program has no database in it. The database must be of cities in
GeoIP2's shape (GeoLite2-City, GeoIP2-City, DBIP-City-Lite), which the peer decodes whole.

Instructions instead of time: run one side under callgrind at two lengths, and divide the difference by that of the
lengths. What start and end cost falls out.

  for n in 100000 200000; do
    valgrind --tool=callgrind --callgrind-out-file=/dev/null loadtest enrich-cost --side ours --events $n --geo FILE
  done";

/// How to measure.
#[derive(Debug, Clone, Args)]
pub struct EnrichCostOptions {
    /// A place database for both sides; may be given twice, for IPv4 and IPv6.
    #[arg(long, value_name = "FILE")]
    pub geo: Vec<PathBuf>,
    /// Events of a side in each round.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    pub events: u32,
    /// Rounds, in each of which both sides run.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// Run this side only, and one round. Its CPU time is in steps of 10 ms.
    #[arg(long)]
    pub side: Option<Side>,
    /// Write the report as JSON to this file, or to standard output for `-`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A side of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// The enricher, as the consumer runs it.
    Ours,
    /// woothee, and a whole record of the place databases, decoded anew for every event.
    Peer,
}

/// What came of it: CPU time of this thread for an event, in nanoseconds; medians over the rounds.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether both sides looked for a place.
    pub geo: bool,
    /// Events of a side in a round.
    pub events: u32,
    /// Rounds.
    pub rounds: u32,
    /// Ours, unless only the peer ran.
    pub ours_ns: Option<f64>,
    /// The peer's, unless only ours ran.
    pub peer_ns: Option<f64>,
    /// The median over the rounds of ours divided by the peer's of the same round.
    pub ratio: Option<f64>,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let place = if self.geo { "with places" } else { "without places" };
        writeln!(f, "CPU time for an event, {place}; {} rounds of {} events", self.rounds, self.events)?;
        for (side, ns) in [("ours", self.ours_ns), ("peer", self.peer_ns)] {
            if let Some(ns) = ns {
                writeln!(f, "  {side}   {ns:8.1} ns")?;
            }
        }
        match self.ratio {
            Some(ratio) => writeln!(f, "  ours is {:.2} % of the peer's", 100.0 * ratio),
            None => Ok(()),
        }
    }
}

/// Measures.
pub fn run(options: &EnrichCostOptions) -> anyhow::Result<Report> {
    let databases = options.geo.iter().map(open).collect::<anyhow::Result<Vec<_>>>()?;
    let addresses = addresses(&databases)?;
    let events: Vec<Event<'_>> = (0..MIX).map(|n| event(n, &addresses)).collect();
    let mut enricher = Enricher::new(Arc::new(Tables::load(&options.geo)?));
    let clock = if options.side.is_some() { process_ns } else { thread_ns };
    let mut ours =
        || timed(options.events, &events, clock, |event| black_box(enricher.enrich(event)).ruleset);
    let peer = || timed(options.events, &events, clock, |event| look_up(event, &databases));

    let (mut ours_ns, mut peer_ns, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let rounds = if options.side.is_some() { 1 } else { options.rounds };
    for _ in 0..rounds {
        let ours = (options.side != Some(Side::Peer)).then(&mut ours).transpose()?;
        let peer = (options.side != Some(Side::Ours)).then(peer).transpose()?;
        ours_ns.extend(ours);
        peer_ns.extend(peer);
        ratios.extend(ours.zip(peer).map(|(ours, peer)| ours / peer));
    }
    Ok(Report {
        geo: !databases.is_empty(),
        events: options.events,
        rounds,
        ours_ns: median(ours_ns),
        peer_ns: median(peer_ns),
        ratio: median(ratios),
    })
}

/// What CPU time has been spent, in nanoseconds.
type Clock = fn() -> anyhow::Result<f64>;

/// Nanoseconds of CPU for an event, after each of them has been seen once.
fn timed(
    count: u32,
    events: &[Event<'_>],
    clock: Clock,
    mut one: impl FnMut(&Event<'_>) -> u16,
) -> anyhow::Result<f64> {
    for event in events {
        black_box(one(event));
    }
    let before = clock()?;
    for event in events.iter().cycle().take(count as usize) {
        black_box(one(black_box(event)));
    }
    Ok((clock()? - before) / f64::from(count))
}

/// Of this thread.
fn thread_ns() -> anyhow::Result<f64> {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Ok(now.tv_sec as f64 * 1e9 + now.tv_nsec as f64)
}

/// Of this process, in steps of 10 ms. One that runs under valgrind cannot ask for its thread's: the way there leads
/// through the vDSO, which valgrind hides.
fn process_ns() -> anyhow::Result<f64> {
    Ok(cpu::used(std::process::id())?.cpu_seconds * 1e9)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The peer's work for an event. What it finds is summed up, so that nothing is left out.
fn look_up(event: &Event<'_>, databases: &[Reader<Vec<u8>>]) -> u16 {
    let device = black_box(woothee::parser::Parser::new().parse(event.user_agent));
    let place = enrich::address(event.client_ip).and_then(|address| {
        let city = |database: &Reader<Vec<u8>>| {
            let found = database.lookup(address).ok()?;
            // The strings of a record are borrowed from the database.
            black_box(found.decode::<geoip2::City>().ok()?).map(|city| city.city.geoname_id)
        };
        databases.iter().find_map(city)
    });
    u16::from(device.is_some()) + u16::from(place.is_some())
}

fn open(file: &PathBuf) -> anyhow::Result<Reader<Vec<u8>>> {
    let bytes = fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
    Reader::from_source(bytes).with_context(|| format!("{}: expected a MaxMind DB file", file.display()))
}

/// How many different events there are: few enough for every memory, and prime, so that agents meet all addresses.
const MIX: usize = 997;

/// How many records are looked through for addresses. A database begins with its lowest network.
const NETWORKS_MAX: usize = 200_000;

/// Addresses of networks that the databases hold, evenly over those looked through; without a database, addresses
/// that are set aside for documentation.
fn addresses(databases: &[Reader<Vec<u8>>]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut held = Vec::new();
    for database in databases {
        for found in database.networks(Default::default())?.take(NETWORKS_MAX) {
            let found = found?;
            let city = found.decode::<geoip2::City>();
            let city = city.context("expected a database of cities in GeoIP2's shape")?;
            if city.is_some_and(|city| city.country.iso_code.is_some()) {
                held.push(bytes(found.network()?.ip()));
            }
        }
        ensure!(
            !held.is_empty(),
            "no network with a country: expected a database of cities in GeoIP2's shape"
        );
    }
    if held.is_empty() {
        held.extend((1..=254).map(|last| vec![203, 0, 113, last]));
    }
    let step = held.len().div_ceil(MIX);
    Ok(held.into_iter().step_by(step).collect())
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The nth event of the mix: four opens to a click, as campaigns have.
fn event(n: usize, addresses: &[Vec<u8>]) -> Event<'_> {
    Event {
        kind: if n % 5 == 4 { Kind::Click } else { Kind::Open },
        method: Method::Get,
        mode: Mode::Full,
        received_at_ms: 1_764_000_000_000 + n as i64 * 1_000,
        sent_at_ms: 1_763_990_000_000,
        user_agent: AGENTS[n % AGENTS.len()],
        client_ip: &addresses[n % addresses.len()],
        accept: "image/avif,image/webp,*/*;q=0.8",
        ..Event::default()
    }
}

/// Agents that mail is read with, and some machines.
#[rustfmt::skip]
const AGENTS: [&str; 23] = [
    "Mozilla/5.0",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/136.0.0.0 Safari/537.36 Edg/136.0.0.0 OneOutlook/1.2025.516.400",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:115.0) Gecko/20100101 Thunderbird/115.12.2",
    "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; .NET4.0C; .NET4.0E; Microsoft Outlook 16.0.17328; ms-office; MSOffice 16)",
    "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.12026; Pro)",
    "Outlook-iOS/709.2189947.prod.iphone (3.24.0)",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.6478.71 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 13; SAMSUNG SM-X216B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Safari/537.36",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; +http://www.google.com/bot.html) Chrome/126.0.0.0 Safari/537.36",
    "python-requests/2.31.0",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn options(side: Option<Side>) -> EnrichCostOptions {
        EnrichCostOptions { geo: Vec::new(), events: 2_000, rounds: 3, side, json: None }
    }

    #[test]
    fn both_sides_are_measured_and_one_alone() {
        let report = run(&options(None)).unwrap();
        assert!(
            report.ours_ns.unwrap() > 0.0 && report.peer_ns.unwrap() > 0.0 && report.ratio.unwrap() > 0.0
        );
        assert!(!report.geo && report.to_string().contains("without places"));
        let ours = run(&options(Some(Side::Ours))).unwrap();
        assert!(ours.ours_ns.is_some() && ours.peer_ns.is_none() && ours.ratio.is_none() && ours.rounds == 1);
        assert!(run(&options(Some(Side::Peer))).unwrap().ours_ns.is_none());
    }

    #[test]
    fn every_agent_meets_every_address() {
        let addresses = addresses(&[]).unwrap();
        let events: Vec<Event<'_>> = (0..MIX).map(|n| event(n, &addresses)).collect();
        assert!(AGENTS.iter().all(|agent| events.iter().any(|event| event.user_agent == *agent)));
        assert!(addresses.iter().all(|address| events.iter().any(|event| event.client_ip == &address[..])));
    }

    #[test]
    fn a_median_stands_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_file_that_is_no_database_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let options = EnrichCostOptions { geo: vec![file.path().to_owned()], ..options(None) };
        let error = format!("{:#}", run(&options).unwrap_err());
        assert!(error.contains("expected a MaxMind DB file"), "{error}");
    }
}
