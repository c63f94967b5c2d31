//! `systemd/`: the program takes what its unit gives it, has time to drain, and is shut in.

use super::{default_of, mailbeacon, path, text};

const UNITS: [&str; 5] = ["edge", "consume", "migrate", "api", "send-time"];
/// What keeps a program that was taken over from going further. The same in every unit.
const SANDBOX: [(&str, &str); 9] = [
    ("DynamicUser", "yes"),
    ("NoNewPrivileges", "yes"),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("CapabilityBoundingSet", ""),
    ("MemoryDenyWriteExecute", "yes"),
    ("SystemCallFilter", "@system-service"),
    ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"),
];

/// The settings of a unit's `[Service]`, in order.
fn service(unit: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut settings = Vec::new();
    for line in text(&format!("systemd/mailbeacon-{unit}.service")).lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            assert!(["Unit", "Service", "Install"].contains(&name), "{unit}: {line}");
            section = name.to_owned();
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{unit}: {line}"));
        if section == "Service" {
            settings.push((key.to_owned(), value.to_owned()));
        }
    }
    settings
}

fn values<'a>(settings: &'a [(String, String)], key: &str) -> Vec<&'a str> {
    settings.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect()
}

#[test]
fn the_program_takes_what_its_unit_gives_it() {
    for unit in UNITS {
        let settings = service(unit);
        let start: Vec<&str> = values(&settings, "ExecStart")[0].split(' ').collect();
        assert_eq!(start[..3], ["/usr/local/bin/mailbeacon", "--config", "/etc/mailbeacon/mailbeacon.toml"]);
        let help = mailbeacon(&[], &[&start[1..], &["--help"][..]].concat()).unwrap();
        assert!(help.contains(&format!("mailbeacon {unit}")), "{unit}: {help}");
        let environment: Vec<(String, String)> = values(&settings, "Environment")
            .iter()
            .map(|assignment| assignment.split_once('=').unwrap())
            .map(|(name, value)| {
                (name.to_owned(), value.replace("%d", "/run/credentials").replace("%H", "host-1"))
            })
            .collect();
        let file = path("mailbeacon.toml");
        let shown = mailbeacon(&environment, &["--config", file.to_str().unwrap(), "config"]).unwrap();
        let keys = values(&settings, "LoadCredential");
        assert_eq!(
            shown.contains("/run/credentials/keys.toml"),
            keys.contains(&"keys.toml:/etc/mailbeacon/keys.toml")
        );
    }
}

#[test]
fn nobody_is_killed_while_it_drains() {
    let drains_ms = [
        ("edge", default_of("edge.drain_ms") + default_of("edge.ship_deadline_ms")),
        ("consume", default_of("consumer.drain_ms")),
    ];
    for (unit, drains_ms) in drains_ms {
        let settings = service(unit);
        let stop_s: u64 = values(&settings, "TimeoutStopSec")[0].parse().unwrap();
        assert!(stop_s * 1_000 > drains_ms, "{unit}: {stop_s} s");
        assert_eq!(values(&settings, "KillSignal"), ["SIGTERM"]);
    }
    let edge = service("edge");
    let files: u64 = values(&edge, "LimitNOFILE")[0].parse().unwrap();
    assert!(files > default_of("edge.connections_max"));
    assert_eq!(values(&edge, "StateDirectory"), ["mailbeacon"]);
    assert_eq!(values(&edge, "WorkingDirectory"), ["%S/mailbeacon"]);
}

#[test]
fn every_unit_has_the_whole_sandbox() {
    let sandbox = |unit: &str| {
        let settings = service(unit);
        let from = settings.iter().position(|(key, _)| key == "CapabilityBoundingSet").unwrap();
        for (key, value) in SANDBOX {
            assert!(values(&settings, key).contains(&value), "{unit} lacks {key}={value}");
        }
        settings[from..].to_vec()
    };
    UNITS.iter().for_each(|unit| assert_eq!(sandbox(unit), sandbox("edge"), "{unit}"));
}

#[test]
fn the_timer_is_of_a_unit_that_ends() {
    let timer = text("systemd/mailbeacon-send-time.timer");
    assert!(timer.lines().any(|line| line.starts_with("OnCalendar=")), "{timer}");
    assert_eq!(values(&service("send-time"), "Type"), ["oneshot"]);
}
