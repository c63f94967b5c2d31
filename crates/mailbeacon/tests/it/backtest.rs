//! `mailbeacon send-time backtest` on simulated people, whose truth is known.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use loadtest::simulate::history::{self, Asker, Event, Kind};
use loadtest::simulate::person::{Person, Span};
use loadtest::simulate::world::{World, WorldName};
use send_time::zone;
use serde_json::Value;

use crate::program::{refuses, says};
use crate::services::Servers;
use crate::simulated::Simulated;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const HELD_OUT_MS: i64 = 28 * DAY_MS;

/// Twelve weeks until the first Monday of a July that is over: no clock is changed in them, so that they are the same in
/// every year.
fn span(people: usize) -> Span {
    let now = TimeZone::UTC.to_datetime(Timestamp::now()).date();
    let monday = |year| {
        let first = Date::constant(year, 7, 1);
        first.saturating_add(jiff::Span::new().days((8 - first.weekday().to_monday_one_offset()) % 7))
    };
    let of_this_year = monday(now.year());
    let until = if of_this_year < now { of_this_year } else { monday(now.year() - 1) };
    let until_ms =
        TimeZone::UTC.to_ambiguous_timestamp(until.at(0, 0, 0, 0)).compatible().unwrap().as_millisecond();
    Span { people, weeks: 12, seed: 42, until_ms }
}

/// Mail around the clock, a lot of it.
fn world() -> World {
    World { mails_mean: 150.0, mails_max: 300.0, ..WorldName::Spread.world() }
}

fn at(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).unwrap().to_string()
}

/// The probability of an open within an hour of mail sent in a window on the day of another mail.
fn in_window(person: &Person, window: &Value, sent_ms: i64) -> f64 {
    let hour = |name: &str| window[name].as_i64().unwrap();
    let rules = zone::rules(window["time_zone"].as_str().unwrap()).unwrap();
    let day = rules.to_datetime(Timestamp::from_millisecond(sent_ms).unwrap()).date();
    let start = rules.to_ambiguous_timestamp(day.at(hour("start_hour") as i8, 0, 0, 0)).compatible().unwrap();
    let steps = 6 * ((hour("end_hour") + 23 - hour("start_hour")) % 24 + 1);
    let sum: f64 = (0..steps)
        .map(|step| person.opens_within_hour(start.as_millisecond() + step * HOUR_MS / 6 + HOUR_MS / 12))
        .sum();
    sum / steps as f64
}

fn lies_in(truth: f64, found: &Value) {
    let [least, most] = [0, 1].map(|end| found["interval"][end].as_f64().unwrap());
    assert!(least <= truth && truth <= most, "{truth} in {found}");
}

fn way<'a>(ways: &'a Value, name: &str) -> &'a Value {
    ways.as_array().unwrap().iter().find(|way| way["name"] == name).unwrap()
}

#[test]
fn what_it_says_is_true_of_simulated_people() {
    let servers = Servers::new("backtest");
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (world, span) = (world(), span(500));
    let simulated = Simulated::of(&servers, dir, &world, &span, |_| true);
    // The sender sends around the clock, as if each hour had been drawn: some of it was.
    testkit::query(&format!(
        "INSERT INTO {0}.explorations SELECT workspace, message, recipient, received_at, local_hour, 1 / 24 \
         FROM {0}.events WHERE kind = 'sent' AND message % 3 = 0",
        servers.database
    ));
    let until = at(span.until_ms);
    let cut_ms = span.until_ms - HELD_OUT_MS;
    let ask = |command: &[&str]| says(dir, &servers.args(&[], command));
    let said = ask(&["send-time", "--all", "--at", &at(cut_ms)]);
    let mut windows: HashMap<u64, Value> = HashMap::new();
    for line in said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        if !line["windows"][0].is_null() {
            windows.insert(line["recipient"].as_str().unwrap().parse().unwrap(), line["windows"][0].clone());
        }
    }
    let (mut mails, mut recommended, mut usual, mut fetched_ahead) = (0.0, 0.0, 0.0, 0);
    let mut index = 0;
    for (person, known) in simulated.people.iter().zip(&simulated.known) {
        while simulated.names[index] != person.name {
            index += 1;
        }
        let Some(window) = windows.get(&simulated.keys.recipient(1, &person.name)) else { continue };
        let events = history::of(person, &world, &span, index);
        let sent = events.iter().filter(|event| event.kind == Kind::Sent && event.at_ms >= cut_ms);
        if known.machines.prefetched() {
            fetched_ahead += sent.count();
            continue;
        }
        for sent in sent.filter(|sent| sent.at_ms <= span.until_ms - HOUR_MS) {
            mails += 1.0;
            recommended += in_window(person, window, sent.at_ms);
            usual += person.opens_within_hour(sent.at_ms);
        }
    }

    let said = ask(&["send-time", "backtest", "--at", &until, "--json"]);
    let found: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said.lines().count(), 1);
    assert_eq!(found["mails"].as_f64(), Some(mails), "{said}");
    assert_eq!(found["left_out"]["fetched_ahead"], fetched_ahead, "{said}");
    assert_eq!(found["refused"], serde_json::json!({ "eu": 10, "region_unknown": 10 }), "{said}");
    assert!(mails > 5_000.0 && fetched_ahead > 3_000, "{said}");
    let (recommended, usual) = (recommended / mails, usual / mails);
    for ways in [&found["ways"], &found["drawn_only"]] {
        let tested = way(ways, "recommended window");
        lies_in(recommended, tested);
        assert!(tested["mails_effective"].as_f64() > Some(50.0) && tested["covered"].as_f64() > Some(0.95));
    }
    let as_sent = way(&found["ways"], "when it was sent");
    lies_in(usual, as_sent);
    lies_in(recommended / usual, &as_sent["test_over"]);
    let drawn = found["mails_drawn"].as_f64().unwrap() / mails;
    assert!((0.3..0.37).contains(&drawn), "{drawn}");
    // Nobody was sent to as recommended but by chance.
    assert_eq!(found["usual"]["followed"], 0.0, "{said}");

    // The same for people, and by another way to name the same weeks.
    let shown = ask(&["send-time", "backtest", "--at", &until, "--from", &at(cut_ms)]);
    for part in ["recommended window", "when it was sent", "an hour drawn evenly alone", "times"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // Too few days: it says so, and that is no error.
    let few = ask(&["send-time", "backtest", "--at", &until, "--hold-out", "1"]);
    assert!(few.contains("Too little to tell"), "{few}");
    let few = ask(&["send-time", "--workspace", "9", "backtest"]);
    assert!(few.contains("Nothing can be told"), "{few}");
    let refused =
        refuses(dir, &servers.args(&[], &["send-time", "backtest", "--from", "2999-01-01T00:00:00Z"]));
    assert!(refused.contains("--from"), "{refused}");
    let refused = refuses(dir, &servers.args(&[], &["send-time", "ann", "backtest"]));
    assert!(refused.contains("backtest is of all recipients"), "{refused}");
    // A recipient of that name is asked about.
    let named = ask(&["send-time", "--", "backtest"]);
    assert!(named.contains("(unknown_recipient)"), "{named}");
}

/// What is told of a world in which only such events happen.
fn told(name: &str, wanted: impl Fn(&Event) -> bool) -> Value {
    let servers = Servers::new(name);
    let dir = tempfile::tempdir().unwrap();
    let span = span(150);
    let world = World { scanned: 1.0, ..world() };
    Simulated::of(&servers, dir.path(), &world, &span, wanted);
    let asked = servers.args(&[], &["send-time", "backtest", "--json", "--at"]);
    let until = at(span.until_ms);
    serde_json::from_str(&says(dir.path(), &[asked, vec![&until]].concat())).unwrap()
}

#[test]
fn what_machines_do_shows_nothing() {
    let by_person = |event: &Event| event.kind != Kind::Sent && event.asker == Asker::Person;
    let only = told("backtest_machines", |event| !by_person(event));
    assert!(only["mails"] == 0 && only["left_out"]["not_recommended"].as_u64() > Some(500), "{only}");

    // People read until the cut; since then there are machines only.
    let cut_ms = span(0).until_ms - HELD_OUT_MS;
    let since = told("backtest_machines_since", |event| !by_person(event) || event.at_ms < cut_ms);
    assert!(since["mails"].as_u64() > Some(500), "{since}");
    assert_eq!(since["opened"], 0.0, "{since}");
    let tested = way(&since["ways"], "recommended window");
    assert_eq!(tested["mean"], 0.0, "{since}");
    // Of no open it is not told that there never is one.
    assert!(tested["interval"][1].as_f64() > Some(0.01), "{since}");
}
