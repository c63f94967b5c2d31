//! `cases/*.tsv`: add a case by adding a line.

use enrich::Verdict;
use event::{Event, Kind, Method, Region};
use proptest::prelude::*;

use crate::{enricher, ip_bytes, rows};

fn kind(text: &str) -> Kind {
    match text {
        "open" => Kind::Open,
        "click" => Kind::Click,
        "download" => Kind::Download,
        "sent" => Kind::Sent,
        _ => panic!("kind {text:?}"),
    }
}

/// Sets one `name=value` of a case.
fn set<'a>(event: &mut Event<'a>, pair: &'a str) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    match name {
        "sec-purpose" => event.sec_purpose = value,
        "purpose" => event.purpose = value,
        "x-purpose" => event.x_purpose = value,
        "x-moz" => event.x_moz = value,
        "accept" => event.accept = value,
        "method" => event.method = if value == "HEAD" { Method::Head } else { Method::Get },
        "trap" => event.trap = true,
        "sent_at_ms" => event.sent_at_ms = value.parse().unwrap(),
        "received_at_ms" => event.received_at_ms = value.parse().unwrap(),
        "time_zone" => event.time_zone = value,
        "country" => event.country = value,
        "region" => event.region = if value == "eu" { Region::Eu } else { Region::Other },
        _ => panic!("no such field: {pair:?}"),
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

#[test]
fn verdicts() {
    let mut enricher = enricher();
    let mut wrong = Vec::new();
    let cases = rows("it/cases/verdict.tsv");
    for case in &cases {
        let [kind_, ip, fields, agent, verdict, confidence, reasons] = &case[..] else { panic!("{case:?}") };
        let ip = ip_bytes(ip);
        let mut event = Event {
            kind: kind(kind_),
            method: Method::Get,
            user_agent: if agent == "-" { "" } else { agent },
            client_ip: &ip,
            received_at_ms: 1_764_000_000_000,
            ..Event::default()
        };
        fields.split(';').filter(|field| *field != "-").for_each(|field| set(&mut event, field));
        let found = enricher.enrich(&event);
        let found_reasons = found.reasons.join(",");
        let found = [found.verdict.as_str(), found.confidence.as_str(), or_dash(&found_reasons)];
        if found != [verdict.as_str(), confidence, reasons] {
            wrong.push(format!("{case:?}\n    found {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn devices() {
    let mut enricher = enricher();
    let mut wrong = Vec::new();
    let cases = rows("it/cases/device.tsv");
    for case in &cases {
        let [device, os, os_version, client, client_version, trust, agent] = &case[..] else {
            panic!("{case:?}")
        };
        let event = Event { kind: Kind::Open, user_agent: agent, ..Event::default() };
        let e = enricher.enrich(&event);
        let found = [
            e.device.as_str(),
            or_dash(e.os),
            or_dash(e.os_version),
            or_dash(e.client),
            or_dash(e.client_version),
            e.device_trust.as_str(),
        ];
        if found != [device.as_str(), os, os_version, client, client_version, trust] {
            wrong.push(format!("{agent}\n    found {found:?}\n   wanted {:?}", &case[..6]));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn places() {
    let mut enricher = enricher();
    let mut wrong = Vec::new();
    let cases = rows("it/cases/place.tsv");
    for case in &cases {
        let [kind_, ip, fields, agent, country, city, zone, trust, region, hour, weekday] = &case[..] else {
            panic!("{case:?}")
        };
        let ip = ip_bytes(ip);
        let mut event = Event {
            kind: kind(kind_),
            method: Method::Get,
            user_agent: if agent == "-" { "" } else { agent },
            client_ip: &ip,
            // a Wednesday, 12:30 UTC
            received_at_ms: 1_753_878_600_000,
            ..Event::default()
        };
        fields.split(';').filter(|field| *field != "-").for_each(|field| set(&mut event, field));
        let e = enricher.enrich(&event);
        let number = |n: Option<u8>| n.map_or("-".to_owned(), |n| n.to_string());
        let found = [
            or_dash(e.country).to_owned(),
            or_dash(e.city).to_owned(),
            or_dash(e.time_zone).to_owned(),
            e.geo_trust.as_str().to_owned(),
            e.region_class.as_str().to_owned(),
            number(e.local_hour),
            number(e.local_weekday),
        ];
        if found != [country, city, zone, trust, region, hour, weekday].map(String::clone) {
            wrong.push(format!("{case:?}\n    found {found:?}"));
        }
        if e.verdict == Verdict::Proxy {
            assert!(e.latitude.is_nan() && e.longitude.is_nan() && e.region.is_empty(), "{case:?}");
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn an_answer_does_not_depend_on_what_came_before() {
    let agents = [
        "Mozilla/5.0",
        "curl/8.5.0",
        "Outlook-iOS/2.0",
        "",
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.0",
    ];
    let mut warm = enricher();
    for round in 0..2 {
        for agent in agents {
            let event = Event {
                kind: Kind::Click,
                user_agent: agent,
                client_ip: &[81, 2, 69, 160],
                ..Event::default()
            };
            let mut cold = enricher();
            assert_eq!(
                format!("{:?}", warm.enrich(&event)),
                format!("{:?}", cold.enrich(&event)),
                "round {round}, {agent:?}"
            );
        }
    }
}

proptest! {
    /// Whatever a visitor sends: an answer, the same from any enricher, with grounds wherever it blames a machine.
    #[test]
    fn any_event_is_judged(
        kind in 0i32..5, method in 0i32..3, trap: bool, at: i64, sent: i64, ip in prop::collection::vec(any::<u8>(), 0..18),
        agent in "\\PC{0,80}|(Mozilla/5.0 \\()?(compatible; |Android |iPad |bot|java/|Version/|Outlook ){0,4}.{0,10}",
        purpose in "|prefetch|.{0,8}", zone in "|Europe/Paris|.{0,8}", country in "|[A-Za-z]{2}|.{0,3}",
    ) {
        let event = Event {
            kind: Kind::try_from(kind).unwrap(),
            method: Method::try_from(method).unwrap(),
            received_at_ms: at,
            sent_at_ms: sent,
            trap,
            user_agent: &agent,
            sec_purpose: &purpose,
            client_ip: &ip,
            time_zone: &zone,
            country: &country,
            region: Region::Eu,
            ..Event::default()
        };
        let mut one = enricher();
        let found = one.enrich(&event);
        let visit = matches!(event.kind, Kind::Open | Kind::Click | Kind::Download);
        prop_assert_eq!(found.verdict == Verdict::None, !visit);
        prop_assert_eq!(found.reasons.is_empty(), matches!(found.verdict, Verdict::None | Verdict::Human));
        prop_assert_eq!(found.region_class.as_str(), "eu", "the token's claim is never lost");
        prop_assert_eq!(found.local_hour.is_some(), found.local_weekday.is_some());
        prop_assert!(found.local_hour.is_none_or(|hour| hour < 24));
        prop_assert!(found.local_weekday.is_none_or(|day| (1..=7).contains(&day)));
        let mut other = enricher();
        prop_assert_eq!(format!("{found:?}"), format!("{:?}", other.enrich(&event)));
    }
}
