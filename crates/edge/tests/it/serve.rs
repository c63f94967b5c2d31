//! The whole server on a port of its own, with raw clients: what hyper and the kernel make of our limits too.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use edge::Config;
use event::{Event, Kind, Method};
use journal::Reader;
use link::{Keys, Link};
use tokio_util::sync::CancellationToken;

struct Edge {
    address: SocketAddr,
    keys: Arc<ArcSwap<Keys>>,
    stop: CancellationToken,
    thread: JoinHandle<std::io::Result<()>>,
    reader: Reader,
    _dir: tempfile::TempDir,
}

/// An event as the journal has it, with the strings that tests look at.
#[derive(Debug, PartialEq)]
struct Seen {
    kind: Kind,
    method: Method,
    recipient: u64,
    address: Vec<u8>,
    user_agent: String,
}

impl Edge {
    fn start(config: Config) -> Edge {
        let dir = tempfile::tempdir().unwrap();
        let (log, reader) = journal::open(journal::Options::new(dir.path().join("000"))).unwrap();
        let listeners = edge::bind(config.listen, 1, Duration::from_secs(5)).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let keys = Arc::new(ArcSwap::from_pointee(Keys::from_toml(&Keys::generate()).unwrap()));
        let stop = CancellationToken::new();
        let (server_keys, server_stop) = (keys.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let health = telemetry::Health::new(&[]);
            edge::serve(config, listeners, vec![log], server_keys, &health, server_stop)
        });
        Edge { address, keys, stop, thread, reader, _dir: dir }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Sends bytes and returns all that comes until the server closes.
    fn converse(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may close before it has read all.
        let _ = stream.write_all(bytes);
        read_all(&mut stream)
    }

    fn request(&self, method: &str, path: &str, headers: &str) -> String {
        self.converse(
            format!("{method} {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}\r\n").as_bytes(),
        )
    }

    fn token(&self, kind: Kind, recipient: u64) -> String {
        let target = if kind == Kind::Open { "" } else { "https://example.com/there?a=b" };
        let link = Link { kind, recipient, workspace: 1, target: target.to_owned(), ..Link::default() };
        self.keys.load().mint(&link).unwrap()
    }

    /// Stops and returns what the journal holds.
    fn stop(mut self) -> Vec<Seen> {
        self.stop.cancel();
        self.thread.join().unwrap().unwrap();
        let mut seen = Vec::new();
        self.reader
            .read(1 << 20, |frame| {
                let event = Event::decode(frame.payload).unwrap();
                assert_eq!((event.edge_id, event.seq), (frame.edge_id, frame.seq));
                seen.push(Seen {
                    kind: event.kind,
                    method: event.method,
                    recipient: event.recipient,
                    address: event.client_ip.to_vec(),
                    user_agent: event.user_agent.to_owned(),
                });
            })
            .unwrap();
        seen
    }
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset after the reply ends it as well.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn local() -> Config {
    Config { listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() }
}

fn behind_a_proxy() -> Config {
    Config { trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()], ..local() }
}

#[test]
fn a_pixel_a_click_a_download() {
    let edge = Edge::start(behind_a_proxy());
    let (open, click, download) =
        (edge.token(Kind::Open, 1), edge.token(Kind::Click, 2), edge.token(Kind::Download, 3));

    let pixel = edge.request("GET", &format!("/o/{open}"), "user-agent: A\r\nx-forwarded-for: 1.2.3.4\r\n");
    assert!(pixel.starts_with("HTTP/1.1 200 OK\r\n"), "{pixel}");
    assert!(pixel.contains("content-type: image/gif\r\n"), "{pixel}");
    assert!(pixel.contains("content-length: 43\r\n"), "{pixel}");
    assert!(pixel.contains("cache-control: no-store, no-cache, must-revalidate, private, max-age=0\r\n"));
    assert!(!pixel.contains("set-cookie"));
    assert!(pixel.contains("\r\n\r\nGIF89a"));

    let redirect = edge.request(
        "GET",
        &format!("/c/{click}"),
        "x-forwarded-for: 6.6.6.6\r\nx-forwarded-for: 5.6.7.8\r\n",
    );
    assert!(redirect.starts_with("HTTP/1.1 302 Found\r\n"), "{redirect}");
    assert!(redirect.contains("location: https://example.com/there?a=b\r\n"), "{redirect}");
    assert!(redirect.contains("cache-control: no-store\r\n"));
    assert!(redirect.contains("referrer-policy: no-referrer\r\n"));

    let head = edge.request("HEAD", &format!("/d/{download}"), "");
    assert!(head.starts_with("HTTP/1.1 302 Found\r\n"), "{head}");

    let seen = edge.stop();
    let hit = |kind, method, recipient, address: [u8; 4], user_agent: &str| Seen {
        kind,
        method,
        recipient,
        address: address.to_vec(),
        user_agent: user_agent.to_owned(),
    };
    let wanted = [
        hit(Kind::Open, Method::Get, 1, [1, 2, 3, 4], "A"),
        hit(Kind::Click, Method::Get, 2, [5, 6, 7, 8], ""),
        hit(Kind::Download, Method::Head, 3, [127, 0, 0, 1], ""),
    ];
    assert_eq!(seen, wanted);
}

#[test]
fn what_is_no_event_leaves_none() {
    let edge = Edge::start(local());
    let starts = |reply: String, wanted: &str| assert!(reply.starts_with(wanted), "{wanted}: {reply}");
    starts(edge.request("GET", "/o/garbage", ""), "HTTP/1.1 200 OK");
    let bad = edge.request("GET", "/c/garbage", "");
    assert!(!bad.contains("location:"), "{bad}");
    starts(bad, "HTTP/1.1 404");
    starts(edge.request("GET", "/nothing", ""), "HTTP/1.1 404");
    starts(edge.request("PUT", "/o/x", ""), "HTTP/1.1 405");
    starts(edge.request("GET", "/o/x", "content-length: 5\r\n"), "HTTP/1.1 413");
    starts(edge.request("GET", &format!("/o/{}", "x".repeat(5_000)), ""), "HTTP/1.1 414");
    starts(edge.request("GET", "/o/x", &format!("a: {}\r\n", "x".repeat(20_000))), "HTTP/1.1 431");
    starts(edge.request("GET", "/o/x", &"a: b\r\n".repeat(70)), "HTTP/1.1 431");
    starts(edge.converse(b"nonsense\r\n\r\n"), "HTTP/1.1 400");
    starts(edge.converse(b"GET /o/x HTTP/1.1\r\nhost: h\r\nbad header\r\n\r\n"), "HTTP/1.1 400");
    assert_eq!(edge.stop(), []);
}

#[test]
fn a_slow_head_is_cut_and_an_idle_connection_ends() {
    let edge = Edge::start(Config { header_read_timeout_ms: 100, ..local() });
    // Both reads return only when the server closes.
    assert_eq!(edge.converse(b"GET /o/x HT"), "");
    let reply = edge.converse(b"GET /o/x HTTP/1.1\r\nhost: h\r\n\r\n");
    assert!(reply.starts_with("HTTP/1.1 200 OK"), "{reply}");
    edge.stop();
}

#[test]
fn connections_of_one_address_are_bounded_but_not_a_proxys() {
    let edge = Edge::start(Config { connections_per_address_max: 2, ..local() });
    // The connection is admitted once it has been answered.
    let held: Vec<TcpStream> = (0..2).map(|_| ask(&edge)).collect();
    assert_eq!(edge.converse(b"GET /o/x HTTP/1.1\r\nhost: h\r\n\r\n"), "");
    drop(held);
    edge.stop();

    let edge = Edge::start(Config { connections_per_address_max: 2, ..behind_a_proxy() });
    let held: Vec<TcpStream> = (0..5).map(|_| ask(&edge)).collect();
    drop(held);
    edge.stop();
}

#[test]
fn shutdown_answers_what_was_asked_before_it() {
    let edge = Edge::start(local());
    let token = edge.token(Kind::Open, 1);
    let mut idle = ask(&edge);
    let mut half = ask(&edge);
    half.write_all(format!("GET /o/{token} HTTP/1.1\r\n").as_bytes()).unwrap();
    edge.stop.cancel();
    // The idle one is closed; the one in the middle of its head may finish it or is closed by the deadline.
    assert_eq!(read_all(&mut idle), "");
    edge.stop();
}

#[test]
fn who_closes_the_sending_half_is_answered() {
    let edge = Edge::start(local());
    let token = edge.token(Kind::Open, 1);
    let mut stream = edge.connect();
    stream.write_all(format!("GET /o/{token} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let reply = read_all(&mut stream);
    assert!(reply.starts_with("HTTP/1.1 200 OK") && reply.contains("GIF89a"), "{reply}");
    assert_eq!(edge.stop().len(), 1);
}

#[test]
fn a_connection_is_the_same_whether_it_ever_has_to_wait_or_not() {
    let edge = Edge::start(local());
    let ask = |recipient| {
        let token = edge.token(Kind::Click, recipient);
        format!("GET /c/{token} HTTP/1.1\r\nhost: h\r\n\r\n")
    };
    // More than is read at first, and all replies to somebody who reads none of them yet.
    let many: String = (1..=3_000).map(ask).collect();
    let mut all_at_once = edge.connect();
    let mut writes = all_at_once.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        writes.write_all(many.as_bytes()).unwrap();
        writes.shutdown(Shutdown::Write).unwrap();
    });
    // A head in two pieces, the second of which is waited for; then one more.
    let mut in_pieces = edge.connect();
    let (head, tail) = (ask(4_000), ask(4_001));
    for piece in [&head[..20], &head[20..], &tail] {
        in_pieces.write_all(piece.as_bytes()).unwrap();
        // Only time lets the edge find one piece without the next; should it not, the replies are the same.
        std::thread::park_timeout(Duration::from_millis(20));
    }
    in_pieces.shutdown(Shutdown::Write).unwrap();

    assert_eq!(read_all(&mut in_pieces).matches("HTTP/1.1 302 Found").count(), 2);
    assert_eq!(read_all(&mut all_at_once).matches("HTTP/1.1 302 Found").count(), 3_000);
    writer.join().unwrap();
    let mut recipients: Vec<u64> = edge.stop().iter().map(|seen| seen.recipient).collect();
    recipients.sort_unstable();
    assert_eq!(recipients, (1..=3_000).chain([4_000, 4_001]).collect::<Vec<_>>());
}

#[test]
fn a_connection_that_rested_is_the_same() {
    let edge = Edge::start(Config { header_read_timeout_ms: 2_000, ..local() });
    let ask_for = |recipient| {
        let token = edge.token(Kind::Click, recipient);
        format!("GET /c/{token} HTTP/1.1\r\nhost: h\r\n\r\n")
    };
    // One that asks again; one in the middle of its next head; one that reads none of its many replies; one that stays.
    let mut again = edge.connect();
    again.write_all(ask_for(1).as_bytes()).unwrap();
    let mut in_pieces = edge.connect();
    let (one, next) = (ask_for(2), ask_for(3));
    in_pieces.write_all(format!("{one}{}", &next[..20]).as_bytes()).unwrap();
    let many: String = (1_000..4_000).map(ask_for).collect();
    let mut all_at_once = edge.connect();
    let mut writes = all_at_once.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        writes.write_all(many.as_bytes()).unwrap();
        writes.shutdown(Shutdown::Write).unwrap();
    });
    let mut stays = ask(&edge);
    // Only time brings rest; should it not, the replies are the same.
    std::thread::park_timeout(Duration::from_millis(700));
    again.write_all(ask_for(4).as_bytes()).unwrap();
    in_pieces.write_all(&next.as_bytes()[20..]).unwrap();
    for stream in [&mut again, &mut in_pieces] {
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(stream).matches("HTTP/1.1 302 Found").count(), 2);
    }
    assert_eq!(read_all(&mut all_at_once).matches("HTTP/1.1 302 Found").count(), 3_000);
    writer.join().unwrap();
    assert_eq!(read_all(&mut stays), "", "ended when its time was over");

    let mut resting = ask(&edge);
    std::thread::park_timeout(Duration::from_millis(700));
    let mut recipients: Vec<u64> = edge.stop().iter().map(|seen| seen.recipient).collect();
    assert_eq!(read_all(&mut resting), "", "ended by the shutdown");
    recipients.sort_unstable();
    assert_eq!(recipients, (1..=4).chain(1_000..4_000).collect::<Vec<_>>());
}

/// A kept connection that was answered once.
fn ask(edge: &Edge) -> TcpStream {
    let mut stream = edge.connect();
    stream.write_all(b"GET /o/x HTTP/1.1\r\nhost: h\r\n\r\n").unwrap();
    let mut reply = Vec::new();
    let mut chunk = [0; 1024];
    while !reply.windows(6).any(|window| window == b"GIF89a") || !reply.ends_with(b"\x3b") {
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "closed without a reply");
        reply.extend_from_slice(&chunk[..read]);
    }
    stream
}
