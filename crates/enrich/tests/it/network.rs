//! Networks from files: lists that replace the built-in ones, ASN databases in the shapes that are published.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use enrich::{Enricher, Networks, Sources, TableError, Tables, Verdict};
use event::{Event, Kind, Method};

use crate::file;
use crate::mmdb::{Value, write};

fn owner(networks: &Networks, address: &str) -> &'static str {
    networks.find(address.parse::<IpAddr>().unwrap()).map_or("", |network| network.owner)
}

/// A directory with one file.
fn directory(name: &str, of: &str, text: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join(of), text).unwrap();
    dir
}

#[test]
fn a_file_replaces_the_list_of_its_name_and_no_other() {
    let text = "# source: us\n# licence: none\n# date: 2026-11-20\n203.0.113.0/24\n2001:db8::/32\n";
    let dir = directory("lists", "vpn.txt", text);
    std::fs::write(dir.join("README.md"), "not a list").unwrap();
    std::fs::write(dir.join(".vpn.txt.partial"), "not yet a list").unwrap();
    let (networks, built_in) = (Networks::load(Some(&dir), &[]).unwrap(), Networks::built_in());
    for address in ["203.0.113.9", "::ffff:203.0.113.9", "2001:db8::9"] {
        assert_eq!((owner(&built_in, address), owner(&networks, address)), ("", "vpn"), "{address}");
    }
    // Of the list that was replaced, and of one that was not.
    assert_eq!((owner(&built_in, "2.57.28.1"), owner(&networks, "2.57.28.1")), ("vpn", "data-centre"));
    assert_eq!(owner(&networks, "104.28.28.1"), "apple-egress");
    let asset = networks.assets().find(|asset| asset.name == "vpn.txt").unwrap();
    assert_eq!(asset.file.as_ref(), Some(&dir.join("vpn.txt")));
    assert_eq!((&*asset.source, &*asset.licence, &*asset.date), ("us", "none", "2026-11-20"));
    assert_eq!((asset.entries, asset.bytes), (2, text.len() as u64));
    assert!(networks.assets().filter(|asset| asset.file.is_none()).count() >= 6);
}

#[test]
fn a_list_that_is_not_built_in_may_be_there() {
    let dir = directory("google", "google.txt", "203.0.113.0/24\n");
    assert_eq!(owner(&Networks::load(Some(&dir), &[]).unwrap(), "203.0.113.9"), "google");
}

#[test]
fn a_broken_list_stops_the_start_with_file_line_and_expectation() {
    for (name, text, wanted) in [
        ("vpn.txt", "203.0.113.0/24\nhello\n", "vpn.txt line 2: expected a network prefix"),
        ("vpn.txt", "", "vpn.txt line 1: expected at least one network"),
        (
            "vendors.tsv",
            "zscalar\t22616\t203.0.113.0/24\n",
            "vendors.tsv line 1: expected a vendor that is known",
        ),
        ("vpns.txt", "203.0.113.0/24\n", "vpns.txt replaces no list: expected one of microsoft-eop.txt"),
        ("vpn.txt", "203.0.113.0/24\n\u{0}", "vpn.txt line 2"),
    ] {
        let dir = directory("broken", name, text);
        let error = Networks::load(Some(&dir), &[]).expect_err(text).to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let dir = directory("not-text", "vpn.txt", "");
    std::fs::write(dir.join("vpn.txt"), [0xff, 0xfe]).unwrap();
    assert!(matches!(Networks::load(Some(&dir), &[]), Err(TableError::ReadList { .. })));
    let error = Networks::load(Some(&dir.join("none")), &[]).unwrap_err().to_string();
    assert!(error.contains("failed to read directory") && error.contains("none"), "{error}");
}

/// Numbers as MaxMind and DB-IP store them, and in every other width and form.
#[test]
fn an_asn_database_speaks_where_no_prefix_does() {
    type Number = fn(u32) -> Value;
    let forms: [(&str, Number); 4] = [
        ("u32", Value::U32),
        ("u16", |n| Value::U16(n as u16)),
        ("u64", |n| Value::U64(n.into())),
        ("text", |n| Value::Text(if n == 22843 { "22843" } else { "AS22616" })),
    ];
    for (name, number) in forms {
        let record = |n| {
            let organization = ("autonomous_system_organization", Value::Text("Some"));
            Value::Map(vec![("autonomous_system_number", number(n)), organization])
        };
        let rows = [
            ("203.0.113.0/25", record(22843)),
            // In the list of data centres, and a gateway's by its number.
            ("1.12.0.0/24", record(22616)),
            // A prefix of Google's, whatever a database says.
            ("66.249.84.0/24", record(22843)),
        ];
        let path = write(&format!("asn-{name}"), "asn ipv4", 4, &rows);
        let networks = Networks::load(None, &[path]).unwrap();
        assert_eq!(owner(&networks, "203.0.113.9"), "proofpoint", "{name}");
        assert_eq!(owner(&networks, "203.0.113.200"), "", "{name}: not in the file");
        assert_eq!(owner(&networks, "1.12.0.9"), "zscaler", "{name}");
        assert_eq!(owner(&networks, "1.12.1.9"), "data-centre", "{name}");
        assert_eq!(owner(&networks, "66.249.84.9"), "google", "{name}");
        assert_eq!(owner(&networks, "2001:db8::9"), "", "{name}: IPv6 in a file for IPv4");
    }
}

#[test]
fn numbers_without_a_prefix_are_found_by_a_database_only() {
    let rows = |n| Value::Map(vec![("autonomous_system_number", Value::U32(n))]);
    let v4 =
        write("asn-v4", "asn ipv4", 4, &[("203.0.113.0/24", rows(8075)), ("198.51.100.0/24", rows(64512))]);
    let v6 = write("asn-v6", "asn ipv6", 6, &[("2001:db8::/32", rows(15169))]);
    for files in [[v4.clone(), v6.clone()], [v6, v4]] {
        let networks = Networks::load(None, &files).unwrap();
        assert_eq!(owner(&networks, "203.0.113.9"), "microsoft");
        assert_eq!(owner(&networks, "2001:db8::9"), "google");
        assert_eq!(
            (owner(&networks, "198.51.100.9"), networks.asn("198.51.100.9".parse().unwrap())),
            ("", Some(64512))
        );
        assert_eq!(networks.assets().filter(|asset| asset.name == "asn").count(), 2);
    }
}

#[test]
fn a_visit_from_a_vendors_new_network_is_judged_as_its_own() {
    let rows = Value::Map(vec![("autonomous_system_number", Value::U32(22843))]);
    let asn = write("asn-visit", "asn ipv4", 4, &[("203.0.113.0/24", rows)]);
    let verdict = |asn_files: Vec<PathBuf>| {
        let tables = Tables::read(&Sources { asn_files, ..Sources::default() }).unwrap();
        let event = Event {
            kind: Kind::Click,
            method: Method::Get,
            user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
            accept: "text/html",
            accept_language: "en",
            client_ip: &[203, 0, 113, 9],
            ..Event::default()
        };
        let mut enricher = Enricher::new(Arc::new(tables));
        let found = enricher.enrich(&event);
        (found.verdict, found.reasons.contains(&"security-network"))
    };
    assert!(!verdict(Vec::new()).1);
    assert_eq!(verdict(vec![asn]), (Verdict::Scanner, true));
}

#[test]
fn an_asn_file_without_numbers_is_refused() {
    let city = file("data/maxmind/GeoIP2-City-Test.mmdb");
    let error = Networks::load(None, &[city]).unwrap_err().to_string();
    assert!(error.contains("asn file") && error.contains("expected `autonomous_system_number`"), "{error}");
    let asn = file("data/maxmind/GeoLite2-ASN-Test.mmdb");
    let three = vec![asn; 3];
    assert!(matches!(Networks::load(None, &three), Err(TableError::TooMany { what: "asn", found: 3 })));
}

/// What did not change is not read again: a place database has 130 MB.
#[test]
fn a_newer_set_shares_what_did_not_change() {
    let dir = directory("newer", "vpn.txt", "203.0.113.0/24\n");
    let sources = Sources {
        geo_files: vec![file("data/maxmind/GeoIP2-City-Test.mmdb")],
        networks_dir: Some(dir.clone()),
        ..Sources::default()
    };
    let old = Tables::read(&sources).unwrap();
    assert_eq!(old.stamps(), &sources.stamps());
    std::fs::write(dir.join("vpn.txt"), "198.51.100.0/24\n192.0.2.0/24\n").unwrap();
    assert_ne!(old.stamps(), &sources.stamps());
    let newer = old.newer(&sources, sources.stamps()).unwrap();
    assert!(Arc::ptr_eq(old.place.as_ref().unwrap(), newer.place.as_ref().unwrap()));
    assert_eq!((owner(&old.networks, "192.0.2.9"), owner(&newer.networks, "192.0.2.9")), ("", "vpn"));
    // A name that is no list's shows as a change, which then is refused.
    std::fs::write(dir.join("vpns.txt"), "192.0.2.0/24\n").unwrap();
    assert_ne!(newer.stamps(), &sources.stamps());
    assert!(matches!(newer.newer(&sources, sources.stamps()), Err(TableError::NoSuchList { .. })));
}
