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
use journal::{Class, Log, Position, Shed};
use link::Keys;

use crate::address::{self, Octets};
use crate::answer::{Answer, Head, Headers, Outcome, answer};
use crate::config::Config;
use crate::connections::{Connection, Connections};
use crate::gather::count_request;
use crate::metrics::{Counters, dropped};
use crate::reply;

/// What the connections of one worker share.
pub struct Worker {
    pub config: Arc<Config>,
    pub keys: Arc<ArcSwap<Keys>>,
    pub log: Log,
    pub counters: Counters,
    pub connections: Rc<Connections>,
    /// Open connections by address, trusted proxies left out.
    by_address: RefCell<HashMap<IpAddr, u32>>,
}

impl Worker {
    pub fn new(config: Arc<Config>, keys: Arc<ArcSwap<Keys>>, log: Log) -> Rc<Self> {
        let head_timeout = Duration::from_millis(config.header_read_timeout_ms);
        Rc::new(Worker {
            config,
            keys,
            log,
            counters: Counters::new(),
            connections: Rc::new(Connections::new(head_timeout)),
            by_address: RefCell::default(),
        })
    }

    /// Answers one request. The reply leaves only after its event is in the journal, or was counted as dropped.
    ///
    /// All is decided, and the event is given to the journal, before there is a future: it is small then, and each
    /// connection keeps room for one.
    pub fn handle(
        &self,
        connection: &Connection,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Full<Bytes>>, Infallible>> {
        connection.answers();
        count_request();
        let (answer, appended) = self.decide(peer, &request);
        async move {
            if let Some((kind, position)) = appended {
                self.commit(kind, position).await;
            }
            connection.waits();
            Ok(reply::response(&answer))
        }
    }

    fn decide(&self, peer: IpAddr, request: &Request<Incoming>) -> (Answer, Option<(Kind, Position)>) {
        let now_ms = now_ms();
        let (headers, forwarded_for) = headers(request.headers());
        let client = match forwarded_for {
            ForwardedFor::None => address::client(peer, &self.config.trusted_proxies, []),
            ForwardedFor::One(line) => address::client(peer, &self.config.trusted_proxies, [line]),
            ForwardedFor::Several => {
                let lines = request.headers().get_all("x-forwarded-for").iter().map(|line| line.as_bytes());
                address::client(peer, &self.config.trusted_proxies, lines)
            }
        };
        let client = Octets::from(client);
        let head = head(request, client.as_slice(), headers);
        let answer = answer(&self.keys.load(), self.config.policy(), &head, now_ms);
        self.counters.answered(answer.reply, answer.outcome);
        let appended = match (answer.outcome, answer.event(&head, now_ms)) {
            (Outcome::Recorded(kind), Some(event)) => self.append(kind, &event),
            _ => None,
        };
        (answer, appended)
    }

    fn append(&self, kind: Kind, event: &Event<'_>) -> Option<(Kind, Position)> {
        let appended =
            self.log.append(class(kind), |edge_id, seq, out| Event { edge_id, seq, ..*event }.encode(out));
        match appended {
            Ok(position) => Some((kind, position)),
            Err(shed) => {
                dropped(kind, shed).increment(1);
                None
            }
        }
    }

    async fn commit(&self, kind: Kind, position: Position) {
        let committed = self.log.committed(position);
        if !self.log.waits_for_disk() {
            // This thread itself writes to the page cache: a timer could only go off when that is done.
            if let Err(_refused) = committed.await {
                dropped(kind, Shed::Disk).increment(1);
            }
            return;
        }
        let wait = Duration::from_millis(self.config.commit_wait_ms);
        match tokio::time::timeout(wait, committed).await {
            Ok(Ok(())) => (),
            Ok(Err(_refused)) => dropped(kind, Shed::Disk).increment(1),
            Err(_elapsed) => self.counters.early.increment(1),
        }
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

fn head<'a>(request: &'a Request<Incoming>, client: &'a [u8], headers: Headers<'a>) -> Head<'a> {
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
        headers,
    }
}

/// The lines in which proxies say for whom they ask.
enum ForwardedFor<'a> {
    None,
    One(&'a [u8]),
    Several,
}

/// One pass over what is there is cheaper than a look-up for each name that may be. Names are compared as bytes: the
/// compiler does that in place, and strings by a call for each.
fn headers(map: &HeaderMap) -> (Headers<'_>, ForwardedFor<'_>) {
    let (mut headers, mut forwarded_for) = (Headers::default(), ForwardedFor::None);
    for (name, value) in map {
        let value = value.as_bytes();
        match name.as_str().as_bytes() {
            b"user-agent" => headers.user_agent = value,
            b"accept" => headers.accept = value,
            b"accept-language" => headers.accept_language = value,
            b"referer" => headers.referer = value,
            b"sec-fetch-site" => headers.sec_fetch_site = value,
            b"sec-fetch-mode" => headers.sec_fetch_mode = value,
            b"sec-fetch-dest" => headers.sec_fetch_dest = value,
            b"sec-fetch-user" => headers.sec_fetch_user = value,
            b"sec-purpose" => headers.sec_purpose = value,
            b"purpose" => headers.purpose = value,
            b"x-purpose" => headers.x_purpose = value,
            b"x-moz" => headers.x_moz = value,
            b"via" => headers.via = value,
            b"host" => headers.host = value,
            b"dnt" => headers.dnt = value,
            b"sec-gpc" => headers.sec_gpc = value,
            b"x-forwarded-for" => {
                forwarded_for = match forwarded_for {
                    ForwardedFor::None => ForwardedFor::One(value),
                    _ => ForwardedFor::Several,
                }
            }
            _ => (),
        }
    }
    (headers, forwarded_for)
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
