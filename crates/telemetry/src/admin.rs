//! The admin listener: what ops, a scraper and a load balancer ask.

use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Health, Metrics};

/// The content type of Prometheus' text format.
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

const INDEX: &str = "/metrics  what this process counts, in Prometheus' text format\n\
                     /healthz  200 while the process is alive\n\
                     /readyz   200 when it can do its work, else 503 with one line per reason\n";

/// The longest request head, in bytes; hyper takes no less than 8 KiB.
const HEAD_BYTES_MAX: usize = 8_192;
/// The most header lines in a request.
const HEADERS_MAX: usize = 32;

/// How much a client of the admin listener may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; more wait in the listener's backlog.
    pub connections_max: usize,
    /// For a whole request head to arrive; also how long a kept connection may be idle.
    pub header_ms: u64,
    /// For a connection's whole life, so that a client which stops reading is cut too.
    pub connection_ms: u64,
    /// How long the requests under way may take once the shutdown has begun.
    pub drain_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connections_max: 64, header_ms: 5_000, connection_ms: 60_000, drain_ms: 1_000 }
    }
}

/// Serves `/metrics`, `/healthz` and `/readyz` with the usual limits until `shutdown` ends.
///
/// That should be after the program's own drain, so that a load balancer can see it become unready.
pub async fn admin(
    listener: TcpListener,
    metrics: Metrics,
    health: Health,
    shutdown: impl Future<Output = ()> + Send,
) {
    Admin { metrics, health, limits: Limits::default() }.serve(listener, shutdown).await;
}

/// The admin listener's parts, for those who set its limits.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Shown at `/metrics`.
    pub metrics: Metrics,
    /// Shown at `/readyz`.
    pub health: Health,
    /// What a client may take.
    pub limits: Limits,
}

impl Admin {
    /// Serves until `shutdown` ends; then finishes the requests under way within `drain_ms` and returns.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        let places = Arc::new(Semaphore::new(self.limits.connections_max));
        let draining = CancellationToken::new();
        let drain = Duration::from_millis(self.limits.drain_ms);
        let admin = Arc::new(self);
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            // Without a place no connection is accepted. The semaphore is never closed.
            let accepted = async {
                let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                accepted = accepted => accepted,
                Some(_) = connections.join_next() => continue,
                () = &mut shutdown => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (admin, draining) = (admin.clone(), draining.clone());
                    connections.spawn(async move {
                        admin.connection(stream, draining).await;
                        drop(place);
                    });
                }
                Err(error) => pause_after(&error).await,
            }
        }
        drop(listener);
        draining.cancel();
        let finished = async { while connections.join_next().await.is_some() {} };
        // What is late is cut when the set is dropped.
        let _ = tokio::time::timeout(drain, finished).await;
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, draining: CancellationToken) {
        let service = service_fn(|request: Request<Incoming>| {
            let response = self.answer(request.method(), request.uri().path());
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(self.limits.header_ms))
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let life = tokio::time::sleep(Duration::from_millis(self.limits.connection_ms));
        tokio::pin!(life);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = &mut life => return,
            () = draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "admin connection ended early");
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        }
        match path {
            "/" => text(StatusCode::OK, INDEX),
            "/healthz" => text(StatusCode::OK, "alive\n"),
            "/readyz" => match self.health.ready() {
                Ok(()) => text(StatusCode::OK, "ready\n"),
                Err(reasons) => text(StatusCode::SERVICE_UNAVAILABLE, lines(&reasons)),
            },
            "/metrics" => {
                let mut page = text(StatusCode::OK, self.metrics.render());
                page.headers_mut().insert(CONTENT_TYPE, PROMETHEUS);
                page
            }
            _ => text(StatusCode::NOT_FOUND, "no such page: see /\n"),
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, TEXT);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn lines(reasons: &[(&'static str, String)]) -> String {
    let mut lines = String::new();
    for (part, reason) in reasons {
        // Writing to a String does not fail.
        let _ = writeln!(lines, "{part}: {reason}");
    }
    lines
}

/// Out of file descriptors, `accept` fails at once and again: a loop without a pause would take a whole core.
async fn pause_after(error: &io::Error) {
    const PAUSE: Duration = Duration::from_millis(100);
    tracing::warn!(%error, "failed to accept an admin connection");
    tokio::time::sleep(PAUSE).await;
}
