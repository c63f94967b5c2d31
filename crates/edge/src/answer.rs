//! What a request means: one pure function from a request's head to a reply and maybe an event.

use event::{Event, Kind, Method, Mode, limits};
use link::{Keys, Link, TokenError};

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
    pub const ALL: [Reason; 12] = [
        Reason::Token(TokenError::Length),
        Reason::Token(TokenError::Encoding),
        Reason::Token(TokenError::UnknownKey),
        Reason::Token(TokenError::Forged),
        Reason::Token(TokenError::Payload),
        Reason::Expired,
        Reason::Mode,
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
/// A pixel's path always gets the pixel. Only a verified token redirects. Age and tracking mode stop the event,
/// never the reply: dead old links are what people hold against link trackers most.
pub fn answer(keys: &Keys, head: &Head<'_>, now_ms: i64) -> Answer {
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
            let outcome = match refusal(keys, &link, now_ms) {
                Some(reason) => Outcome::NoEvent(reason),
                None => Outcome::Recorded(kind),
            };
            Answer { reply, outcome, link: Some(link) }
        }
        Err(error) if kind == Kind::Open => without_event(Reply::Pixel, Reason::Token(error)),
        Err(error) => without_event(Reply::BadLink, Reason::Token(error)),
    }
}

impl Answer {
    /// The event to record, if there is one. Its id is given by the journal: it is 0 here.
    pub fn event<'a>(&'a self, head: &Head<'a>, now_ms: i64) -> Option<Event<'a>> {
        match (self.outcome, &self.link) {
            (Outcome::Recorded(_), Some(link)) => Some(event(link, head, now_ms)),
            _ => None,
        }
    }
}

fn without_event(reply: Reply, reason: Reason) -> Answer {
    Answer { reply, outcome: Outcome::NoEvent(reason), link: None }
}

/// Why a verified link leaves no event.
fn refusal(keys: &Keys, link: &Link, now_ms: i64) -> Option<Reason> {
    // `date` is the shape that regulators exempt for list hygiene: the day of the last open, and nothing of links.
    let forbidden = match link.mode {
        Mode::Off => true,
        Mode::Date => link.kind != Kind::Open,
        Mode::Anonymous | Mode::Full | Mode::Unspecified => false,
    };
    if forbidden {
        return Some(Reason::Mode);
    }
    let age_max_ms = i64::from(keys.event_max_age_days()) * DAY_MS;
    (link.sent_at_ms != 0 && now_ms.saturating_sub(link.sent_at_ms) > age_max_ms).then_some(Reason::Expired)
}

const DAY_MS: i64 = 86_400_000;

fn event<'a>(link: &'a Link, head: &Head<'a>, now_ms: i64) -> Event<'a> {
    let about_link = Event {
        kind: link.kind,
        received_at_ms: now_ms,
        workspace: link.workspace,
        message: link.message,
        recipient: link.recipient,
        link: link.link,
        target: &link.target,
        sent_at_ms: link.sent_at_ms,
        position: link.position,
        mode: link.mode,
        region: link.region,
        trap: link.trap,
        method: if head.method == "HEAD" { Method::Head } else { Method::Get },
        ..Event::default()
    };
    if link.mode == Mode::Date {
        return Event { received_at_ms: now_ms - now_ms.rem_euclid(DAY_MS), ..about_link };
    }
    let h = &head.headers;
    let about_request = Event {
        user_agent: text(h.user_agent, limits::USER_AGENT),
        accept: text(h.accept, limits::HEADER),
        accept_language: text(h.accept_language, limits::HEADER),
        referer: text(h.referer, limits::HEADER),
        sec_fetch_site: text(h.sec_fetch_site, limits::WORD),
        sec_fetch_mode: text(h.sec_fetch_mode, limits::WORD),
        sec_fetch_dest: text(h.sec_fetch_dest, limits::WORD),
        sec_fetch_user: text(h.sec_fetch_user, limits::WORD),
        sec_purpose: text(h.sec_purpose, limits::WORD),
        purpose: text(h.purpose, limits::WORD),
        x_purpose: text(h.x_purpose, limits::WORD),
        x_moz: text(h.x_moz, limits::WORD),
        via: text(h.via, limits::HEADER),
        host: text(h.host, limits::HEADER),
        http_version: head.http_version,
        dnt: h.dnt == b"1",
        sec_gpc: h.sec_gpc == b"1",
        ..about_link
    };
    if link.mode == Mode::Anonymous {
        return Event { recipient: 0, ..about_request };
    }
    Event { client_ip: head.client, ..about_request }
}

/// The longest valid UTF-8 at the start of `value`, of at most `bytes_max` bytes.
///
/// A header that holds anything else is a robot's or a mistake: its readable start says enough.
fn text(value: &[u8], bytes_max: usize) -> &str {
    let cut = &value[..value.len().min(bytes_max)];
    match std::str::from_utf8(cut) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&cut[..error.valid_up_to()]).unwrap_or_default(),
    }
}
