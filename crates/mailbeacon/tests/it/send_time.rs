//! `mailbeacon send-time` on a workspace of simulated people: what the engine stores gives what the estimator gives in
//! process, to everybody who may have it.

use std::collections::HashMap;

use jiff::Timestamp;
use loadtest::simulate::estimate;
use send_time::{Options, Refused, Weekday, Window};
use serde_json::Value;

use crate::program::says;
use crate::services::Servers;
use crate::simulated::Simulated;

#[test]
fn everybody_gets_what_the_estimator_gives_in_process() {
    let servers = Servers::new("send_time_all");
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let Simulated { people, known: all_known, refused, names, until_ms, keys } =
        Simulated::new(&servers, dir, 300);
    let at = Timestamp::from_millisecond(until_ms).unwrap().to_string();
    for (days, weekday) in
        [("any", Weekday::Any), ("weekday", Weekday::Weekday), ("weekend", Weekday::Weekend)]
    {
        let said =
            says(dir, &servers.args(&[], &["send-time", "--all", "--at", at.as_str(), "--days", days]));
        let mut lines: HashMap<u64, Value> = said
            .lines()
            .map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                (line["recipient"].as_str().unwrap().parse().unwrap(), line)
            })
            .collect();
        assert_eq!(lines.len(), said.lines().count());
        for (recipient, why) in &refused {
            let line = lines.remove(recipient).unwrap();
            assert_eq!(line["refused"], *why, "{line}");
            assert_eq!(line["windows"].as_array().unwrap().len(), 0, "{line}");
        }
        let answers = estimate::all(&people, &all_known, false, &Options { weekday, quiet: None });
        let mut levels = HashMap::new();
        for (person, answer) in people.iter().zip(&answers) {
            let line = lines.remove(&keys.recipient(1, &person.name)).unwrap();
            same(&line, answer, weekday);
            *levels.entry(line["windows"][0]["level"].as_str().unwrap_or("none").to_owned()).or_insert(0) +=
                1;
        }
        assert!(lines.is_empty(), "{lines:?}");
        assert!(levels["recipient"] > 20 && levels.len() > 1 && !levels.contains_key("none"), "{levels:?}");
    }

    // One by one, for people and for programs.
    let ask = |name: &str, more: &[&str]| {
        says(dir, &servers.args(&[], &[&["send-time", name, "--at", at.as_str()], more].concat()))
    };
    let answers = estimate::all(&people, &all_known, false, &Options::default());
    let wanted = &answers[0].as_ref().unwrap()[0];
    let (line, shown) = (ask(&people[0].name, &["--json"]), ask(&people[0].name, &[]));
    same(&serde_json::from_str(&line).unwrap(), &answers[0], Weekday::Any);
    let first = format!("{:02}:00-{:02}:00 {}", wanted.start_hour, wanted.end_hour, wanted.time_zone);
    assert_eq!(shown.lines().next().unwrap(), first, "{shown}");
    assert!(shown.contains(&wanted.reasons[0]) && shown.contains('█'), "{shown}");
    for (name, why) in [(&*names[50], "eu"), (&names[51], "region_unknown"), ("nobody", "unknown_recipient")]
    {
        let shown = ask(name, &[]);
        assert!(
            shown.contains(&format!("no recommendation ({why})")) && shown.lines().count() == 1,
            "{shown}"
        );
        let line: Value = serde_json::from_str(&ask(name, &["--json"])).unwrap();
        assert_eq!(line["refused"], why);
    }
}

/// Whether a line says what the estimator says, to 1e-9.
fn same(line: &Value, answer: &Result<Vec<Window>, Refused>, weekday: Weekday) {
    let windows = match answer {
        Ok(windows) => windows,
        Err(why) => return assert_eq!(line["refused"], why.as_str(), "{line}"),
    };
    let found = line["windows"].as_array().unwrap();
    assert_eq!(found.len(), windows.len(), "{line}\n{windows:?}");
    for (found, wanted) in found.iter().zip(windows) {
        assert_eq!(found["weekday"].is_null(), weekday == Weekday::Any, "{line}");
        for (name, number) in [
            ("start_hour", wanted.start_hour.into()),
            ("end_hour", wanted.end_hour.into()),
            ("beats_hour", wanted.beats_hour.into()),
            ("p_open_1h", wanted.p_open_1h.unwrap()),
            ("lift", wanted.lift),
            ("confidence", wanted.confidence),
            ("observed", wanted.observed),
            ("expected", wanted.expected),
        ] {
            let found = found[name].as_f64().unwrap();
            assert!((found - number).abs() < 1e-9, "{name} {found} is not {number}: {line}\n{windows:?}");
        }
        assert_eq!(found["time_zone"], wanted.time_zone, "{line}");
        assert_eq!(found["level"], wanted.level.as_str(), "{line}");
    }
}
