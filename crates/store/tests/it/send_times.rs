//! What the estimator reads, what it keeps, and what goes when somebody withdraws or moves.

use std::collections::{BTreeMap, HashSet};

use store::{Engagement, Near, Row, SendTime, SharedHabits, Store};

use crate::engine::{self, block, open, today_ms, value};

async fn single_and_pair(name: &str) -> [Store; 2] {
    let alone = engine::migrated(name).await;
    let pair = Store::new(engine::pair(name)).unwrap();
    pair.migrate().await.unwrap();
    [alone, pair]
}

fn row(n: u64, recipient: u64) -> Row<'static> {
    Row { recipient, k_off: n, seq: n, ..open(n) }
}

/// Recipient, seconds of today, kind, verdict and sign of an event.
fn short(event: &Engagement) -> (u64, i64, u8, u8, u8) {
    (event.recipient, (event.at_ms - today_ms()) / 1000, event.kind, event.verdict, event.region)
}

#[tokio::test]
async fn histories_come_recipient_by_recipient_with_every_sign() {
    for store in single_and_pair("histories").await {
        let sent = Row { kind: 1, verdict: 0, profile_time_zone: "Asia/Tokyo", domain: 8, ..row(1, 1) };
        let corrects = [store::Correction {
            edge_id: open(4).edge_id,
            seq: 4,
            received_at_ms: open(4).received_at_ms,
            recipient: 2,
            kind: 2,
            link: 0,
            verdict: 4,
            confidence: 2,
            reason: "link-sweep",
        }];
        let rows = [
            sent,
            Row { confidence: 1, local_hour: 9, local_weekday: 2, time_zone: "Asia/Tokyo", ..row(2, 1) },
            Row { mode: 3, ..row(3, 1) }, // only its date may be kept
            Row { message: 70, ..row(4, 2) },
            Row { corrects: &corrects, message: 70, ..row(5, 3) },
            Row { workspace: 2, ..row(7, 6) },
            Row { recipient: 0, ..row(9, 0) },
        ];
        let last = store.shards() - 1;
        store.insert(0, "some", &block(rows)).await.unwrap();
        let moved =
            Row { region_class: 1, local_hour: 9, local_weekday: 2, time_zone: "Europe/Paris", ..row(20, 3) };
        let claimed = Row { region_claim: 1, domain: 9, ..row(22, 3) };
        store
            .insert(last, "signs", &block([moved, Row { region_class: 0, ..row(21, 9) }, row(8, 2), claimed]))
            .await
            .unwrap();

        let mut found = Vec::new();
        let mut all = store.histories(1).unwrap();
        while let Some(event) = all.next().await.unwrap() {
            found.push(event);
        }
        let wanted = [
            (1, 1, 1, 0, 2),
            (1, 2, 2, 1, 2),
            (2, 4, 2, 4, 2), // a verdict of later
            (2, 8, 2, 1, 2),
            (3, 5, 2, 1, 2),
            (3, 20, 2, 1, 1),
            (3, 22, 2, 1, 1),
            (9, 21, 2, 1, 0),
        ];
        assert_eq!(found.iter().map(short).collect::<Vec<_>>(), wanted);
        assert_eq!((found[0].domain, found[0].profile_time_zone.as_str()), (8, "Asia/Tokyo"));
        assert_eq!(
            (found[1].weak, found[1].local_hour, found[1].time_zone.as_str()),
            (true, 9, "Asia/Tokyo")
        );
        let blank = |event: &Engagement| (event.local_hour, event.local_weekday, event.domain);
        assert_eq!((blank(&found[5]), found[5].time_zone.as_str()), ((255, 0, 0), ""), "no hour of the EU");
        assert_eq!(blank(&found[6]), (255, 0, 0), "nor where the sender says so");
        for recipient in [1, 2, 3, 9] {
            let own: Vec<Engagement> =
                found.iter().filter(|event| event.recipient == recipient).cloned().collect();
            assert_eq!(store.history(1, recipient).await.unwrap(), own);
        }
        assert_eq!(store.history(1, 6).await.unwrap(), []);
        let regions =
            "SELECT recipient, region FROM recipient_regions WHERE workspace = 1 ORDER BY recipient";
        assert_eq!(value(&store, regions).await, "1\tother\n2\tother\n3\teu\n9\tunknown");
    }
}

#[tokio::test]
async fn histories_are_read_in_the_order_that_they_stand_in() {
    let store = engine::migrated("histories_plan").await;
    store.insert(0, "some", &block([row(1, 1), row(2, 2)])).await.unwrap();
    let plan = value(&store, &format!("EXPLAIN PIPELINE {}", store::histories_sql(1))).await;
    assert!(plan.contains("algorithm: InOrder") && !plan.contains("MergeSorting"), "{plan}");
}

fn habit(level: &str, time_zone: &str, domain: u64, first: f64) -> SharedHabits {
    let sums = [0.0, 1e-7, std::f64::consts::PI, first].map(|value| vec![value; 48]);
    let numbers = BTreeMap::from([("strength".to_owned(), vec![first, 0.1])]);
    SharedHabits { level: level.into(), time_zone: time_zone.into(), domain, sums, numbers }
}

#[tokio::test]
async fn habits_are_those_learned_last_and_whole() {
    for store in single_and_pair("habits").await {
        let near = Near { time_zone: "Asia/Tokyo", domain: 7 };
        assert_eq!(store.habits(1, near).await.unwrap(), None);
        let at_ms = today_ms() + 1;
        let parts = |first: f64| {
            [
                habit("domain", "", 7, first),
                habit("domain", "", 8, first),
                habit("zone", "Asia/Tokyo", 0, first),
                habit("zone", "America/O'Higgins", 0, first),
                habit("profile", "", 1, first),
            ]
        };
        store.keep_habits(1, at_ms, &parts(0.1)).await.unwrap();
        assert_eq!(store.habits(1, near).await.unwrap(), None, "the workspace's own come last");
        let whole = |first: f64| habit("workspace", "", 0, first);
        store.keep_habits(1, at_ms, &[whole(0.1)]).await.unwrap();
        let sorted = |found: Option<(i64, Vec<SharedHabits>)>| {
            let (at_ms, mut rows) = found.unwrap();
            rows.sort_by(|a, b| a.level.cmp(&b.level));
            (at_ms, rows)
        };
        let wanted = |first: f64| {
            let [domain, _, zone, _, profile] = parts(first);
            vec![domain, profile, whole(first), zone]
        };
        assert_eq!(sorted(store.habits(1, near).await.unwrap()), (at_ms, wanted(0.1)));
        // Half of the next ones.
        store.keep_habits(1, at_ms + 5, &parts(0.2)).await.unwrap();
        assert_eq!(sorted(store.habits(1, near).await.unwrap()), (at_ms, wanted(0.1)));
        store.keep_habits(1, at_ms + 5, &[whole(0.2)]).await.unwrap();
        assert_eq!(sorted(store.habits(1, near).await.unwrap()), (at_ms + 5, wanted(0.2)));
        store.forget_before(1, at_ms + 5).await.unwrap();
        assert_eq!(
            value(&store, "SELECT count(), min(numbers['strength'][1]) FROM send_time_habits").await,
            "6\t0.2"
        );
        assert_eq!(store.habits(2, near).await.unwrap(), None);
    }
}

fn window(recipient: u64, choice: u8) -> SendTime {
    SendTime {
        recipient,
        choice,
        weekday: "any",
        start_hour: 22,
        end_hour: 23,
        time_zone: "America/Chicago".into(),
        p_open_1h: f64::NAN,
        lift: 1.5,
        confidence: 0.75,
        level: "recipient",
        ..SendTime::default()
    }
}

#[tokio::test]
async fn send_times_are_the_latest_and_not_of_whoever_left() {
    for store in single_and_pair("send_times").await {
        let at_ms = today_ms() + 100_000_000;
        let refused = SendTime { recipient: 5, refused: "not_enough_events", ..SendTime::default() };
        let first: Vec<SendTime> = (1..5)
            .flat_map(|recipient| [window(recipient, 1), window(recipient, 2)])
            .chain([refused])
            .collect();
        store.keep_send_times(1, at_ms, &first).await.unwrap();
        let second: Vec<SendTime> =
            (1..4).map(|recipient| SendTime { start_hour: 7, ..window(recipient, 1) }).collect();
        store.keep_send_times(1, at_ms + 1, &second).await.unwrap();
        let all = "SELECT recipient, choice, start_hour, refused, isNaN(p_open_1h), lift FROM recommended_send_times \
             ORDER BY ALL";
        let latest = value(&store, all).await;
        assert!(latest.starts_with("1\t1\t7\t\t1\t1.5\n1\t2\t22\t\t1\t1.5\n2\t1\t7"), "{latest}");
        assert!(latest.ends_with("5\t0\t0\tnot_enough_events\t0\t0"), "{latest}");
        store.forget_before(1, at_ms + 1).await.unwrap();
        let kept = "SELECT arraySort(groupArray(recipient)) FROM send_times";
        assert_eq!(value(&store, kept).await, "[1,2,3]");

        // Three ways to leave: by a place, by a link of mode date that says eu, by one's own word.
        let last = store.shards() - 1;
        store.insert(last, "moved", &block([Row { region_class: 1, ..row(1, 1) }])).await.unwrap();
        let dated = Row { mode: 3, region_claim: 1, message: 0, received_at_ms: today_ms(), ..row(2, 2) };
        store.insert(last, "dated", &block([dated])).await.unwrap();
        store.withdraw(1, &[3, 9], true, at_ms).await.unwrap();
        let listed = "SELECT arraySort(groupArray(recipient)) FROM recommended_send_times";
        assert_eq!(value(&store, listed).await, "[]");
        assert_eq!(value(&store, kept).await, "[1,2,3]");
        store.forget_blocked().await.unwrap();
        assert_eq!(value(&store, kept).await, "[]");

        assert_eq!(store.barred(1, None).await.unwrap().withdrawn, HashSet::from([3, 9]));
        assert_eq!(store.barred(1, None).await.unwrap().eu, HashSet::from([2]));
        let one = store.barred(1, Some(3)).await.unwrap();
        assert_eq!((one.withdrawn, one.eu), (HashSet::from([3]), HashSet::new()));
        store.withdraw(1, &[3], false, at_ms + 1).await.unwrap();
        assert_eq!(store.barred(1, None).await.unwrap().withdrawn, HashSet::from([9]));
        assert_eq!(store.barred(2, None).await.unwrap().withdrawn, HashSet::new());
        let regions = "SELECT recipient, region FROM recipient_regions ORDER BY recipient";
        assert_eq!(value(&store, regions).await, "1\teu\n2\teu");
    }
}
