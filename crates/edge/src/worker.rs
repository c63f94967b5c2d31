//! One core's part of the edge: its connections, its journal, its counters.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use event::{Event, Kind};
use http::{HeaderMap, Request, Response, Version};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use journal::{Class, Log, Shed};
use link::Keys;

use crate::address::{self, Octets};
use crate::answer::{Head, Headers, Outcome, answer};
use crate::config::Config;
use crate::metrics::{Counters, dropped};
use crate::reply;

/// What the connections of one worker share.
pub struct Worker {
    pub config: Arc<Config>,
    pub keys: Arc<ArcSwap<Keys>>,
    pub log: Log,
    pub counters: Counters,
    /// Open connections by address, trusted proxies left out.
    by_address: RefCell<HashMap<IpAddr, u32>>,
}

impl Worker {
    pub fn new(config: Arc<Config>, keys: Arc<ArcSwap<Keys>>, log: Log) -> Rc<Self> {
        Rc::new(Worker { config, keys, log, counters: Counters::new(), by_address: RefCell::default() })
    }

    /// Answers one request. The reply leaves only after its event is in the journal, or was counted as dropped.
    pub async fn handle(
        &self,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let now_ms = now_ms();
        let client = Octets::from(self.client(peer, request.headers()));
        let head = head(&request, client.as_slice());
        let answer = answer(&self.keys.load(), self.config.policy(), &head, now_ms);
        self.counters.answered(answer.reply, answer.outcome);
        if let (Outcome::Recorded(kind), Some(event)) = (answer.outcome, answer.event(&head, now_ms)) {
            self.record(kind, &event).await;
        }
        Ok(reply::response(&answer))
    }

    async fn record(&self, kind: Kind, event: &Event<'_>) {
        let appended =
            self.log.append(class(kind), |edge_id, seq, out| Event { edge_id, seq, ..*event }.encode(out));
        let position = match appended {
            Ok(position) => position,
            Err(shed) => return dropped(kind, shed).increment(1),
        };
        let wait = Duration::from_millis(self.config.commit_wait_ms);
        match tokio::time::timeout(wait, self.log.committed(position)).await {
            Ok(Ok(())) => (),
            Ok(Err(_refused)) => dropped(kind, Shed::Disk).increment(1),
            Err(_elapsed) => self.counters.early.increment(1),
        }
    }

    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let forwarded_for = headers.get_all("x-forwarded-for").iter().map(|line| line.as_bytes());
        address::client(peer, &self.config.trusted_proxies, forwarded_for)
    }

    /// Takes a place for a connection, or says that its address has too many.
    pub fn admit(self: &Rc<Self>, peer: IpAddr) -> Option<Place> {
        let peer = peer.to_canonical();
        if address::is_trusted(peer, &self.config.trusted_proxies) {
            return Some(Place { worker: self.clone(), counted: None });
        }
        let mut by_address = self.by_address.borrow_mut();
        let open = by_address.entry(peer).or_insert(0);
        if *open >= self.config.connections_per_address_max {
            return None;
        }
        *open += 1;
        Some(Place { worker: self.clone(), counted: Some(peer) })
    }
}

/// A connection's place among those of its address; given back when dropped.
pub struct Place {
    worker: Rc<Worker>,
    counted: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(peer) = self.counted else { return };
        let mut by_address = self.worker.by_address.borrow_mut();
        match by_address.get_mut(&peer) {
            Some(open) if *open > 1 => *open -= 1,
            _ => _ = by_address.remove(&peer),
        }
    }
}

fn head<'a>(request: &'a Request<Incoming>, client: &'a [u8]) -> Head<'a> {
    Head {
        method: request.method().as_str(),
        path: request.uri().path(),
        uri_bytes: request.uri().path_and_query().map_or(0, |whole| whole.as_str().len()),
        http_version: match request.version() {
            Version::HTTP_10 => 10,
            Version::HTTP_2 => 20,
            _ => 11,
        },
        has_body: !request.body().is_end_stream(),
        client,
        headers: headers(request.headers()),
    }
}

/// One pass over what is there is cheaper than a look-up for each name that may be.
fn headers(map: &HeaderMap) -> Headers<'_> {
    let mut headers = Headers::default();
    for (name, value) in map {
        let value = value.as_bytes();
        match name.as_str() {
            "user-agent" => headers.user_agent = value,
            "accept" => headers.accept = value,
            "accept-language" => headers.accept_language = value,
            "referer" => headers.referer = value,
            "sec-fetch-site" => headers.sec_fetch_site = value,
            "sec-fetch-mode" => headers.sec_fetch_mode = value,
            "sec-fetch-dest" => headers.sec_fetch_dest = value,
            "sec-fetch-user" => headers.sec_fetch_user = value,
            "sec-purpose" => headers.sec_purpose = value,
            "purpose" => headers.purpose = value,
            "x-purpose" => headers.x_purpose = value,
            "x-moz" => headers.x_moz = value,
            "via" => headers.via = value,
            "host" => headers.host = value,
            "dnt" => headers.dnt = value,
            "sec-gpc" => headers.sec_gpc = value,
            _ => (),
        }
    }
    headers
}

/// In which order the journal sheds.
fn class(kind: Kind) -> Class {
    match kind {
        Kind::Open => Class::Open,
        Kind::Click => Class::Click,
        Kind::Download => Class::Download,
        Kind::Sent | Kind::Unspecified => Class::Sent,
    }
}

fn now_ms() -> i64 {
    // A clock before 1970 is no clock.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
