//! The events that consumers take: made once, the same bytes in every topic.
//!
//! Some lead the others. They are in the table before anything is measured: of an edge that it has not seen before, our
//! consumer asks ClickHouse for every event of its first batch, and whoever starts has tables and pages to open.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use event::{Batch, Event, Kind, Method, Mode, Position, Region};
use kafka::{Producer, SendError};

use super::bench::Bench;
use crate::crowd::Crowd;
use crate::draw::{For, draw};
use crate::mint;
use crate::mix::Mix;
use crate::plan::Hit;

/// Enough that every partition has some.
pub const LEAD_EVENTS: u64 = 1_200;
/// Of the whole crowd.
const RECIPIENTS: u64 = 100_000;
/// Campaigns that are read at the same time.
const CAMPAIGNS: u64 = 40;
const LINKS: u64 = 8;
const SEED: u64 = 1;
const EDGE_ID: u64 = 0x00c0_ffee;
const SENT_BEFORE_MS: i64 = 3_600_000;
const DELIVERY_WAIT: Duration = Duration::from_secs(20);
const SLICE: Duration = Duration::from_millis(20);

/// Messages with their partitions.
pub struct Feed {
    /// All messages back to back, and where each ends.
    bytes: Vec<u8>,
    messages: Vec<(u32, usize)>,
    /// Messages that lead.
    lead: usize,
    /// Events, those that lead apart.
    pub events: u64,
    /// How they are packed.
    pub packed: Packed,
    /// For databases and topics.
    pub name: String,
}

/// How events are packed into messages.
#[derive(Debug, Clone, Copy)]
pub struct Packed {
    /// Events of one partition in a message, at the most.
    pub per_message: usize,
    /// Partitions of the topic.
    pub partitions: u32,
}

impl Feed {
    /// So many events after those that lead, packed as our edge does.
    pub fn new(name: &str, crowd: &Crowd, events: u64, packed: Packed) -> anyhow::Result<Feed> {
        let now_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis();
        let mix: Mix = "open=80,click=15,download=5".parse()?;
        let mut feed =
            Feed { bytes: Vec::new(), messages: Vec::new(), lead: 0, events, packed, name: name.to_owned() };
        let mut open = vec![(Vec::new(), 0); packed.partitions as usize];
        let mut encoded = Vec::new();
        for index in 0..LEAD_EVENTS + events {
            if index == LEAD_EVENTS {
                feed.push_all(&mut open);
                feed.lead = feed.messages.len();
            }
            let kind = mix.kind(SEED, index);
            let (agent, address) = crowd.pick(kind, SEED, index);
            let recipient = draw(SEED, For::Recipient, draw(SEED, For::Block, index) % RECIPIENTS);
            let hit = hit(kind, index, recipient);
            let (target, address) = (mint::target(&hit), address.octets());
            encoded.clear();
            event(&hit, index, now_ms as i64, &target, agent.user_agent, &address).encode(&mut encoded);
            let partition = event::partition(recipient, EDGE_ID, index + 1, packed.partitions);
            let (batch, count) = &mut open[partition as usize];
            Batch::push(batch, &encoded);
            *count += 1;
            if *count == packed.per_message {
                feed.push(partition, batch);
                *count = 0;
            }
        }
        feed.push_all(&mut open);
        Ok(feed)
    }

    fn push_all(&mut self, open: &mut [(Vec<u8>, usize)]) {
        for (partition, (batch, count)) in open.iter_mut().enumerate().filter(|(_, (_, count))| *count > 0) {
            self.push(partition as u32, batch);
            *count = 0;
        }
    }

    fn push(&mut self, partition: u32, batch: &mut Vec<u8>) {
        self.bytes.append(batch);
        self.messages.push((partition, self.bytes.len()));
    }

    /// Puts those that lead into a topic.
    pub fn produce_lead(&self, bench: &Bench, topic: &str) -> anyhow::Result<()> {
        self.put(bench, topic, 0..self.lead)
    }

    /// Puts the others there.
    pub fn produce(&self, bench: &Bench, topic: &str) -> anyhow::Result<()> {
        self.put(bench, topic, self.lead..self.messages.len())
    }

    fn put(&self, bench: &Bench, topic: &str, which: Range<usize>) -> anyhow::Result<()> {
        let producer = Producer::new(&bench.topic_config(topic))?;
        let (mut delivered, mut failed) = (0, None);
        let mut take = |wait| {
            producer.deliveries(wait, |delivery| match delivery.result {
                Ok(_) => delivered += 1,
                Err(error) => failed = Some(error),
            })
        };
        let mut start = self.messages[..which.start].last().map_or(0, |(_, end)| *end);
        let messages = &self.messages[which];
        for (partition, end) in messages {
            loop {
                match producer.send(*partition, &self.bytes[start..*end], 0) {
                    Ok(()) => break,
                    Err(SendError::Full) => _ = take(SLICE),
                    Err(error) => bail!("failed to feed {topic}: {error}"),
                }
            }
            start = *end;
        }
        producer.flush(DELIVERY_WAIT);
        while take(Duration::ZERO) > 0 {}
        if let Some(error) = failed {
            bail!("failed to feed {topic}: {error}");
        }
        ensure!(
            delivered == messages.len(),
            "failed to feed {topic}: {delivered} of {} messages were taken",
            messages.len()
        );
        Ok(())
    }
}

fn hit(kind: Kind, index: u64, recipient: u64) -> Hit {
    let region = match recipient % 10 {
        0..=2 => Region::Eu,
        3 => Region::Unspecified,
        _ => Region::Other,
    };
    let link = if kind == Kind::Open { 0 } else { 1 + (draw(SEED, For::Link, index) % LINKS) as u32 };
    let message = 1 + draw(SEED, For::Gap, index) % CAMPAIGNS;
    Hit { kind, message, recipient, link, region, head: false, spoiled: None }
}

/// What our edge makes of a request as the load generator sends it.
fn event<'a>(
    hit: &Hit,
    index: u64,
    now_ms: i64,
    target: &'a str,
    user_agent: &'a str,
    address: &'a [u8; Ipv4Addr::BITS as usize / 8],
) -> Event<'a> {
    let is_open = hit.kind == Kind::Open;
    Event {
        recipient: hit.recipient,
        edge_id: EDGE_ID,
        seq: index + 1,
        kind: hit.kind,
        // Some thousands a second.
        received_at_ms: now_ms + (index / 10) as i64,
        workspace: 1,
        message: hit.message,
        link: hit.link,
        target,
        sent_at_ms: now_ms - SENT_BEFORE_MS,
        position: if is_open { Position::Top } else { Position::Unspecified },
        mode: Mode::Full,
        region: hit.region,
        method: Method::Get,
        user_agent,
        accept: match is_open {
            true => "image/avif,image/webp,image/apng,image/*,*/*;q=0.8",
            false => "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        },
        accept_language: "en-US,en;q=0.9",
        host: "mail.example",
        http_version: 11,
        client_ip: address,
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_event_is_in_a_message_of_its_partition() {
        let crowd = Crowd::load().unwrap();
        for (per_message, partitions, messages) in
            [(1, 12, 1_000..=1_000), (100, 12, 10..=22), (100, 1, 10..=10)]
        {
            let feed = Feed::new("test", &crowd, 1_000, Packed { per_message, partitions }).unwrap();
            let others = feed.messages.len() - feed.lead;
            assert!(messages.contains(&others), "{others}");
            let (mut start, mut seen) = (0, BTreeSet::new());
            for (partition, end) in &feed.messages {
                for event in Batch::new(&feed.bytes[start..*end]) {
                    let event = Event::decode(event.unwrap()).unwrap();
                    assert_eq!(
                        event::partition(event.recipient, event.edge_id, event.seq, partitions),
                        *partition
                    );
                    assert!(seen.insert(event.seq));
                }
                start = *end;
            }
            assert_eq!(seen.len() as u64, LEAD_EVENTS + 1_000);
            let led: BTreeSet<u32> =
                feed.messages[..feed.lead].iter().map(|(partition, _)| *partition).collect();
            assert_eq!(led.len() as u32, partitions);
        }
    }
}
