//! `mailbeacon up`, without and with Kafka: one command, and every event is a row, whatever ends the command.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::ledger::Ledger;
use crate::program::{BOUND, Program, START, all_gone, command, refuses, says, until, until_ok};
use crate::{browser, http};

/// A running `mailbeacon up` and what it has printed.
pub struct Up {
    pub program: Program,
    /// Base URL.
    pub edge: String,
    /// Base URL.
    pub admin: String,
    pub clickhouse: String,
    pub keys: PathBuf,
    /// Of the printed requests: an open, a click, a download. Each the header lines and the URL.
    printed: Vec<(String, String)>,
}

impl Up {
    pub fn start(dir: &Path, flags: &[&str]) -> Up {
        // From the moment at which `up` sees that ClickHouse's usual port is free to the one at which it has it.
        static STARTING: Mutex<()> = Mutex::new(());
        let _one = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let fixed = ["up", "--set", "edge.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0"];
        let mut program = Program::start(dir, &[&fixed, flags].concat());
        program.line("Ctrl-C drains", START);
        let said = program.said();
        let value = |name: &str| {
            let line = said.lines().find(|line| line.starts_with(&format!("  {name} ")));
            line.unwrap_or_else(|| panic!("no {name}: {said}")).split_whitespace().nth(1).unwrap().to_owned()
        };
        Up {
            edge: value("edge"),
            admin: value("admin").strip_suffix("/metrics").unwrap().to_owned(),
            clickhouse: value("clickhouse"),
            keys: value("keys").into(),
            printed: said.lines().filter_map(|line| printed(line.strip_prefix("  curl -si ")?)).collect(),
            program,
        }
    }

    pub fn query(&self, sql: &str) -> String {
        http::query(&self.clickhouse, "mailbeacon", sql).unwrap()
    }

    pub fn metrics(&self) -> String {
        http::get(&format!("{}/metrics", self.admin), "").unwrap().text()
    }
}

/// A printed command: `-A 'AGENT' -H 'HEADER' URL`.
fn printed(command: &str) -> Option<(String, String)> {
    let words: Vec<&str> = command.split('\'').collect();
    let [_, agent, _, header, url] = words[..] else { return None };
    Some((format!("User-Agent: {agent}\r\n{header}\r\n"), url.trim().to_owned()))
}

/// The sum over all series of a metric.
pub fn metric(page: &str, name: &str) -> u64 {
    let values = page.lines().filter_map(|line| {
        let behind = line.strip_prefix(name)?;
        behind.starts_with([' ', '{']).then(|| behind.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
    });
    values.sum::<f64>() as u64
}

#[test]
fn without_kafka() {
    story(&[]);
}

#[test]
fn with_kafka() {
    story(&["--kafka"]);
}

fn story(flags: &[&str]) {
    let dir = testkit::fresh_dir("up");
    let up = Up::start(dir.path(), flags);
    printed_requests(&up);
    second_on_the_same_data(dir.path());
    browser::newsletter(&up, dir.path());
    let mut ledger = Ledger::new(&up.keys, &up.edge);
    ledger.send(100);
    ledger.check(&up.clickhouse);
    keys_are_rotated(&up, dir.path());
    the_law(&up);

    let up = ended(up, dir.path(), flags, &mut ledger, interrupt);
    ended(up, dir.path(), flags, &mut ledger, Program::kill);
}

/// What `up` prints for everybody to try does what it says.
fn printed_requests(up: &Up) {
    let [open, click, download] = &up.printed[..] else { panic!("three requests: {}", up.program.said()) };
    let ask = |(headers, url): &(String, String)| http::get(url, headers).unwrap();
    let pixel = ask(open);
    assert_eq!((pixel.status, pixel.header("content-type")), (200, "image/gif"));
    assert_eq!(&pixel.body[..], edge::reply::PIXEL);
    for (request, target) in
        [(click, "https://example.com/offer"), (download, "https://example.com/guide.pdf")]
    {
        let reply = ask(request);
        assert_eq!((reply.status, reply.header("location")), (302, target));
    }

    let keys = link::Keys::from_toml(&std::fs::read_to_string(&up.keys).unwrap()).unwrap();
    let recipient = keys.recipient(1, "recipient-1");
    let sql = format!(
        "SELECT kind, device, country, city != '', time_zone, verdict, target FROM events WHERE recipient = \
         {recipient} ORDER BY kind"
    );
    let rows =
        until("the three rows", BOUND, || Some(up.query(&sql)).filter(|rows| rows.lines().count() >= 3));
    assert_eq!(
        rows,
        "open\tphone\tGB\t1\tEurope/London\thuman\t\n\
         click\tphone\tGB\t1\tEurope/London\thuman\thttps://example.com/offer\n\
         download\tphone\tGB\t1\tEurope/London\thuman\thttps://example.com/guide.pdf"
    );
    assert_eq!(http::get(&format!("{}/readyz", up.admin), "").unwrap().status, 200);
}

/// Refused before it touches anything: what comes after this shows that the first one goes on as before.
fn second_on_the_same_data(dir: &Path) {
    let complaint =
        refuses(dir, &["up", "--set", "edge.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0"]);
    assert!(complaint.contains("another `mailbeacon up`"), "{complaint}");
}

/// A running edge takes the new key up; the ledger goes on with the old one.
fn keys_are_rotated(up: &Up, dir: &Path) {
    let settings = [format!("keys.file={}", up.keys.display()), format!("site.base_url={}", up.edge)];
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    says(dir, &[&settings[..], &["keys", "rotate"]].concat());
    let target = "https://example.com/rotated";
    let click = ["link", "click", "--mode", "off", "--recipient", "ann", "--message", "1", target];
    let url = says(dir, &[&settings[..], &click].concat());
    let followed = || http::get(url.trim(), "").ok().filter(|reply| reply.status == 302);
    assert_eq!(until("a link of the new key", BOUND, followed).header("location"), target);
}

/// Accepted = stored + duplicate + dead-lettered + dropped + in flight, and what is stored is there.
fn the_law(up: &Up) {
    let page = until("nothing is in flight", BOUND, || {
        Some(up.metrics()).filter(|page| metric(page, "consumer_inflight_events") == 0)
    });
    assert_eq!(telemetry::undocumented(&page, &[edge::METRICS, consumer::METRICS]), Vec::<String>::new());
    let of = |name| metric(&page, name);
    let rows: u64 = up.query("SELECT count() FROM events").parse().unwrap();
    assert!(rows > 100);
    let outcomes = [
        of("consumer_stored_events_total"),
        of("consumer_duplicate_events_total"),
        of("consumer_dead_lettered_events_total"),
        of("edge_dropped_events_total"),
    ];
    assert_eq!((of("edge_accepted_events_total"), outcomes), (rows, [rows, 0, 0, 0]), "{page}");
}

/// `end` comes right behind the last answer: everything is there after the next start, and no part of the program
/// outlives it.
fn ended(mut up: Up, dir: &Path, flags: &[&str], ledger: &mut Ledger, end: fn(&mut Program)) -> Up {
    let children = up.program.children();
    assert!(!children.is_empty());
    ledger.send(200);
    end(&mut up.program);
    all_gone(&children);
    let up = Up::start(dir, flags);
    ledger.moved(&up.edge);
    ledger.check(&up.clickhouse);
    every_number_is_stored(dir);
    up
}

/// The law by the edges' numbers, over all starts, as an operator asks for it.
fn every_number_is_stored(dir: &Path) {
    until_ok("a balanced ledger", BOUND, || {
        let output = command(dir, &["--config", "data/up.toml", "ledger"]).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let well = output.status.success() && said.contains("balanced: every event is stored, once");
        if well { Ok(()) } else { Err(said) }
    });
}

fn interrupt(program: &mut Program) {
    program.interrupt();
    assert!(program.wait().success());
}
