//! What a request means: one pure function from a request's head to a reply and maybe an event.

use event::{Event, Kind, Mode};
use link::{Keys, Link, TokenError};

use crate::mode::{self, DAY_MS, Policy};

/// The longest request target that is looked at, in bytes. A link of ours is at most 2,000 (see `link`).
pub const URI_BYTES_MAX: usize = 4_096;

/// All of a request that may matter to its meaning. Header values are raw; an absent one is empty.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The request method as it stands.
    pub method: &'a str,
    /// The request target without its query.
    pub path: &'a str,
    /// Length of the whole request target, in bytes.
    pub uri_bytes: usize,
    /// 10, 11 or 20.
    pub http_version: u32,
    /// A body is announced.
    pub has_body: bool,
    /// The client, as the trusted proxies name it (see [`crate::address`]): 4 or 16 bytes, network order.
    pub client: &'a [u8],
    /// The headers that the verdict reads.
    pub headers: Headers<'a>,
}

/// The captured headers. Of a header that is there twice the last one counts.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs, reason = "each field is the header of its name")]
pub struct Headers<'a> {
    pub user_agent: &'a [u8],
    pub accept: &'a [u8],
    pub accept_language: &'a [u8],
    pub referer: &'a [u8],
    pub sec_fetch_site: &'a [u8],
    pub sec_fetch_mode: &'a [u8],
    pub sec_fetch_dest: &'a [u8],
    pub sec_fetch_user: &'a [u8],
    pub sec_purpose: &'a [u8],
    pub purpose: &'a [u8],
    pub x_purpose: &'a [u8],
    pub x_moz: &'a [u8],
    pub via: &'a [u8],
    pub host: &'a [u8],
    pub dnt: &'a [u8],
    pub sec_gpc: &'a [u8],
}

/// The reply to a request, what came of it, and the link it followed.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What to send.
    pub reply: Reply,
    /// The one outcome of this request.
    pub outcome: Outcome,
    /// The verified link; `None` when there is none.
    pub link: Option<Link>,
    /// How much may be recorded: the link's mode, or a more restrictive one.
    pub mode: Mode,
}

/// What to send. Every reply is static but for the target of a redirect, which is the link's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// 200 and a 1x1 transparent GIF.
    Pixel,
    /// 302 to the link's target.
    Redirect,
    /// 404 and a page that says the link does not work: never a redirect.
    BadLink,
    /// 404.
    NotFound,
    /// 200: crawlers are asked to stay away.
    Robots,
    /// 405.
    MethodNotAllowed,
    /// 413 and an end to the connection: a body is not read.
    BodyRefused,
    /// 414.
    UriTooLong,
}

impl Reply {
    /// Every reply, in order.
    pub const ALL: [Reply; 8] = [
        Reply::Pixel,
        Reply::Redirect,
        Reply::BadLink,
        Reply::NotFound,
        Reply::Robots,
        Reply::MethodNotAllowed,
        Reply::BodyRefused,
        Reply::UriTooLong,
    ];

    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Reply::Pixel => "pixel",
            Reply::Redirect => "redirect",
            Reply::BadLink => "bad_link",
            Reply::NotFound => "not_found",
            Reply::Robots => "robots",
            Reply::MethodNotAllowed => "method_not_allowed",
            Reply::BodyRefused => "body_refused",
            Reply::UriTooLong => "uri_too_long",
        }
    }
}

/// The one outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An event is to be recorded, of this kind.
    Recorded(Kind),
    /// Answered without an event, for this reason.
    NoEvent(Reason),
}

/// Why a request leaves no event. [`Reason::as_str`] is the metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The token is not one of ours.
    Token(TokenError),
    /// The message is older than the key ring's `event_max_age_days`.
    Expired,
    /// The recipient's tracking mode forbids it.
    Mode,
    /// A machine's visit, in mode `date`: the date would be taken for a person's.
    Machine,
    /// The visitor sent `DNT: 1`.
    Dnt,
    /// The visitor sent `Sec-GPC: 1`.
    Gpc,
    /// No such path.
    Path,
    /// `robots.txt`.
    Robots,
    /// Neither GET nor HEAD.
    Method,
    /// A body on a GET.
    Body,
    /// The request target is too long.
    Uri,
}

impl Reason {
    /// Every reason, for metrics and tests.
    pub const ALL: [Reason; 15] = [
        Reason::Token(TokenError::Length),
        Reason::Token(TokenError::Encoding),
        Reason::Token(TokenError::UnknownKey),
        Reason::Token(TokenError::Forged),
        Reason::Token(TokenError::Payload),
        Reason::Expired,
        Reason::Mode,
        Reason::Machine,
        Reason::Dnt,
        Reason::Gpc,
        Reason::Path,
        Reason::Robots,
        Reason::Method,
        Reason::Body,
        Reason::Uri,
    ];

    /// The label of this reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Token(error) => error.as_str(),
            Reason::Expired => "expired",
            Reason::Mode => "mode",
            Reason::Machine => "machine",
            Reason::Dnt => "dnt",
            Reason::Gpc => "gpc",
            Reason::Path => "path",
            Reason::Robots => "robots",
            Reason::Method => "method",
            Reason::Body => "body",
            Reason::Uri => "uri",
        }
    }
}

/// Decides what a request gets. `now_ms` is Unix time in milliseconds.
///
/// A pixel's path always gets the pixel. Only a verified token redirects. Age, tracking mode and the visitor's wish
/// stop the event, never the reply: dead old links are what people hold against link trackers most.
pub fn answer(keys: &Keys, policy: Policy, head: &Head<'_>, now_ms: i64) -> Answer {
    if head.uri_bytes > URI_BYTES_MAX {
        return without_event(Reply::UriTooLong, Reason::Uri);
    }
    if head.has_body {
        return without_event(Reply::BodyRefused, Reason::Body);
    }
    if !matches!(head.method, "GET" | "HEAD") {
        return without_event(Reply::MethodNotAllowed, Reason::Method);
    }
    let Some((kind, token)) = link::parse_path(head.path.as_bytes()) else {
        return match head.path {
            "/robots.txt" => without_event(Reply::Robots, Reason::Robots),
            _ => without_event(Reply::NotFound, Reason::Path),
        };
    };
    let reply = if kind == Kind::Open { Reply::Pixel } else { Reply::Redirect };
    match keys.open(kind, token) {
        Ok(link) => {
            let recorded = match is_expired(keys, &link, now_ms) {
                true => Err(Reason::Expired),
                false => mode::of(&link, policy, head),
            };
            let outcome = recorded.map_or_else(Outcome::NoEvent, |_| Outcome::Recorded(kind));
            Answer { reply, outcome, link: Some(link), mode: recorded.unwrap_or(Mode::Off) }
        }
        Err(error) if kind == Kind::Open => without_event(Reply::Pixel, Reason::Token(error)),
        Err(error) => without_event(Reply::BadLink, Reason::Token(error)),
    }
}

impl Answer {
    /// The event to record, if there is one. Its id is given by the journal: it is 0 here.
    pub fn event<'a>(&'a self, head: &Head<'a>, now_ms: i64) -> Option<Event<'a>> {
        let (Outcome::Recorded(_), Some(link)) = (self.outcome, &self.link) else { return None };
        mode::event(self.mode, link, head, now_ms)
    }
}

fn without_event(reply: Reply, reason: Reason) -> Answer {
    Answer { reply, outcome: Outcome::NoEvent(reason), link: None, mode: Mode::Off }
}

fn is_expired(keys: &Keys, link: &Link, now_ms: i64) -> bool {
    let age_max_ms = i64::from(keys.event_max_age_days()) * DAY_MS;
    link.sent_at_ms != 0 && now_ms.saturating_sub(link.sent_at_ms) > age_max_ms
}
