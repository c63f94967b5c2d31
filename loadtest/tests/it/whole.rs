//! Whole runs, from the command line to the report: an edge that opens real links and the table it fills.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use clap::Parser;
use event::{Kind, Region};
use link::Keys;
use loadtest::mix;
use loadtest::options::{Cli, Command, RunOptions};
use loadtest::run;

use crate::rows::chunked;
use crate::server::{Answer, Server, pixel, start};

/// Message, recipient, and the rest of the line that the ledger asks for.
type Table = Arc<Mutex<Vec<(u64, u64, String)>>>;

const NO_LINK: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

fn edge(keys: Keys, table: Table, store: impl Fn(usize) -> usize + Send + Sync + 'static) -> Server {
    start(move |number, request| {
        let path = request.split(' ').nth(1).unwrap();
        let (kind, token) = link::parse_path(path.as_bytes()).unwrap();
        let Ok(link) = keys.open(kind, token) else {
            return Answer::Bytes(if kind == Kind::Open { pixel() } else { NO_LINK.to_vec() });
        };
        let method = request.split(' ').next().unwrap();
        let agent = request.split("User-Agent: ").nth(1).unwrap().lines().next().unwrap();
        let region = match link.region {
            Region::Eu => "eu",
            Region::Other => "other",
            Region::Unspecified => "unknown",
        };
        let kind = mix::name(kind);
        let said = format!("{kind}\t{}\t{}\t{method}\t{region}\t{agent}", link.link, link.target);
        let row = (link.message, link.recipient, said);
        table.lock().unwrap().extend(std::iter::repeat_n(row, store(number)));
        if link.target.is_empty() {
            return Answer::Bytes(pixel());
        }
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", link.target);
        Answer::Bytes(head.into_bytes())
    })
}

/// The number after `what` in a query.
fn number(query: &str, what: &str) -> Option<u64> {
    let rest = query.split(what).nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn database(table: Table) -> Server {
    start(move |_, request| {
        let table = table.lock().unwrap();
        let mut lines = String::new();
        if let Some(first) = number(request, "BETWEEN ") {
            let last = number(request, &format!("BETWEEN {first} AND ")).unwrap();
            let rows = table.iter().filter(|(message, _, _)| (first..=last).contains(message));
            if request.contains("GROUP BY ALL") {
                for (message, recipient, said) in rows {
                    writeln!(lines, "{message}\t{recipient}\t{said}\t1").unwrap();
                }
            } else {
                writeln!(lines, "{}", rows.count()).unwrap();
            }
        } else if let Some(message) = number(request, "message = ") {
            for (_, recipient, _) in table.iter().filter(|(of, _, _)| *of == message) {
                if request.contains(&recipient.to_string()) {
                    writeln!(lines, "{recipient}").unwrap();
                }
            }
        }
        chunked(&lines)
    })
}

fn options(args: &[&str]) -> RunOptions {
    let Command::Run(options) = Cli::try_parse_from([&["loadtest", "run"], args].concat()).unwrap().command
    else {
        panic!("not a run")
    };
    options.check().unwrap();
    *options
}

/// One run against an edge that stores request number `n` `store(n)` times.
async fn run_with(
    store: impl Fn(usize) -> usize + Send + Sync + 'static,
    more: &[&str],
) -> loadtest::report::Report {
    let text = Keys::generate();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &text).unwrap();
    let table = Table::default();
    let edge = edge(Keys::from_toml(&text).unwrap(), table.clone(), store);
    let database = database(table);
    let (url, clickhouse) = (format!("http://{}", edge.address), format!("http://{}", database.address));
    let watch = format!("this={}", std::process::id());
    let args = [
        "--url",
        &url,
        "--keys",
        file.path().to_str().unwrap(),
        "--rate",
        "500",
        "--duration",
        "0.4",
        "--recipients",
        "30",
        "--clickhouse",
        &clickhouse,
        "--freshness",
        "20",
        "--settle-ms",
        "1000",
        "--pid",
        &watch,
    ];
    run::run(&options(&[&args[..], more].concat())).await.unwrap().report
}

#[tokio::test]
async fn a_run_that_is_all_there() {
    let report = run_with(|_| 1, &[]).await;
    let ledger = report.ledger.as_ref().unwrap();
    assert_eq!((ledger.answered, ledger.rows, ledger.missing, ledger.unexpected), (200, 200, 0, 0));
    assert!(ledger.clean() && report.rows_are_right());
    let freshness = report.freshness.unwrap();
    assert_eq!((freshness.visible_ms.count, freshness.missing, freshness.failed), (8, 0, 0));
    assert_eq!(report.statuses.values().sum::<u64>(), 200);
    assert!(report.statuses.contains_key(&200) && report.statuses.contains_key(&302));
    assert_eq!(report.processes.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["this", "loadtest"]);
    assert_eq!(report.run.duration_seconds, 0.4);
}

#[tokio::test]
async fn a_blast_after_a_warm_up_with_all_that_comes_beside_it() {
    // Metrics that grow by ten with each reading.
    let metrics = start(|number, _| {
        let (accepted, stored) = (10 * number + 7, 10 * number);
        let text = format!("edge_accepted_events_total {accepted}\nconsumer_stored_events_total {stored}\n");
        Answer::Bytes(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes())
    });
    let metrics = format!("http://{}", metrics.address);
    let more = ["--shape", "blast", "--warm-up", "0.2", "--bad-share", "0.2", "--head-share", "0.5"];
    let more = [&more[..], &["--watch-ms", "20", "--metrics", &metrics]].concat();
    let report = run_with(|_| 1, &more).await;
    let account = report.account.unwrap();
    assert!(account.accepted >= 10 && account.accepted == account.stored, "{account:?}");
    assert_eq!((account.under_way(), report.account_restarts), (0, 0));
    let ledger = report.ledger.as_ref().unwrap();
    assert!(ledger.clean() && ledger.refused > 0, "{ledger:?}");
    // The ledger holds the database to the warm-up as well, the figures leave it out.
    assert_eq!(ledger.answered + ledger.refused, 300);
    assert_eq!((report.answered, report.sends.planned, report.warm_up.answered), (200, 200, 100));
    assert_eq!(report.statuses.values().sum::<u64>(), 200);
    assert!(report.statuses.contains_key(&404), "a bad link is told so");
    let timeline = &report.timeline;
    assert_eq!(timeline.intervals.iter().map(|i| i.answered).sum::<u64>(), 300);
    let last = timeline.samples.last().unwrap();
    assert_eq!((last.answered, last.visible), (ledger.answered, Some(ledger.answered)));

    let page = loadtest::html::page(&report);
    assert_eq!(page.matches("class=\"plot\"").count(), 5, "every plot is there");
    for outside in ["<script", "<link", "http-equiv", "src=", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(!page.contains("NaN") && page.contains("warm-up") && page.contains("seconds since the start"));
}

#[tokio::test]
async fn a_run_with_a_loss_and_a_copy() {
    // Which requests these are is open: a probe may be among them. Either way the report must say so.
    let report = run_with(
        |number| {
            if number < 20 {
                0
            } else if number < 60 {
                2
            } else {
                1
            }
        },
        &[],
    )
    .await;
    let (ledger, freshness) = (report.ledger.as_ref().unwrap(), report.freshness.as_ref().unwrap());
    assert_eq!(ledger.missing + freshness.missing, 20);
    assert!((32..=40).contains(&ledger.doubled), "{}", ledger.doubled);
    assert!(!report.rows_are_right());
}

#[tokio::test]
async fn metrics_that_are_not_there_are_told_before_the_load() {
    let edge = start(|_, _| Answer::Bytes(pixel()));
    let nothing =
        start(|_, _| Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()));
    let (url, metrics) = (format!("http://{}", edge.address), format!("http://{}", nothing.address));
    let error = run::run(&options(&["--url", &url, "--path", "/", "--metrics", &metrics])).await.unwrap_err();
    assert!(format!("{error:#}").ends_with("status 404, expected 200"), "{error:#}");
    assert!(edge.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_search_on_a_server_that_never_answers_ends() {
    let server = start(|_, _| Answer::Close);
    let url = format!("http://{}", server.address);
    let options = options(&["--url", &url, "--path", "/", "--find-max", "--rate", "4", "--hold", "0.25"]);
    let mut seen = Vec::new();
    let report = run::find_max(&options, |step| seen.push(step.clone())).await.unwrap();
    assert_eq!(report.rate_held, None);
    assert_eq!(report.steps, seen);
    assert_eq!(report.steps[0].rate, 4.0);
    // A busy machine may end the search earlier, as unmeasured; lower rates are tried only while it keeps time.
    assert!(
        report
            .steps
            .windows(2)
            .all(|pair| pair[1].rate == if pair[0].valid { pair[0].rate / 2.0 } else { pair[0].rate })
    );
    assert!(report.steps.iter().all(|step| step.not_held_because.contains(&"1 requests failed".to_owned())));
}
