//! Mode date: of each recipient the day of the last open is left, once, and nothing says who opened on a day before it.

use store::{Block, Range, Row, Store, month};

use crate::engine::{block, migrated, open, pair, today_ms, value};

const DAY_MS: i64 = 86_400_000;
/// Numbers that are no others'.
const ANN: u64 = 7_700_000_000_000_000_001;
const BOB: u64 = 7_700_000_000_000_000_002;
const EVE: u64 = 7_700_000_000_000_000_003;
/// Who opened how many days ago, in the order in which it comes to the store; the last day comes before others.
const OPENS: [(u64, i64); 9] =
    [(ANN, 40), (BOB, 40), (EVE, 9), (ANN, 3), (BOB, 2), (ANN, 1), (ANN, 1), (BOB, 5), (EVE, 9)];

/// The open that stands at an offset.
fn dated(offset: usize) -> Row<'static> {
    let (recipient, days_ago) = OPENS[offset];
    let row = open(offset as u64);
    Row {
        message: 0,
        recipient,
        received_at_ms: today_ms() - days_ago * DAY_MS,
        mode: 3,
        method: 0,
        region_class: 0,
        ..row
    }
}

fn range(row: &Row<'_>) -> Range<'static> {
    let (from, month) = (row.k_off, month(row.received_at_ms));
    Range { source: "events", part: 4, from, to: from + 1, month }
}

/// Each as a batch of its own, under its own token.
async fn insert(store: &Store, rows: &[Row<'static>]) {
    for row in rows {
        let mut one = Block::new(month(row.received_at_ms));
        one.push(row);
        store.insert(0, &format!("events/4/{}", row.k_off), &one.finish()).await.unwrap();
    }
}

/// What the server does by itself in time.
async fn merged(store: &Store) {
    for table in ["events", "last_opens"] {
        value(store, &format!("OPTIMIZE TABLE {table} FINAL")).await;
    }
}

/// Rows of each table and view, but those that fill another, in which a recipient's number stands.
async fn holders(store: &Store, recipient: u64) -> Vec<String> {
    let names = "SELECT name || if(as_select LIKE '%{workspace:UInt32}%', '(workspace = 1, at = now64(3))', '') \
         FROM system.tables WHERE database = currentDatabase() AND engine != 'MaterializedView' ORDER BY name";
    let mut holders = Vec::new();
    for name in value(store, names).await.lines() {
        let sql = format!("SELECT * FROM {name} FORMAT TSV");
        let rows =
            value(store, &sql).await.lines().filter(|row| row.contains(&recipient.to_string())).count();
        if rows > 0 {
            holders.push(format!("{name} {rows}"));
        }
    }
    holders
}

async fn drifts(store: &Store) -> u64 {
    store.view_drift().await.unwrap().iter().map(|drift| drift.differing).sum()
}

fn day(days_ago: i64) -> String {
    format!("toDate(fromUnixTimestamp64Milli({}))", today_ms() - days_ago * DAY_MS)
}

#[tokio::test]
async fn of_each_recipient_the_last_day_is_left() {
    let store = migrated("last_opens").await;
    let rows: Vec<Row<'_>> = (0..OPENS.len()).map(dated).collect();
    for _ in 0..2 {
        insert(&store, &rows).await;
    }
    // Somebody else, of whom all may be recorded.
    let other = Row { recipient: 5, k_off: 50, seq: 9, ..open(50) };
    insert(&store, &[other]).await;
    let days = format!(
        "SELECT groupArray((recipient, last_on)) = [({ANN}, {}), ({BOB}, {}), ({EVE}, {})] \
         FROM (SELECT * FROM recipients_last_open WHERE workspace = 1 ORDER BY recipient)",
        day(1),
        day(2),
        day(9)
    );
    assert_eq!(value(&store, &days).await, "1");
    let audit = "SELECT * FROM events_audit";
    let (audited, drifted) = (value(&store, audit).await, drifts(&store).await);
    assert!(audited.starts_with("9\t10\t0\t0\t0\t9\t"), "{audited}");
    assert_eq!(drifted, 0);

    merged(&store).await;
    for (recipient, left_in_events) in [(ANN, 2), (BOB, 0), (EVE, 0)] {
        let mut wanted = vec!["last_opens 1".to_owned(), "recipients_last_open 1".to_owned()];
        if left_in_events > 0 {
            let views = ["events", "events_current", "events_human", "events_people"];
            wanted.splice(0..0, views.map(|name| format!("{name} {left_in_events}")));
        }
        assert_eq!(holders(&store, recipient).await, wanted, "{recipient}");
        for index in [0, 1] {
            let found = format!(
                "SELECT count() FROM events WHERE recipient = {recipient} SETTINGS use_skip_indexes = {index}"
            );
            assert_eq!(value(&store, &found).await, left_in_events.to_string());
        }
    }
    // Nor does the state of a count of different recipients tell whether somebody is in it.
    let counted =
        "SELECT message, sum(events), sum(recipients) FROM message_hourly GROUP BY message ORDER BY message";
    assert_eq!(value(&store, counted).await, "0\t9\t0\n12\t1\t1");
    assert_eq!(value(&store, "SELECT opens, openers FROM message_totals WHERE message = 0").await, "9\t0");

    // The rest is as it was: each event counts, no view is said to lack any, and none is taken twice.
    assert_eq!(value(&store, &days).await, "1");
    assert_eq!(value(&store, audit).await, audited);
    assert_eq!(drifts(&store).await, 0);
    let (mut asked, mut ids) = (Vec::new(), Vec::new());
    for row in &rows {
        let traces = store.traces(0, &range(row), "t", "").await.unwrap();
        assert_eq!((traces.rows, traces.lacking), (1, vec![]), "{row:?}");
        asked.push(((row.edge_id, row.seq), row.received_at_ms));
        ids.push((row.edge_id, row.seq));
    }
    let elsewhere = Range { source: "other", ..range(&rows[0]) };
    let mut known = store.stored_ids(0, &elsewhere, &asked).await.unwrap();
    known.sort_unstable();
    assert_eq!(known, ids);
    insert(&store, &rows).await;
    assert_eq!(value(&store, audit).await, audited);
    assert_eq!(drifts(&store).await, 0);
}

#[tokio::test]
async fn days_that_were_lost_with_their_parts_are_seen_and_filled_in() {
    let store = migrated("last_opens_filled").await;
    let rows: Vec<Row<'_>> = (0..6).map(dated).collect();
    insert(&store, &rows).await;
    let traces = async |row: &Row<'_>| store.traces(0, &range(row), "t", "").await.unwrap();
    // As if the server had been killed after it noted the tokens and before it stored the parts.
    value(&store, "DELETE FROM last_opens WHERE 1 SETTINGS lightweight_deletes_sync = 2").await;
    insert(&store, &rows).await;
    assert_eq!(value(&store, "SELECT count() FROM last_opens").await, "0", "the tokens are known");
    assert_ne!(drifts(&store).await, 0);
    for row in &rows {
        assert_eq!(traces(row).await.lacking, ["last_opens_fill"], "{row:?}");
        for _ in 0..2 {
            let token = format!("events/4/{}/view", row.k_off);
            store.fill(0, &range(row), "last_opens_fill", &token).await.unwrap();
        }
        assert_eq!(traces(row).await.lacking, [""; 0], "{row:?}");
        // What is there of a month says nothing of the next one.
        let next = Range { month: 210_001, ..range(row) };
        assert!(!store.traces(0, &next, "t", "").await.unwrap().ahead);
    }
    assert_eq!(drifts(&store).await, 0);
    let last = format!("SELECT last_on = {} FROM recipients_last_open WHERE recipient = {ANN}", day(1));
    assert_eq!(value(&store, &last).await, "1");

    // Without its rows the target is ahead of them; rows that are brought back fill nothing.
    value(&store, "DELETE FROM events WHERE k_off = 5 SETTINGS lightweight_deletes_sync = 2").await;
    assert!(traces(&rows[5]).await.ahead);
    let mut one = Block::new(month(rows[5].received_at_ms));
    one.push(&rows[5]);
    store.insert(0, "events/4/5/rows/1", &one.finish()).await.unwrap();
    assert_eq!((traces(&rows[5]).await.lacking, drifts(&store).await), (vec![], 0));
}

#[tokio::test]
async fn what_a_link_said_of_the_eu_stands_also_of_days_that_are_forgotten() {
    let alone = migrated("last_opens_eu").await;
    let both = Store::new(pair("last_opens_eu_pair")).unwrap();
    both.migrate().await.unwrap();
    for store in [alone, both] {
        // Ann's first link said eu, the later ones nothing; Bob's never did. Both were seen elsewhere, too.
        let eu = Row { region_claim: 1, region_class: 1, ..dated(0) };
        insert(&store, &[eu, dated(1), dated(3), dated(4)]).await;
        let seen = [ANN, BOB].map(|recipient| Row { recipient, k_off: 10, seq: recipient, ..open(0) });
        let last = store.shards() - 1;
        store.insert(last, "seen", &block(seen)).await.unwrap();
        let regions = format!(
            "SELECT groupArray((recipient, region, if(region = 'eu', toDate(eu_at) = {}, toYear(eu_at) = 1970))) \
             FROM (SELECT * FROM recipient_regions ORDER BY recipient)",
            day(3)
        );
        let wanted = format!("[({ANN},'eu',1),({BOB},'other',1)]");
        assert_eq!(value(&store, &regions).await, wanted);
        if store.shards() == 1 {
            merged(&store).await;
            let kept = format!("SELECT count(), any(eu) FROM last_opens WHERE recipient = {ANN}");
            assert_eq!(value(&store, &kept).await, "1\ttrue");
            assert_eq!(value(&store, &regions).await, wanted);
        }
    }
}
