//! A batch whose rows are stored and whose views are not, or the other way round: seen, filled, and once.

use store::{Correction, Drift, Range, Row, Store, month};

use crate::engine::{block, migrated, open, today_ms, value};
use crate::insert::active;

const TARGETS: [&str; 4] = ["corrections", "last_opens", "message_hourly_states", "recipient_events"];
const VIEWS: [&str; 4] =
    ["corrections_fill", "last_opens_fill", "message_hourly_fill", "recipient_events_fill"];

/// Rows for each view to take something of: each corrects the one three before it, and every fifth is of mode date.
fn rows(from: u64, to: u64) -> bytes::Bytes {
    let corrections: Vec<[Correction; 1]> = (from..to).map(|n| [correction(n.saturating_sub(3))]).collect();
    let mode = |n| if n % 5 == 0 { 3 } else { 1 };
    let row = |n| Row { corrects: &corrections[(n - from) as usize], mode: mode(n), ..active(n) };
    block((from..to).map(row))
}

fn correction(n: u64) -> Correction {
    let Row { edge_id, seq, received_at_ms, recipient, kind, link, .. } = open(n);
    let (verdict, confidence, reason) = (4, 2, "link-sweep");
    Correction { edge_id, seq, received_at_ms, recipient, kind, link, verdict, confidence, reason }
}

fn range(from: u64, to: u64) -> Range<'static> {
    Range { source: "events", part: 4, from, to, month: month(today_ms()) }
}

async fn differing(store: &Store) -> Vec<u64> {
    let drifts = store.view_drift().await.unwrap();
    assert_eq!(drifts.iter().map(|drift| drift.view.as_str()).collect::<Vec<_>>(), VIEWS);
    drifts.iter().map(|Drift { differing, .. }| *differing).collect()
}

async fn lacking(store: &Store, from: u64, to: u64) -> (u64, Vec<String>) {
    let traces = store.traces(0, &range(from, to), "t", "").await.unwrap();
    (traces.rows, traces.lacking)
}

/// As if the server had been killed after it noted a token and before it stored the part.
async fn burn(store: &Store, target: &str) {
    value(store, &format!("DELETE FROM {target} WHERE k_off >= 20 SETTINGS lightweight_deletes_sync = 2"))
        .await;
}

#[tokio::test]
async fn what_a_target_lacks_is_seen_and_filled_once() {
    let store = migrated("views_filled").await;
    let batch = rows;
    store.insert(0, "0-20", &batch(0, 20)).await.unwrap();
    store.insert(0, "20-40", &batch(20, 40)).await.unwrap();
    assert_eq!(lacking(&store, 20, 40).await, (20, vec![]));
    assert_eq!(differing(&store).await, [0; 4]);
    assert_eq!(lacking(&store, 40, 60).await, (0, vec![]), "without rows nothing is lacking");
    for target in TARGETS {
        burn(&store, target).await;
    }
    assert!(differing(&store).await.iter().all(|differing| *differing > 0));
    // Sent again it is believed to be there.
    store.insert(0, "20-40", &batch(20, 40)).await.unwrap();
    assert_eq!(lacking(&store, 20, 40).await, (20, VIEWS.map(str::to_owned).to_vec()));
    for view in VIEWS {
        for _ in 0..2 {
            store.fill(0, &range(20, 40), view, &format!("20-40/view/{view}")).await.unwrap();
        }
        store.fill(0, &range(20, 40), "no_such_view", "20-40/view/no").await.unwrap();
    }
    assert_eq!(lacking(&store, 20, 40).await, (20, vec![]));
    assert_eq!(differing(&store).await, [0; 4]);
    // Merged parts hide the batch behind later ones, and that is no lack.
    store.insert(0, "40-60", &batch(40, 60)).await.unwrap();
    for target in TARGETS {
        value(&store, &format!("OPTIMIZE TABLE {target} FINAL")).await;
    }
    assert_eq!(lacking(&store, 40, 60).await, (20, vec![]));
    assert_eq!(differing(&store).await, [0; 4]);
}

#[tokio::test]
async fn rows_are_brought_back_without_filling_views_twice() {
    let store = migrated("views_rows").await;
    let batch = rows;
    store.insert(0, "0-20", &batch(0, 20)).await.unwrap();
    store.insert(0, "20-40", &batch(20, 40)).await.unwrap();
    burn(&store, "events").await;
    burn(&store, "recipient_events").await;
    store.insert(0, "20-40", &batch(20, 40)).await.unwrap();
    assert_eq!(lacking(&store, 20, 40).await.0, 0, "the token is known");
    for _ in 0..2 {
        store.insert(0, "20-40/rows/1", &batch(20, 40)).await.unwrap();
    }
    assert_eq!(lacking(&store, 20, 40).await, (20, vec!["recipient_events_fill".to_owned()]));
    store.fill(0, &range(20, 40), "recipient_events_fill", "20-40/view").await.unwrap();
    assert_eq!(differing(&store).await, [0; 4]);
}

#[tokio::test]
async fn every_view_counts_the_verdict_that_stands() {
    let store = migrated("views_corrected").await;
    let before =
        [Row { kind: 1, verdict: 0, ..open(0) }, open(3), open(6), Row { verdict: 2, ..open(9) }, open(1)];
    store.insert(0, "before", &block(before)).await.unwrap();
    let totals = "SELECT message, opens, opens_human, opens_all, openers, openers_human, openers_all, machine_events \
         FROM message_totals ORDER BY message";
    let hourly = "SELECT message, kind, verdict, sum(events), sum(recipients) FROM message_hourly \
         GROUP BY ALL ORDER BY ALL";
    let people = "SELECT arraySort(groupArray(seq)) FROM events_people";
    assert_eq!(value(&store, totals).await, "10\t3\t2\t3\t3\t2\t3\t0\n11\t1\t1\t1\t1\t1\t1\t0");
    assert_eq!(value(&store, people).await, "[1,3,6,9]");
    // One that comes later shows two of them in another light.
    let corrects = [correction(3), correction(6)];
    let later = Row { verdict: 4, corrects: &corrects, ..open(12) };
    for _ in 0..2 {
        store.insert(0, "later", &block([later])).await.unwrap();
    }
    assert_eq!(value(&store, totals).await, "10\t1\t0\t4\t1\t0\t4\t3\n11\t1\t1\t1\t1\t1\t1\t0");
    assert_eq!(
        value(&store, hourly).await,
        "10\tsent\tnone\t1\t1\n10\topen\tproxy\t1\t1\n10\topen\tscanner\t3\t3\n11\topen\thuman\t1\t1"
    );
    assert_eq!(value(&store, people).await, "[1,9]");
    assert_eq!(value(&store, "SELECT seq FROM events_human").await, "1");
    let stands = "SELECT seq, verdict, first_verdict, confidence, reasons FROM events_current WHERE seq = 6";
    assert_eq!(value(&store, stands).await, "6\tscanner\thuman\tprobable\t['link-sweep']");
    // A later one says otherwise, and belongs to no source: it is no drift.
    value(
        &store,
        "INSERT INTO corrections (workspace, message, edge_id, seq, version, received_at, kind, verdict, month) \
         SELECT workspace, message, edge_id, seq, version + 1, received_at, kind, 'human', month \
         FROM corrections WHERE seq = 6",
    )
    .await;
    assert_eq!(value(&store, people).await, "[1,6,9]");
    assert_eq!(differing(&store).await, [0; 4]);
    let stored = "SELECT count(), countIf(verdict = 'human') FROM events";
    assert_eq!(value(&store, stored).await, "6\t3", "nothing is rewritten");
}
