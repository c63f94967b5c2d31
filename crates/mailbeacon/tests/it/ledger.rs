//! Who was answered, and whether the database has each of them once.

use std::collections::BTreeMap;
use std::path::Path;

use event::{Kind, Mode, Position, Region};
use link::{Keys, Link, Site};

use crate::http;
use crate::program::{BOUND, until_ok};

/// All requests here are of this message. Each is of a recipient of its own, which is how its row is found.
const MESSAGE: u64 = 4_711;
pub const TARGET: &str = "https://shop.example/offer?id=7";
const CLIENT: &str = "X-Forwarded-For: 81.2.69.160\r\nUser-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) \
                      AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n";
/// Whatever could still be on its way twice is ahead of these on its way: more than there are workers times
/// partitions.
const MARKERS: u64 = 40;

/// Sends requests to one edge and remembers how each went.
pub struct Ledger {
    keys: Keys,
    site: Site,
    /// Whether the request was answered, by recipient.
    sent: BTreeMap<u64, bool>,
}

impl Ledger {
    /// `edge` is the base URL.
    pub fn new(keys: &Path, edge: &str) -> Ledger {
        let keys = Keys::from_toml(&std::fs::read_to_string(keys).unwrap()).unwrap();
        Ledger { keys, site: Site::new(edge).unwrap(), sent: BTreeMap::new() }
    }

    /// The edge is somewhere else after a restart.
    pub fn moved(&mut self, edge: &str) {
        self.site = Site::new(edge).unwrap();
    }

    pub fn answered(&self) -> usize {
        self.sent.values().filter(|answered| **answered).count()
    }

    /// Sends one more request, opens and clicks by turns; `false` when there was no answer. A wrong one is a
    /// failure.
    pub fn try_send(&mut self) -> bool {
        let recipient = self.sent.len() as u64 + 1;
        let kind = if recipient.is_multiple_of(3) { Kind::Click } else { Kind::Open };
        let link = Link {
            kind,
            workspace: 1,
            message: MESSAGE,
            recipient,
            link: u32::from(kind == Kind::Click),
            target: if kind == Kind::Click { TARGET.to_owned() } else { String::new() },
            position: if kind == Kind::Open { Position::Bottom } else { Position::Unspecified },
            mode: Mode::Full,
            region: Region::Other,
            ..Link::default()
        };
        let reply = http::get(&self.site.url(&self.keys, &link).unwrap(), CLIENT);
        self.sent.insert(recipient, reply.is_ok());
        match (&reply, kind) {
            (Err(_), _) => {}
            (Ok(reply), Kind::Open) => {
                assert_eq!((reply.status, &reply.body[..]), (200, &edge::reply::PIXEL[..]))
            }
            (Ok(reply), _) => assert_eq!((reply.status, reply.header("location")), (302, TARGET)),
        }
        reply.is_ok()
    }

    /// Sends as many requests, all of which must be answered.
    pub fn send(&mut self, count: u64) {
        for _ in 0..count {
            assert!(self.try_send(), "no answer to request {}", self.sent.len());
        }
    }

    /// As [`Ledger::check_rows`], and the same by the hour, and no edge's numbers have a gap.
    pub fn check(&mut self, clickhouse: &str) {
        self.check_rows(clickhouse);
        // Over all messages, others' too. A view has the rows a moment later than the table that it is of.
        let sums = "SELECT (SELECT count() FROM events), (SELECT count(DISTINCT edge_id, seq) FROM events), \
                    (SELECT sum(events) FROM message_hourly), (SELECT sum(duplicates) + sum(missing) FROM events_audit)";
        until_ok("as many events, different events, events by the hour, and none astray", BOUND, || {
            let seen = http::query(clickhouse, "mailbeacon", sums).unwrap();
            match seen.split('\t').collect::<Vec<_>>()[..] {
                [events, different, hourly, "0"] if events == different && events == hourly => Ok(()),
                _ => Err(seen),
            }
        });
    }

    /// Waits until everything has arrived, and holds the database to it: one row for each that was answered, one
    /// or none for each that was not, none for anybody else.
    pub fn check_rows(&mut self, clickhouse: &str) {
        self.send(MARKERS);
        let ask = |sql: &str| http::query(clickhouse, "mailbeacon", sql);
        let seen_sql = format!("SELECT count(DISTINCT recipient) FROM events WHERE message = {MESSAGE}");
        let answered = self.answered();
        until_ok(&format!("{answered} events in the database"), BOUND, || {
            let seen = ask(&seen_sql).unwrap_or_else(|cause| cause.to_string());
            if seen.parse::<usize>().is_ok_and(|seen| seen >= answered) { Ok(()) } else { Err(seen) }
        });

        let rows =
            ask(&format!("SELECT recipient, count() FROM events WHERE message = {MESSAGE} GROUP BY ALL"));
        let mut rows: BTreeMap<u64, u64> = rows
            .unwrap()
            .lines()
            .map(|line| line.split_once('\t').unwrap())
            .map(|(recipient, count)| (recipient.parse().unwrap(), count.parse().unwrap()))
            .collect();
        for (recipient, answered) in &self.sent {
            match rows.remove(recipient) {
                Some(count) => assert_eq!(count, 1, "recipient {recipient}"),
                None => assert!(!answered, "recipient {recipient} was answered and is not there"),
            }
        }
        assert_eq!(rows, BTreeMap::new(), "nobody sent these");
    }
}
