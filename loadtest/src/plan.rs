//! Everything about a run that can be decided before its clock starts: who asks for what, and when.

use std::collections::HashMap;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use event::{Kind, Region};

use crate::crowd::{Agent, Crowd};
use crate::draw::{For, draw, share};
use crate::mix::{Mix, Noise, Spoiled};
use crate::schedule::{Arrivals, Schedule};
use crate::shape::Shape;

/// Requests in one run at the most: with their links they take about 130 bytes each, 1.5 GB in all.
pub const REQUESTS_MAX: usize = 12_000_000;

/// Messages that one run may use; the last of them is the probes'. See [`Spec::message`].
pub const MESSAGES: u64 = 1 << 20;

/// Links in a message, besides the pixel.
pub const LINKS: u32 = 8;

/// What the command line says of a run.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Requests in all, those of the warm-up included.
    pub requests: usize,
    /// The first of them, which no figure counts; the ledger does.
    pub warm_up: usize,
    /// Requests per second, in the mean.
    pub rate: f64,
    /// How the rate goes after the warm-up.
    pub shape: Shape,
    /// How they follow each other.
    pub arrivals: Arrivals,
    /// The same seed gives the same crowd, mix and schedule.
    pub seed: u64,
    /// Opens, clicks and downloads.
    pub mix: Mix,
    /// Bad tokens and HEADs among them.
    pub noise: Noise,
    /// The share of requests that open a connection of their own, 0 to 1.
    pub fresh_share: f64,
    /// Recipients per message.
    pub recipients: u32,
    /// The workspace of every link.
    pub workspace: u32,
    /// The first message's number. Each message asks each recipient once, so that (message, recipient) names
    /// one request in the database; runs must not share these numbers.
    pub message: u64,
}

/// One request, before it is bytes.
#[derive(Debug, Clone, Copy)]
pub struct Hit {
    /// What is asked for.
    pub kind: Kind,
    /// With `recipient`, the mark by which its row is found again.
    pub message: u64,
    /// The recipient's key.
    pub recipient: u64,
    /// 0 for an open.
    pub link: u32,
    /// What the sender says of the recipient's place.
    pub region: Region,
    /// A HEAD instead of a GET.
    pub head: bool,
    /// What is wrong with the token: the request must leave no row then.
    pub spoiled: Option<Spoiled>,
}

/// A run's requests.
#[derive(Debug)]
pub struct Plan {
    spec: Spec,
    crowd: Arc<Crowd>,
    recipients: Vec<u64>,
    places: HashMap<u64, u32>,
    due_ns: Vec<u64>,
    /// All paths back to back, and where each ends.
    paths: String,
    ends: Vec<u32>,
}

impl Plan {
    /// Decides everything and mints every path; `path` turns a hit into a request path.
    pub fn new(
        spec: Spec,
        crowd: Arc<Crowd>,
        mut path: impl FnMut(&Hit) -> anyhow::Result<String>,
    ) -> anyhow::Result<Plan> {
        ensure!(spec.requests > spec.warm_up, "rate and duration leave no request to send");
        ensure!(
            spec.requests <= REQUESTS_MAX,
            "{} requests are more than one run may plan ({REQUESTS_MAX}): lower the rate or the duration",
            spec.requests
        );
        ensure!(
            (spec.requests as u64).div_ceil(u64::from(spec.recipients)) < MESSAGES,
            "with {} recipients the run needs more than {MESSAGES} messages: raise --recipients",
            spec.recipients
        );
        let recipients: Vec<u64> =
            (0..u64::from(spec.recipients)).map(|i| draw(spec.seed, For::Recipient, i)).collect();
        let places: HashMap<u64, u32> = recipients.iter().copied().zip(0..).collect();
        ensure!(
            places.len() == recipients.len() && !places.contains_key(&0),
            "the seed draws one recipient twice"
        );

        let due_ns = Schedule {
            requests: spec.requests,
            warm_up: spec.warm_up,
            rate: spec.rate,
            shape: spec.shape,
            arrivals: spec.arrivals,
            seed: spec.seed,
        }
        .due_ns();
        let mut plan =
            Plan { spec, crowd, recipients, places, due_ns, paths: String::new(), ends: Vec::new() };
        plan.ends.reserve_exact(plan.len());
        for index in 0..plan.len() {
            let path = path(&plan.hit(index))?;
            plan.paths.push_str(&path);
            plan.ends.push(u32::try_from(plan.paths.len()).map_err(|_| {
                anyhow::anyhow!("the run's links take more than 4 GiB: lower the rate or the duration")
            })?);
        }
        Ok(plan)
    }

    /// Requests in all; never 0.
    #[allow(clippy::len_without_is_empty, reason = "a plan is never empty")]
    pub fn len(&self) -> usize {
        self.due_ns.len()
    }

    /// What was asked for.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// When request `index` is due, after the start.
    pub fn due(&self, index: usize) -> Duration {
        Duration::from_nanos(self.due_ns[index])
    }

    /// Whether request `index` opens a connection of its own.
    pub fn fresh(&self, index: usize) -> bool {
        share(draw(self.spec.seed, For::Fresh, index as u64)) < self.spec.fresh_share
    }

    /// What request `index` asks for.
    pub fn hit(&self, index: usize) -> Hit {
        let (seed, at) = (self.spec.seed, index as u64);
        let kind = self.spec.mix.kind(seed, at);
        let place = index % self.recipients.len();
        let region = match draw(seed, For::Region, place as u64) % 10 {
            0..=2 => Region::Eu,
            3 => Region::Unspecified,
            _ => Region::Other,
        };
        Hit {
            kind,
            message: self.spec.message + (index / self.recipients.len()) as u64,
            recipient: self.recipients[place],
            link: if kind == Kind::Open {
                0
            } else {
                1 + (draw(seed, For::Link, at) % u64::from(LINKS)) as u32
            },
            region,
            head: self.spec.noise.head(kind, seed, at),
            spoiled: self.spec.noise.spoiled(seed, at),
        }
    }

    /// The request that (message, recipient) marks, if it is of this run.
    pub fn index_of(&self, message: u64, recipient: u64) -> Option<usize> {
        let block = usize::try_from(message.checked_sub(self.spec.message)?).ok()?;
        let place = *self.places.get(&recipient)? as usize;
        let index = block.checked_mul(self.recipients.len())?.checked_add(place)?;
        (index < self.len()).then_some(index)
    }

    /// The last message that the requests use.
    pub fn message_last(&self) -> u64 {
        self.hit(self.len() - 1).message
    }

    /// The message of the probes, which the requests never use.
    pub fn message_of_probes(&self) -> u64 {
        self.spec.message + MESSAGES - 1
    }

    /// Whether request `index` counts in the figures.
    pub fn measured(&self, index: usize) -> bool {
        index >= self.spec.warm_up
    }

    /// When the warm-up is over, after the start.
    pub fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.spec.warm_up as f64 / self.spec.rate)
    }

    /// The user agent of request `index`.
    pub fn user_agent(&self, index: usize) -> &'static str {
        self.agent(index, &self.hit(index)).0.user_agent
    }

    fn agent(&self, index: usize, hit: &Hit) -> (&Agent, Ipv4Addr) {
        let (seed, at) = (self.spec.seed, index as u64);
        if hit.head { self.crowd.pick_scanner(seed, at) } else { self.crowd.pick(hit.kind, seed, at) }
    }

    /// Appends request `index` as bytes.
    pub fn write(&self, index: usize, host: &str, out: &mut Vec<u8>) {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        let path = &self.paths[start..self.ends[index] as usize];
        let hit = self.hit(index);
        let (agent, address) = self.agent(index, &hit);
        write_request(
            out,
            &RequestParts {
                path,
                host,
                kind: hit.kind,
                head: hit.head,
                user_agent: agent.user_agent,
                address,
                close: self.fresh(index),
            },
        );
    }
}

/// What a request is written from.
#[derive(Debug)]
pub struct RequestParts<'a> {
    /// Path and, if any, query.
    pub path: &'a str,
    /// The `Host` header.
    pub host: &'a str,
    /// Decides what the client accepts: an image or a page.
    pub kind: Kind,
    /// A HEAD instead of a GET.
    pub head: bool,
    /// The `User-Agent` header.
    pub user_agent: &'a str,
    /// The client's address, as a proxy in front would name it.
    pub address: Ipv4Addr,
    /// Asks the server to close.
    pub close: bool,
}

/// Appends a request as bytes.
pub fn write_request(out: &mut Vec<u8>, parts: &RequestParts<'_>) {
    let RequestParts { path, host, kind, head, user_agent, address, close } = parts;
    let method = if *head { "HEAD" } else { "GET" };
    let accept = match kind {
        Kind::Open => "image/avif,image/webp,image/apng,image/*,*/*;q=0.8",
        _ => "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    };
    let connection = if *close { "Connection: close\r\n" } else { "" };
    // Writing to a Vec does not fail.
    let _ = write!(
        out,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {user_agent}\r\nAccept: {accept}\r\n\
         Accept-Language: en-US,en;q=0.9\r\nX-Forwarded-For: {address}\r\n{connection}\r\n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(requests: usize, recipients: u32) -> Spec {
        Spec {
            requests,
            warm_up: 0,
            rate: 1_000.0,
            shape: Shape::Steady,
            arrivals: Arrivals::Even,
            seed: 3,
            mix: "open=80,click=15,download=5".parse().unwrap(),
            noise: Noise { bad_share: 0.1, head_share: 0.2 },
            fresh_share: 0.2,
            recipients,
            workspace: 1,
            message: 1_000,
        }
    }

    fn plan(requests: usize, recipients: u32) -> anyhow::Result<Plan> {
        let crowd = Arc::new(Crowd::load().unwrap());
        Plan::new(spec(requests, recipients), crowd, |hit| Ok(format!("/x/{}-{}", hit.message, hit.link)))
    }

    #[test]
    fn every_request_has_its_own_mark() {
        let plan = plan(2_500, 1_000).unwrap();
        for index in 0..plan.len() {
            let hit = plan.hit(index);
            assert_eq!(plan.index_of(hit.message, hit.recipient), Some(index));
            assert_eq!(hit.link == 0, hit.kind == Kind::Open);
        }
        assert_eq!(plan.message_last(), 1_002);
        // The last message is asked by half of the recipients only.
        assert_eq!(plan.index_of(1_002, plan.hit(600).recipient), None);
        assert_eq!(plan.index_of(999, plan.hit(0).recipient), None);
        assert_eq!(plan.index_of(1_000, 42), None);
        assert!(plan.message_of_probes() > plan.message_last());
    }

    #[test]
    fn a_request_is_what_a_client_sends() {
        let plan = plan(100, 10).unwrap();
        for index in 0..plan.len() {
            let mut bytes = Vec::new();
            plan.write(index, "mail.example", &mut bytes);
            let text = String::from_utf8(bytes).unwrap();
            let hit = plan.hit(index);
            let method = if hit.head { "HEAD" } else { "GET" };
            assert!(
                text.starts_with(&format!("{method} /x/{}-{} HTTP/1.1\r\n", hit.message, hit.link)),
                "{text}"
            );
            assert!(text.contains("\r\nHost: mail.example\r\n") && text.ends_with("\r\n\r\n"));
            assert_eq!(text.contains("Connection: close"), plan.fresh(index));
        }
        let fresh = (0..100).filter(|i| plan.fresh(*i)).count();
        assert!((5..40).contains(&fresh), "{fresh}");
    }

    #[test]
    fn a_run_too_large_is_refused_before_it_takes_memory() {
        let error = plan(REQUESTS_MAX + 1, 1_000).unwrap_err().to_string();
        assert!(error.contains("more than one run may plan"), "{error}");
        let error = plan(2_000_000, 1).unwrap_err().to_string();
        assert!(error.contains("raise --recipients"), "{error}");
        assert!(plan(0, 1).is_err());
    }
}
