//! An edge as a team would write it in a day: axum on tokio's threads, one JSON message for each request, rdkafka's
//! `FutureProducer` with the settings that one finds recommended. The reply does not wait for the delivery.
//!
//! It is there to be measured against. Next to ours it verifies no link, keeps nothing on the disk, so that a crash or a
//! Kafka that is away loses events, and has no limits beyond those of its libraries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;

const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";
const TARGET: &str = "https://shop.example/autumn/offer-1?utm_source=mail&utm_campaign=autumn";
/// What the producer is set to.
pub const SETTINGS: [(&str, &str); 5] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("compression.type", "lz4"),
    ("linger.ms", "20"),
    ("queue.buffering.max.messages", "1000000"),
];

/// Where it listens and where events go.
#[derive(Debug, Clone, clap::Args)]
pub struct DayEdgeOptions {
    /// The listener.
    #[arg(long)]
    pub listen: SocketAddr,
    /// Kafka.
    #[arg(long)]
    pub brokers: String,
    /// The topic of the events.
    #[arg(long)]
    pub topic: String,
}

struct Edge {
    producer: FutureProducer,
    topic: String,
}

/// Serves until it is killed.
pub fn run(options: &DayEdgeOptions) -> anyhow::Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &options.brokers);
    SETTINGS.iter().for_each(|(name, value)| _ = config.set(*name, *value));
    let edge = Arc::new(Edge { producer: config.create()?, topic: options.topic.clone() });
    let app = Router::new().route("/o/{token}", get(pixel)).route("/c/{token}", get(click)).with_state(edge);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(options.listen).await?;
        axum::serve(listener, app).await
    })?;
    Ok(())
}

async fn pixel(State(edge): State<Arc<Edge>>, Path(token): Path<String>, headers: HeaderMap) -> Response {
    record(edge, "open", token, &headers);
    ([(header::CONTENT_TYPE, "image/gif"), (header::CACHE_CONTROL, "no-store")], GIF).into_response()
}

async fn click(State(edge): State<Arc<Edge>>, Path(token): Path<String>, headers: HeaderMap) -> Response {
    record(edge, "click", token, &headers);
    (StatusCode::FOUND, [(header::LOCATION, TARGET), (header::CACHE_CONTROL, "no-store")]).into_response()
}

fn record(edge: Arc<Edge>, kind: &str, token: String, headers: &HeaderMap) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let event = json!({
        "at_ms": at_ms, "kind": kind, "token": token, "address": text("x-forwarded-for"),
        "agent": text("user-agent"), "accept": text("accept"), "language": text("accept-language"),
        "referer": text("referer"), "host": text("host"),
    });
    tokio::spawn(async move {
        let payload = event.to_string();
        let record = FutureRecord::<(), _>::to(&edge.topic).payload(&payload);
        if let Err((error, _)) = edge.producer.send(record, Duration::from_secs(30)).await {
            eprintln!("lost an event: {error}");
        }
    });
}
