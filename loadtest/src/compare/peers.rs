//! What a team would run in the place of our edge, from packages.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;

use anyhow::{Context, ensure};

use super::bench::{Bench, PARTITIONS, UP_WAIT, find, until};
use super::day_edge;
use super::nginx::{self, EVENT};
use super::served::{Place, Server};
use super::side::About;

/// nginx alone, its log written line by line.
pub fn nginx_log(bench: &Bench) -> anyhow::Result<Server> {
    nginx_only(
        bench,
        "nginx-log",
        "nginx with its usual access log, each line written as its request is answered",
        "LOG combined",
    )
}

/// nginx alone, its log gathered in memory.
pub fn nginx_buffered(bench: &Bench) -> anyhow::Result<Server> {
    nginx_only(
        bench,
        "nginx-buffered",
        "nginx with its usual access log, gathered in 64 KiB, which a crash loses",
        "LOG combined buffer=64k flush=1s",
    )
}

fn nginx_only(
    bench: &Bench,
    name: &'static str,
    does: &'static str,
    access_log: &str,
) -> anyhow::Result<Server> {
    let nginx = nginx::start(bench, name, access_log)?;
    let state = "all lines in the log";
    let about = About { name: name.to_owned(), does, version: nginx.version, state, settings: nginx.config };
    Ok(Server { about, address: nginx.address, programs: vec![nginx.running], place: Place::Log(nginx.log) })
}

/// Where Debian keeps rsyslog's modules, by architecture.
const RSYSLOG_MODULES: [&str; 3] =
    ["/usr/lib/x86_64-linux-gnu/rsyslog", "/usr/lib/aarch64-linux-gnu/rsyslog", "/usr/lib/rsyslog"];

/// nginx's syslog to rsyslog, which sends to Kafka.
pub fn nginx_rsyslog(bench: &Bench) -> anyhow::Result<Server> {
    const NAME: &str = "nginx-rsyslog";
    let program = find("rsyslogd").context("apt-get install rsyslog rsyslog-kafka")?;
    ensure!(
        RSYSLOG_MODULES.iter().any(|dir| Path::new(dir).join("omkafka.so").is_file()),
        "rsyslog has no module omkafka: apt-get install rsyslog-kafka"
    );
    let topic = format!("compare-{NAME}");
    bench.create_topic(&topic, PARTITIONS)?;
    // UDP and not a unix socket: there the kernel keeps ten lines (net.unix.max_dgram_qlen) and nginx drops the rest.
    let port = local::free_ports(1)?[0];
    let broker = bench.kafka.bootstrap();
    let config = format!(
        r#"global(workDirectory="{dir}")
module(load="imudp" batchSize="256" timeRequery="64")
module(load="omkafka")
main_queue(queue.type="FixedArray" queue.size="500000" queue.dequeueBatchSize="4096" queue.workerThreads="1")
template(name="event" type="string" string="%msg:2:$%")
ruleset(name="ship") {{
    action(type="omkafka" broker="{broker}" topic="{topic}" template="event" partitions.auto="on" resubmitOnFailure="on"
        confParam=["compression.codec=lz4", "acks=all", "enable.idempotence=true", "queue.buffering.max.ms=20", "queue.buffering.max.messages=1000000"])
}}
input(type="imudp" address="127.0.0.1" port="{port}" rcvbufSize="16m" ruleset="ship")
"#,
        dir = bench.dir.display()
    );
    let path = bench.dir.join("rsyslog.conf");
    fs::write(&path, &config).with_context(|| format!("failed to write {}", path.display()))?;
    let (program, path) = (program.to_string_lossy(), path.to_string_lossy());
    // Its own words on a configuration that it does not take.
    bench.said("rsyslog-check", &[&program, "-N1", "-f", &path])?;
    let pid = bench.dir.join("rsyslog.pid");
    let shipper = bench.peer("rsyslog", &[&program, "-n", "-f", &path, "-i", &pid.to_string_lossy()])?;
    let said = bench.said("rsyslog-version", &[&program, "-v"])?;
    let version =
        said.lines().next().unwrap_or_default().split(" (").next().unwrap_or_default().replace("  ", " ");
    let access_log = format!("syslog:server=127.0.0.1:{port},facility=local7,tag=edge,severity=info {EVENT}");
    let nginx = nginx::start(bench, NAME, &access_log)?;
    // It listens before it says so anywhere: what it does not answer is then seen by what does not come.
    until("rsyslog to listen", UP_WAIT, || {
        shipper.program().check()?;
        let table = fs::read_to_string("/proc/net/udp").context("failed to read /proc/net/udp")?;
        let listens = table.contains(&format!("0100007F:{port:04X} "));
        Ok(if listens { Ok(()) } else { Err(format!("nobody has port {port}")) })
    })?;
    let about = About {
        name: NAME.to_owned(),
        does: "nginx with its log sent to rsyslog, which sends it to Kafka with omkafka",
        version: format!("{}; {}", nginx.version, version),
        state: "all events in the topic",
        settings: [nginx.config, lines(&config)].concat(),
    };
    Ok(Server {
        about,
        address: nginx.address,
        programs: vec![nginx.running, shipper],
        place: Place::Messages(topic),
    })
}

/// nginx's buffered log, followed by `tail`, sent by `kcat`.
pub fn nginx_kcat(bench: &Bench) -> anyhow::Result<Server> {
    const NAME: &str = "nginx-kcat";
    let program = find("kcat").context("apt-get install kcat")?;
    let topic = format!("compare-{NAME}");
    bench.create_topic(&topic, PARTITIONS)?;
    let nginx = nginx::start(bench, NAME, &format!("LOG {EVENT} buffer=64k flush=1s"))?;
    // Kcat holds its last line back until another comes, and at its end would wait for the delivery of that line, so it
    // is killed; tail ends with the shell.
    let line = format!(
        "trap 'kill -9 $!' TERM; tail -n +1 -F --pid=$$ {log} | {program} -P -E -b {broker} -t {topic} -z lz4 \
         -X acks=all -X enable.idempotence=true -X linger.ms=20 -X queue.buffering.max.messages=1000000 & wait",
        log = nginx.log.display(),
        program = program.display(),
        broker = bench.kafka.bootstrap(),
    );
    let shipper = bench.peer("kcat", &["sh", "-c", &line])?;
    let said = bench.said("kcat-version", &[&program.to_string_lossy(), "-V"])?;
    let version = said.lines().find(|line| line.starts_with("Version ")).unwrap_or_default();
    let version = version.split(" builtin").next().unwrap_or_default();
    let about = About {
        name: NAME.to_owned(),
        does: "nginx with its log gathered in 64 KiB, followed by tail and sent to Kafka by kcat",
        version: format!("{}; kcat {})", nginx.version, version.trim_start_matches("Version ")),
        state: "all events in the topic but what kcat holds back, a line",
        settings: [nginx.config, vec![line]].concat(),
    };
    Ok(Server {
        about,
        address: nginx.address,
        programs: vec![nginx.running, shipper],
        place: Place::MessagesHeld(topic),
    })
}

/// The edge of a day's work; `loadtest` is this program.
pub fn day_edge(bench: &Bench, loadtest: &Path) -> anyhow::Result<Server> {
    const NAME: &str = "day-edge";
    let topic = format!("compare-{NAME}");
    bench.create_topic(&topic, PARTITIONS)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, local::free_ports(1)?[0]));
    let (program, listen, broker) =
        (loadtest.to_string_lossy(), address.to_string(), bench.kafka.bootstrap());
    let line = [&*program, NAME, "--listen", &listen, "--brokers", &broker, "--topic", &topic];
    let running = bench.peer(NAME, &line)?;
    until("the day's edge to listen", UP_WAIT, || {
        running.program().check()?;
        Ok(TcpStream::connect(address).map(drop).map_err(|error| error.to_string()))
    })?;
    let about = About {
        name: NAME.to_owned(),
        does: "an edge as a team would write it in a day: axum, a JSON message for each request, FutureProducer; no link \
               is verified, nothing kept on the disk",
        version: "axum 0.8, rdkafka 0.39 (loadtest/src/compare/day_edge.rs)".to_owned(),
        state: "all events in the topic",
        settings: day_edge::SETTINGS.iter().map(|(name, value)| format!("{name}={value}")).collect(),
    };
    Ok(Server { about, address, programs: vec![running], place: Place::Messages(topic) })
}

fn lines(config: &str) -> Vec<String> {
    config.lines().map(str::to_owned).collect()
}
