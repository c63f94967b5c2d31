//! What every request passes: who asks, whether there is room, and until when.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::{counter, histogram};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::document;
use crate::fault::{Code, Fault};
use crate::serve::Api;

/// The workspace of the request's key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workspace(pub u32);

/// The request's place among those at a time. Work that goes on when the request is given up keeps a clone.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Around every route and every answer that there is none.
pub(crate) async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let mut response = admitted(&api, request, next).await.unwrap_or_else(IntoResponse::into_response);
    let answer = response.extensions().get::<Code>().map_or("ok", |code| code.as_str());
    counter!("api_requests_total", "answer" => answer).increment(1);
    histogram!("api_answer_seconds").record(begun.elapsed().as_secs_f64());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn admitted(api: &Api, mut request: Request, next: Next) -> Result<Response, Fault> {
    // Before a byte of the body is read.
    if request.uri().path() != document::PATH {
        let key = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        let workspace = key.and_then(|key| api.backing.access.load().workspace(key));
        let workspace = workspace.ok_or_else(|| {
            Fault::new(Code::Unauthorized, "expected Authorization: Bearer <a key of this API>")
        })?;
        request.extensions_mut().insert(Workspace(workspace));
    }
    let permit = api.places.clone().try_acquire_owned().map_err(|_| {
        Fault::new(Code::Busy, format!("more than {} requests at a time", api.config.requests_max))
    })?;
    request.extensions_mut().insert(Place { _permit: Arc::new(permit) });
    let bound = Duration::from_millis(api.config.request_timeout_ms);
    tokio::time::timeout(bound, next.run(request)).await.map_err(|_| {
        Fault::new(Code::Timeout, "took too long, and may be done or not: the same again does no harm")
    })
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}
