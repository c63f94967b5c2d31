//! How much of a visit is recorded. What a mode forbids is not in the event, so it is nowhere behind it either.
//!
//! One thing no mode can take away: an event's number stands between those of its neighbours, whose times may be
//! known, and so does the moment at which Kafka took it, for as long as the topic keeps it.

use enrich::crowd;
use event::{Event, Kind, Method, Mode, limits};
use link::Link;
use serde::{Deserialize, Serialize};

use crate::answer::{Head, Reason};

/// What is made of a visitor's wish not to be tracked. The reply is the same whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Of `DNT: 1`.
    pub dnt: Wish,
    /// Of `Sec-GPC: 1`.
    pub gpc: Wish,
}

/// What a wish comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// It is recorded with the event, no more.
    #[default]
    Ignore,
    /// The event is recorded as in mode anonymous.
    Anonymous,
    /// There is no event.
    Off,
}

/// How much of a visit may be recorded, or why nothing: the most restrictive of the link's mode and what the
/// visitor's wishes come to.
pub(crate) fn of(link: &Link, policy: Policy, head: &Head<'_>) -> Result<Mode, Reason> {
    let mut mode = link.mode;
    if mode == Mode::Off {
        return Err(Reason::Mode);
    }
    let wishes = [
        (asks(head.headers.dnt), policy.dnt, Reason::Dnt),
        (asks(head.headers.sec_gpc), policy.gpc, Reason::Gpc),
    ];
    for (asked, wish, reason) in wishes {
        match wish {
            _ if !asked => {}
            Wish::Ignore => {}
            Wish::Off => return Err(reason),
            // `date` knows whose date it is, and `anonymous` may not; of a count `date` knows nothing. What both allow
            // is nothing.
            Wish::Anonymous if mode == Mode::Date => return Err(reason),
            Wish::Anonymous => mode = Mode::Anonymous,
        }
    }
    if mode == Mode::Date && link.kind != Kind::Open {
        return Err(Reason::Mode);
    }
    if mode == Mode::Date && is_machine(head) {
        return Err(Reason::Machine);
    }
    Ok(mode)
}

/// The event of a visit that may be recorded in this mode.
pub(crate) fn event<'a>(mode: Mode, link: &'a Link, head: &Head<'a>, now_ms: i64) -> Option<Event<'a>> {
    match mode {
        Mode::Off => None,
        Mode::Date => Some(dated(link, now_ms)),
        Mode::Anonymous => Some(anonymous(link, head, now_ms)),
        Mode::Full | Mode::Unspecified => Some(full(link, head, now_ms)),
    }
}

const HOUR_MS: i64 = 3_600_000;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// Whether `DNT` or `Sec-GPC` is set. DNT's extensions may follow the digit.
fn asks(value: &[u8]) -> bool {
    value.first() == Some(&b'1')
}

/// Whether a visit is no person's by all that it says itself. Of an event of mode `date` nothing could tell later.
fn is_machine(head: &Head<'_>) -> bool {
    let h = &head.headers;
    let ahead =
        [h.sec_purpose, h.purpose, h.x_purpose, h.x_moz].into_iter().any(|value| !purpose(value).is_empty());
    head.method == "HEAD" || ahead || !crowd(text(h.user_agent, limits::USER_AGENT)).is_people
}

/// All that is documented in `proto/`.
fn full<'a>(link: &'a Link, head: &Head<'a>, now_ms: i64) -> Event<'a> {
    let h = &head.headers;
    Event {
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
        method: method(head),
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
        client_ip: head.client,
        dnt: asks(h.dnt),
        sec_gpc: asks(h.sec_gpc),
        ..Event::default()
    }
}

/// A count of the message, the hour and the link, and what says whether a machine was there. Each field is one of a
/// few values that many share, and none is a text of the visitor's or of the recipient's own: a link's target may
/// name whom it was made for, and the second of sending is in the sender's own log beside the recipient.
fn anonymous<'a>(link: &'a Link, head: &Head<'a>, now_ms: i64) -> Event<'a> {
    let h = &head.headers;
    Event {
        kind: link.kind,
        received_at_ms: now_ms - now_ms.rem_euclid(HOUR_MS),
        workspace: link.workspace,
        message: link.message,
        link: link.link,
        position: link.position,
        mode: Mode::Anonymous,
        region: link.region,
        trap: link.trap,
        method: method(head),
        user_agent: crowd(text(h.user_agent, limits::USER_AGENT)).agent,
        sec_purpose: purpose(h.sec_purpose),
        purpose: purpose(h.purpose),
        x_purpose: purpose(h.x_purpose),
        x_moz: purpose(h.x_moz),
        http_version: head.http_version,
        dnt: asks(h.dnt),
        sec_gpc: asks(h.sec_gpc),
        ..Event::default()
    }
}

/// That a recipient opened something on this day: the shape that regulators exempt for the hygiene of lists. Not
/// which message. The sender's own word on the region stays, because without it no send time could be refused.
fn dated(link: &Link, now_ms: i64) -> Event<'_> {
    Event {
        kind: link.kind,
        received_at_ms: now_ms - now_ms.rem_euclid(DAY_MS),
        workspace: link.workspace,
        recipient: link.recipient,
        mode: Mode::Date,
        region: link.region,
        ..Event::default()
    }
}

fn method(head: &Head<'_>) -> Method {
    if head.method == "HEAD" { Method::Head } else { Method::Get }
}

/// The word in a purpose header that says "not yet": whatever else stands there is left out.
fn purpose(value: &[u8]) -> &'static str {
    let holds =
        |word: &&str| value.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
    ["prefetch", "prerender", "preview"].into_iter().find(holds).unwrap_or("")
}

/// The longest valid UTF-8 at the start of `value`, of at most `bytes_max` bytes.
///
/// A header that holds anything else is a robot's or a mistake: its readable start says enough.
fn text(value: &[u8], bytes_max: usize) -> &str {
    // Most headers are not there.
    if value.is_empty() {
        return "";
    }
    let cut = &value[..value.len().min(bytes_max)];
    match std::str::from_utf8(cut) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&cut[..error.valid_up_to()]).unwrap_or_default(),
    }
}
