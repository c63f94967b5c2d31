//! Our edge, with everything on that a promise rests on.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;

use super::bench::{Bench, PARTITIONS, UP_WAIT};
use super::served::{Place, Server};
use super::side::About;

/// Starts it with so many workers on as many cores, and waits until it is up; `name` is for its journal and its topic too.
pub fn start(bench: &Bench, name: &str, workers: usize) -> anyhow::Result<Server> {
    let topic = format!("compare-{name}");
    bench.create_topic(&topic, PARTITIONS)?;
    let port = local::free_ports(1)?[0];
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let settings = [
        format!("kafka.brokers={}", bench.kafka.bootstrap()),
        format!("kafka.topic={topic}"),
        format!("kafka.partitions={PARTITIONS}"),
        "kafka.replication=1".to_owned(),
        "keys.file=keys.toml".to_owned(),
        "admin.listen=127.0.0.1:0".to_owned(),
        format!("edge.listen={address}"),
        "edge.trusted_proxies=[\"127.0.0.0/8\"]".to_owned(),
        format!("edge.workers={workers}"),
        format!("journal.dir=journal-{name}"),
    ];
    let running = bench.ours(name, &["edge"], &settings, Some(workers))?;
    running.program().line("edge is up", UP_WAIT).context("our edge does not come up")?;
    let about = About {
        name: name.to_owned(),
        does: "our edge: verify, journal, answer, ship to Kafka in batches, acks=all, idempotent, lz4",
        version: version(bench)?,
        state: "all events in the topic",
        settings: settings.into(),
    };
    Ok(Server { about, address, programs: vec![running], place: Place::Batches(topic) })
}

/// What our program says it is.
pub fn version(bench: &Bench) -> anyhow::Result<String> {
    let said = bench.said("mailbeacon-version", &[&bench.mailbeacon.to_string_lossy(), "--version"])?;
    Ok(said.trim().to_owned())
}
