//! Send times that are learned once and asked for many times: one answer by every way of asking, and none for whoever
//! left.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use jiff::Timestamp;
use send_time::zone;
use serde_json::Value;

use crate::http;
use crate::program::says;
use crate::services::Servers;
use crate::simulated::Simulated;

struct Asked<'a> {
    servers: &'a Servers,
    dir: &'a Path,
}

impl Asked<'_> {
    fn says(&self, command: &[&str]) -> String {
        says(self.dir, &self.servers.args(&[], command))
    }

    fn one(&self, name: &str) -> Value {
        serde_json::from_str(&self.says(&["send-time", name, "--json"])).unwrap()
    }

    fn all(&self, more: &[&str]) -> HashMap<u64, Value> {
        let said = self.says(&[&["send-time", "--all"], more].concat());
        let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| (line["recipient"].as_str().unwrap().parse().unwrap(), line)).collect()
    }

    fn query(&self, sql: &str) -> String {
        http::query(&testkit::clickhouse().http_url(), &self.servers.database, sql).unwrap()
    }

    /// Who stands in a table or view.
    fn listed(&self, table: &str) -> HashSet<u64> {
        let said = self.query(&format!("SELECT DISTINCT recipient FROM {table}"));
        said.lines().map(|line| line.parse().unwrap()).collect()
    }
}

#[test]
fn what_is_kept_is_what_is_answered_and_goes_with_whoever_leaves() {
    let servers = Servers::new("send_times_kept");
    let dir = tempfile::tempdir().unwrap();
    let world = Simulated::new(&servers, dir.path(), 300);
    let asked = Asked { servers: &servers, dir: dir.path() };
    let keys: Vec<u64> = world.people.iter().map(|person| world.keys.recipient(1, &person.name)).collect();
    let everybody: HashSet<u64> = keys.iter().copied().collect();
    let refreshed = asked.says(&["send-time", "--refresh"]);
    let wanted = format!("workspace 1: {} recipients, {} refused", everybody.len(), world.refused.len());
    assert!(refreshed.starts_with(&wanted), "{refreshed}");
    assert_eq!(asked.listed("recommended_send_times"), everybody);
    assert_eq!(asked.listed("send_times"), everybody);
    sums_are_those_of_sql(&asked, &everybody);

    windows_are_those_of_sql(&asked);

    // From what is kept: nothing is learned anew.
    let at = asked.query("SELECT DISTINCT at FROM send_time_habits");
    for (person, key) in world.people.iter().zip(&keys).take(5) {
        let line = asked.one(&person.name);
        let kept = asked.query(&format!(
            "SELECT start_hour, end_hour, time_zone, level, p_open_1h, confidence FROM recommended_send_times \
             WHERE workspace = 1 AND recipient = {key} AND choice = 1"
        ));
        let best = &line["windows"][0];
        let kept: Vec<&str> = kept.split('\t').collect();
        let told = ["start_hour", "end_hour", "time_zone", "level"]
            .map(|name| best[name].to_string().replace('"', ""));
        assert_eq!(told[..], kept[..4], "{line}");
        for (name, kept) in ["p_open_1h", "confidence"].iter().zip(&kept[4..]) {
            let (told, kept) = (best[name].as_f64().unwrap(), kept.parse::<f64>().unwrap());
            // Evidence has grown older by the seconds in between.
            assert!((told - kept).abs() < 1e-3, "{name} {told} {kept}");
        }
    }
    assert_eq!(asked.query("SELECT DISTINCT at FROM send_time_habits"), at);

    mails_are_spread_and_none_in_quiet_hours(&asked, &everybody);

    // By one's own word, and by a sign of the EU.
    let [gone, moved] = [0, 1].map(|place| (world.people[place].name.as_str(), keys[place]));
    asked.says(&["recipient", "withdraw", gone.0]);
    asked.query(&format!(
        "INSERT INTO events (workspace, message, recipient, received_at, kind, mode, verdict, region_class, edge_id, \
         seq) VALUES (1, 1, {}, now(), 'open', 'full', 'human', 'eu', 99, 1)",
        moved.1
    ));
    for ((name, key), why) in [(gone, "withdrawn"), (moved, "eu")] {
        let line = asked.one(name);
        assert_eq!((&line["refused"], line["windows"].as_array().unwrap().len()), (&Value::from(why), 0));
        let shown = asked.says(&["send-time", name]);
        assert!(shown.contains(&format!("no recommendation ({why})")) && !shown.contains(":00"), "{shown}");
        let plan = ["send-time", name, "--json", "--message", "spring", "--explore", "0.5"];
        assert!(!asked.says(&plan).contains("send_at"));
        assert_eq!(asked.all(&[])[&key]["refused"], why);
        for view in ["recommended_send_times", "recipient_counts(workspace = 1, at = now64(3))"] {
            assert!(!asked.listed(view).contains(&key), "{why} {view}");
        }
    }
    // The withdrawal has deleted already; the move is found by the next run of either.
    assert!(!asked.listed("send_times").contains(&gone.1));
    asked.says(&["recipient", "withdraw", "somebody else"]);
    for table in ["send_times", "explorations"] {
        let listed = asked.listed(table);
        assert!(!listed.contains(&gone.1) && !listed.contains(&moved.1), "{table}");
        assert!(!listed.is_empty(), "{table}");
    }
    asked.says(&["recipient", "restore", gone.0]);
    assert!(!asked.one(gone.0)["windows"].as_array().unwrap().is_empty());
    let refreshed = asked.says(&["send-time", "--refresh"]);
    let wanted =
        format!("workspace 1: {} recipients, {} refused", everybody.len() - 1, world.refused.len() + 1);
    assert!(refreshed.starts_with(&wanted), "{refreshed}");
    assert_eq!(asked.listed("send_times"), everybody.into_iter().filter(|key| *key != moved.1).collect());
}

/// What is learned, against the same sums in SQL from the same events, to 1e-9 of each.
fn sums_are_those_of_sql(asked: &Asked, everybody: &HashSet<u64>) {
    let at = "(SELECT max(at) FROM send_time_habits)";
    let at = asked.query(&format!("SELECT {at}"));
    assert_eq!(&asked.listed(&format!("recipient_counts(workspace = 1, at = '{at}')")), everybody);
    let apart = |name: &str| {
        format!("arrayMax(arrayMap((a, b) -> abs(a - b) / greatest(abs(a), 1e-3), h.{name}, s.{name}))")
    };
    let found = asked.query(&format!(
        "SELECT h.level, count(), max(greatest({}, {}, {}, {})), min(arraySum(h.acts)), \
         max(abs(h.numbers['clicks_per_open'][1] - s.clicks_per_open) * (h.level = 'workspace')) \
         FROM send_time_habits AS h \
         INNER JOIN send_time_sums(workspace = 1, at = '{at}') AS s USING (level, time_zone, domain) \
         GROUP BY h.level ORDER BY h.level",
        apart("sent"),
        apart("spent"),
        apart("acts"),
        apart("repeats")
    ));
    let kept = asked.query("SELECT level, count() FROM send_time_habits GROUP BY level ORDER BY level");
    assert_eq!(kept.lines().count(), 3, "{kept}");
    for (line, kept) in found.lines().zip(kept.lines()) {
        let parts: Vec<&str> = line.split('\t').collect();
        assert_eq!(parts[..2].join("\t"), kept, "{found}");
        let number = |place: usize| parts[place].parse::<f64>().unwrap();
        assert!(number(2) < 1e-9 && number(4) < 1e-9, "{found}");
    }
    assert_eq!(found.lines().count(), 3, "{found}");
}

fn mails_are_spread_and_none_in_quiet_hours(asked: &Asked, everybody: &HashSet<u64>) {
    let plan =
        ["--message", "spring", "--quiet", "21-8", "--explore", "0.2", "--after", "2026-12-01T00:00:00Z"];
    let lines = asked.all(&plan);
    let mut explored = HashSet::new();
    for key in everybody {
        let line = &lines[key];
        let send_at: Timestamp = line["send_at"].as_str().unwrap().parse().unwrap();
        let rules = zone::rules(line["windows"][0]["time_zone"].as_str().unwrap()).unwrap();
        let hour = zone::local_bin(send_at.as_millisecond(), &rules).unwrap() % 24;
        assert!((8..21).contains(&hour), "{line}");
        if line["explored"] == true {
            explored.insert(*key);
            let propensity = line["propensity"].as_f64().unwrap();
            assert!(propensity >= 0.2 / 13.0 - 1e-12, "{line}");
        }
    }
    assert!((20..100).contains(&explored.len()), "{}", explored.len());
    assert_eq!(asked.listed("explorations"), explored);
    // The same again is the same, once.
    let again = asked.all(&plan);
    let of = |all: &HashMap<u64, Value>, key| all[key]["send_at"].as_str().map(str::to_owned);
    for key in &explored {
        assert_eq!(of(&again, key), of(&lines, key));
    }
    let rows = asked.query("SELECT count() FROM explorations FINAL");
    assert_eq!(rows, explored.len().to_string());
}

/// What SQL says of everybody, against what the command says as of the same instant, to 1e-9.
fn windows_are_those_of_sql(asked: &Asked) {
    let at = asked.query("SELECT max(at) FROM send_times").replace(' ', "T") + "Z";
    let lines = asked.all(&["--at", &at]);
    let rows = asked.query(
        "SELECT recipient, choice, start_hour, end_hour, time_zone, level, p_open_1h, lift, confidence, observed, \
         expected FROM recommended_send_times WHERE choice > 0 ORDER BY recipient, choice",
    );
    for row in rows.lines() {
        let row: Vec<&str> = row.split('\t').collect();
        let window = &lines[&row[0].parse().unwrap()]["windows"][row[1].parse::<usize>().unwrap() - 1];
        for (name, found) in ["start_hour", "end_hour", "time_zone", "level"].iter().zip(&row[2..]) {
            assert_eq!(window[*name].to_string().replace('"', ""), **found, "{window}");
        }
        for (name, found) in ["p_open_1h", "lift", "confidence", "observed", "expected"].iter().zip(&row[6..])
        {
            let (told, found) = (window[*name].as_f64().unwrap(), found.parse::<f64>().unwrap());
            assert!((told - found).abs() < 1e-9, "{name} {told} {found}");
        }
    }
    let windows: usize = lines.values().map(|line| line["windows"].as_array().unwrap().len()).sum();
    assert_eq!(rows.lines().count(), windows);
}
