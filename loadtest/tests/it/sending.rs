//! What is sent, and that nothing is left out of the account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use loadtest::crowd::Crowd;
use loadtest::live::Live;
use loadtest::mix::Noise;
use loadtest::plan::{Plan, Spec};
use loadtest::schedule::Arrivals;
use loadtest::send::{Target, send};
use loadtest::shape::Shape;
use loadtest::tally::{Failure, Outcome, Tally};

use crate::server::{Answer, Server, pixel, start};

pub fn plan(requests: usize, rate: f64, mix: &str) -> Arc<Plan> {
    plan_with(requests, rate, mix, 0, Noise::default())
}

fn plan_with(requests: usize, rate: f64, mix: &str, warm_up: usize, noise: Noise) -> Arc<Plan> {
    let spec = Spec {
        requests,
        warm_up,
        rate,
        shape: Shape::Steady,
        arrivals: Arrivals::Even,
        seed: 1,
        mix: mix.parse().unwrap(),
        noise,
        fresh_share: 0.25,
        recipients: 10,
        workspace: 1,
        message: 1_000,
    };
    let path = |hit: &loadtest::plan::Hit| {
        let bad = if hit.spoiled.is_some() { "bad" } else { "" };
        Ok(format!("/{:?}{bad}/{}-{:x}", hit.kind, hit.message, hit.recipient))
    };
    Arc::new(Plan::new(spec, Arc::new(Crowd::load().unwrap()), path).unwrap())
}

pub fn target(server: &Server) -> Target {
    Target {
        address: server.address,
        host: "mail.example".to_owned(),
        connections: 32,
        timeout: Duration::from_secs(20),
        any_status: false,
    }
}

fn run(target: &Target, plan: &Arc<Plan>, threads: usize) -> Tally {
    send(target, plan, threads, Instant::now(), &Arc::new(Live::default())).unwrap()
}

fn by_kind(request: &str) -> Answer {
    if request.starts_with("GET /Open/") {
        return Answer::Bytes(pixel());
    }
    Answer::Bytes(
        b"HTTP/1.1 302 Found\r\nLocation: https://shop.example/\r\nContent-Length: 0\r\n\r\n".to_vec(),
    )
}

#[test]
fn every_request_is_sent_once_and_counted_once() {
    for threads in [1, 3] {
        let server = start(|_, request| by_kind(request));
        let plan = plan(1_000, 10_000.0, "open=80,click=15,download=5");
        let tally = run(&target(&server), &plan, threads);

        assert_eq!((tally.answers(), tally.failures.len()), (1_000, 0));
        assert!(tally.outcomes.iter().all(|outcome| *outcome == Outcome::Answered));
        assert_eq!(tally.fresh.len() + tally.kept.len(), 1_000);
        assert_eq!(tally.by_kind.iter().map(|h| h.len()).sum::<u64>(), 1_000);
        assert_eq!(
            tally.statuses,
            BTreeMap::from([(200, tally.by_kind[0].len()), (302, 1_000 - tally.by_kind[0].len())])
        );
        assert_eq!(tally.lateness.len() + tally.held, 1_000);

        let mut paths: Vec<String> =
            server.requests.lock().unwrap().iter().map(|r| r.split(' ').nth(1).unwrap().to_owned()).collect();
        assert_eq!(paths.len(), 1_000);
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), 1_000, "each request has its own path");
        let fresh = (0..1_000).filter(|i| plan.fresh(*i)).count();
        let opened = server.connections.load(Ordering::Relaxed);
        assert!(
            (fresh + 1..=fresh + 32).contains(&opened),
            "{opened} connections for {fresh} fresh requests"
        );
    }
}

#[test]
fn the_warm_up_is_kept_apart_and_bad_tokens_and_heads_are_as_they_should_be() {
    let server = start(|_, request| {
        let (bad, head) = (request.contains("bad/"), request.starts_with("HEAD "));
        if request.contains("/Open") {
            return Answer::Bytes(pixel());
        }
        let status = if bad { "404 Not Found" } else { "302 Found" };
        let body = if head { "" } else { "a page" };
        Answer::Bytes(format!("HTTP/1.1 {status}\r\nContent-Length: 6\r\n\r\n{body}").into_bytes())
    });
    let noise = Noise { bad_share: 0.2, head_share: 0.5 };
    let plan = plan_with(1_000, 10_000.0, "open=1,click=1", 400, noise);
    let tally = run(&target(&server), &plan, 2);

    assert_eq!((tally.answers(), tally.failures.len()), (600, 0));
    assert_eq!((tally.warm_up.answered, tally.warm_up.failed), (400, 0));
    assert_eq!(tally.statuses.values().sum::<u64>(), 600);
    assert_eq!(tally.lateness.len() + tally.held, 600);
    let outcomes: Vec<bool> = tally.outcomes.iter().map(|outcome| *outcome == Outcome::Refused).collect();
    let spoiled: Vec<bool> = (0..1_000).map(|index| plan.hit(index).spoiled.is_some()).collect();
    assert_eq!(outcomes, spoiled);
    let heads = server.requests.lock().unwrap().iter().filter(|r| r.starts_with("HEAD ")).count();
    assert_eq!(heads, (0..1_000).filter(|index| plan.hit(*index).head).count());
    assert!(heads > 150);

    let sum = |of: fn(&loadtest::series::Cell) -> u64| tally.series.cells.iter().map(of).sum::<u64>();
    assert_eq!((sum(|c| c.due), sum(|c| c.answered), sum(|c| c.failed)), (1_000, 1_000, 0));
    assert_eq!(sum(|c| c.latency.len()), 1_000);
}

/// The generator's reason to be: a closed loop would send nothing during the stall and report one slow request.
#[test]
fn a_stall_is_in_the_tail_of_everyone_who_would_have_come() {
    const STALL: Duration = Duration::from_millis(300);
    let server =
        start(|number, _| if number == 10 { Answer::Stall(STALL, pixel()) } else { Answer::Bytes(pixel()) });
    // More requests than connections come during the stall, so some wait for a connection as well.
    let plan = plan(600, 1_000.0, "open=1");
    let tally = run(&target(&server), &plan, 1);

    assert_eq!(tally.answers(), 600);
    assert!(tally.latency.max() >= STALL.as_micros() as u64, "{}", tally.latency.max());
    // No answer leaves during the stall, so whoever was due in its first half has waited for its second.
    let half = STALL.as_micros() as u64 / 2;
    let waited = tally.latency.count_between(half, u64::MAX);
    assert!(waited >= 140, "{waited} requests have waited");
    assert!(tally.held > 0);
    // Seen from the actual send time it would be the few that had a connection.
    assert!(tally.service.count_between(half, u64::MAX) < waited);
}

#[test]
fn what_goes_wrong_is_told_apart() {
    let server = start(|number, _| match number {
        3 => Answer::Close,
        5 => Answer::Bytes(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec()),
        7 => Answer::Bytes(b"nonsense\r\n\r\n".to_vec()),
        9 => Answer::Silence,
        11 => Answer::Slowly(pixel()),
        _ => Answer::Bytes(pixel()),
    });
    let target = Target { timeout: Duration::from_secs(2), ..target(&server) };
    let tally = run(&target, &plan(40, 200.0, "open=1"), 1);
    let expected =
        [Failure::Closed, Failure::Timeout, Failure::Malformed, Failure::Status].map(|why| (why, 1));
    assert_eq!(tally.failures, BTreeMap::from(expected));
    assert_eq!(tally.answers(), 36);
    assert_eq!(tally.statuses, BTreeMap::from([(200, 36), (503, 1)]));
    // They left, so the database may or may not have them.
    assert_eq!(tally.outcomes.iter().filter(|outcome| **outcome == Outcome::Unknown).count(), 4);
}

#[test]
fn requests_that_find_no_connection_are_unsent() {
    let server = start(|_, _| Answer::Silence);
    let target = Target { connections: 2, timeout: Duration::from_millis(100), ..target(&server) };
    let tally = run(&target, &plan(100, 10_000.0, "open=1"), 1);
    assert_eq!(tally.answers(), 0);
    assert_eq!(tally.failures.values().sum::<u64>(), 100);
    let unsent = tally.outcomes.iter().filter(|outcome| **outcome == Outcome::Unsent).count();
    assert_eq!(tally.failures[&Failure::Unsent], unsent as u64);
    assert_eq!(server.requests.lock().unwrap().len(), 100 - unsent);
}

#[test]
fn nobody_listens() {
    let server = start(|_, _| Answer::Close);
    // One that was free a moment ago may be another test's by now.
    let nobody = ([127, 0, 0, 1], 1).into();
    let tally = run(&Target { address: nobody, ..target(&server) }, &plan(20, 1_000.0, "open=1"), 1);
    assert_eq!(tally.failures, BTreeMap::from([(Failure::Connect, 20)]));
    assert!(tally.outcomes.iter().all(|outcome| *outcome == Outcome::Unsent));
}
