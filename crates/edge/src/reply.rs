//! The replies, byte for byte.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY,
};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;

use crate::answer::{Answer, Reply};

/// The smallest GIF that every client draws as nothing: 1x1, transparent, 43 bytes.
pub const PIXEL: &[u8; 43] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x00\x00\
\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

const BAD_LINK: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
content=\"width=device-width\"><title>This link does not work</title><body style=\"font:1.1em/1.5 sans-serif;\
max-width:32em;margin:4em auto;padding:0 1em\"><h1>This link does not work</h1><p>It may have been cut or changed on \
its way. Try the link in the message itself, or ask its sender.</p>";

const ROBOTS: &str = "User-agent: *\nDisallow: /\n";

const NEVER_STORE: HeaderValue =
    HeaderValue::from_static("no-store, no-cache, must-revalidate, private, max-age=0");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const NO_INDEX: HeaderValue = HeaderValue::from_static("noindex");
const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// The HTTP response to an answer.
///
/// A target that is no header value gives the page for bad links: minting refuses such targets, so that only a
/// key holder's own bug can show it.
pub fn response(answer: &Answer) -> Response<Full<Bytes>> {
    match answer.reply {
        Reply::Pixel => with(StatusCode::OK, PIXEL, &[(CONTENT_TYPE, "image/gif")], |headers| {
            headers.insert(CACHE_CONTROL, NEVER_STORE);
        }),
        Reply::Redirect => {
            // A token holds its target in the form of this header.
            match answer.link.as_ref().map(|link| HeaderValue::from_str(&link.target)) {
                Some(Ok(target)) => with(StatusCode::FOUND, b"", &[], |headers| {
                    headers.insert(LOCATION, target);
                    headers.insert(CACHE_CONTROL, NO_STORE);
                    headers.insert(REFERRER_POLICY, NO_REFERRER);
                    headers.insert(X_ROBOTS_TAG, NO_INDEX);
                }),
                _ => bad_link(),
            }
        }
        Reply::BadLink => bad_link(),
        Reply::NotFound => text(StatusCode::NOT_FOUND, "not found\n"),
        Reply::Robots => text(StatusCode::OK, ROBOTS),
        Reply::MethodNotAllowed => {
            with(StatusCode::METHOD_NOT_ALLOWED, b"GET and HEAD only\n", &[(ALLOW, "GET, HEAD")], |_| ())
        }
        Reply::BodyRefused => {
            with(StatusCode::PAYLOAD_TOO_LARGE, b"no body is read here\n", &[(CONNECTION, "close")], |_| ())
        }
        Reply::UriTooLong => text(StatusCode::URI_TOO_LONG, "request target too long\n"),
    }
}

fn bad_link() -> Response<Full<Bytes>> {
    with(
        StatusCode::NOT_FOUND,
        BAD_LINK.as_bytes(),
        &[(CONTENT_TYPE, "text/html; charset=utf-8")],
        |headers| {
            headers.insert(CACHE_CONTROL, NO_STORE);
            headers.insert(REFERRER_POLICY, NO_REFERRER);
            headers.insert(X_ROBOTS_TAG, NO_INDEX);
        },
    )
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    with(status, body.as_bytes(), &[(CONTENT_TYPE, "text/plain; charset=utf-8")], |_| ())
}

fn with(
    status: StatusCode,
    body: &'static [u8],
    headers: &[(HeaderName, &'static str)],
    more: impl FnOnce(&mut HeaderMap),
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body)));
    *response.status_mut() = status;
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    more(response.headers_mut());
    response
}
