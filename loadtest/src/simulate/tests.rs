#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use send_time::zone;
use serde_json::Value;

use super::chance::Chance;
use super::person::PLACES;
use super::world::WorldName;
use super::{Crowd, Days, ScoreOptions, score, write};

fn crowd(people: usize, seed: u64, world: WorldName) -> Crowd {
    Crowd { people, weeks: 26, seed, world, until: jiff::civil::date(2026, 5, 4) }
}

fn history(people: usize, seed: u64) -> String {
    let crowd = crowd(people, seed, WorldName::Real);
    let mut out = Vec::new();
    write(&crowd, &crowd.span().unwrap(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let first = history(40, 7);
    assert_eq!(first, history(40, 7));
    assert_ne!(first, history(40, 8));
    let lines: Vec<Value> = first.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut kinds = std::collections::BTreeMap::new();
    for line in &lines {
        *kinds.entry(line["kind"].as_str().unwrap()).or_insert(0) += 1;
        let sent = line["kind"] == "sent";
        for field in ["time_zone", "country", "domain"] {
            assert_eq!(line.get(field).is_some(), sent, "{field}: {line}");
        }
        for field in ["user_agent", "address"] {
            assert_eq!(line.get(field).is_some(), !sent, "{field}: {line}");
        }
        assert!(line["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        assert!(line["recipient"].is_string() && line["message"].is_string());
    }
    assert!(kinds["sent"] > 100 && kinds["open"] > 50 && kinds["click"] > 5, "{kinds:?}");
}

#[test]
fn nobody_lives_where_no_send_time_may_be_given() {
    for (name, country, _, mistaken) in PLACES {
        assert!(["US", "BR", "IN", "JP", "AU", "NP"].contains(&country), "{country}");
        for zone in [name].iter().chain(&mistaken) {
            assert!(zone::rules(zone).is_some() && !zone.starts_with("Europe/"), "{zone}");
        }
    }
}

#[test]
fn draws_have_their_distribution() {
    let mut chance = Chance::new(1, "test", 0);
    let mut mean =
        |draw: fn(&mut Chance) -> f64| (0..20_000).map(|_| draw(&mut chance)).sum::<f64>() / 20_000.0;
    for (got, wanted) in [
        (mean(|chance| chance.exponential(3.0)), 3.0),
        (mean(|chance| chance.normal(2.0, 1.0)), 2.0),
        (mean(|chance| chance.normal(0.0, 1.0).powi(2)), 1.0),
        (mean(|chance| chance.gamma(2.5)), 2.5),
        (mean(|chance| chance.gamma(0.5)), 0.5),
        (mean(|chance| chance.dirichlet(4, 0.5)[2]), 0.25),
        (mean(|chance| chance.weighted(&[1.0, 0.0, 3.0]) as f64), 1.5),
    ] {
        assert!((got - wanted).abs() < 0.04 * wanted.max(1.0), "{got} {wanted}");
    }
}

/// A tenth of the people on whom the bars are measured, so the bars are lower here.
#[test]
fn the_estimator_beats_the_usual_methods() {
    for (world, most_frequent, histogram) in
        [(WorldName::Real, 1.35, 1.17), (WorldName::Strangers, 1.2, 1.04)]
    {
        let asked = ScoreOptions {
            crowd: crowd(1_500, 42, world),
            recommendations: None,
            keys: None,
            workspace: 1,
            days: Days::Any,
            without_sends: false,
            more_seeds: vec![43],
            json: None,
        };
        let scores = score(&asked).unwrap().scores;
        let mean = |of: fn(&super::Score) -> f64| scores.iter().map(of).sum::<f64>() / scores.len() as f64;
        assert!(mean(|score| score.over_most_frequent) >= most_frequent, "{scores:#?}");
        assert!(mean(|score| score.over_best_histogram) >= histogram, "{scores:#?}");
    }
}

#[test]
fn recommendations_from_elsewhere_are_judged() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let line = |number: usize| {
        match number {
        0 => r#"{"recipient": "person-0", "refused": "region_unknown"}"#.to_owned(),
        _ => format!(
            r#"{{"recipient": "person-{number}", "weekday": "any", "start_hour": 3, "end_hour": 4,
                "time_zone": "America/New_York", "p_open_1h": 0.1, "lift": 1.0, "confidence": 0.9, "beats_hour": 9,
                "observed": 1.0, "expected": 1.0, "level": "recipient", "reasons": []}}"#
        )
        .replace('\n', ""),
    }
    };
    std::fs::write(file.path(), (0..80).map(|number| line(number) + "\n").collect::<String>()).unwrap();
    let asked = ScoreOptions {
        crowd: crowd(80, 42, WorldName::Real),
        recommendations: Some(file.path().to_owned()),
        keys: None,
        workspace: 1,
        days: Days::Any,
        without_sends: false,
        more_seeds: Vec::new(),
        json: None,
    };
    let judged = score(&asked).unwrap().scores.remove(0);
    // In the middle of the night for most.
    assert!(judged.over_most_frequent < 1.0, "{judged}");
    assert_eq!(judged.levels[0].1, 79);
    assert_eq!(judged.levels[4].1, 1);
    std::fs::write(file.path(), "{}\n").unwrap();
    let error = format!("{:#}", score(&asked).unwrap_err());
    assert!(error.contains("line 1: expected a recommendation"), "{error}");
}
