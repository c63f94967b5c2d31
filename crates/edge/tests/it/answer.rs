//! The golden cases of `answer`: a case is added by adding data.

use std::collections::BTreeMap;
use std::net::IpAddr;

use edge::address::Octets;
use edge::answer::{Answer, Head, Headers, Outcome, answer};
use edge::{Policy, Wish};
use event::{Kind, Mode, Position, Region};
use link::{Keys, Link};
use serde::Deserialize;

const SENT_AT_MS: i64 = 1_764_000_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default = "get")]
    method: String,
    path: String,
    #[serde(default)]
    query: String,
    #[serde(default)]
    has_body: bool,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    client: Option<String>,
    #[serde(default)]
    dnt: Wish,
    #[serde(default)]
    gpc: Wish,
    #[serde(default = "a_second")]
    now: i64,
    reply: String,
    target: Option<String>,
    outcome: String,
    event: Option<BTreeMap<String, String>>,
    #[serde(default)]
    whole: bool,
}

fn get() -> String {
    "GET".to_owned()
}

fn a_second() -> i64 {
    1_000
}

/// Replaces `{600 x}` by 600 times x.
fn repeated(text: &str) -> String {
    match text.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once(" x}")?))) {
        Some((before, (count, after))) => format!("{before}{}{after}", "x".repeat(count.parse().unwrap())),
        None => text.to_owned(),
    }
}

fn links() -> BTreeMap<&'static str, Link> {
    let open = Link {
        kind: Kind::Open,
        workspace: 3,
        message: 9,
        recipient: 77,
        sent_at_ms: SENT_AT_MS,
        position: Position::Top,
        mode: Mode::Full,
        region: Region::Other,
        ..Link::default()
    };
    let click = Link {
        kind: Kind::Click,
        link: 4,
        target: "https://example.com/a?b=c#d".to_owned(),
        position: Position::Unspecified,
        ..open.clone()
    };
    let home = "https://example.com/".to_owned();
    BTreeMap::from([
        ("open", open.clone()),
        ("click", click.clone()),
        (
            "download",
            Link { kind: Kind::Download, target: "https://example.com/file.pdf".to_owned(), ..click.clone() },
        ),
        ("trap", Link { trap: true, target: home.clone(), ..click.clone() }),
        ("undated", Link { sent_at_ms: 0, target: home.clone(), ..click.clone() }),
        ("anonymous", Link { mode: Mode::Anonymous, ..open.clone() }),
        ("anonymous_click", Link { mode: Mode::Anonymous, ..click.clone() }),
        ("date", Link { mode: Mode::Date, ..open.clone() }),
        ("off", Link { mode: Mode::Off, ..open }),
        ("date_click", Link { mode: Mode::Date, target: home.clone(), ..click.clone() }),
        ("off_click", Link { mode: Mode::Off, target: home, ..click }),
    ])
}

fn headers(named: &BTreeMap<String, Vec<u8>>) -> Headers<'_> {
    let mut headers = Headers::default();
    for (name, value) in named {
        let slot = match name.as_str() {
            "user_agent" => &mut headers.user_agent,
            "accept" => &mut headers.accept,
            "accept_language" => &mut headers.accept_language,
            "referer" => &mut headers.referer,
            "sec_fetch_site" => &mut headers.sec_fetch_site,
            "sec_fetch_mode" => &mut headers.sec_fetch_mode,
            "sec_fetch_dest" => &mut headers.sec_fetch_dest,
            "sec_fetch_user" => &mut headers.sec_fetch_user,
            "sec_purpose" => &mut headers.sec_purpose,
            "purpose" => &mut headers.purpose,
            "x_purpose" => &mut headers.x_purpose,
            "x_moz" => &mut headers.x_moz,
            "via" => &mut headers.via,
            "host" => &mut headers.host,
            "dnt" => &mut headers.dnt,
            "sec_gpc" => &mut headers.sec_gpc,
            other => panic!("no header {other}"),
        };
        *slot = value;
    }
    headers
}

fn outcome(answer: &Answer) -> String {
    match answer.outcome {
        Outcome::Recorded(kind) => format!("{kind:?}").to_lowercase(),
        Outcome::NoEvent(reason) => reason.as_str().to_owned(),
    }
}

/// The fields of an event as Rust prints them.
fn printed(event: &event::Event<'_>) -> BTreeMap<String, String> {
    let text = format!("{event:?}");
    let inside = text.strip_prefix("Event { ").and_then(|rest| rest.strip_suffix(" }")).unwrap();
    let mut fields = BTreeMap::new();
    // A field starts after `, ` at depth 0, outside of quotes.
    let (mut depth, mut quoted, mut start) = (0, false, 0);
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '"' => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                let (name, value) = inside[start..at].split_once(": ").unwrap();
                fields.insert(name.trim().to_owned(), value.to_owned());
                start = at + 1;
            }
            _ => (),
        }
    }
    fields
}

#[test]
fn every_request_gets_what_the_cases_say() {
    let (keys, others) = (Keys::from_toml(&Keys::generate()).unwrap(), two_keys());
    let mut tokens: BTreeMap<&str, String> =
        links().iter().map(|(name, link)| (*name, keys.mint(link).unwrap())).collect();
    tokens.insert("foreign", others.mint(&links()["click"]).unwrap());
    let cases: Cases = toml::from_str(include_str!("cases/answer.toml")).unwrap();
    for case in &cases.case {
        let mut path = case.path.clone();
        for (name, token) in &tokens {
            path = path.replace(&format!("{{{name}}}"), token);
        }
        let named = case.headers.iter().map(|(n, v)| (n.clone(), repeated(v).into_bytes())).collect();
        let client: IpAddr = case.client.as_deref().unwrap_or("203.0.113.9").parse().unwrap();
        let client = Octets::from(client);
        let head = Head {
            method: &case.method,
            path: &path,
            uri_bytes: path.len() + repeated(&case.query).len(),
            http_version: 11,
            has_body: case.has_body,
            client: client.as_slice(),
            headers: headers(&named),
        };
        let now_ms = SENT_AT_MS + case.now;
        let answer = answer(&keys, Policy { dnt: case.dnt, gpc: case.gpc }, &head, now_ms);
        assert_eq!(answer.reply.as_str(), case.reply, "{}", case.name);
        assert_eq!(outcome(&answer), case.outcome, "{}", case.name);
        if let Some(target) = &case.target {
            assert_eq!(&answer.link.as_ref().unwrap().target, target, "{}", case.name);
        }
        let event = answer.event(&head, now_ms);
        assert_eq!(event.is_some(), case.event.is_some(), "{}", case.name);
        if let (Some(event), Some(wanted)) = (event, &case.event) {
            let fields = printed(&event);
            if case.whole {
                let absent = printed(&event::Event::default());
                let set = fields.iter().filter(|(field, value)| absent[*field] != **value);
                let names: Vec<&String> = set.map(|(field, _)| field).collect();
                assert_eq!(names, wanted.keys().collect::<Vec<_>>(), "{}", case.name);
            }
            for (field, value) in wanted {
                let value =
                    if value.contains(" x}") { format!("\"{}\"", repeated(value)) } else { value.clone() };
                assert_eq!(fields[field], value, "{}: {field}", case.name);
            }
        }
    }
}

/// A ring whose signing key has an id that a fresh ring does not know.
fn two_keys() -> Keys {
    Keys::from_toml(&Keys::add_signing_key(&Keys::generate()).unwrap()).unwrap()
}
