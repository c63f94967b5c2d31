//! One line, and the event that it tells.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use event::{Event, Kind, Mode, Region, limits};
use link::Keys;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::inlet::EventId;

/// A line as it is written.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    kind: KindName,
    time: jiff::Timestamp,
    #[serde(borrow)]
    recipient: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    link: Option<LinkName<'a>>,
    #[serde(borrow, default)]
    user_agent: Cow<'a, str>,
    #[serde(borrow)]
    address: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    time_zone: Cow<'a, str>,
    #[serde(borrow, default)]
    country: Cow<'a, str>,
    #[serde(borrow)]
    domain: Option<Cow<'a, str>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindName {
    Sent,
    Open,
    Click,
    Download,
}

/// A link by its number, or by where it goes.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum LinkName<'a> {
    Number(u32),
    #[serde(borrow)]
    Target(Cow<'a, str>),
}

/// How long events are kept, in ms: what is older would be stored and go at once.
const KEPT_MS: i64 = 25 * 30 * 86_400_000;
/// How far ahead of our clock another's may be, in ms.
const AHEAD_MS: i64 = 86_400_000;

/// What is wrong with a line, without what may not be shown of it.
#[derive(Debug)]
pub enum Wrong {
    /// It is no line at all.
    Line(String),
    /// A field cannot be.
    Field {
        name: &'static str,
        /// What it is, with a space before it, where that may be shown to whoever has the line.
        found: String,
        expected: &'static str,
    },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Line(why) => f.write_str(why),
            Wrong::Field { name, found, expected } => write!(f, "{name}{found}: expected {expected}"),
        }
    }
}

/// Makes events of lines.
pub struct Teller {
    keys: Arc<Keys>,
    workspace: u32,
    now_ms: i64,
}

impl Teller {
    /// For a workspace's lines, read at this time.
    pub fn new(keys: Arc<Keys>, workspace: u32, now_ms: i64) -> Self {
        Teller { keys, workspace, now_ms }
    }

    /// The event of a line, with its name; or what is wrong with the line.
    pub fn event(&self, text: &str) -> Result<(EventId, Vec<u8>), Wrong> {
        let line: Line = serde_json::from_str(text).map_err(|cause| Wrong::Line(unreadable(&cause)))?;
        let wrong = |name, found, expected| Err(Wrong::Field { name, found, expected });
        let at_ms = line.time.as_millisecond();
        if !(self.now_ms - KEPT_MS..=self.now_ms + AHEAD_MS).contains(&at_ms) {
            return wrong(
                "time",
                format!(" {}", line.time),
                "one of the last 25 months, which is how long events are kept",
            );
        }
        for (name, value) in [("recipient", &line.recipient), ("message", &line.message)] {
            if value.is_empty() {
                return wrong(name, " is empty".to_owned(), "a name");
            }
        }
        let address = match line.address.as_deref() {
            None | Some("") => Vec::new(),
            Some(text) => match text.parse() {
                Ok(IpAddr::V4(v4)) => v4.octets().to_vec(),
                Ok(IpAddr::V6(v6)) => v6.octets().to_vec(),
                Err(_) => return wrong("address", String::new(), "an IP address"),
            },
        };
        if !line.time_zone.is_empty() && jiff::tz::TimeZone::get(&line.time_zone).is_err() {
            return wrong("time_zone", format!(" {:?}", line.time_zone), "an IANA name such as Europe/Paris");
        }
        let country = line.country.to_ascii_uppercase();
        let is_code = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
        if !(country.is_empty() || is_code) {
            return wrong("country", format!(" {:?}", line.country), "a code of two letters such as US");
        }
        let (number, target) = match &line.link {
            None => (0, ""),
            Some(LinkName::Number(number)) => (*number, ""),
            Some(LinkName::Target(target)) => target.parse().map_or((0, &**target), |number| (number, "")),
        };
        let kind = match line.kind {
            KindName::Sent => Kind::Sent,
            KindName::Open => Kind::Open,
            KindName::Click => Kind::Click,
            KindName::Download => Kind::Download,
        };
        let is_sent = kind == Kind::Sent;
        let of_address = line.recipient.rsplit_once('@').map(|(_, domain)| domain);
        let domain = line.domain.as_deref().or(of_address).filter(|domain| is_sent && !domain.is_empty());
        let mut event = Event {
            recipient: self.keys.recipient(self.workspace, &line.recipient),
            kind,
            received_at_ms: at_ms,
            sent_at_ms: if is_sent { at_ms } else { 0 },
            workspace: self.workspace,
            message: self.keys.message(self.workspace, &line.message),
            link: number,
            target: cut(target, limits::TARGET),
            mode: Mode::Full,
            region: match country.as_str() {
                "" => Region::Unspecified,
                code if enrich::is_eu_eea_uk(code) => Region::Eu,
                _ => Region::Other,
            },
            user_agent: cut(&line.user_agent, limits::USER_AGENT),
            client_ip: &address,
            time_zone: &line.time_zone,
            country: &country,
            domain: domain.map_or(0, |domain| self.keys.domain(self.workspace, domain)),
            replay: true,
            ..Event::default()
        };
        (event.edge_id, event.seq) = name(&event);
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        Ok(((event.edge_id, event.seq), bytes))
    }
}

/// The same words give the same name. What only describes the recipient is not part of it.
fn name(event: &Event<'_>) -> EventId {
    let mut digest = Sha256::new();
    digest.update([event.kind as u8]);
    digest.update(event.workspace.to_le_bytes());
    for number in [event.message, event.recipient, event.received_at_ms as u64, u64::from(event.link)] {
        digest.update(number.to_le_bytes());
    }
    for text in [event.target.as_bytes(), event.user_agent.as_bytes(), event.client_ip] {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    event::imported_id(&digest.finalize().into())
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// serde's words quote what they found, which may be anything: only the place and the kind of trouble are said.
fn unreadable(cause: &serde_json::Error) -> String {
    use serde_json::error::Category;
    match cause.classify() {
        Category::Syntax | Category::Eof => {
            format!("column {}: not JSON, expected one object a line", cause.column())
        }
        Category::Io | Category::Data => {
            let text = cause.to_string();
            // The name of a missing field is no secret, and helps most.
            let named = text.starts_with("missing field");
            let what = if named {
                text.split(" at line").next().unwrap_or_default().to_owned()
            } else {
                "a field is not of its type".to_owned()
            };
            format!("column {}: {what}, expected kind, time (RFC 3339), recipient, message", cause.column())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_795_000_000_000;

    fn teller() -> Teller {
        static RING: std::sync::LazyLock<String> = std::sync::LazyLock::new(Keys::generate);
        Teller::new(Arc::new(Keys::from_toml(&RING).unwrap()), 1, NOW_MS)
    }

    fn line(more: &str) -> String {
        format!(
            r#"{{"kind": "open", "time": "2026-10-31T09:12:31.5Z", "recipient": "ann@example.com", "message": "spring"{more}}}"#
        )
    }

    #[test]
    fn a_line_is_an_event_named_by_what_it_says() {
        let teller = teller();
        let text = line(
            r#", "link": "https://example.com/", "user_agent": "curl", "address": "203.0.113.7", "country": "us""#,
        );
        let (id, bytes) = teller.event(&text).unwrap();
        let event = Event::decode(&bytes).unwrap();
        assert_eq!((event.edge_id, event.seq), id);
        assert!(event.replay && !event::is_numbered(event.edge_id));
        assert_eq!(
            (event.kind, event.target, event.user_agent),
            (Kind::Open, "https://example.com/", "curl")
        );
        assert_eq!(
            (event.client_ip, event.region, event.country),
            (&[203, 0, 113, 7][..], Region::Other, "US")
        );
        assert_eq!((event.domain, event.sent_at_ms), (0, 0), "those are of sends");
        assert_eq!(teller.event(&text).unwrap(), (id, bytes));
        assert_ne!(teller.event(&line("")).unwrap().0, id);
    }

    #[test]
    fn a_send_knows_the_domain_and_the_profile() {
        let sent = |more: &str| teller().event(&line(more).replace("open", "sent")).unwrap().1;
        let of_address = sent(r#", "time_zone": "Asia/Kolkata", "country": "FR""#);
        let event = Event::decode(&of_address).unwrap();
        assert_eq!(
            (event.kind, event.sent_at_ms, event.time_zone),
            (Kind::Sent, event.received_at_ms, "Asia/Kolkata")
        );
        assert_eq!(event.region, Region::Eu);
        assert_ne!(event.domain, 0);
        let named = sent(r#", "domain": "EXAMPLE.com""#);
        assert_eq!(Event::decode(&named).unwrap().domain, event.domain);
    }

    #[test]
    fn what_is_wrong_is_said_and_nothing_secret() {
        for (text, said) in [
            ("what".to_owned(), "not JSON"),
            (line("").replace("open", "opened"), "not of its type"),
            (line("").replace(r#""message""#, r#""massage""#), "missing field `message`"),
            (line("").replace("2026-10-31T09:12:31.5Z", "yesterday"), "RFC 3339"),
            (line("").replace("2026", "2019"), "25 months"),
            (line("").replace("2026", "2031"), "25 months"),
            (line("").replace("ann@example.com", ""), "recipient is empty"),
            (line(r#", "address": "203.0.113""#), "expected an IP address"),
            (line(r#", "time_zone": "Mars/Crater""#), "IANA"),
            (line(r#", "country": "USA""#), "two letters"),
        ] {
            let why = teller().event(&text).unwrap_err().to_string();
            assert!(why.contains(said) && !why.contains("ann@") && !why.contains("203."), "{text}: {why}");
        }
    }
}
