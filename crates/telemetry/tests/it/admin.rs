//! The admin listener, asked by a client that writes its own bytes.

use std::time::Duration;

use telemetry::{Admin, Health, Kind, Limits, Metric, Shutdown, metrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

struct Running {
    address: std::net::SocketAddr,
    health: Health,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

async fn start(limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (health, shutdown) = (Health::new(&["journal"]), Shutdown::new());
    let admin = Admin { metrics: metrics().unwrap(), health: health.clone(), limits };
    let task = tokio::spawn(admin.serve(listener, shutdown.wait()));
    Running { address, health, shutdown, task }
}

impl Running {
    /// One request on a connection of its own; the whole answer as text.
    async fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn readiness_follows_the_parts() {
    let server = start(Limits::default()).await;
    assert!(server.ask("GET", "/healthz").await.starts_with("HTTP/1.1 200 OK"));

    let starting = server.ask("GET", "/readyz").await;
    assert!(starting.starts_with("HTTP/1.1 503"), "{starting}");
    assert_eq!(body(&starting), "journal: starting\n");

    server.health.set("journal", Ok(()));
    let ready = server.ask("GET", "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");

    server.health.set("journal", Err("disk full"));
    server.health.set("kafka", Err("no broker answers"));
    assert_eq!(body(&server.ask("GET", "/readyz").await), "journal: disk full\nkafka: no broker answers\n");

    server.health.set("journal", Ok(()));
    server.health.set("kafka", Ok(()));
    server.health.draining();
    assert_eq!(body(&server.ask("GET", "/readyz").await), "program: draining\n");
    assert!(server.ask("GET", "/healthz").await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn pages_and_what_is_none() {
    let server = start(Limits::default()).await;
    for (method, path, status) in [
        ("GET", "/", "200"),
        ("HEAD", "/healthz", "200"),
        ("GET", "/healthz?probe=1", "200"),
        ("GET", "/nothing", "404"),
        ("GET", "/metrics/", "404"),
        ("POST", "/metrics", "405"),
    ] {
        let answer = server.ask(method, path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path}: {answer}");
    }
    for page in ["/metrics", "/healthz", "/readyz"] {
        assert!(body(&server.ask("GET", "/").await).contains(page));
    }
    assert_eq!(body(&server.ask("HEAD", "/healthz").await), "");
}

const TABLE: &[Metric] = &[
    Metric {
        name: "demo_requests_total",
        kind: Kind::Counter,
        help: "Requests answered.",
        labels: &["kind"],
    },
    Metric { name: "demo_lost_events_total", kind: Kind::Counter, help: "Events lost.", labels: &[] },
    Metric { name: "demo_answer_seconds", kind: Kind::Histogram, help: "Time to answer.", labels: &[] },
    Metric { name: "demo_batch_bytes", kind: Kind::Histogram, help: "Batch size.", labels: &[] },
    Metric { name: "demo_batch_rows", kind: Kind::Histogram, help: "Rows of a batch.", labels: &[] },
    Metric { name: "demo_connections", kind: Kind::Gauge, help: "Open connections.", labels: &[] },
];

#[tokio::test]
async fn a_scrape_shows_what_was_counted() {
    let server = start(Limits::default()).await;
    telemetry::describe(TABLE);
    metrics::counter!("demo_requests_total", "kind" => "open").increment(3);
    metrics::gauge!("demo_connections").set(7.0);
    metrics::histogram!("demo_answer_seconds").record(0.0002);
    metrics::histogram!("demo_batch_bytes").record(5_000.0);
    metrics::histogram!("demo_batch_rows").record(20.0);

    let answer = server.ask("GET", "/metrics").await;
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    let page = body(&answer);
    for line in [
        "# HELP demo_requests_total Requests answered.",
        "# TYPE demo_requests_total counter",
        "demo_requests_total{kind=\"open\"} 3",
        // A counter without labels is there before its first increment.
        "demo_lost_events_total 0",
        "demo_connections 7",
        "# TYPE demo_answer_seconds histogram",
        "demo_answer_seconds_bucket{le=\"0.0001\"} 0",
        "demo_answer_seconds_bucket{le=\"0.00025\"} 1",
        "demo_batch_bytes_bucket{le=\"4096\"} 0",
        "demo_batch_bytes_bucket{le=\"16384\"} 1",
        "demo_batch_rows_bucket{le=\"10\"} 0",
        "demo_batch_rows_bucket{le=\"30\"} 1",
    ] {
        assert!(page.lines().any(|shown| shown == line), "no line `{line}` in\n{page}");
    }
    for name in [
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value: f64 = value.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse().unwrap();
        assert!(value >= 0.0);
    }
    let started = page.lines().find_map(|line| line.strip_prefix("process_start_time_seconds ")).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    // Within the kernel's whole-second rounding of the boot time, the process started in the past.
    assert!((now - 86_400.0..now + 1.0).contains(&started.parse::<f64>().unwrap()), "{started} {now}");

    assert_eq!(telemetry::undocumented(page, &[TABLE]), Vec::<String>::new());
    assert_eq!(telemetry::grammar("demo", TABLE), Vec::<String>::new());
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_request_is_cut() {
    let server = start(Limits { header_ms: 20, ..Limits::default() }).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nhost: ").await.unwrap();
    let mut answer = Vec::new();
    // Ends only because the server closes; what hyper says before that is its own affair.
    let _ = slow.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains(" 200 "));
}

#[tokio::test]
async fn a_kept_connection_is_cut_at_the_end_of_its_life() {
    let limits = Limits { connection_ms: 20, connections_max: 1, ..Limits::default() };
    let server = start(limits).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut answer = Vec::new();
    let _ = idle.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
    // The one place is free again.
    assert!(server.ask("GET", "/healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_request_too_large_is_refused() {
    let server = start(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nx-large: {}\r\n\r\n", "x".repeat(20_000));
    // The server may close before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains(" 200 "));
    assert!(server.ask("GET", "/healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn shutdown_ends_idle_connections_and_the_listener() {
    let server = start(Limits::default()).await;
    let mut kept = TcpStream::connect(server.address).await.unwrap();
    kept.write_all(b"GET /healthz HTTP/1.1\r\nhost: admin\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    kept.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");

    server.shutdown.begin();
    server.task.await.unwrap();
    let mut rest = Vec::new();
    kept.read_to_end(&mut rest).await.unwrap();
    // A process that another test starts has a copy of the listener from its fork to its exec: the port is closed
    // only then.
    let refused = async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused).await.expect("nobody listens any more");
}
