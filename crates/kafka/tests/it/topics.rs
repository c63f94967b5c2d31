use std::time::Duration;

use kafka::{Config, KafkaError, TopicOutcome, TopicSpec, create_topics, probe};

use crate::broker::{PATIENCE, brokers};

fn specs(config: &Config) -> Vec<TopicSpec> {
    vec![
        TopicSpec::events(config, 3, 1, 0),
        TopicSpec::dead_letters(config, 3, 1),
        TopicSpec::withdrawals(config, 1, 1),
    ]
}

#[test]
fn topics_are_created_once_and_then_compared() {
    let config = Config::new(brokers(), "topics-created");
    let names = ["topics-created", "topics-created.dead", "topics-created.withdrawals"];

    let created = create_topics(&config, &specs(&config)).unwrap();
    assert_eq!(created, names.map(|name| TopicOutcome::Created { name: name.into() }));

    let again = create_topics(&config, &specs(&config)).unwrap();
    let same = |name: &str| TopicOutcome::Existing { name: name.into(), differences: vec![] };
    assert_eq!(again, names.map(same), "kafka has exactly what was asked for");

    let mut longer = specs(&config);
    longer[0].settings.insert("retention.ms".into(), "999999999".into());
    let TopicOutcome::Existing { differences, .. } = &create_topics(&config, &longer).unwrap()[0] else {
        panic!("it is there");
    };
    assert_eq!(differences.len(), 1);
    assert_eq!(differences[0].setting, "retention.ms");
    assert_eq!(differences[0].is, "604800000", "7 days, however little was asked for");
    assert_eq!(differences[0].expected, "999999999");

    let mut more = specs(&config);
    more[0].partitions = 4;
    let error = create_topics(&config, &more).unwrap_err();
    assert!(matches!(error, KafkaError::Fatal { .. }));
    assert!(error.to_string().contains("3 partitions: expected 4"), "{error}");
}

#[test]
fn a_bad_setting_and_too_few_brokers_are_refused() {
    let config = Config::new(brokers(), "topics-refused");
    let mut bad = TopicSpec::events(&config, 1, 1, 0);
    bad.settings.insert("cleanup.policy".into(), "hoard".into());
    let spread = TopicSpec::events(&config, 1, 3, 0);
    for spec in [bad, spread] {
        let error = create_topics(&config, &[spec]).unwrap_err();
        assert!(matches!(error, KafkaError::Fatal { .. }), "{error}");
        assert!(error.to_string().contains("topics-refused"), "{error}");
    }
}

#[test]
fn a_probe_tells_what_is_there() {
    let config = Config::new(brokers(), "topics-probed");
    assert_eq!(probe(&config, PATIENCE).unwrap().partitions, None);

    create_topics(&config, &[TopicSpec::events(&config, 2, 1, 0)]).unwrap();
    let info = probe(&config, PATIENCE).unwrap();
    assert_eq!(info.brokers, [config.brokers.as_str()]);
    let partitions = info.partitions.unwrap();
    assert_eq!(partitions.iter().map(|p| p.partition).collect::<Vec<_>>(), [0, 1]);
    assert!(partitions.iter().all(|p| p.has_leader && p.in_sync == 1 && p.offsets == (0, 0)));
}

#[test]
fn a_probe_of_nobody_says_why() {
    let config = Config::new("127.0.0.1:1", "events");
    let error = probe(&config, Duration::from_millis(500)).unwrap_err();
    assert!(error.is_retry());
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[test]
fn a_probe_tells_that_the_protocol_is_wrong() {
    let mut config = Config::new(brokers(), "events");
    config.properties.insert("security.protocol".into(), "ssl".into());
    let error = probe(&config, Duration::from_secs(1)).unwrap_err();
    assert!(error.to_string().contains("SSL handshake failed"), "{error}");
}
