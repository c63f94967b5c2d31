//! The drill's verdict on tables that are right and on tables that are not, and a small drill from end to end.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use event::Kind;
use link::Keys;
use loadtest::drill;
use loadtest::drill::act::Acted;
use loadtest::drill::check::{self, Found};
use loadtest::drill::load::{Asked, Load, TARGET};
use loadtest::drill::options::DrillOptions;
use loadtest::drill::plan::Scenario;
use loadtest::drill::report::Report;
use loadtest::scratch::Scratch;
use store::{Config, Store};
use testkit::Fresh;

const EDGE: u64 = 0x00ab_cdef;
const REQUESTS: u64 = 40;

/// A database with its tables, and as many requests that were sent and answered.
struct Bench {
    clickhouse: Fresh<local::engine::Engine>,
    runtime: tokio::runtime::Runtime,
    load: Load,
}

impl Bench {
    fn new() -> Bench {
        let clickhouse = testkit::fresh_clickhouse();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store = Store::new(Config { url: clickhouse.http_url(), ..Config::default() }).unwrap();
        runtime.block_on(store.migrate()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys.toml");
        fs::write(&keys, Keys::generate()).unwrap();
        let load = Load::new(&keys, Vec::new(), 1.0, REQUESTS, REQUESTS).unwrap();
        load.sent.next.store(REQUESTS, std::sync::atomic::Ordering::Relaxed);
        for number in 0..REQUESTS {
            load.sent.begun.set(number);
            load.sent.answered.set(number);
        }
        Bench { clickhouse, runtime, load }
    }

    /// One insert, in which each request has the row that it asked for, under the number `seq` of its edge.
    fn insert(&self, rows: impl IntoIterator<Item = (Asked, u64)>) {
        let rows: Vec<String> = rows
            .into_iter()
            .map(|(Asked { kind, message, recipient, link }, seq)| {
                let (kind, target) = match kind {
                    Kind::Click => ("click", format!("{TARGET}{link}?")),
                    _ => ("open", String::new()),
                };
                format!(
                    "(1, {message}, {recipient}, now(), '{kind}', {link}, '{target}', 'human', 't', {EDGE}, {seq})"
                )
            })
            .collect();
        let sql = format!(
            "INSERT INTO mailbeacon.events (workspace, message, recipient, received_at, kind, link, target, verdict, \
             k_topic, edge_id, seq) VALUES {}",
            rows.join(", ")
        );
        self.clickhouse.query(&sql).unwrap();
    }

    /// What the check finds, and the report of it.
    fn check(&self, acted: &Acted, last: u64) -> (Found, Report) {
        let journals = BTreeMap::from([(EDGE, last)]);
        let address = SocketAddr::from(([127, 0, 0, 1], self.clickhouse.http_port()));
        let found = self.runtime.block_on(check::check(address, &self.load, &journals)).unwrap();
        let report = Report::new(1, &self.load, acted, &found, &journals, 0);
        (found, report)
    }
}

#[test]
fn a_right_table_is_well_and_every_breach_is_counted() {
    let bench = Bench::new();
    let asked = |number: u64| (Asked::of(number), number + 1);
    bench.insert((0..REQUESTS - 4).map(asked));
    let (found, report) = bench.check(&Acted::default(), REQUESTS);
    assert_eq!((found.missing.count, found.gaps.count), (4, 4));
    assert_eq!((report.lost, report.stored, report.accepted), (4, REQUESTS - 4, REQUESTS));
    assert!(
        report.examples.iter().any(|example| example.contains("37, 38, 39, 40")),
        "{:?}",
        report.examples
    );

    // What an edge counted as shed is not lost, with a number or without.
    for (reason, last) in [("disk", REQUESTS), ("full", REQUESTS - 4)] {
        let shed = |count| Acted { dropped: BTreeMap::from([(reason.into(), count)]), ..Acted::default() };
        let (_, report) = bench.check(&shed(4), last);
        assert!(report.is_well(), "{reason}: {report}");
        assert_eq!(report.accepted, REQUESTS, "{reason}");
        assert_eq!(bench.check(&shed(3), last).1.lost, 1, "{reason}");
    }

    bench.insert((REQUESTS - 4..REQUESTS).map(asked));
    let (_, report) = bench.check(&Acted::default(), REQUESTS);
    assert!(report.is_well(), "{report}");
    assert!(report.examples.is_empty(), "{report}");

    // A row that nobody asked for, in the words of one that was: of another link, and of a message of nobody.
    let other = Asked { link: 4, ..Asked::of(0) };
    let nobody = Asked { message: 77, ..Asked::of(1) };
    bench.insert([(other, REQUESTS + 1), (nobody, REQUESTS + 2)]);
    let (found, report) = bench.check(&Acted::default(), REQUESTS);
    assert_eq!((found.wrong.count, report.lost, report.duplicated), (2, 0, 0), "{report}");

    // The same event again, and the same request as another event.
    bench.insert([asked(7), (Asked::of(8), REQUESTS + 3)]);
    let (found, _) = bench.check(&Acted::default(), REQUESTS);
    assert_eq!((found.named_twice.count, found.repeated.count), (1, 2));

    bench.clickhouse.query("TRUNCATE TABLE mailbeacon.message_hourly_states").unwrap();
    let (_, report) = bench.check(&Acted::default(), REQUESTS);
    assert!(
        report.view_drift > 0 && report.examples.iter().any(|example| example.contains("message_hourly"))
    );
}

fn in_folder(dir: &Path, scenario: Scenario) -> DrillOptions {
    let options = options(scenario);
    DrillOptions { scratch: Scratch { dir: Some(dir.to_owned()), ..options.scratch }, ..options }
}

fn options(scenario: Scenario) -> DrillOptions {
    DrillOptions {
        scenario,
        seed: 1,
        short: true,
        events: Some(600),
        faults: Some(3),
        duration: Some(4.0),
        rate: None,
        scratch: Scratch { mailbeacon: Some(testkit::helper()), ..Scratch::default() },
        json: false,
    }
}

#[test]
fn a_small_drill_ends_well_and_leaves_nothing_behind() {
    let dir = testkit::fresh_dir("drill");
    let dir = dir.path().join("data");
    let code = drill::run(&in_folder(&dir, Scenario::Proxy)).unwrap();
    assert_eq!(code, ExitCode::SUCCESS);
    assert!(!dir.exists());
}

#[test]
fn a_drill_needs_the_program_and_an_empty_folder() {
    let dir = testkit::fresh_dir("drill");
    let refused = |options: DrillOptions| drill::run(&options).unwrap_err().to_string();
    let nowhere = dir.path().join("nowhere");
    let scratch = Scratch { mailbeacon: Some(nowhere), ..Scratch::default() };
    let said = refused(DrillOptions { scratch, ..options(Scenario::Edge) });
    assert!(said.contains("cargo build --release"), "{said}");
    fs::write(dir.path().join("mine"), "").unwrap();
    let said = refused(in_folder(dir.path(), Scenario::Edge));
    assert!(said.contains("is not empty"), "{said}");
    assert!(dir.path().join("mine").exists());
}
