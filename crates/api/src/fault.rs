//! What is said when a request is not done.

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request, or an item of one, is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// 400: the body is not JSON of the expected form.
    Malformed,
    /// 401: no key, or one that is not known.
    Unauthorized,
    /// 404: no such path.
    NotFound,
    /// 405: the path has no such method.
    MethodNotAllowed,
    /// 413: the body is too large.
    TooLarge,
    /// 415: the body is not announced as application/json.
    NotJson,
    /// 422: a field, or all items, cannot be.
    Invalid,
    /// 429: too many requests at a time. Ask again after `Retry-After`.
    Busy,
    /// 503: what stands behind the API does not answer. Ask again after `Retry-After`.
    Unavailable,
    /// 504: it took too long. Whether it was done is not known; doing it again does no harm.
    Timeout,
}

impl Code {
    /// All of them.
    pub const ALL: [Code; 10] = [
        Code::Malformed,
        Code::Unauthorized,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::TooLarge,
        Code::NotJson,
        Code::Invalid,
        Code::Busy,
        Code::Unavailable,
        Code::Timeout,
    ];

    /// The word in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Malformed => "malformed",
            Code::Unauthorized => "unauthorized",
            Code::NotFound => "not_found",
            Code::MethodNotAllowed => "method_not_allowed",
            Code::TooLarge => "too_large",
            Code::NotJson => "not_json",
            Code::Invalid => "invalid",
            Code::Busy => "busy",
            Code::Unavailable => "unavailable",
            Code::Timeout => "timeout",
        }
    }

    /// What it says, in the document.
    pub fn meaning(self) -> &'static str {
        match self {
            Code::Malformed => "malformed: the body is not JSON of the expected form",
            Code::Unauthorized => "unauthorized: no key, or one that is not known",
            Code::NotFound => "not_found: no such path",
            Code::MethodNotAllowed => "method_not_allowed: the path has no such method",
            Code::TooLarge => "too_large: the body is too large",
            Code::NotJson => "not_json: the body is not announced as application/json",
            Code::Invalid => "invalid: a field, or every item, cannot be",
            Code::Busy => "busy: too many requests at a time, ask again after Retry-After",
            Code::Unavailable => {
                "unavailable: what stands behind the API does not answer, ask again after Retry-After"
            }
            Code::Timeout => "timeout: it took too long and may be done or not; doing it again does no harm",
        }
    }

    /// Each has one of its own.
    pub fn status(self) -> StatusCode {
        match self {
            Code::Malformed => StatusCode::BAD_REQUEST,
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Code::Busy => StatusCode::TOO_MANY_REQUESTS,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

/// What stands behind the API does not answer. Who returns it has logged why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// An error as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// For programs.
    pub code: Code,
    /// For people. Never repeats a key, a recipient or an address.
    pub message: String,
    /// The field that is wrong, when one is: `sends[3].time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: Fault,
    /// When every item of several is wrong: each one's error.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ItemFault>,
}

/// An error of one of several items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ItemFault {
    /// The item's place in the request, from 0.
    pub index: usize,
    /// What is wrong with it.
    #[serde(flatten)]
    pub fault: Fault,
}

impl Fault {
    pub fn new(code: Code, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into(), field: None }
    }

    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Fault {
        Fault { code: Code::Invalid, message: message.into(), field: Some(field.into()) }
    }

    pub fn with_items(self, errors: Vec<ItemFault>) -> Response {
        let code = self.code;
        let mut response = (code.status(), Json(ErrorBody { error: self, errors })).into_response();
        response.extensions_mut().insert(code);
        let headers = response.headers_mut();
        match code {
            Code::Busy => headers.insert(RETRY_AFTER, HeaderValue::from_static("1")),
            Code::Unavailable => headers.insert(RETRY_AFTER, HeaderValue::from_static("5")),
            Code::Unauthorized => headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            _ => None,
        };
        response
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        self.with_items(Vec::new())
    }
}

impl From<Unavailable> for Fault {
    fn from(_: Unavailable) -> Fault {
        Fault::new(Code::Unavailable, "what stands behind this does not answer: the same again does no harm")
    }
}
