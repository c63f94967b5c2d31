//! The server: its parts, its routes and its listener.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use link::{Keys, Site};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::access::Access;
use crate::config::Config;
use crate::fault::{Code, Fault};
use crate::guard::guard;
use crate::send_times::Ask;
use crate::sends::Record;
use crate::{document, links, send_times, sends};

/// The largest request head, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The most header lines of a request.
const HEADERS_MAX: usize = 64;
/// After an accept that failed for want of descriptors or memory: how long until the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the API stands on.
pub struct Backing {
    /// Who may ask.
    pub access: Arc<ArcSwap<Access>>,
    /// The key ring that links are minted with.
    pub keys: Arc<ArcSwap<Keys>>,
    /// Where recipients reach the edge.
    pub site: Site,
    /// Takes sends.
    pub record: Record,
    /// Recommends.
    pub ask: Ask,
}

/// All that a request needs.
pub(crate) struct Api {
    pub config: Config,
    pub backing: Backing,
    pub places: Arc<Semaphore>,
}

/// Answers until `shutdown`, then finishes open requests within `drain_ms`.
pub async fn serve(config: Config, listener: TcpListener, backing: Backing, shutdown: CancellationToken) {
    let connections_max = Arc::new(Semaphore::new(config.connections_max));
    let drain = Duration::from_millis(config.drain_ms);
    let places = Arc::new(Semaphore::new(config.requests_max));
    let api = Arc::new(Api { config, backing, places });
    let router = router(api.clone());
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = connections_max.clone().acquire_owned().await.expect("the semaphore is never closed");
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            Some(_) = connections.join_next() => continue,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (api, router, shutdown) = (api.clone(), router.clone(), shutdown.clone());
                connections.spawn(async move {
                    converse(&api.config, stream, router, shutdown).await;
                    drop(place);
                });
            }
            Err(cause) => {
                warn!(%cause, "failed to accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, finished).await.is_err() {
        warn!("open requests did not finish in api.drain_ms");
    }
}

async fn converse(config: &Config, stream: TcpStream, router: Router, shutdown: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.header_read_timeout_ms))
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let life = tokio::time::sleep(Duration::from_millis(config.connection_ms));
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = async { tokio::select! { () = life => (), () = shutdown.cancelled() => () } } => {
            connection.as_mut().graceful_shutdown();
            let last = Duration::from_millis(config.request_timeout_ms);
            tokio::time::timeout(last, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(cause) = ended {
        debug!(%cause, "connection ended early");
    }
}

/// Every path there is. The document is held to this by a test.
fn routes() -> [(&'static str, MethodRouter<Arc<Api>>); 6] {
    [
        ("/v1/links", post(links::mint)),
        ("/v1/messages/instrument", post(links::instrument)),
        ("/v1/sends", post(sends::record)),
        ("/v1/recipients/{recipient}/send-time", get(send_times::one)),
        ("/v1/send-times", post(send_times::many)),
        (document::PATH, get(document::show)),
    ]
}

fn router(api: Arc<Api>) -> Router {
    let mut router = Router::new();
    for (path, methods) in routes() {
        router = router.route(path, methods);
    }
    router
        .fallback(async || Fault::new(Code::NotFound, "no such path, see /openapi.json"))
        .method_not_allowed_fallback(async || {
            Fault::new(Code::MethodNotAllowed, "no such method here, see /openapi.json")
        })
        .layer(DefaultBodyLimit::max(api.config.body_bytes_max))
        .layer(from_fn_with_state(api.clone(), guard))
        .with_state(api)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document = serde_json::to_value(crate::document()).unwrap();
        let documented: BTreeSet<&str> =
            document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let routes = super::routes();
        assert_eq!(documented, routes.iter().map(|(path, _)| *path).collect());
    }
}
