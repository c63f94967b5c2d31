//! Request bodies, and what is said of those that cannot be read.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::fault::{Code, Fault};

/// A body of JSON.
pub(crate) struct Parsed<T>(pub T);

impl<S: std::marker::Send + Sync, T: DeserializeOwned> FromRequest<S> for Parsed<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, state: &S) -> Result<Parsed<T>, Fault> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        let kind = kind.split(';').next().unwrap_or("").trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Fault::new(Code::NotJson, "expected Content-Type: application/json"));
        }
        let bytes =
            Bytes::from_request(request, state).await.map_err(|why| match why.into_response().status() {
                StatusCode::PAYLOAD_TOO_LARGE => Fault::new(Code::TooLarge, "the body is too large"),
                _ => Fault::new(Code::Malformed, "the body broke off"),
            })?;
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|why| unreadable(&why))?;
        reader.end().map_err(|_| Fault::new(Code::Malformed, "more follows the JSON, expected nothing"))?;
        Ok(Parsed(value))
    }
}

/// serde's words quote what they found, which may be anything. Only the place and what was expected are said.
pub(crate) fn unreadable(why: &serde_path_to_error::Error<serde_json::Error>) -> Fault {
    let cause = why.inner();
    if cause.classify() != Category::Data {
        let at = format!("line {} column {}", cause.line(), cause.column());
        return Fault::new(Code::Malformed, format!("{at}: not JSON"));
    }
    let text = cause.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    let (what, is_unknown) = (text.rsplit_once(", expected "), text.starts_with("unknown field"));
    let message = match what {
        // The field's name is the client's own words, and no place of ours.
        Some((_, expected)) if is_unknown => format!("holds an unknown field, expected {expected}"),
        Some((_, expected)) => format!("expected {expected}"),
        None if text.starts_with("missing field") => text.to_owned(),
        None => "not of the expected form".to_owned(),
    };
    let path = why.path().to_string();
    let path = if is_unknown { path.rsplit_once('.').map_or("", |(above, _)| above) } else { &path };
    let field = (!path.is_empty() && path != "." && path != "?").then(|| path.to_owned());
    Fault { field, ..Fault::new(Code::Malformed, message) }
}
