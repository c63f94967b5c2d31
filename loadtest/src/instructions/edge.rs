//! A pixel and a redirect: our edge with its journal, its metrics and all its limits on, which ships to a Kafka broker.
//!
//! One connection, one request at a time: so each event is written to the journal by itself, which is the dearest way.
//! Under load requests that are ready together share that write.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use link::Keys;

use super::callgrind::Observed;
use super::record::Count;
use crate::compare::bench::{Bench, PARTITIONS};
use crate::crowd::Crowd;
use crate::exchange;
use crate::mint::Mint;
use crate::mix::Noise;
use crate::plan::{Plan, Spec};
use crate::response::Reply;
use crate::schedule::Arrivals;
use crate::shape::Shape;

/// Requests of each kind in every run.
const BASE: usize = 2_000;
/// Requests of one kind that a longer run has more.
const MORE: usize = 20_000;
/// Only the thread that answers is counted: its instructions are the same in every run to a hundredth of a percent. Those
/// of the threads that ship are a seventh more, and depend on how many events one message happens to carry.
const ANSWERS: &str = "edge::serve::run_worker";
/// For one answer.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Events gather for so long before they are shipped. At a rate of 20,000 a second the default of 20 ms gathers as many
/// as this does at the pace of a program under callgrind.
const SHIP_LINGER_MS: u64 = 200;

/// What each costs.
pub fn count(bench: &Bench, round: u32) -> anyhow::Result<[Count; 2]> {
    let keys = Keys::generate();
    std::fs::write(bench.dir.join("keys.toml"), &keys).context("failed to write the keys")?;
    let mint = Mint::links(Keys::from_toml(&keys)?, "http://mail.example", 1)?;
    let crowd = Arc::new(Crowd::load()?);
    let pixels = plan(&crowd, &mint, "open=1")?;
    let redirects = plan(&crowd, &mint, "click=1")?;

    let base = observe(bench, &format!("edge-base-{round}"), [(&pixels, BASE), (&redirects, BASE)])?;
    let longer = [(&pixels, BASE + MORE), (&redirects, BASE)];
    let with_pixels = observe(bench, &format!("edge-pixels-{round}"), longer)?;
    let longer = [(&pixels, BASE), (&redirects, BASE + MORE)];
    let with_redirects = observe(bench, &format!("edge-redirects-{round}"), longer)?;
    Ok([
        Count::between("pixel", base, with_pixels, MORE as u64),
        Count::between("redirect", base, with_redirects, MORE as u64),
    ])
}

/// All instructions of an edge that answers these and ships them.
fn observe(bench: &Bench, name: &str, asked: [(&Plan, usize); 2]) -> anyhow::Result<u64> {
    bench.create_topic(name, PARTITIONS)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, local::free_ports(1)?[0]));
    let settings = [
        format!("kafka.brokers={}", bench.kafka.bootstrap()),
        format!("kafka.topic={name}"),
        format!("kafka.partitions={PARTITIONS}"),
        "kafka.replication=1".to_owned(),
        "keys.file=keys.toml".to_owned(),
        "admin.listen=127.0.0.1:0".to_owned(),
        format!("edge.listen={address}"),
        "edge.trusted_proxies=[\"127.0.0.0/8\"]".to_owned(),
        "edge.workers=1".to_owned(),
        format!("edge.ship_linger_ms={SHIP_LINGER_MS}"),
        format!("journal.dir=journal-{name}"),
    ];
    let edge = Observed::start(bench, name, "edge", &settings)?;
    edge.line("edge is up")?;
    let mut connection = TcpStream::connect(address).context("failed to connect to the edge")?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(ANSWER_WAIT))?;
    for (plan, count) in asked {
        for index in 0..count {
            ask(&mut connection, plan, index)
                .with_context(|| format!("request {index} of {count} was not answered"))?;
        }
    }
    drop(connection);
    let instructions = edge.end(Some(ANSWERS))?;
    let (expected, stretches) =
        (asked.map(|(_, count)| count as u64).iter().sum::<u64>(), bench.stretches(name)?);
    let shipped = bench.events(name, &stretches)?;
    ensure!(shipped == expected, "{shipped} of {expected} requests are in the topic");
    Ok(instructions)
}

fn ask(connection: &mut TcpStream, plan: &Plan, index: usize) -> anyhow::Result<()> {
    let mut bytes = Vec::with_capacity(1_024);
    plan.write(index, "mail.example", &mut bytes);
    let Reply { status, .. } = exchange::ask_over(connection, &bytes)?;
    ensure!(matches!(status, 200 | 302), "status {status}");
    Ok(())
}

/// The requests, each of another recipient, from the agents and addresses of the crowd.
fn plan(crowd: &Arc<Crowd>, mint: &Mint, mix: &str) -> anyhow::Result<Plan> {
    let now_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis();
    let spec = Spec {
        requests: BASE + MORE,
        warm_up: 0,
        rate: 1_000.0,
        shape: Shape::Steady,
        arrivals: Arrivals::Even,
        seed: 1,
        mix: mix.parse()?,
        noise: Noise::default(),
        fresh_share: 0.0,
        recipients: 10_000,
        workspace: 1,
        message: (now_ms as u64) << 20,
    };
    Plan::new(spec, crowd.clone(), |hit| mint.path(hit))
}
