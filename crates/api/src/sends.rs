//! `POST /v1/sends`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use metrics::counter;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::error;
use utoipa::ToSchema;

use crate::body::{Parsed, unreadable};
use crate::fault::{Code, Fault, ItemFault, Unavailable};
use crate::guard::{Place, Workspace};
use crate::serve::Api;

/// The most sends in a request.
pub const SENDS_MAX: usize = 1_000;

/// A message that was sent to a recipient: a `sent` line of `mailbeacon import`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// `sent`, and may be left out.
    #[serde(default)]
    pub kind: Sent,
    /// When it was sent, RFC 3339, in the last 25 months.
    #[schema(format = DateTime)]
    pub time: String,
    /// The recipient, as you name it when you mint links. Only a keyed hash is stored.
    #[schema(min_length = 1)]
    pub recipient: String,
    /// The message (campaign, template): a number, or a name of which a hash is stored.
    #[schema(min_length = 1)]
    pub message: String,
    /// The recipient's IANA time zone, when you know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The recipient's country, two letters, when you know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The recipient's mail domain; that of the recipient when it is of the form name@domain. A keyed hash is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

/// The one kind that the API takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sent {
    /// It was sent.
    #[default]
    Sent,
}

/// What is wrong with a send, in words that repeat nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which field.
    pub field: &'static str,
    /// What was expected.
    pub message: String,
}

/// Records sends of a workspace, but for those with a problem. They are safe when it returns, and the same again
/// changes nothing. May block.
pub type Record =
    Box<dyn Fn(u32, &[Send]) -> Result<Vec<Option<Problem>>, Unavailable> + std::marker::Send + Sync>;

/// One send, or several.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes the body, whose items are read one by one for an error each")]
enum SendsRequest {
    One(Send),
    Many {
        #[schema(min_items = 1, max_items = 1000)]
        sends: Vec<Send>,
    },
}

/// What is recorded.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Recorded {
    /// How many sends are safe. They are stored within seconds; those that are stored already change nothing.
    recorded: usize,
    /// The others, of which nothing is recorded.
    errors: Vec<ItemFault>,
}

/// Tells what was sent: without it, nobody knows which hours were tried. The same again changes nothing.
#[utoipa::path(post, path = "/v1/sends", operation_id = "record_sends", request_body = SendsRequest,
    responses((status = 202, description = "Safe, but for the sends that are named", body = Recorded)))]
pub(crate) async fn record(
    State(api): State<Arc<Api>>,
    Extension(Workspace(workspace)): Extension<Workspace>,
    Extension(place): Extension<Place>,
    Parsed(body): Parsed<Value>,
) -> Result<Response, Fault> {
    let (items, is_one) = items(body)?;
    let (mut sends, mut indices, mut errors) = (Vec::with_capacity(items.len()), Vec::new(), Vec::new());
    for (index, item) in items.into_iter().enumerate() {
        match read(item) {
            Ok(send) => {
                sends.push(send);
                indices.push(index);
            }
            Err(fault) => errors.push(ItemFault { index, fault }),
        }
    }
    let told = sends.len() + errors.len();
    if !sends.is_empty() {
        let work = tokio::task::spawn_blocking(move || {
            let _place = place;
            (api.backing.record)(workspace, &sends)
        });
        let problems = work.await.map_err(|cause| {
            error!(%cause, "recording sends broke off");
            Unavailable
        })??;
        for (index, problem) in indices.into_iter().zip(problems) {
            if let Some(Problem { field, message }) = problem {
                errors.push(ItemFault { index, fault: Fault::field(field, message) });
            }
        }
        errors.sort_by_key(|error| error.index);
    }
    let recorded = told - errors.len();
    counter!("api_sends_total", "outcome" => "recorded").increment(recorded as u64);
    counter!("api_sends_total", "outcome" => "refused").increment(errors.len() as u64);
    if recorded > 0 {
        return Ok((StatusCode::ACCEPTED, Json(Recorded { recorded, errors })).into_response());
    }
    match errors.pop() {
        Some(only) if is_one => Err(only.fault),
        last => {
            errors.extend(last);
            Ok(Fault::new(Code::Invalid, "no send can be recorded").with_items(errors))
        }
    }
}

fn items(body: Value) -> Result<(Vec<Value>, bool), Fault> {
    let Value::Object(mut object) = body else {
        return Err(Fault::new(Code::Malformed, "expected a send, or {\"sends\": [...]}"));
    };
    let Some(sends) = object.remove("sends") else {
        return Ok((vec![Value::Object(object)], true));
    };
    let Value::Array(items) = sends else {
        return Err(Fault { code: Code::Malformed, ..Fault::field("sends", "expected a list") });
    };
    if !object.is_empty() {
        return Err(Fault::new(Code::Malformed, "expected nothing beside `sends`"));
    }
    if items.is_empty() || items.len() > SENDS_MAX {
        return Err(Fault::field("sends", format!("expected 1 to {SENDS_MAX}")));
    }
    Ok((items, false))
}

fn read(item: Value) -> Result<Send, Fault> {
    let send: Send = serde_path_to_error::deserialize(item)
        .map_err(|why| Fault { code: Code::Invalid, ..unreadable(&why) })?;
    if send.time.parse::<jiff::Timestamp>().is_err() {
        return Err(Fault::field("time", "expected RFC 3339, such as 2026-01-31T09:00:00Z"));
    }
    Ok(send)
}
