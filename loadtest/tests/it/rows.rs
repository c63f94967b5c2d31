//! The ledger and the probes against a server that answers as ClickHouse does, in chunks.

use std::time::{Duration, Instant};

use loadtest::clickhouse::{ClickHouse, Secret};
use loadtest::crowd::Crowd;
use loadtest::freshness::{probes, sample};
use loadtest::ledger::{Ledger, check, settle};
use loadtest::mint;
use loadtest::plan::Plan;
use loadtest::tally::Outcome;

use crate::sending::{plan, target};
use crate::server::{Answer, Server, pixel, start};

pub fn chunked(body: &str) -> Answer {
    let (a, b) = body.split_at(body.len() / 2);
    let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in [a, b].iter().filter(|chunk| !chunk.is_empty()) {
        bytes.extend(format!("{:x}\r\n{chunk}\r\n", chunk.len()).bytes());
    }
    bytes.extend(b"0\r\n\r\n");
    Answer::Bytes(bytes)
}

fn clickhouse(server: &Server) -> ClickHouse {
    ClickHouse {
        address: server.address,
        database: "mail".to_owned(),
        table: "events".to_owned(),
        user: "reader".to_owned(),
        password: Secret("not shown".to_owned()),
    }
}

/// The line that ClickHouse shows of request `index`.
pub fn line(plan: &Plan, index: usize, count: u64) -> String {
    let hit = plan.hit(index);
    let kind = loadtest::mix::name(hit.kind);
    let method = if hit.head { "HEAD" } else { "GET" };
    let region = match hit.region {
        event::Region::Eu => "eu",
        event::Region::Other => "other",
        event::Region::Unspecified => "unknown",
    };
    let (link, target, agent) = (hit.link, mint::target(&hit), plan.user_agent(index));
    let (message, recipient) = (hit.message, hit.recipient);
    format!("{message}\t{recipient}\t{kind}\t{link}\t{target}\t{method}\t{region}\t{agent}\t{count}\n")
}

#[tokio::test]
async fn the_database_is_held_to_the_answers() {
    let plan = plan(30, 1_000.0, "open=1");
    // Request 4 is lost, request 7 is there twice.
    let lines: String = (0..30)
        .filter(|index| *index != 4)
        .map(|index| line(&plan, index, 1 + u64::from(index == 7)))
        .collect();
    let server = start(
        move |_, request| {
            if request.contains("GROUP BY ALL") { chunked(&lines) } else { chunked("30\n") }
        },
    );
    let clickhouse = clickhouse(&server);
    settle(&clickhouse, &plan, 30, Duration::ZERO).await.unwrap();
    let ledger = check(&clickhouse, &plan, &[Outcome::Answered; 30]).await.unwrap();
    assert_eq!(ledger, Ledger { answered: 30, rows: 30, missing: 1, doubled: 1, ..Ledger::default() });
    assert!(!ledger.clean());

    let asked = server.requests.lock().unwrap();
    assert_eq!(asked.len(), 2);
    assert!(asked[0].contains("FROM `mail`.`events` WHERE workspace = 1 AND message BETWEEN 1000 AND 1002"));
    assert!(asked[0].contains("X-ClickHouse-User: reader\r\nX-ClickHouse-Key: not shown\r\n"));
    assert!(!format!("{clickhouse:?}").contains("not shown"));
}

#[tokio::test]
async fn clickhouse_says_why() {
    let refusal = "Code: 60. DB::Exception: Unknown table\nand more";
    let server = start(move |_, _| {
        Answer::Bytes(
            format!("HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n{refusal}", refusal.len()).into(),
        )
    });
    let error = format!("{:#}", clickhouse(&server).query("SELECT 1").await.unwrap_err());
    assert_eq!(error, "failed to query ClickHouse: status 404: Code: 60. DB::Exception: Unknown table");
}

#[tokio::test]
async fn a_database_that_is_away_is_asked_again() {
    let plan = plan(30, 1_000.0, "open=1");
    let server = start(|number, _| if number < 2 { Answer::Close } else { chunked("30\n") });
    // Ends by the time limit, after the count was there: it has not stood still for long enough.
    settle(&clickhouse(&server), &plan, 30, Duration::from_secs(1)).await.unwrap();
    assert!(server.requests.lock().unwrap().len() >= 3);

    let gone = start(|_, _| Answer::Close);
    assert!(settle(&clickhouse(&gone), &plan, 30, Duration::from_millis(300)).await.is_err());
}

#[tokio::test]
async fn probes_are_seen_when_their_rows_are() {
    let plan = plan(30, 1_000.0, "open=1");
    // The first probe is not answered, and the last one's row never comes.
    let path = |hit: &loadtest::plan::Hit| Ok(format!("/o/{}", hit.recipient));
    let edge = start(|number, _| if number == 0 { Answer::Close } else { Answer::Bytes(pixel()) });
    let made = probes(&plan, &Crowd::load().unwrap(), "mail.example", 5, path).unwrap();
    let rows = edge.requests.clone();
    let database = start(move |_, request| {
        let asked = request.split("IN (").nth(1).unwrap().trim_end_matches(')').split(',').map(str::to_owned);
        let asked: Vec<String> = asked.collect();
        let rows = rows.lock().unwrap();
        let stored = rows.iter().take(4).map(|row| row.split([' ', '/']).nth(3).unwrap().to_owned());
        let seen: Vec<String> = stored.filter(|recipient| asked.contains(recipient)).collect();
        chunked(&seen.iter().map(|recipient| format!("{recipient}\n")).collect::<String>())
    });
    let (target, clickhouse) = (target(&edge), clickhouse(&database));
    let gap = Duration::from_millis(1);
    let seen =
        sample(&made, gap, Instant::now(), &target, &plan, &clickhouse, Duration::from_millis(200)).await;
    assert_eq!((seen.failed, seen.missing, seen.visible.len()), (1, 1, 3));
    assert!(!seen.look.is_empty());
}
