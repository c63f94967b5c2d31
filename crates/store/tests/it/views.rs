//! A batch whose rows are stored and whose views are not, or the other way round: seen, filled, and once.

use store::{Drift, Range, Store, month};

use crate::engine::{block, migrated, today_ms, value};
use crate::insert::active;

const TARGETS: [&str; 3] = ["message_hourly_states", "recipient_hours_states", "recipient_regions_states"];
const VIEWS: [&str; 3] = ["message_hourly_fill", "recipient_hours_fill", "recipient_regions_fill"];

fn range(from: u64, to: u64) -> Range<'static> {
    Range { source: "events", part: 4, from, to, month: month(today_ms()) }
}

async fn differing(store: &Store) -> Vec<u64> {
    let drifts = store.view_drift().await.unwrap();
    assert_eq!(drifts.iter().map(|drift| drift.view.as_str()).collect::<Vec<_>>(), VIEWS);
    drifts.iter().map(|Drift { differing, .. }| *differing).collect()
}

async fn lacking(store: &Store, from: u64, to: u64) -> (u64, Vec<String>) {
    let traces = store.traces(0, &range(from, to), "t").await.unwrap();
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
    let batch = |from, to| block((from..to).map(active));
    store.insert(0, "0-20", &batch(0, 20)).await.unwrap();
    store.insert(0, "20-40", &batch(20, 40)).await.unwrap();
    assert_eq!(lacking(&store, 20, 40).await, (20, vec![]));
    assert_eq!(differing(&store).await, [0; 3]);
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
    assert_eq!(differing(&store).await, [0; 3]);
    // Merged parts hide the batch behind later ones, and that is no lack.
    store.insert(0, "40-60", &batch(40, 60)).await.unwrap();
    for target in TARGETS {
        value(&store, &format!("OPTIMIZE TABLE {target} FINAL")).await;
    }
    assert_eq!(lacking(&store, 40, 60).await, (20, vec![]));
    assert_eq!(differing(&store).await, [0; 3]);
}

#[tokio::test]
async fn rows_are_brought_back_without_filling_views_twice() {
    let store = migrated("views_rows").await;
    let batch = |from, to| block((from..to).map(active));
    store.insert(0, "0-20", &batch(0, 20)).await.unwrap();
    store.insert(0, "20-40", &batch(20, 40)).await.unwrap();
    burn(&store, "events").await;
    burn(&store, "recipient_hours_states").await;
    store.insert(0, "20-40", &batch(20, 40)).await.unwrap();
    assert_eq!(lacking(&store, 20, 40).await.0, 0, "the token is known");
    for _ in 0..2 {
        store.insert(0, "20-40/rows/1", &batch(20, 40)).await.unwrap();
    }
    assert_eq!(lacking(&store, 20, 40).await, (20, vec!["recipient_hours_fill".to_owned()]));
    store.fill(0, &range(20, 40), "recipient_hours_fill", "20-40/view").await.unwrap();
    assert_eq!(differing(&store).await, [0; 3]);
}
