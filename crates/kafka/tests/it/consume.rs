use kafka::{CommitError, Config, Consumer, FirstStart, KafkaError, METADATA_BYTES_MAX, Polled, Producer};

use crate::broker::{SLICE, assigned, consumer, deliveries, messages, poll_for, send, topic, until};

fn filled(name: &str, partitions: &[u32]) -> Config {
    let config = topic(name, partitions.iter().max().unwrap() + 1);
    let producer = Producer::new(&config).unwrap();
    send(&producer, partitions);
    deliveries(&producer, partitions.len());
    config
}

#[test]
fn a_commit_and_its_text_are_there_for_the_next_member() {
    let config = filled("consume-commit", &[0; 10]);
    let first = consumer(&config, "commit");
    let start = assigned(&first);
    assert_eq!((start[0].partition, start[0].committed, start[0].metadata.as_str()), (0, None, ""));
    assert_eq!(messages(&first, 10).len(), 10);
    let text = "v1|4|9|é".to_owned() + &"x".repeat(METADATA_BYTES_MAX - 9);
    assert_eq!(text.len(), METADATA_BYTES_MAX);
    first.commit(0, 4, &text).unwrap();
    let too_long = first.commit(0, 5, &"x".repeat(METADATA_BYTES_MAX + 1));
    assert!(matches!(too_long, Err(CommitError::Fatal { .. })));
    assert!(first.close(crate::broker::PATIENCE));

    let second = consumer(&config, "commit");
    let start = assigned(&second);
    assert_eq!((start[0].committed, start[0].metadata.as_str()), (Some(4), text.as_str()));
    let offsets: Vec<u64> = messages(&second, 6).iter().map(|m| m.offset).collect();
    assert_eq!(offsets, [4, 5, 6, 7, 8, 9]);
    second.commit(0, 10, "").unwrap();
    drop(second);

    let third = consumer(&config, "commit");
    let start = assigned(&third);
    assert_eq!((start[0].committed, start[0].metadata.as_str()), (Some(10), ""), "the text is gone as well");
}

#[test]
fn partitions_move_when_released_and_the_loser_is_fenced() {
    let config = filled("consume-move", &[0, 1, 2, 3]);
    let old = consumer(&config, "move");
    assert_eq!(assigned(&old).len(), 4);
    messages(&old, 4);
    (0..4).for_each(|partition| old.pause(partition).unwrap());

    let new = consumer(&config, "move");
    let mut gained = None;
    let revoked = until("a revocation", || {
        match new.poll(SLICE) {
            Some(Polled::Assigned(assigned)) => gained = Some(assigned),
            Some(other) => panic!("{other:?}"),
            None => {}
        }
        match old.poll(SLICE) {
            Some(Polled::Revoked(partitions)) => Some(partitions),
            Some(other) => panic!("{other:?}"),
            None => None,
        }
    });
    assert_eq!(revoked.len(), 2);
    assert_eq!(gained, None, "nothing moves before it is released");

    // What is revoked can still be committed, until it is released.
    for partition in &revoked {
        old.commit(*partition, 1, "last word").unwrap();
    }
    old.release(&revoked[..1]).unwrap();
    let fenced = old.commit(revoked[0], 1, "");
    assert!(matches!(fenced, Err(CommitError::Fenced { .. })), "{fenced:?}");
    old.commit(revoked[1], 1, "last word").unwrap();
    old.release(&revoked[1..]).unwrap();

    let gained = until("the new assignment", || {
        assert_eq!(old.poll(SLICE), None);
        match new.poll(SLICE) {
            Some(Polled::Assigned(assigned)) => Some(assigned),
            Some(other) => panic!("{other:?}"),
            None => None,
        }
    });
    let mut partitions: Vec<u32> = gained.iter().map(|a| a.partition).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, revoked);
    assert!(gained.iter().all(|a| a.committed == Some(1) && a.metadata == "last word"), "{gained:?}");

    for partition in 0..4 {
        let (owner, other) = if revoked.contains(&partition) { (&new, &old) } else { (&old, &new) };
        owner.commit(partition, 1, "").unwrap();
        assert!(matches!(other.commit(partition, 0, ""), Err(CommitError::Fenced { .. })));
    }

    // They come back, and a pause from before they went does not hold them.
    assert!(new.close(crate::broker::PATIENCE));
    let mut back: Vec<u32> = assigned(&old).iter().map(|a| a.partition).collect();
    back.sort_unstable();
    assert_eq!(back, revoked);
    let producer = Producer::new(&config).unwrap();
    send(&producer, &[0, 1, 2, 3]);
    deliveries(&producer, 4);
    let mut flowing: Vec<u32> = messages(&old, 2).iter().map(|m| m.partition).collect();
    flowing.sort_unstable();
    assert_eq!(flowing, revoked, "the others are paused still");
}

#[test]
fn whoever_does_not_release_in_time_loses() {
    let config = Config { release_wait_ms: 1, ..filled("consume-late", &[0, 1]) };
    let old = consumer(&config, "late");
    assert_eq!(assigned(&old).len(), 2);
    messages(&old, 2);
    let new = consumer(&config, "late");
    let mut revoked = Vec::new();
    let lost = until("the loss", || {
        new.poll(SLICE);
        match old.poll(SLICE) {
            Some(Polled::Revoked(partitions)) => revoked = partitions,
            Some(Polled::Lost(partitions)) => return Some(partitions),
            Some(other) => panic!("{other:?}"),
            None => {}
        }
        None
    });
    assert_eq!(lost, revoked);
    assert!(matches!(old.commit(lost[0], 1, ""), Err(CommitError::Fenced { .. })));
}

#[test]
fn a_member_that_the_broker_gave_up_is_fenced_by_its_generation() {
    let mut config = filled("consume-zombie", &[0]);
    config.poll_interval_max_ms = 2_000;
    config.session_timeout_ms = 2_000;
    let zombie = consumer(&config, "zombie");
    assigned(&zombie);
    messages(&zombie, 1);
    zombie.commit(0, 0, "intent").unwrap();
    // It stops polling; the next one gets its partition.
    let heir = consumer(&config, "zombie");
    let start = assigned(&heir);
    assert_eq!((start[0].committed, start[0].metadata.as_str()), (Some(0), "intent"));
    let late = zombie.commit(0, 1, "");
    assert!(matches!(late, Err(CommitError::Fenced { .. })), "{late:?}");
    // librdkafka says revoked in place of lost if it was rebalancing at that moment (its #5604).
    let gone = poll_for(&zombie, "the loss", |polled| match polled {
        Polled::Lost(partitions) | Polled::Revoked(partitions) => Some(partitions),
        other => panic!("{other:?}"),
    });
    assert_eq!(gone, [0]);
    heir.commit(0, 1, "").unwrap();
}

#[test]
fn a_static_member_comes_back_to_its_partitions_and_a_second_one_is_turned_away() {
    let config = filled("consume-static", &[0, 1]);
    let member = |id: &str| Consumer::new(&config, "static", Some(id), FirstStart::Earliest).unwrap();
    let first = member("pod-0");
    assert_eq!(assigned(&first).len(), 2);
    first.commit(0, 1, "kept").unwrap();
    assert!(first.close(crate::broker::PATIENCE));

    let again = member("pod-0");
    let start = assigned(&again);
    assert_eq!(start.len(), 2);
    assert_eq!((start[0].committed, start[0].metadata.as_str()), (Some(1), "kept"));

    let impostor = member("pod-0");
    assert_eq!(assigned(&impostor).len(), 2, "the broker believes the last one");
    let fatal = poll_for(&again, "the fence", |polled| match polled {
        Polled::Error(error) => Some(error),
        _ => None,
    });
    assert!(matches!(fatal, KafkaError::Fatal { .. }), "{fatal}");
    assert!(matches!(again.commit(0, 2, ""), Err(CommitError::Fatal { .. } | CommitError::Fenced { .. })));
}

#[test]
fn an_offset_that_is_gone_is_fatal_and_so_is_a_start_from_nowhere() {
    let config = filled("consume-gone", &[0]);
    let first = consumer(&config, "gone");
    assigned(&first);
    first.commit(0, 1_000, "").unwrap();
    drop(first);
    let error_of = |consumer: &Consumer| {
        poll_for(consumer, "an error", |polled| match polled {
            Polled::Error(error) => Some(error),
            Polled::Assigned(_) => None,
            other => panic!("{other:?}"),
        })
    };
    let error = error_of(&consumer(&config, "gone"));
    assert!(matches!(error, KafkaError::Fatal { .. }), "{error}");
    assert!(error.to_string().contains("{0: Some(1000)}"), "it names the offset: {error}");

    let nowhere = Consumer::new(&config, "nowhere", None, FirstStart::Error).unwrap();
    let error = error_of(&nowhere);
    assert!(matches!(error, KafkaError::Fatal { .. }), "{error}");
}

#[test]
fn a_paused_partition_waits_while_others_flow_and_a_seek_goes_back() {
    let config = filled("consume-pause", &[0, 0, 1, 1]);
    let consumer = consumer(&config, "pause");
    assert_eq!(consumer.partitions().unwrap(), 2);
    assert_eq!(consumer.end(1).unwrap(), 2);
    assigned(&consumer);
    consumer.pause(0).unwrap();
    // What was fetched before the pause may still be on its way: go back, so that all of it comes again.
    let others = messages(&consumer, 2);
    consumer.seek(0, 0).unwrap();
    consumer.seek(1, 0).unwrap();
    let again = messages(&consumer, 2);
    assert!(again.iter().all(|m| m.partition == 1), "{again:?} after {others:?}");
    consumer.resume(0).unwrap();
    let offsets: Vec<_> = messages(&consumer, 2).iter().map(|m| (m.partition, m.offset)).collect();
    assert_eq!(offsets, [(0, 0), (0, 1)]);
}

#[test]
fn closing_ends_in_time_whatever_is_unanswered() {
    let config = filled("consume-close", &[0, 1]);
    let old = consumer(&config, "close");
    assigned(&old);
    let new = consumer(&config, "close");
    until("a revocation", || {
        new.poll(SLICE);
        matches!(old.poll(SLICE), Some(Polled::Revoked(_))).then_some(())
    });
    assert!(old.close(crate::broker::PATIENCE), "with a revocation that was never released");
    let mut all = Vec::new();
    poll_for(&new, "all partitions", |polled| {
        if let Polled::Assigned(assigned) = polled {
            all.extend(assigned.iter().map(|a| a.partition));
        }
        (all.len() == 2).then_some(())
    });
    let unreachable = consumer_of_nobody();
    unreachable.poll(SLICE);
    assert!(unreachable.close(crate::broker::PATIENCE), "without a broker");
}

fn consumer_of_nobody() -> Consumer {
    consumer(&Config::new("127.0.0.1:1", "events"), "nobody")
}
