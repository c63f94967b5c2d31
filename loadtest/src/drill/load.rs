//! The requests: each of a recipient of its own, sent once, over kept connections that are made anew whenever they
//! break.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use event::{Kind, Mode, Position, Region};
use link::{Keys, Link, Site};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::sent::Sent;
use crate::response::{Reader, Reply};

/// Requests under way at a time at each edge.
const CONNECTIONS: usize = 12;
/// For one request to be answered.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Between attempts to reach an edge that is being started.
const CONNECT_RETRY: Duration = Duration::from_millis(20);
/// Requests of one message: its rows are asked for together.
pub const MESSAGE_REQUESTS: u64 = 65_536;
/// Links in a message.
const LINKS: u64 = 5;
/// What fills a journal soon: as much as an edge records of a header or a link, in bytes.
const HEAVY_HEADER_BYTES: usize = 256;
const HEAVY_TARGET_BYTES: usize = 1_200;

const CLIENT: &str = "X-Forwarded-For: 81.2.69.160\r\nUser-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) \
                      AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n";

/// What request `number` asks for, and thereby what its row must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Open or click.
    pub kind: Kind,
    /// Names the block of requests.
    pub message: u64,
    /// Names the request.
    pub recipient: u64,
    /// 0 for an open.
    pub link: u32,
}

impl Asked {
    /// By the number of the request.
    pub fn of(number: u64) -> Asked {
        let click = number.is_multiple_of(3);
        Asked {
            kind: if click { Kind::Click } else { Kind::Open },
            message: 1 + number / MESSAGE_REQUESTS,
            recipient: number + 1,
            link: if click { 1 + (number / 3 % LINKS) as u32 } else { 0 },
        }
    }

    /// Where a click goes: nowhere else than [`TARGET`], the link and a question mark begin with.
    fn target(&self, flow: Flow) -> String {
        let more = if flow == Flow::Heavy { HEAVY_TARGET_BYTES } else { 0 };
        if self.kind == Kind::Click {
            format!("{TARGET}{}?{}", self.link, "q".repeat(more))
        } else {
            String::new()
        }
    }
}

/// What all targets begin with; the number of the link and a question mark follow.
pub const TARGET: &str = "https://shop.example/autumn/offer-";

/// One edge as the load sees it.
pub struct Gate {
    address: SocketAddr,
    /// Held for reading by every request under way.
    flow: Arc<RwLock<Flow>>,
}

/// How much goes through a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Requests as they are.
    Usual,
    /// As many as the edge answers, with headers and links that fill a journal soon.
    Heavy,
}

impl Gate {
    /// To an edge that listens there, now or later.
    pub fn new(address: SocketAddr) -> Gate {
        Gate { address, flow: Arc::new(RwLock::new(Flow::Usual)) }
    }

    /// Waits until no request is under way there and lets none through until what is returned is dropped.
    pub async fn close(&self) -> OwnedRwLockWriteGuard<Flow> {
        Arc::clone(&self.flow).write_owned().await
    }
}

/// The requests of a drill.
pub struct Load {
    keys: Keys,
    site: Site,
    /// What became of each.
    pub sent: Sent,
    /// One for each edge.
    pub gates: Vec<Gate>,
    rate: f64,
    /// Requests that were given a time.
    due: AtomicU64,
    /// At least so many are sent.
    events: u64,
    /// Whether no more than that are needed.
    enough: AtomicBool,
}

impl Load {
    /// With the keys in that file; `capacity` is where it ends whatever happens.
    pub fn new(keys: &Path, gates: Vec<Gate>, rate: f64, events: u64, capacity: u64) -> anyhow::Result<Load> {
        let text = std::fs::read_to_string(keys)
            .with_context(|| format!("failed to read keys from {}", keys.display()))?;
        let keys = Keys::from_toml(&text).context("failed to read the keys of the drill")?;
        let site = Site::new("http://drill.example").context("failed to mint links")?;
        let sent = Sent::new(capacity);
        let (due, enough) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(Load { keys, site, sent, gates, rate, due, events, enough })
    }

    /// No more requests are needed than were asked for.
    pub fn enough(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }

    /// Sends until there are enough.
    pub async fn run(self: Arc<Load>) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut connections = JoinSet::new();
        for edge in 0..self.gates.len() {
            for _ in 0..CONNECTIONS {
                connections.spawn(Arc::clone(&self).connection(edge, start));
            }
        }
        while let Some(ended) = connections.join_next().await {
            ended.context("a sending task panicked")??;
        }
        Ok(())
    }

    async fn connection(self: Arc<Load>, edge: usize, start: Instant) -> anyhow::Result<()> {
        let mut stream = None;
        let gate = &self.gates[edge];
        loop {
            if *gate.flow.read().await == Flow::Usual {
                self.pace(start).await;
            }
            let flow = gate.flow.read().await;
            let Some(number) = self.claim() else { break };
            let request = self.request(number, *flow)?;
            let mut open = match stream.take() {
                Some(open) => open,
                None => connect(gate.address).await,
            };
            self.sent.begun.set(number);
            // Without an answer it is not known whether it was recorded, and it is not sent again.
            if let Ok(Ok(Reply { status, keep })) =
                timeout(ANSWER_WAIT, ask(&mut open, request.as_bytes())).await
            {
                self.sent.answered.set(number);
                let expected = if Asked::of(number).kind == Kind::Open { 200 } else { 302 };
                self.sent.wrong.fetch_add(u64::from(status != expected), Ordering::Relaxed);
                stream = keep.then_some(open);
            }
        }
        Ok(())
    }

    /// Waits until the next request is due. After an outage those that are overdue follow at once.
    async fn pace(&self, start: Instant) {
        let before = self.due.fetch_add(1, Ordering::Relaxed);
        sleep_until(start + Duration::from_secs_f64(before as f64 / self.rate)).await;
    }

    /// The next number.
    fn claim(&self) -> Option<u64> {
        if self.enough.load(Ordering::Relaxed) && self.sent.next.load(Ordering::Relaxed) >= self.events {
            return None;
        }
        let number = self.sent.next.fetch_add(1, Ordering::Relaxed);
        (number < self.sent.capacity).then_some(number)
    }

    fn request(&self, number: u64, flow: Flow) -> anyhow::Result<String> {
        let asked = Asked::of(number);
        let link = Link {
            kind: asked.kind,
            workspace: 1,
            message: asked.message,
            recipient: asked.recipient,
            link: asked.link,
            target: asked.target(flow),
            position: if asked.kind == Kind::Open { Position::Top } else { Position::Unspecified },
            mode: Mode::Full,
            region: Region::Other,
            ..Link::default()
        };
        let url = self.site.url(&self.keys, &link).context("failed to mint a link")?;
        let path = url.strip_prefix(self.site.base_url()).context("a link does not begin with its site")?;
        let heavy = match flow {
            Flow::Usual => String::new(),
            Flow::Heavy => {
                let long = "q".repeat(HEAVY_HEADER_BYTES);
                format!(
                    "Referer: https://shop.example/?{long}\r\nAccept-Language: {long}\r\nAccept: {long}\r\n"
                )
            }
        };
        Ok(format!("GET {path} HTTP/1.1\r\nHost: drill.example\r\n{CLIENT}{heavy}\r\n"))
    }
}

/// Tries until the edge is there: it is started again after whatever happens to it.
async fn connect(address: SocketAddr) -> TcpStream {
    loop {
        if let Ok(Ok(stream)) = timeout(ANSWER_WAIT, TcpStream::connect(address)).await
            && stream.set_nodelay(true).is_ok()
        {
            return stream;
        }
        sleep(CONNECT_RETRY).await;
    }
}

async fn ask(stream: &mut TcpStream, request: &[u8]) -> anyhow::Result<Reply> {
    stream.write_all(request).await?;
    let mut reader = Reader::default();
    let mut buffer = [0; 4_096];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return reader.end().map_err(|malformed| anyhow::anyhow!(malformed.0));
        }
        if let Some(reply) =
            reader.feed(&buffer[..count]).map_err(|malformed| anyhow::anyhow!(malformed.0))?
        {
            return Ok(reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_names_itself_and_its_link_can_be_minted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.toml");
        std::fs::write(&file, Keys::generate()).unwrap();
        let load = Load::new(&file, Vec::new(), 1.0, 1, 1).unwrap();
        let keys = Keys::from_toml(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for number in [0, 1, 2, 3, 15, MESSAGE_REQUESTS - 1, MESSAGE_REQUESTS, 199_999_998] {
            let asked = Asked::of(number);
            assert_eq!((asked.recipient, asked.message), (number + 1, number / MESSAGE_REQUESTS + 1));
            for flow in [Flow::Usual, Flow::Heavy] {
                let request = load.request(number, flow).unwrap();
                let path = request.split(' ').nth(1).unwrap();
                let (kind, token) = link::parse_path(path.as_bytes()).unwrap();
                let link = keys.open(kind, token).unwrap();
                assert_eq!(
                    (kind, link.recipient, link.message, link.link),
                    (asked.kind, asked.recipient, asked.message, asked.link)
                );
                let target = if asked.link == 0 { String::new() } else { format!("{TARGET}{}?", asked.link) };
                assert!(link.target.starts_with(&target) && link.target.is_empty() == target.is_empty());
                assert!(request.ends_with("\r\n\r\n") && !request.contains("\r\n\r\n\r\n"));
            }
        }
    }

    #[tokio::test]
    async fn a_closed_gate_has_no_request_under_way() {
        let gate = Gate::new(([127, 0, 0, 1], 1).into());
        let under_way = gate.flow.read().await;
        let closing = gate.close();
        tokio::pin!(closing);
        tokio::select! {
            biased;
            _ = &mut closing => panic!("closed with a request under way"),
            () = tokio::task::yield_now() => {}
        }
        drop(under_way);
        let mut closed = closing.await;
        assert!(gate.flow.try_read().is_err());
        *closed = Flow::Heavy;
        drop(closed);
        assert_eq!(*gate.flow.read().await, Flow::Heavy);
    }
}
