//! A topic of one's own in the real Kafka, and what was put into it.

use std::collections::BTreeMap;
use std::time::Duration;

use consumer::KafkaSource;
use event::Event;
use kafka::{Consumer, FirstStart, Followed, Follower, Polled, Producer};

use crate::law::{Ledger, batch};
use crate::running::until;

pub struct Topic {
    pub config: kafka::Config,
    pub group: String,
    pub ledger: Ledger,
    producer: Producer,
}

impl Topic {
    pub fn new(prefix: &str, partitions: u32) -> Topic {
        let name = testkit::topic(prefix);
        let kafka = testkit::kafka();
        kafka.create_topic(&name, partitions).unwrap();
        kafka.create_topic(&format!("{name}.dead"), partitions).unwrap();
        let config = kafka::Config::new(kafka.bootstrap(), &name);
        let producer = Producer::new(&config).unwrap();
        Topic { config, group: format!("{name}-group"), ledger: Ledger::default(), producer }
    }

    pub fn name(&self) -> &str {
        &self.config.topic
    }

    /// Sends bytes; returns their offset.
    pub fn send(&self, partition: u32, payload: &[u8]) -> u64 {
        self.producer.send(partition, payload, 0).unwrap();
        let mut offset = None;
        until("a delivery", || {
            self.producer
                .deliveries(Duration::from_secs(1), |delivery| offset = Some(delivery.result.unwrap().1));
            offset.is_some()
        });
        offset.unwrap()
    }

    /// Sends events as one message, and enters them in the ledger.
    pub fn put(&mut self, partition: u32, events: &[Event<'_>]) -> u64 {
        let offset = self.send(partition, &batch(events));
        for event in events {
            self.ledger.enter((event.edge_id, event.seq), (self.name().to_owned(), partition, offset));
        }
        offset
    }

    pub fn source(&self) -> KafkaSource {
        KafkaSource::new(&self.config, &self.group, "", FirstStart::Earliest).unwrap()
    }

    /// What the group committed: offset and note of each partition.
    pub fn committed(&self) -> BTreeMap<u32, (Option<u64>, String)> {
        let mut committed = BTreeMap::new();
        self.as_member(|_, assigned| {
            committed.extend(assigned.iter().map(|a| (a.partition, (a.committed, a.metadata.clone()))));
        });
        committed
    }

    /// Commits as a member that is gone afterwards.
    pub fn commit(&self, partition: u32, offset: u64, note: &str) {
        self.as_member(|member, _| member.commit(partition, offset, note).unwrap());
    }

    fn as_member(&self, mut act: impl FnMut(&Consumer, &[kafka::Assignment])) {
        let member = Consumer::new(&self.config, &self.group, None, FirstStart::Earliest).unwrap();
        let partitions = member.partitions().unwrap() as usize;
        let mut all = Vec::new();
        until("the whole topic is assigned", || {
            if let Some(Polled::Assigned(assigned)) = member.poll(Duration::from_millis(100)) {
                all.extend(assigned);
            }
            all.len() == partitions
        });
        act(&member, &all);
        assert!(member.close(Duration::from_secs(10)));
    }

    /// The dead letters: origin partition, origin offset, reason, bytes.
    pub fn dead(&self) -> Vec<(u32, u64, String, Vec<u8>)> {
        let config = kafka::Config { topic: format!("{}.dead", self.name()), ..self.config.clone() };
        let mut follower = Follower::new(&config, Duration::from_secs(10)).unwrap();
        let mut letters = Vec::new();
        until("all dead letters", || match follower.poll(Duration::from_millis(200)) {
            Some(Followed::Message(message)) => {
                let header = |name: &str| {
                    let value = message.headers.iter().find(|(key, _)| key == name).unwrap();
                    String::from_utf8(value.1.clone()).unwrap()
                };
                assert_eq!(header("origin-topic"), self.name());
                let origin =
                    (header("origin-partition").parse().unwrap(), header("origin-offset").parse().unwrap());
                letters.push((origin.0, origin.1, header("reason"), message.payload.clone()));
                false
            }
            Some(Followed::CaughtUp) => true,
            Some(Followed::Error(error)) => panic!("{error}"),
            None => false,
        });
        letters.sort();
        letters
    }
}
