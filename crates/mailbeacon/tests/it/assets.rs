//! `mailbeacon assets`: what is said of lists and databases, and what becomes of an update that finds a server in every
//! mood, or none.

mod site;

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::ledger::Ledger;
use crate::program::{BOUND, command, refuses, says, until_ok};
use crate::up::{Up, metric};
use site::Site;

/// A test database of MaxMind's.
fn database(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../enrich/tests/data/maxmind").join(name)
}

fn set(name: &str, value: impl AsRef<Path>) -> String {
    format!("{name}={}", value.as_ref().display())
}

/// What is shown, by name.
fn shown(dir: &Path, settings: &[&str]) -> Vec<Json> {
    let flags = settings.iter().flat_map(|setting| ["--set", setting]);
    let args: Vec<&str> = flags.chain(["assets", "--json"]).collect();
    serde_json::from_str(&says(dir, &args)).unwrap()
}

fn named<'a>(assets: &'a [Json], name: &str) -> &'a Json {
    assets.iter().find(|asset| asset["name"] == name).unwrap_or_else(|| panic!("no {name}: {assets:?}"))
}

fn warnings(asset: &Json) -> String {
    asset["warnings"].as_array().unwrap().iter().map(|warning| warning.as_str().unwrap()).collect()
}

#[test]
fn what_is_built_in_is_shown_with_its_origin_and_checksum() {
    let dir = tempfile::tempdir().unwrap();
    let assets = shown(dir.path(), &[]);
    assert_eq!(assets.len(), 7, "{assets:?}");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../enrich/data/networks");
    for asset in &assets {
        let text = std::fs::read(source.join(asset["name"].as_str().unwrap())).unwrap();
        assert_eq!(asset["sha256"], hex::encode(Sha256::digest(&text)), "{asset}");
        assert_eq!((&asset["origin"], &asset["bytes"]), (&"built in".into(), &text.len().into()), "{asset}");
        assert!(asset["entries"].as_u64().unwrap() > 0 && asset["age_days"].is_i64(), "{asset}");
        assert!(
            !asset["source"].as_str().unwrap().is_empty() && !asset["licence"].as_str().unwrap().is_empty()
        );
    }
    let table = says(dir.path(), &["assets"]);
    let line = table.lines().find(|line| line.starts_with("apple-egress.txt ")).unwrap();
    assert!(line.contains("built in") && line.contains("13745"), "{table}");
}

#[test]
fn files_are_shown_with_what_is_wrong_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let networks = dir.path().join("networks");
    std::fs::create_dir(&networks).unwrap();
    let list = |date: &str| format!("{date}203.0.113.0/24\n");
    std::fs::write(networks.join("vpn.txt"), list("# date: 2020-01-31\n")).unwrap();
    std::fs::write(networks.join("microsoft.txt"), list("# date: 2999-01\n")).unwrap();
    std::fs::write(networks.join("google.txt"), list("")).unwrap();
    let (city, asn) = (database("GeoIP2-City-Test.mmdb"), database("GeoLite2-ASN-Test.mmdb"));
    let settings = [
        set("networks.dir", &networks),
        format!("geo.files=[{city:?}]"),
        format!("networks.asn_files=[{asn:?}]"),
    ];
    let assets = shown(dir.path(), &settings.each_ref().map(String::as_str));
    let vpn = named(&assets, "vpn.txt");
    assert_eq!((&vpn["origin"], &vpn["entries"]), (&"file".into(), &1.into()), "{vpn}");
    let text = warnings(vpn);
    assert!(text.contains("expected at most 180") && text.contains("older than the built-in list"), "{text}");
    assert!(warnings(named(&assets, "microsoft.txt")).contains("in the future"));
    assert!(warnings(named(&assets, "google.txt")).contains("does not say of when it is"));
    let geo = named(&assets, "geo");
    assert_eq!(geo["sha256"], hex::encode(Sha256::digest(std::fs::read(&city).unwrap())));
    assert!(geo["source"].as_str().unwrap().starts_with("GeoIP2-City"), "{geo}");
    assert!(warnings(geo).contains("expected at most 60: addresses change hands"), "{geo}");
    assert!(named(&assets, "asn")["licence"].as_str().unwrap().contains("GeoLite2"));

    // The same stops a consumer before it has bound or asked anything.
    std::fs::write(networks.join("vpn.txt"), "203.0.113.0/24\n203.0.113\n").unwrap();
    let flags: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let elsewhere = ["--set", "kafka.brokers=127.0.0.1:1", "--set", "clickhouse.url=http://127.0.0.1:1"];
    for command in [&["assets"][..], &[&elsewhere[..], &["consume"]].concat()] {
        let complaint = refuses(dir.path(), &[&flags[..], command].concat());
        assert!(complaint.contains("vpn.txt line 2: expected a network prefix"), "{complaint}");
    }
}

/// Runs an update from a site: whether all went well, and what it printed.
fn update(dir: &Path, args: &[&str], mirror: &str) -> (bool, String) {
    let output = command(dir, &[args, &["--mirror", mirror]].concat()).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// What was said of one.
fn line<'a>(said: &'a str, name: &str) -> &'a str {
    said.lines()
        .find(|line| line.starts_with(&format!("{name}: ")))
        .unwrap_or_else(|| panic!("{name}: {said}"))
}

#[test]
fn an_update_takes_what_is_published_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let site = Site::start();
    let dir = home.path().join("assets");
    let all = ["assets", "update", "--dir", dir.to_str().unwrap()];

    let (well, said) = update(home.path(), &all, &site.url);
    assert!(well, "{said}");
    for name in
        ["apple-egress.txt", "google.txt", "microsoft-eop.txt", "data-centres.txt", "vpn.txt", "geo", "asn"]
    {
        let line = line(&said, name);
        assert!(line.contains(": updated ") && line.contains("sha256"), "{line}");
    }
    for name in ["barracuda.txt", "microsoft.txt", "vendors.tsv"] {
        assert!(line(&said, name).contains(": skipped "), "{said}");
    }
    assert!(said.contains("networks.dir = ") && said.contains("geo.files = ["), "{said}");
    assert_eq!(left_over(&dir), Vec::<String>::new());
    // This month's places are not out yet, so last month's are asked for.
    assert_eq!(site.asked("dbip-city-lite").len(), 2);

    // As a consumer reads them: by the settings that were printed.
    let settings = said.lines().last().unwrap().split_once(": ").unwrap().1.replace(", ", "\n");
    std::fs::write(home.path().join("m.toml"), settings).unwrap();
    let assets: Vec<Json> =
        serde_json::from_str(&says(home.path(), &["--config", "m.toml", "assets", "--json"])).unwrap();
    let apple = named(&assets, "apple-egress.txt");
    assert_eq!(
        (&apple["origin"], &apple["entries"], &apple["age_days"]),
        (&"file".into(), &9_000.into(), &0.into())
    );
    assert_eq!(named(&assets, "google.txt")["entries"], 3, "8.8.0.0/22 without 8.8.1.0/24, and IPv6");
    assert!(named(&assets, "geo")["source"].as_str().unwrap().starts_with("DBIP-City-Lite"));

    // Again: nothing is new.
    let (well, said) = update(home.path(), &all, &site.url);
    assert!(well, "{said}");
    for name in
        ["apple-egress.txt", "google.txt", "microsoft-eop.txt", "data-centres.txt", "vpn.txt", "geo", "asn"]
    {
        assert!(line(&said, name).contains(": unchanged "), "{said}");
    }
    site.publish_this_months_places();
    let (well, said) = update(home.path(), &[&all[..], &["geo"]].concat(), &site.url);
    assert!(well && line(&said, "geo").contains(": updated "), "{said}");
    // What is of this month is not asked for.
    let before = site.asked("dbip-city-lite").len();
    let (well, said) = update(home.path(), &[&all[..], &["geo"]].concat(), &site.url);
    assert!(well && line(&said, "geo").contains(": unchanged ") && said.lines().count() == 3, "{said}");
    assert_eq!(site.asked("dbip-city-lite").len(), before);

    // A site that is broken in each of its ways: whatever was there stays, to the byte.
    let files = contents(&dir);
    site.break_everything();
    std::fs::remove_file(dir.join("dbip-asn-lite.mmdb")).unwrap();
    let (well, said) = update(home.path(), &all, &site.url);
    assert!(!well, "{said}");
    for (name, wanted) in [
        (
            "apple-egress.txt",
            "it has 3 entries where 9000 were: expected 4500 to 18000 (--any-size takes it)",
        ),
        ("google.txt", "expected `prefixes`"),
        ("microsoft-eop.txt", "500"),
        ("data-centres.txt", "line 1: expected a network prefix"),
        ("vpn.txt", "404"),
        ("asn", "failed to unpack it, expected gzip"),
    ] {
        let line = line(&said, name);
        assert!(line.contains("FAILED") && line.contains(wanted), "{line}");
    }
    let kept: Vec<_> = files.iter().filter(|(name, _)| name != "dbip-asn-lite.mmdb").cloned().collect();
    assert_eq!(contents(&dir), kept);
    assert_eq!(left_over(&dir), Vec::<String>::new());

    // What looks wrong may be right, if somebody says so.
    let (well, said) =
        update(home.path(), &[&all[..], &["--any-size", "apple-egress.txt"]].concat(), &site.url);
    assert!(well && line(&said, "apple-egress.txt").contains("3 entries where 9000 were"), "{said}");
}

#[test]
fn without_a_network_everything_stays() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("assets");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("vpn.txt"), "203.0.113.0/24\n").unwrap();
    // Nobody listens at port 1.
    let args = ["assets", "update", "--dir", dir.to_str().unwrap(), "--mirror", "http://127.0.0.1:1"];
    let output = command(home.path(), &args).output().unwrap();
    let (said, complaint) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(
        complaint.contains("7 could not be updated; what was there before is still there"),
        "{complaint}"
    );
    for name in ["apple-egress.txt", "vpn.txt", "geo", "asn"] {
        let line = line(&said, name);
        assert!(
            line.contains("FAILED") && line.contains("127.0.0.1") && line.contains("curl: (7)"),
            "{line}"
        );
    }
    assert_eq!(contents(&dir), [("vpn.txt".to_owned(), b"203.0.113.0/24\n".to_vec())]);
    assert_eq!(left_over(&dir), Vec::<String>::new());
}

#[test]
fn another_publishers_database_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let city = home.path().join("city.mmdb");
    std::fs::copy(database("GeoLite2-City-Test.mmdb"), &city).unwrap();
    let files = format!("geo.files=[{city:?}]");
    let said = says(
        home.path(),
        &["--set", &files, "assets", "update", "geo", "asn", "vpn.txt", "--mirror", "http://127.0.0.1:1"],
    );
    assert!(line(&said, "geo").contains("skipped") && said.contains("GeoLite2-City"), "{said}");
    assert!(line(&said, "asn").contains("networks.asn_files is not set"), "{said}");
    assert!(line(&said, "vpn.txt").contains("networks.dir is not set"), "{said}");
    // Nor is one that may be anybody's.
    std::fs::write(&city, "no database").unwrap();
    let output = command(home.path(), &["--set", &files, "assets", "update", "geo"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(line(&said, "geo").contains("FAILED") && said.contains("remove it to have a new one"), "{said}");
    assert_eq!(std::fs::read(&city).unwrap(), b"no database");
    let complaint = refuses(home.path(), &["assets", "update", "vpns.txt"]);
    assert!(complaint.contains("vpns.txt: expected one of apple-egress.txt"), "{complaint}");
}

/// The program itself, with requests on their way all the time.
#[test]
fn a_running_program_takes_up_newer_places() {
    let dir = testkit::fresh_dir("assets");
    let city = dir.path().join("city.mmdb");
    let put = |name: &str| {
        let partial = dir.path().join("partial");
        std::fs::copy(database(name), &partial).unwrap();
        std::fs::rename(&partial, &city).unwrap();
    };
    put("GeoIP2-City-Test.mmdb");
    let files = format!("geo.files=[{city:?}]");
    let up = Up::start(dir.path(), &["--set", &files, "--set", "geo.reload_interval_ms=50"]);
    let mut ledger = Ledger::new(&up.keys, &up.edge);
    let mut rows_of = |version: &str| {
        let sql =
            format!("SELECT count() FROM events WHERE geo_version LIKE '{version} %' AND city = 'London'");
        until_ok(&format!("rows of {version}"), BOUND, || {
            ledger.send(5);
            let count = up.query(&sql);
            if count == "0" { Err(count) } else { Ok(()) }
        });
    };
    rows_of("GeoIP2-City");
    put("GeoLite2-City-Test.mmdb");
    rows_of("GeoLite2-City");
    std::fs::write(dir.path().join("partial"), b"no database").unwrap();
    std::fs::rename(dir.path().join("partial"), &city).unwrap();
    until_ok("the broken file is refused", BOUND, || {
        match metric(&up.metrics(), "consumer_refused_tables") {
            1 => Ok(()),
            not => Err(not),
        }
    });
    assert_eq!(metric(&up.metrics(), "consumer_table_reloads_total"), 2);
    assert!(up.program.said().contains("city.mmdb: expected a whole MaxMind DB"), "{}", up.program.said());
    ledger.send(20);
    ledger.check(&up.clickhouse);
}

/// The files of a directory, by name.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// What an update has left beside the files, but for its lock.
fn left_over(dir: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.') && name != ".mailbeacon-update.lock").collect()
}
