//! Mode date, from the journal to the last day: in time nothing but one table knows a recipient, and of one day only.

use std::collections::BTreeMap;

use event::{Event, Kind, Mode, Region};

use crate::journal::{append, consume, open_journal};
use crate::law::{Ledger, check_views, encode, open, today_ms};
use crate::running::{self, query};

const DAY_MS: i64 = 86_400_000;
/// Days back of each round of opens: over the end of a month, and not in order.
const ROUNDS: [i64; 6] = [41, 3, 9, 40, 2, 5];
const PEOPLE: u64 = 20;

/// A number that is no other's.
fn recipient(person: u64) -> u64 {
    8_800_000_000_000_000_000 + person
}

/// As the edge makes it.
fn dated(person: u64, days_ago: i64, edge_id: u64, seq: u64) -> Event<'static> {
    Event {
        edge_id,
        seq,
        kind: Kind::Open,
        received_at_ms: today_ms() - days_ago * DAY_MS,
        workspace: 1,
        recipient: recipient(person),
        mode: Mode::Date,
        region: if person.is_multiple_of(2) { Region::Eu } else { Region::Unspecified },
        ..Event::default()
    }
}

#[test]
fn in_time_one_table_knows_a_recipient_and_one_day() {
    let dir = tempfile::tempdir().unwrap();
    let store = running::store("last_opens");
    let (log, reader) = open_journal(&dir.path().join("journal"));
    let (mut ledger, mut last) = (Ledger::default(), BTreeMap::<u64, i64>::new());
    let mut write = |event: &dyn Fn(u64, u64) -> Event<'static>| {
        let position = append(&log, |edge_id, seq, out| out.extend(encode(&event(edge_id, seq))));
        let place = (format!("journal/{:016x}", position.edge_id), 0, position.seq);
        ledger.enter((position.edge_id, position.seq), place);
    };
    for (round, days_ago) in ROUNDS.into_iter().enumerate() {
        for person in (0..PEOPLE).filter(|person| person % 6 >= round as u64) {
            write(&|edge_id, seq| dated(person, days_ago, edge_id, seq));
            let day = last.entry(recipient(person)).or_insert(days_ago);
            *day = days_ago.min(*day);
        }
        write(&open);
    }
    let counted = consume(vec![reader], &dir.path().join("dead.jsonl"), &store).finish();
    ledger.check(&store, counted);
    let audit = "SELECT * FROM events_audit";
    let audited = query(&store, audit);

    // What the server does by itself, sooner or later.
    let tables =
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'";
    for table in query(&store, tables).lines() {
        query(&store, &format!("OPTIMIZE TABLE {table} FINAL"));
    }

    let wanted: Vec<String> = last.iter().map(|(who, days)| format!("{who}\t{days}")).collect();
    for table in ["last_opens", "recipients_last_open"] {
        let known = format!(
            "SELECT recipient, dateDiff('day', last_on, toDate(fromUnixTimestamp64Milli({}))) FROM {table} \
             WHERE recipient != 0 ORDER BY recipient",
            today_ms()
        );
        assert_eq!(query(&store, &known), wanted.join("\n"), "{table}");
    }
    // In all that is stored.
    let mut holders = Vec::new();
    for name in query(&store, tables).lines() {
        let rows = query(&store, &format!("SELECT * FROM {name} FORMAT TSV"));
        let count = rows.lines().filter(|row| last.keys().any(|who| row.contains(&who.to_string()))).count();
        if count > 0 {
            holders.push((name.to_owned(), count as u64));
        }
    }
    assert_eq!(holders, [("last_opens".to_owned(), PEOPLE)]);
    // Regions are told of those whose links said eu, with that day and no other.
    let regions = "SELECT count() FROM recipient_regions AS r JOIN recipients_last_open AS o \
         ON r.workspace = o.workspace AND r.recipient = o.recipient WHERE r.region = 'eu' AND r.other_at = 0 \
         AND toDate(r.eu_at) = o.last_on AND toDate(r.seen_at) = o.last_on";
    assert_eq!(query(&store, regions), (PEOPLE / 2).to_string());

    // Each event is still there once, and counts.
    ledger.check_rows(&store);
    check_views(&store);
    assert_eq!(query(&store, audit), audited);
    let rows = ledger.events.len();
    assert_eq!(query(&store, "SELECT sum(opens_all) FROM message_totals"), rows.to_string());
}
