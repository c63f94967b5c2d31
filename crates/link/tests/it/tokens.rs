//! A token opens to what was minted, and to nothing else after any change.

use event::{Kind, Mode, Position, Region};
use link::{
    Keys, Link, MintError, Site, TOKEN_BYTES_MAX, TokenError, URL_BYTES_MAX, names_recipient, parse_path,
};
use proptest::prelude::*;

use crate::{KEY_FILE, ring};

const HITS: [Kind; 3] = [Kind::Open, Kind::Click, Kind::Download];

/// Any link that can be minted, in the form in which it comes out again.
fn any_link() -> impl Strategy<Value = Link> {
    let target =
        "https?://[a-z]{1,20}\\.example(/[A-Za-z0-9._~%!$&'()*+,;=:@/-]{0,60})?(\\?[a-z0-9=&\\[\\]]{0,40})?";
    let ids = (any::<u32>(), any::<u64>(), prop_oneof![Just(0), any::<u64>()], any::<u32>());
    let seconds = prop_oneof![Just(0), 1_600_000_000..2_000_000_000i64, 0..=i64::MAX / 1_000];
    let choices = (0..3usize, 0..3i32, 0..5i32, 0..3i32, any::<bool>());
    (ids, seconds, choices, target).prop_map(|(ids, seconds, choices, target)| {
        let (kind, mode) = (HITS[choices.0], Mode::try_from(choices.2).unwrap());
        Link {
            kind,
            workspace: ids.0,
            message: ids.1,
            recipient: if names_recipient(mode) { ids.2 } else { 0 },
            link: ids.3,
            target: if kind == Kind::Open { String::new() } else { target },
            sent_at_ms: seconds * 1_000,
            position: Position::try_from(choices.1).unwrap(),
            mode,
            region: Region::try_from(choices.3).unwrap(),
            trap: choices.4,
        }
    })
}

fn usual_open() -> Link {
    Link {
        workspace: 4_000,
        message: ring().message(4_000, "spring sale, first run"),
        recipient: ring().recipient(4_000, "customer 81723"),
        sent_at_ms: 1_795_000_000_000,
        position: Position::Bottom,
        mode: Mode::Full,
        region: Region::Other,
        ..Link::default()
    }
}

fn click(target: &str) -> Link {
    Link { kind: Kind::Click, link: 1, target: target.into(), ..usual_open() }
}

proptest! {
    #[test]
    fn what_is_minted_is_opened(link in any_link()) {
        let keys = ring();
        let token = keys.mint(&link).unwrap();
        prop_assert_eq!(keys.mint(&link).unwrap(), token.clone(), "the same link has the same token");
        prop_assert_eq!(keys.open(link.kind, token.as_bytes()).unwrap(), link);
    }

    #[test]
    fn a_token_of_one_kind_is_no_other(link in any_link()) {
        let keys = ring();
        let token = keys.mint(&link).unwrap();
        for kind in [Kind::Open, Kind::Click, Kind::Download, Kind::Sent, Kind::Unspecified] {
            if kind != link.kind {
                prop_assert_eq!(keys.open(kind, token.as_bytes()), Err(TokenError::Forged));
            }
        }
    }

    #[test]
    fn extended_tokens_fail(link in any_link(), more in "[A-Za-z0-9_=-]{1,8}|\\PC{1,4}") {
        let keys = ring();
        let token = keys.mint(&link).unwrap() + &more;
        prop_assert!(keys.open(link.kind, token.as_bytes()).is_err());
    }

    #[test]
    fn other_keys_fail(link in any_link()) {
        let token = ring().mint(&link).unwrap();
        // The same ids with other secrets, and other ids altogether.
        let same_id = Keys::generate().replace("signing = 1", "signing = 7").replace("id = 1", "id = 7");
        let same_id = Keys::from_toml(&same_id).unwrap();
        prop_assert_eq!(same_id.open(link.kind, token.as_bytes()), Err(TokenError::Forged));
        let other_id = Keys::from_toml(&Keys::generate()).unwrap();
        prop_assert_eq!(other_id.open(link.kind, token.as_bytes()), Err(TokenError::UnknownKey));
    }

    #[test]
    fn any_bytes_are_only_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2_100)) {
        for kind in HITS {
            prop_assert!(ring().open(kind, &bytes).is_err());
        }
        if let Some((kind, token)) = parse_path(&bytes) {
            prop_assert!(ring().open(kind, token).is_err());
        }
    }

    #[test]
    fn any_base64_is_only_refused(text in "[A-Za-z0-9_-]{0,200}") {
        for kind in HITS {
            prop_assert!(ring().open(kind, text.as_bytes()).is_err());
        }
    }
}

#[test]
fn a_token_holds_no_recipient_that_its_mode_may_not_name() {
    let keys = ring();
    for (mode, is_named) in [
        (Mode::Unspecified, true),
        (Mode::Full, true),
        (Mode::Date, true),
        (Mode::Anonymous, false),
        (Mode::Off, false),
    ] {
        let (of_one, of_nobody) =
            (Link { mode, ..usual_open() }, Link { mode, recipient: 0, ..usual_open() });
        assert_eq!(keys.mint(&of_one).unwrap() != keys.mint(&of_nobody).unwrap(), is_named, "{mode:?}");
        let opened = keys.open(Kind::Open, keys.mint(&of_one).unwrap().as_bytes()).unwrap();
        assert_eq!(opened.recipient, if is_named { usual_open().recipient } else { 0 }, "{mode:?}");
    }
}

#[test]
fn every_flipped_bit_and_every_cut_fails() {
    let keys = ring();
    for link in
        [usual_open(), click("https://shop.example/sale?id=1"), click("https://shop.example/sale?id=12")]
    {
        let token = keys.mint(&link).unwrap().into_bytes();
        for at in 0..token.len() {
            for bit in 0..8 {
                let mut changed = token.clone();
                changed[at] ^= 1 << bit;
                assert!(keys.open(link.kind, &changed).is_err(), "byte {at} bit {bit}");
            }
            assert!(keys.open(link.kind, &token[..at]).is_err(), "cut to {at}");
            assert!(keys.open(link.kind, &token[at + 1..]).is_err(), "cut from {at}");
        }
    }
}

/// Whatever stands in the unused bits of the last character: there is one spelling.
#[test]
fn the_last_character_has_one_spelling() {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let keys = ring();
    for target in ["https://a.example/", "https://a.example/x", "https://a.example/xy"] {
        let token = keys.mint(&click(target)).unwrap().into_bytes();
        let spellings = ALPHABET.iter().filter(|last| {
            let mut changed = token.clone();
            *changed.last_mut().unwrap() = **last;
            keys.open(Kind::Click, &changed).is_ok()
        });
        assert_eq!(spellings.count(), 1);
    }
}

#[test]
fn a_usual_open_token_has_at_most_64_characters() {
    let token = ring().mint(&usual_open()).unwrap();
    assert!(token.len() <= 64, "{} characters", token.len());
    let largest = Link { workspace: 99_999, trap: true, ..usual_open() };
    assert!(ring().mint(&largest).unwrap().len() <= 64);
}

/// Tokens in mail that was sent must open for years: these bytes never change. They were made by another
/// implementation (Python, with the AES-SIV of OpenSSL), from the description in `token.rs` and `payload.rs`.
#[test]
fn golden_tokens_open() {
    for (kind, token, expected) in [
        (Kind::Open, "BwoCVN3nemwPv4rmU-ZIGjA_w1ZDDCfhlsMMktrmCp0yYBYyZ-pcuRN3vg", usual_open()),
        (
            Kind::Click,
            "B30b7XW86Rbecsst-bmao8E_osEJ9yQ1ekqRLHdDa0XTeyllu4LJWQtXZcyNhzD2bSy6e315QEmOnox4nb8i3Zg",
            click("https://shop.example/sale?id=1"),
        ),
    ] {
        assert_eq!(ring().mint(&expected).unwrap(), token);
        assert_eq!(ring().open(kind, token.as_bytes()), Ok(expected));
    }
}

#[test]
fn reasons_are_told_apart() {
    let keys = ring();
    let token = keys.mint(&usual_open()).unwrap();
    let long = "A".repeat(TOKEN_BYTES_MAX + 1);
    for (token, reason) in [
        ("", TokenError::Length),
        ("AAAA", TokenError::Length),
        (long.as_str(), TokenError::Length),
        ("!!!!", TokenError::Encoding),
        (&format!("{token}="), TokenError::Encoding),
        (&"_".repeat(64), TokenError::UnknownKey),
        (&format!("{token}AAAA"), TokenError::Forged),
    ] {
        assert_eq!(keys.open(Kind::Open, token.as_bytes()), Err(reason), "{token}");
    }
    let labels: std::collections::BTreeSet<_> = TokenError::ALL.iter().map(|error| error.as_str()).collect();
    assert_eq!(labels.len(), TokenError::ALL.len());
}

#[test]
fn a_rotated_ring_opens_old_and_new_and_a_removed_key_does_not() {
    let old = ring();
    let rotated_text = Keys::add_signing_key(KEY_FILE).unwrap();
    let rotated = Keys::from_toml(&rotated_text).unwrap();
    let link = click("https://shop.example/");
    let (before, after) = (old.mint(&link).unwrap(), rotated.mint(&link).unwrap());
    assert_ne!(before, after);
    assert_eq!(rotated.open(Kind::Click, before.as_bytes()), Ok(link.clone()));
    assert_eq!(rotated.open(Kind::Click, after.as_bytes()), Ok(link.clone()));
    assert_eq!(old.open(Kind::Click, after.as_bytes()), Err(TokenError::UnknownKey));
    assert_eq!(old.recipient(1, "a"), rotated.recipient(1, "a"), "recipients stay who they are");

    // Without its first two keys, which stand before the last [[key]].
    let (head, keys) = rotated_text.split_once("[[key]]").unwrap();
    let newest = keys.rsplit_once("[[key]]").unwrap().1;
    let removed = Keys::from_toml(&format!("{head}[[key]]{newest}")).unwrap();
    assert_eq!(removed.open(Kind::Click, before.as_bytes()), Err(TokenError::UnknownKey));
    assert_eq!(removed.open(Kind::Click, after.as_bytes()), Ok(link));
}

#[test]
fn what_cannot_be_followed_is_not_minted() {
    let keys = ring();
    let site = Site::new("https://m.example.com").unwrap();
    let error = |link: &Link| site.url(&keys, link).unwrap_err();
    assert!(matches!(error(&Link { kind: Kind::Sent, ..usual_open() }), MintError::Kind { found: "sent" }));
    assert!(matches!(error(&Link { kind: Kind::Unspecified, ..usual_open() }), MintError::Kind { .. }));
    assert!(matches!(
        error(&Link { target: "https://a.example".into(), ..usual_open() }),
        MintError::OpenTarget { .. }
    ));
    assert!(matches!(
        error(&Link { sent_at_ms: -1, ..usual_open() }),
        MintError::SentAt { link: 0, sent_at_ms: -1 }
    ));
    assert!(matches!(error(&click("")), MintError::Target { link: 1, .. }));
    let said = error(&Link { link: 5, ..click("ftp://a.example/") }).to_string();
    assert!(
        said.contains("link 5") && said.contains("ftp://a.example/") && said.contains("expected"),
        "{said}"
    );
}

#[test]
fn a_url_is_never_longer_than_clients_bear() {
    let keys = ring();
    let site = Site::new("https://m.example.com/").unwrap();
    let mut longest = 0;
    for path in (1_000..1_980).step_by(3) {
        let link = click(&format!("https://a.example/{}", "x".repeat(path)));
        match site.url(&keys, &link) {
            Ok(url) => longest = longest.max(url.len()),
            Err(MintError::TooLong { link: 1, bytes, bytes_max, target_bytes, .. }) => {
                assert!(bytes > bytes_max && target_bytes == link.target.len());
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!((URL_BYTES_MAX - 8..=URL_BYTES_MAX).contains(&longest), "{longest}");
}

#[test]
fn paths_are_told_apart() {
    for (path, expected) in [
        ("/o/abc", Some((Kind::Open, "abc"))),
        ("/c/abc", Some((Kind::Click, "abc"))),
        ("/d/", Some((Kind::Download, ""))),
        ("/o/a/b", Some((Kind::Open, "a/b"))),
        ("/o", None),
        ("/O/abc", None),
        ("o/abc", None),
        ("", None),
        ("/robots.txt", None),
    ] {
        let expected = expected.map(|(kind, token)| (kind, token.as_bytes()));
        assert_eq!(parse_path(path.as_bytes()), expected, "{path}");
    }
}

#[test]
fn a_site_is_an_origin() {
    for (base, expected) in [
        ("https://m.example.com", "https://m.example.com"),
        ("https://M.Example.com/", "https://m.example.com"),
        ("https://m.example.com:443", "https://m.example.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ] {
        assert_eq!(Site::new(base).unwrap().base_url(), expected);
    }
    for (base, problem) in [
        ("m.example.com", "is not a URL"),
        ("ftp://m.example.com", "is not http or https"),
        ("https://a:b@m.example.com", "names a user"),
        ("https://m.example.com/e", "has a path, query or fragment"),
        ("https://m.example.com?x", "has a path, query or fragment"),
    ] {
        let said = Site::new(base).unwrap_err().to_string();
        assert!(said.contains(problem) && said.contains("expected"), "{said}");
    }
}
