//! The commands that need no server, and what they say to whoever gets them wrong.

use std::path::Path;

use event::{Kind, Position};
use link::{Keys, Link};

use crate::program::{command, refuses, run_with_input, says};

fn keys_in(dir: &Path) -> Keys {
    Keys::from_toml(&std::fs::read_to_string(dir.join("keys.toml")).unwrap()).unwrap()
}

/// What a printed URL of `site.base_url` holds.
fn opened(keys: &Keys, url: &str) -> Link {
    let path = url.trim().strip_prefix("http://127.0.0.1:8080").unwrap();
    let (kind, token) = link::parse_path(path.as_bytes()).unwrap();
    keys.open(kind, token).unwrap()
}

#[test]
fn a_bad_setting_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (flag, named) in [
        ("edge.workers=-1", "edge.workers"),
        ("edge.wrokers=1", "wrokers"),
        ("egde.workers=1", "egde"),
        ("edge.listen=8080", "edge.listen = \"8080\": expected an address"),
        ("edge.listen=here", "edge.listen = \"here\": expected an address"),
        ("edge.workers", "--set edge.workers"),
        ("consumer.group=", "consumer.group"),
        ("kafka.compression=gzip", "kafka.compression"),
        ("journal.bytes_max=5", "journal.bytes_max"),
    ] {
        let complaint = refuses(dir.path(), &["--set", flag, "config"]);
        assert!(complaint.contains(named), "{flag}: {complaint}");
    }
    for (name, value, named) in [
        ("MAILBEACON_EDGE_WORKERS", "many", "edge.workers"),
        ("MAILBEACON_EDGE_WORKERS", "900", "edge.workers"),
        ("MAILBEACON_EDGE_WROKERS", "1", "wrokers"),
        ("MAILBEACON_EDGE", "1", "MAILBEACON_EDGE"),
    ] {
        let output = command(dir.path(), &["config"]).env(name, value).output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && complaint.contains(named), "{name}={value}: {complaint}");
    }
    let complaint = refuses(dir.path(), &["--config", "nowhere.toml", "config"]);
    assert!(complaint.contains("nowhere.toml"), "{complaint}");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("m.toml"), "[edge]\nworkers = 1\ndrain_ms = 1\nship_linger_ms = 1\n")
        .unwrap();
    let args = ["--config", "m.toml", "--set", "edge.workers=3", "config"];
    let output = command(dir.path(), &args)
        .env("MAILBEACON_EDGE_WORKERS", "2")
        .env("MAILBEACON_EDGE_DRAIN_MS", "2")
        .output()
        .unwrap();
    let shown: toml::Table = String::from_utf8(output.stdout).unwrap().parse().unwrap();
    let of = |key: &str| shown["edge"][key].as_integer().unwrap();
    assert_eq!((of("workers"), of("drain_ms"), of("ship_linger_ms")), (3, 2, 1));
}

#[test]
fn secrets_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let args =
        ["--set", "clickhouse.password=hunter2", "--set", "kafka.properties.sasl.password=hunter3", "config"];
    let output = command(dir.path(), &args).env("MAILBEACON_CLICKHOUSE_USER", "ann").output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(!shown.contains("hunter") && shown.contains("user = \"ann\""), "{shown}");
    assert!(shown.contains("password = \"***\"") && shown.contains("\"sasl.password\" = \"***\""), "{shown}");
}

#[test]
fn a_program_without_what_it_needs_says_what() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let kafka = ["--set", "kafka.brokers=127.0.0.1:1"];
    let clickhouse = ["--set", "clickhouse.url=http://127.0.0.1:1"];
    let missing = "geo.files=[\"nowhere.mmdb\"]";
    let broken = "geo.files=[\"broken.mmdb\"]";
    std::fs::write(dir.join("broken.mmdb"), "no database").unwrap();
    std::fs::write(dir.join("broken.toml"), "secret-that-nobody-may-see").unwrap();
    let both = [kafka, clickhouse].concat();
    for (settings, program, named) in [
        (vec![], "edge", "kafka.brokers"),
        (vec![], "consume", "kafka.brokers"),
        (kafka.to_vec(), "consume", "clickhouse.url"),
        (both.clone(), "consume", "geo.files"),
        ([&both[..], &["--set", missing]].concat(), "consume", "nowhere.mmdb"),
        ([&both[..], &["--set", broken]].concat(), "consume", "broken.mmdb"),
        (kafka.to_vec(), "edge", "keys.file = keys.toml"),
        ([kafka, ["--set", "keys.file=broken.toml"]].concat(), "edge", "keys.file = broken.toml"),
    ] {
        let complaint = refuses(dir, &[&settings[..], &[program]].concat());
        assert!(complaint.contains(named), "{program} {settings:?}: {complaint}");
        assert!(!complaint.contains("nobody-may-see"), "{complaint}");
    }
}

#[test]
fn keys_are_made_once_and_rotation_keeps_links() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    says(dir, &["keys", "new"]);
    let mode = std::os::unix::fs::MetadataExt::mode(&dir.join("keys.toml").metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let click = ["link", "click", "--recipient", "ann", "--message", "5", "--sent", "2026-11-01T08:00:00Z"];
    let click = [&click[..], &["https://shop.example/"]].concat();
    let old = says(dir, &click);
    assert_eq!(says(dir, &click), old, "the same link has one URL");

    let complaint = refuses(dir, &["keys", "new"]);
    assert!(complaint.contains("keys.file = keys.toml"), "{complaint}");
    says(dir, &["keys", "rotate"]);
    let new = says(dir, &click);
    assert_ne!(old, new);
    let keys = keys_in(dir);
    assert_eq!(opened(&keys, &old), opened(&keys, &new));
    assert_eq!(opened(&keys, &old).recipient, keys.recipient(1, "ann"));
}

#[test]
fn links_that_cannot_be_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    says(dir.path(), &["keys", "new"]);
    for (args, named) in [
        (["--recipient", "ann", "--message", "m", "javascript:alert(1)"], "javascript:alert(1)"),
        (["--recipient", "ann", "--message", "m", "/offer"], "/offer"),
        (["--recipient", "", "--message", "m", "https://a.example/"], "--recipient"),
        (["--mode", "full", "--message", "m", "https://a.example/"], "--recipient"),
        (["--recipient", "ann", "--message", "", "https://a.example/"], "--message"),
    ] {
        let complaint = refuses(dir.path(), &[&["link", "click"][..], &args].concat());
        assert!(complaint.contains(named), "{args:?}: {complaint}");
    }
}

#[test]
fn links_carry_what_they_were_given() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    says(dir, &["keys", "new"]);
    let keys = keys_in(dir);
    let about = ["--recipient", "ann", "--message", "spring", "--workspace", "7", "--region", "eu"];
    let open = opened(&keys, &says(dir, &[&["link", "open", "--position", "top"][..], &about].concat()));
    assert_eq!((open.kind, open.position, open.region), (Kind::Open, Position::Top, event::Region::Eu));
    assert_eq!((open.recipient, open.message), (keys.recipient(7, "ann"), keys.message(7, "spring")));
    let file = ["link", "download", "--number", "9", "--trap", "https://a.example/x.pdf"];
    let file = opened(&keys, &says(dir, &[&file[..], &about].concat()));
    assert_eq!((file.kind, file.link, file.trap), (Kind::Download, 9, true));
    assert_eq!((&*file.target, file.workspace), ("https://a.example/x.pdf", 7));
}

#[test]
fn a_message_comes_back_instrumented() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    says(dir, &["keys", "new"]);
    let html = "<html><body><a href=\"https://a.example/?x=1&amp;y=2\" id=\"a\">A</a>\
                <a href=\"https://a.example/stay\" data-mailbeacon=\"off\">stay</a></body></html>";
    let args = ["link", "message", "--recipient", "ann", "--message", "m", "--utm", "utm_source=news"];
    let output = run_with_input(dir, &args, html);
    let (out, report) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{report}");
    assert!(out.contains("https://a.example/stay"), "{out}");
    assert!(report.contains("https://a.example/?x=1&y=2&utm_source=news"), "{report}");

    let keys = keys_in(dir);
    let tracked: Vec<Link> = out
        .split('"')
        .filter(|text| text.starts_with("http://127.0.0.1:8080/"))
        .map(|url| opened(&keys, url))
        .collect();
    let [clicks, opens] =
        [Kind::Click, Kind::Open].map(|kind| tracked.iter().filter(move |link| link.kind == kind));
    let targets: Vec<&str> = clicks.map(|link| &*link.target).collect();
    assert_eq!(targets, ["https://a.example/?x=1&y=2&utm_source=news"]);
    assert_eq!(opens.map(|link| link.position).collect::<Vec<_>>(), [Position::Top, Position::Bottom]);
    assert!(tracked.iter().all(|link| link.recipient == keys.recipient(1, "ann")));
}
