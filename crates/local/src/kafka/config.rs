//! The server configuration that we write, and what a cluster remembers of itself.

use std::fs;
use std::path::Path;

use rand::RngExt;

use super::Cluster;
use crate::LocalError;
use crate::error::file;

/// The configuration, in the broker's folder, which is also where it is run.
pub(super) const FILE: &str = "server.properties";
/// Relative to the broker's folder: a path would need escaping.
pub(super) const DATA_DIR: &str = "data";

/// How many of `brokers` hold a controller: two would be worse than one, as neither may go.
pub(super) fn controllers(brokers: usize) -> usize {
    if brokers < 3 { 1 } else { 3 }
}

/// How many copies of a partition there are.
pub(super) fn replicas(brokers: usize) -> usize {
    brokers.min(3)
}

pub(super) fn render(cluster: &Cluster, index: usize, extra: &[(String, String)]) -> String {
    let brokers = cluster.ports.len();
    let port = cluster.ports[index];
    let replicas = replicas(brokers);
    // Of three copies one may be gone and a write with acks=all still succeeds.
    let in_sync = replicas.saturating_sub(1).max(1);
    let voters: Vec<String> = cluster
        .controller_ports
        .iter()
        .enumerate()
        .map(|(index, port)| format!("{index}@127.0.0.1:{port}"))
        .collect();
    let voters = voters.join(",");
    let (roles, listeners) = match cluster.controller_ports.get(index) {
        Some(controller) => {
            ("broker,controller", format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"))
        }
        None => ("broker", format!("PLAINTEXT://127.0.0.1:{port}")),
    };
    // Threads and the cleaner's buffer (128 MB by default) are cut down for a machine that does other things too.
    // A session of 6 s instead of 9 s lets drills see a lost broker sooner.
    let mut text = format!(
        "process.roles={roles}
node.id={index}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners={listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={DATA_DIR}
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.num.partitions=4
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.retention.hours=168
log.segment.bytes=134217728
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=4
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
"
    );
    for (name, value) in extra {
        text.push_str(&format!("{name}={value}\n"));
    }
    text
}

/// The id of the cluster in `dir`, made on its first start, with the number of brokers that it was made for.
pub(super) fn cluster_id(dir: &Path, brokers: usize) -> Result<String, LocalError> {
    let path = dir.join("cluster");
    if path.exists() {
        let text = fs::read_to_string(&path).map_err(file("read", &path))?;
        return match text.trim_end().split_once(' ') {
            Some((id, made_for)) if made_for == brokers.to_string() => Ok(id.into()),
            _ => Err(LocalError::Options(format!(
                "{} is not of {brokers} kafka brokers: start as many as it was made for, or remove the folder",
                path.display()
            ))),
        };
    }
    let id = random_id();
    let partial = dir.join("cluster.partial");
    fs::write(&partial, format!("{id} {brokers}\n")).map_err(file("write", &partial))?;
    fs::rename(&partial, &path).map_err(file("rename", &partial))?;
    Ok(id)
}

/// 16 random bytes as Kafka writes them: base64 without padding, so the last of 22 signs carries two bits only.
fn random_id() -> String {
    // Without the two signs that are not letters or digits: an id must not look like an option.
    const SIGNS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    let mut id: String = (0..21).map(|_| char::from(SIGNS[random.random_range(0..SIGNS.len())])).collect();
    id.push('A');
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_keeps_its_id_and_its_number_of_brokers() {
        let dir = tempfile::tempdir().unwrap();
        let id = cluster_id(dir.path(), 3).unwrap();
        assert_eq!(id.len(), 22);
        assert_eq!(cluster_id(dir.path(), 3).unwrap(), id);
        assert!(cluster_id(dir.path(), 1).is_err());
    }

    #[test]
    fn fourth_broker_holds_no_controller_and_extra_lines_come_last() {
        let cluster =
            Cluster { id: random_id(), ports: vec![1, 2, 3, 4], controller_ports: vec![11, 12, 13] };
        let text = render(&cluster, 3, &[("num.io.threads".into(), "1".into())]);
        assert!(text.contains("process.roles=broker\n"));
        assert!(text.contains("controller.quorum.voters=0@127.0.0.1:11,1@127.0.0.1:12,2@127.0.0.1:13\n"));
        assert!(text.contains("\nlisteners=PLAINTEXT://127.0.0.1:4\n"));
        assert!(text.contains("min.insync.replicas=2\n"));
        assert!(text.ends_with("num.io.threads=1\n"));
    }
}
