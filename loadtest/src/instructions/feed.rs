//! The events that are consumed: of the crowd, as our edge packs them, and as many in each partition.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use event::{Batch, Event, Kind, Method, Mode, Position, Region};
use kafka::Producer;

use crate::compare::bench::{Bench, PARTITIONS};
use crate::crowd::Crowd;
use crate::draw::{For, draw};
use crate::mint;
use crate::mix::Mix;
use crate::plan::{Hit, LINKS};

/// Events in each Kafka message.
pub const PER_MESSAGE: usize = 100;
const SEED: u64 = 1;
const EDGE_ID: u64 = 0x00c0_ffee;
const CAMPAIGNS: u64 = 40;
/// In each partition.
const RECIPIENTS: u64 = 10_000;
const SENT_BEFORE_MS: i64 = 3_600_000;
const DELIVERY_WAIT: Duration = Duration::from_secs(20);

/// Puts `messages` into every partition of a topic. The first event has the number `first`, the next feed's first one
/// is returned.
pub fn produce(
    bench: &Bench,
    crowd: &Crowd,
    topic: &str,
    first: u64,
    messages: usize,
) -> anyhow::Result<u64> {
    let now_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis() as i64;
    let mix: Mix = "open=80,click=15,download=5".parse()?;
    let producer = Producer::new(&bench.topic_config(topic))?;
    let (mut seq, mut delivered, mut failed) = (first, 0, None);
    let (mut encoded, mut batch) = (Vec::new(), Vec::new());
    for partition in (0..PARTITIONS).cycle().take(messages * PARTITIONS as usize) {
        batch.clear();
        for _ in 0..PER_MESSAGE {
            encoded.clear();
            one(crowd, &mix, partition, seq, now_ms, &mut encoded);
            seq += 1;
            Batch::push(&mut batch, &encoded);
        }
        producer.send(partition, &batch, 0).with_context(|| format!("failed to feed {topic}"))?;
    }
    producer.flush(DELIVERY_WAIT);
    let mut take = || {
        producer.deliveries(Duration::ZERO, |delivery| match delivery.result {
            Ok(_) => delivered += 1,
            Err(error) => failed = Some(error),
        })
    };
    while take() > 0 {}
    if let Some(error) = failed {
        return Err(error).with_context(|| format!("failed to feed {topic}"));
    }
    let expected = messages * PARTITIONS as usize;
    ensure!(delivered == expected, "failed to feed {topic}: {delivered} of {expected} messages were taken");
    Ok(seq)
}

/// What our edge makes of a request as the load generator sends it.
fn one(crowd: &Crowd, mix: &Mix, partition: u32, index: u64, now_ms: i64, out: &mut Vec<u8>) {
    let kind = mix.kind(SEED, index);
    let (agent, address) = crowd.pick(kind, SEED, index);
    let recipient = draw(SEED, For::Recipient, draw(SEED, For::Block, index) % RECIPIENTS);
    let hit = Hit {
        kind,
        message: 1 + draw(SEED, For::Gap, index) % CAMPAIGNS,
        // The partition is the remainder.
        recipient: recipient / u64::from(PARTITIONS) * u64::from(PARTITIONS) + u64::from(partition),
        link: match kind {
            Kind::Open => 0,
            _ => 1 + (draw(SEED, For::Link, index) % u64::from(LINKS)) as u32,
        },
        region: if recipient.is_multiple_of(3) { Region::Eu } else { Region::Other },
        head: false,
        spoiled: None,
    };
    let is_open = kind == Kind::Open;
    let event = Event {
        recipient: hit.recipient,
        edge_id: EDGE_ID,
        seq: index,
        kind,
        // Some thousands a second.
        received_at_ms: now_ms + (index / 10) as i64,
        workspace: 1,
        message: hit.message,
        link: hit.link,
        target: &mint::target(&hit),
        sent_at_ms: now_ms - SENT_BEFORE_MS,
        position: if is_open { Position::Top } else { Position::Unspecified },
        mode: Mode::Full,
        region: hit.region,
        method: Method::Get,
        user_agent: agent.user_agent,
        accept: if is_open { "image/avif,image/webp,*/*;q=0.8" } else { "text/html,*/*;q=0.8" },
        accept_language: "en-US,en;q=0.9",
        host: "mail.example",
        http_version: 11,
        client_ip: &address.octets(),
        ..Event::default()
    };
    event.encode(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_of_its_partition_and_the_same_every_time() {
        let (crowd, mix) = (Crowd::load().unwrap(), "open=80,click=15,download=5".parse().unwrap());
        for index in 0..200 {
            let partition = index as u32 % PARTITIONS;
            let (mut bytes, mut again) = (Vec::new(), Vec::new());
            one(&crowd, &mix, partition, index, 1_764_000_000_000, &mut bytes);
            one(&crowd, &mix, partition, index, 1_764_000_000_000, &mut again);
            assert_eq!(bytes, again);
            let event = Event::decode(&bytes).unwrap();
            assert_eq!(event::partition(event.recipient, event.edge_id, event.seq, PARTITIONS), partition);
            assert_eq!(event.target.is_empty(), event.kind == Kind::Open);
        }
    }
}
