//! Two servers as two shards of one cluster: the same names everywhere, each row on its own shard.

use store::{Config, Range, Row, Store, StoreError, month};

use crate::engine::{self, block, open, today_ms, value};

#[tokio::test]
async fn a_question_to_any_server_is_about_all_rows() {
    let config = engine::pair("cluster_all");
    let shards = config.cluster.clone().unwrap().shards;
    let store = Store::new(config.clone()).unwrap();
    assert_eq!(store.shards(), 2);
    let applied = store.migrate().await.unwrap();
    let latest = store.schema().await.unwrap().latest;
    assert_eq!(applied.len() as u32, 2 * latest);
    assert_eq!(store.migrate().await.unwrap(), []);

    // 30 rows on the first shard, 12 on the second; message 10 has recipients on both.
    let active = |n| Row { local_hour: 21, local_weekday: 3, time_zone: "America/Chicago", ..open(n) };
    let rows = [block((0..30).map(active)), block((30..42).map(active))];
    for _ in 0..2 {
        for (shard, rows) in rows.iter().enumerate() {
            store.insert(shard, "all", rows).await.unwrap();
        }
    }
    let range = Range { source: "events", part: 4, from: 0, to: 99, month: month(today_ms()) };
    assert_eq!(store.stored(0, &range).await.unwrap(), 30);
    assert_eq!(store.stored(1, &range).await.unwrap(), 12);

    for url in shards {
        let any = Store::new(Config { url, ..config.clone() }).unwrap();
        assert_eq!(value(&any, "SELECT count(), uniqExact(recipient) FROM events").await, "42\t42");
        assert_eq!(value(&any, "SELECT count() FROM events_human").await, "42");
        let message = "SELECT sum(events), sum(recipients) FROM message_hourly WHERE message = 10";
        assert_eq!(value(&any, message).await, "14\t14");
        assert_eq!(
            value(&any, "SELECT opens, openers FROM message_totals WHERE message = 10").await,
            "14\t14"
        );
        assert_eq!(value(&any, "SELECT count() FROM recipient_regions WHERE region = 'other'").await, "42");
        for recipient in [1_000, 1_041] {
            assert_eq!(any.history(1, recipient).await.unwrap().len(), 1);
        }
    }

    let bare = "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND comment = ''
        AND table NOT LIKE '%\\_fill%'
        AND table NOT IN ('events_current', 'events_people', 'events_human', 'message_hourly_current', 'recipient_events_current')
        UNION ALL SELECT name, '' FROM system.tables WHERE database = currentDatabase() AND comment = ''";
    assert_eq!(value(&store, bare).await, "");
}

#[tokio::test]
async fn one_server_that_does_not_fit_leaves_the_other_as_it_was() {
    let config = engine::pair("cluster_refused");
    let [first, second] = [0, 1].map(|shard| {
        let url = config.cluster.as_ref().unwrap().shards[shard].clone();
        Config { url, cluster: None, ..config.clone() }
    });
    Store::new(second).unwrap().migrate().await.unwrap();
    match Store::new(config).unwrap().migrate().await {
        Err(StoreError::Layout { found, expected, .. }) => {
            assert_eq!((found.as_str(), expected), ("single", "cluster"))
        }
        other => panic!("{other:?}"),
    }
    let state = Store::new(first).unwrap().schema().await.unwrap();
    assert_eq!(state.servers[0].version, 0);
}
