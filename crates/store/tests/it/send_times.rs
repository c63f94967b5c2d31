//! Recommended send times: who gets one, which, and what machines and retries change about it: nothing.

use store::{Level, Refusal, Row, SendTimes, Store, Window};

use crate::engine::{self, block, open, today_ms};

/// `count` events of a recipient at a local hour.
fn at(recipient: u64, hour: u8, count: u64) -> Vec<Row<'static>> {
    let one = |n| Row {
        recipient,
        local_hour: hour,
        local_weekday: 1 + (n % 7) as u8,
        time_zone: "America/Chicago",
        ..open(n)
    };
    (0..count).map(one).collect()
}

/// An office of thirty recipients who read at ten, and one each of whom else there may be.
fn people() -> Vec<Row<'static>> {
    let mut rows: Vec<Row<'_>> = (100..130).flat_map(|recipient| at(recipient, 10, 4)).collect();
    rows.extend(at(1, 22, 6)); // reads late
    rows.extend(at(2, 23, 4)); // reads around midnight
    rows.extend(at(2, 0, 6));
    rows.extend(at(3, 22, 2)); // too few to tell
    rows.extend(at(4, 22, 6)); // was once in the EU
    rows.push(Row { region_class: 1, kind: 2, verdict: 5, ..at(4, 22, 1)[0] });
    rows.extend(at(5, 22, 6).into_iter().map(|row| Row { region_class: 0, ..row })); // nobody knows where
    rows.extend(at(6, 22, 6).into_iter().map(|row| Row { region_claim: 1, ..row })); // in the EU, says the sender
    rows.extend(at(7, 22, 6).into_iter().map(|row| Row { mode: 3, ..row })); // only dates may be kept
    rows.extend(at(8, 22, 6).into_iter().map(|row| Row { local_hour: 255, ..row })); // no clock
    rows
}

async fn window(store: &Store, recipient: u64) -> Window {
    match store.send_times(1, recipient).await.unwrap() {
        SendTimes::Windows(windows) => windows[0].clone(),
        other => panic!("{recipient}: {other:?}"),
    }
}

#[tokio::test]
async fn a_habit_is_followed_and_a_refusal_says_why() {
    let store = engine::migrated("send_times").await;
    store.insert(0, "people", &block(people())).await.unwrap();

    let late = window(&store, 1).await;
    assert_eq!((late.start_hour, late.end_hour, late.time_zone.as_str()), (22, 23, "America/Chicago"));
    assert_eq!((late.level, late.events), (Level::Recipient, 6));
    assert!(late.lift > 1.0 && late.confidence > 0.7 && late.observed > late.expected, "{late:?}");
    let midnight = window(&store, 2).await;
    assert_eq!((midnight.start_hour, midnight.end_hour), (23, 1), "{midnight:?}");
    let usual = window(&store, 100).await;
    assert_eq!((usual.start_hour, usual.end_hour, usual.level), (10, 11, Level::Workspace));

    for (recipient, reason) in [
        (3, Refusal::NotEnoughEvents),
        (4, Refusal::Eu),
        (5, Refusal::RegionUnknown),
        (6, Refusal::Eu),
        (7, Refusal::NotEnoughEvents),
        (8, Refusal::NotEnoughEvents),
        (9, Refusal::UnknownRecipient),
    ] {
        assert_eq!(store.send_times(1, recipient).await.unwrap(), SendTimes::Refused(reason), "{recipient}");
    }
    assert_eq!(store.send_times(2, 1).await.unwrap(), SendTimes::Refused(Refusal::UnknownRecipient));
    // A workspace where nobody may be counted has no profile, and still a reason.
    let alone = at(1, 22, 6).into_iter().map(|row| Row { workspace: 3, region_class: 1, ..row });
    store.insert(0, "alone", &block(alone)).await.unwrap();
    assert_eq!(store.send_times(3, 1).await.unwrap(), SendTimes::Refused(Refusal::Eu));
}

#[tokio::test]
async fn machines_retries_and_the_eu_change_no_figure() {
    let store = engine::migrated("send_times_same").await;
    let rows = block(people());
    store.insert(0, "people", &rows).await.unwrap();
    let all = "SELECT * FROM recommended_send_times WHERE refused = '' ORDER BY recipient";
    let before = engine::value(&store, all).await;

    store.insert(0, "people", &rows).await.unwrap();
    let machines = [3, 4, 5]
        .into_iter()
        .flat_map(|verdict| at(1, 3, 50).into_iter().map(move |row| Row { verdict, ..row }));
    store.insert(0, "machines", &block(machines)).await.unwrap();
    let eu = at(4, 3, 50).into_iter().map(|row| Row { region_class: 1, ..row });
    store.insert(0, "eu", &block(eu.chain(at(4, 3, 50)))).await.unwrap();
    assert_eq!(engine::value(&store, all).await, before);
    assert_eq!(before.lines().count(), 32);

    // A sign of the EU takes a recipient out of the others' figures too.
    let moved = Row { region_class: 1, ..at(2, 23, 1)[0] };
    store.insert(0, "moved", &block([moved])).await.unwrap();
    let seen =
        "SELECT sum(events) = 30 * 4 + 6 + 2 FROM recipient_hours WHERE region = 'other' AND events > 0";
    assert_eq!(engine::value(&store, seen).await, "1");
    assert_eq!(store.send_times(1, 2).await.unwrap(), SendTimes::Refused(Refusal::Eu));

    let kept = "SELECT groupUniqArray(recipient) FROM recipient_hours_states WHERE recipient < 100";
    assert_eq!(engine::value(&store, &format!("SELECT arraySort(({kept}))")).await, "[1,2,3,4]");
    let before = engine::value(&store, all).await;
    store.forget_blocked().await.unwrap();
    assert_eq!(engine::value(&store, &format!("SELECT arraySort(({kept}))")).await, "[1,3]");
    assert_eq!(engine::value(&store, all).await, before);
}

#[tokio::test]
async fn the_estimator_reads_whom_it_may_newest_first() {
    let alone = engine::migrated("engagements").await;
    let pair = Store::new(engine::pair("engagements_pair")).unwrap();
    pair.migrate().await.unwrap();
    for store in [alone, pair] {
        let row = |n: u64, recipient: u64| Row { recipient, k_off: n, seq: n, ..open(n) };
        let sent = Row { kind: 1, verdict: 0, profile_time_zone: "Asia/Tokyo", domain: 8, ..row(1, 1) };
        let rows = [
            sent,
            Row { confidence: 1, ..row(2, 1) },
            Row { mode: 3, ..row(3, 1) },
            row(4, 2),
            row(5, 3),
            row(6, 4),
            row(9, 5),
            Row { workspace: 2, ..row(7, 6) },
        ];
        let last = store.shards() - 1;
        store.insert(0, "some", &block(rows)).await.unwrap();
        // Signs of another shard count as well.
        let signs = [Row { region_class: 1, ..row(20, 3) }, Row { region_class: 0, ..row(21, 9) }, row(8, 2)];
        store.insert(last, "signs", &block(signs)).await.unwrap();

        let mut found = Vec::new();
        let mut answer = store.engagements(1, today_ms() + 9_000).unwrap();
        while let Some(row) = answer.next().await.unwrap() {
            found.push((
                row.recipient,
                (row.at_ms - today_ms()) / 1000,
                row.kind,
                row.verdict,
                row.weak,
                row.domain,
            ));
        }
        let person = |recipient, at| (recipient, at, 2, 1, false, 0);
        let wanted = [
            (1, 3, 0, 1, false, 0),
            (1, 2, 2, 1, true, 0),
            (1, 1, 1, 0, false, 8),
            person(2, 8),
            person(2, 4),
            person(4, 6),
        ];
        assert_eq!(found, wanted);

        let mut refused = store.refused_recipients(1).unwrap();
        assert_eq!(refused.next().await.unwrap(), Some((3, true)));
        assert_eq!(refused.next().await.unwrap(), Some((9, false)));
        assert_eq!(refused.next().await.unwrap(), None);
        for (recipient, region) in [(1, Some("other")), (3, Some("eu")), (9, Some("unknown")), (7, None)] {
            assert_eq!(store.region(1, recipient).await.unwrap().as_deref(), region);
        }
        for (workspace, until_ms, any) in
            [(1, today_ms() + 9_000, true), (1, today_ms(), false), (2, i64::MAX / 1_000_000, false)]
        {
            assert_eq!(store.has_sends(workspace, until_ms).await.unwrap(), any);
        }
    }
}
