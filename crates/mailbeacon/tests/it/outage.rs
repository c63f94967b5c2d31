//! `edge` and `consume` as processes of their own, while what they depend on stops, freezes, and they die themselves.

use std::path::Path;

use testkit::Fresh;

use crate::http;
use crate::ledger::Ledger;
use crate::program::{BOUND, Program, START, says, until, until_ok};

/// How often each program is killed while requests come in.
const KILLS: usize = 3;

/// The two programs, and what they are started with.
struct Pair<'a> {
    dir: &'a Path,
    settings: Vec<String>,
    clickhouse: String,
    edge: Program,
    consumer: Program,
    /// Base URL of the consumer's admin listener.
    admin: String,
}

impl<'a> Pair<'a> {
    fn start(dir: &'a Path, settings: Vec<String>, clickhouse: String) -> Pair<'a> {
        let (edge, _) = program(dir, &settings, "edge");
        let (consumer, admin) = program(dir, &settings, "consume");
        Pair { dir, settings, clickhouse, edge, consumer, admin }
    }

    fn kill_edge(&mut self) {
        self.edge.kill();
        (self.edge, _) = program(self.dir, &self.settings, "edge");
    }

    fn kill_consumer(&mut self) {
        self.consumer.kill();
        (self.consumer, self.admin) = program(self.dir, &self.settings, "consume");
    }

    /// Waits until events arrive that are not there yet.
    fn goes_on(&self) {
        let rows = || http::query(&self.clickhouse, "mailbeacon", "SELECT count() FROM events").unwrap();
        let before: u64 = rows().parse().unwrap();
        until("more events", BOUND, || (rows().parse::<u64>().unwrap() > before).then_some(()));
    }
}

/// One that is ready, and the base URL of its admin listener.
fn program(dir: &Path, settings: &[String], name: &str) -> (Program, String) {
    let mut program = Program::start(dir, &args(settings, name));
    let said = if name == "edge" { "edge is up" } else { "consumer is up" };
    let line = program.line(said, START);
    // Port 0 was asked for: what is said is the port that it became.
    let (_, admin) = line.split_once("admin=").unwrap();
    let admin = format!("http://{}", admin.split_whitespace().next().unwrap());
    let ready = format!("{admin}/readyz");
    until(&ready, BOUND, || http::get(&ready, "").ok().filter(|reply| reply.status == 200));
    (program, admin)
}

fn args<'a>(settings: &'a [String], command: &'a str) -> Vec<&'a str> {
    settings.iter().flat_map(|setting| ["--set", setting]).chain([command]).collect()
}

#[test]
fn every_answered_request_is_one_row_whatever_stops_and_dies() {
    let mut kafka = testkit::fresh_kafka(1);
    let mut clickhouse = testkit::fresh_clickhouse();
    let dir = testkit::fresh_dir("outage");
    let listen = format!("127.0.0.1:{}", local::free_ports(1).unwrap()[0]);
    let settings: Vec<String> = [
        &format!("edge.listen={listen}"),
        "edge.trusted_proxies=[\"127.0.0.0/8\"]",
        "admin.listen=127.0.0.1:0",
        &format!("clickhouse.url={}", clickhouse.http_url()),
        &format!("kafka.brokers={}", kafka.bootstrap()),
        "kafka.partitions=3",
        "kafka.replication=1",
        // A restart takes its partitions back at once.
        "consumer.instance=consumer-1",
        "geo.off=true",
    ]
    .map(str::to_owned)
    .into();
    says(dir.path(), &["keys", "new"]);
    let first = says(dir.path(), &args(&settings, "migrate"));
    assert!(first.contains("created topic") && first.contains("applied 0001"), "{first}");
    let second = says(dir.path(), &args(&settings, "migrate"));
    assert!(!second.contains("created") && !second.contains("applied"), "{second}");

    let url = clickhouse.http_url();
    let mut pair = Pair::start(dir.path(), settings, url.clone());
    let mut ledger = Ledger::new(&dir.path().join("keys.toml"), &format!("http://{listen}"));
    ledger.send(50);
    ledger.check(&url);

    both_are_gone(&mut kafka, &mut clickhouse, &mut pair, &mut ledger);
    ledger.check(&url);
    both_are_frozen(&kafka, &clickhouse, &mut ledger);
    ledger.check(&url);
    for kill in [Pair::kill_consumer, Pair::kill_edge] {
        while_requests_come(&mut ledger, || {
            for _ in 0..KILLS {
                pair.goes_on();
                kill(&mut pair);
            }
            pair.goes_on();
        });
        ledger.check(&url);
    }

    clickhouse_is_killed(&mut clickhouse, &pair, &mut ledger);

    for mut program in [pair.edge, pair.consumer] {
        program.interrupt();
        assert!(program.wait().success());
    }
}

/// Without Kafka and ClickHouse requests are answered, by an edge that starts in the middle of it too.
fn both_are_gone(
    kafka: &mut Fresh<local::kafka::Kafka>,
    clickhouse: &mut Fresh<local::engine::Engine>,
    pair: &mut Pair<'_>,
    ledger: &mut Ledger,
) {
    kafka.stop_broker(0).unwrap();
    clickhouse.kill().unwrap();
    ledger.send(50);
    pair.kill_edge();
    ledger.send(50);
    clickhouse.restart().unwrap();
    kafka.start_broker(0).unwrap();
}

/// Frozen, they keep their connections and say nothing: requests are answered as before.
fn both_are_frozen(
    kafka: &Fresh<local::kafka::Kafka>,
    clickhouse: &Fresh<local::engine::Engine>,
    ledger: &mut Ledger,
) {
    kafka.suspend(0).unwrap();
    clickhouse.suspend().unwrap();
    ledger.send(50);
    kafka.resume(0).unwrap();
    clickhouse.resume().unwrap();
}

/// Killed in the middle of inserts, ClickHouse has each event once all the same, and every view agrees.
fn clickhouse_is_killed(clickhouse: &mut Fresh<local::engine::Engine>, pair: &Pair<'_>, ledger: &mut Ledger) {
    while_requests_come(ledger, || {
        for _ in 0..KILLS {
            pair.goes_on();
            clickhouse.kill().unwrap();
            clickhouse.restart().unwrap();
        }
        pair.goes_on();
    });
    ledger.check_rows(&pair.clickhouse);
    let config = store::Config { url: pair.clickhouse.clone(), ..store::Config::default() };
    let store = store::Store::new(config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    until_ok("views that agree with the events", BOUND, || {
        let drifts = runtime.block_on(store.view_drift()).map_err(|error| error.to_string())?;
        match drifts.iter().find(|drift| drift.differing > 0) {
            Some(drift) => Err(format!("{drift:?}")),
            None => Ok(()),
        }
    });
}

/// Sends one request after the other until `act` is over.
fn while_requests_come(ledger: &mut Ledger, act: impl FnOnce() + Send) {
    /// Between attempts to reach an edge that is being started.
    const RETRY: std::time::Duration = std::time::Duration::from_millis(10);
    std::thread::scope(|scope| {
        let acting = scope.spawn(act);
        while !acting.is_finished() {
            if !ledger.try_send() {
                std::thread::park_timeout(RETRY);
            }
        }
    });
}
