//! A server that dies or freezes around an insert: the same bytes under the same token end as one copy.

use store::{Config, InsertError, Range, Store, month};

use crate::engine::{block, today_ms};
use crate::insert::{active, copies};

#[tokio::test]
async fn a_killed_and_a_frozen_server_keep_one_copy() {
    let mut engine = testkit::fresh_clickhouse();
    let config = Config { url: engine.http_url(), database: "crash".into(), ..Config::default() };
    let store = Store::new(config.clone()).unwrap();
    store.migrate().await.unwrap();
    let range = |from, to| Range { source: "events", part: 4, from, to, month: month(today_ms()) };

    // Killed after the answer, before the batch is committed: the next owner sends it again.
    let first = block((0..20).map(active));
    store.insert(0, "0-20", &first).await.unwrap();
    engine.kill().unwrap();
    let error = store.insert(0, "0-20", &first).await.unwrap_err();
    assert!(matches!(error, InsertError::Retry(_)), "{error}");
    engine.restart().unwrap();
    assert_eq!(store.stored(0, &range(0, 20)).await.unwrap(), 20);
    store.insert(0, "0-20", &first).await.unwrap();
    assert_eq!(copies(&store).await, ["20"; 5]);

    // Frozen with a request in its hands: what was sent may still land when it thaws, beside the second try.
    let second = block((20..40).map(active));
    let hasty = Store::new(Config { request_timeout_ms: 2_000, ..config }).unwrap();
    hasty.insert(0, "0-20", &first).await.unwrap();
    engine.suspend().unwrap();
    let error = hasty.insert(0, "20-40", &second).await.unwrap_err();
    assert!(matches!(error, InsertError::Retry(_)), "{error}");
    engine.resume().unwrap();
    store.insert(0, "20-40", &second).await.unwrap();
    assert_eq!(store.stored(0, &range(20, 40)).await.unwrap(), 20);
    assert_eq!(copies(&store).await, ["40"; 5]);
}
