//! The key file: what is refused and how, and that no secret shows.

use link::Keys;

use crate::{KEY_FILE, ring};

#[test]
fn a_fresh_file_is_complete_and_never_the_same() {
    let text = Keys::generate();
    let keys = Keys::from_toml(&text).unwrap();
    assert_eq!(keys.event_max_age_days(), 400);
    assert_ne!(Keys::generate(), text);
    assert!(text.lines().any(|line| line.starts_with('#')));
}

#[test]
fn rotation_keeps_what_is_there() {
    let mut text = KEY_FILE.to_owned();
    for expected in ["8", "9", "10"] {
        let new = Keys::add_signing_key(&text).unwrap();
        let kept = new.replace(&format!("signing = {expected}"), "signing = 7");
        assert!(kept.starts_with(KEY_FILE), "{new}");
        assert!(format!("{:?}", Keys::from_toml(&new).unwrap()).contains(&format!("signing: {expected}")));
        text = new;
    }
}

#[test]
fn rotation_takes_every_id_and_then_says_that_none_is_left() {
    let mut text = Keys::generate();
    for _ in 1..256 {
        text = Keys::add_signing_key(&text).unwrap();
    }
    let said = Keys::add_signing_key(&text).unwrap_err().to_string();
    assert!(said.contains("all 256 key ids are taken"), "{said}");
}

#[test]
fn errors_name_the_key_and_never_the_secret() {
    let secret = KEY_FILE.lines().rfind(|line| line.starts_with("secret")).unwrap();
    let recipient_key = KEY_FILE.lines().find(|line| line.starts_with("recipient_key")).unwrap();
    let value = secret.split('"').nth(1).unwrap();
    let recipient_value = recipient_key.split('"').nth(1).unwrap();
    let zeros = format!("recipient_key = \"{}\"", "A".repeat(43));
    let first = KEY_FILE.lines().find(|line| line.starts_with("secret")).unwrap();
    let cases = [
        ("signing = 7", "", "signing is missing, expected a whole number from 0 to 255"),
        ("signing = 7", "signing = 9", "signing is 9, which no [[key]] has, expected the id of a [[key]]"),
        ("signing = 7", "signing = \"7\"", "signing is no whole number"),
        ("signing = 7", "signing = 256", "signing is 256, expected a whole number from 0 to 255"),
        ("signing = 7", "signing = 7\nsigning = 7", "line 3 is not valid TOML, or repeats a key"),
        ("signing = 7", "signing = 7\nsined = 1", "sined is not a known key, expected signing"),
        ("id = 3", "id = 7", "key[1].id is 7, as is another key's"),
        ("id = 3", "id = -3", "key[0].id is -3"),
        ("id = 3", "id = 3\nnote = 1", "key[0].note is not a known key, expected id or secret"),
        (secret, "", "key[1].secret is missing, expected 64 random bytes"),
        (secret, "secret = 5", "key[1].secret is no text"),
        (secret, &secret[..secret.len() - 1], "line 12 is not valid TOML"),
        (secret, &secret.replace(&value[..4], ""), "key[1].secret has 61 bytes, expected 64"),
        (secret, &secret.replace(&value[..4], "%%%%"), "key[1].secret is not base64url"),
        (secret, first, "key[1].secret is that of key 3, expected a secret of its own"),
        (recipient_key, &zeros, "recipient_key is one byte repeated"),
        (recipient_key, "", "recipient_key is missing, expected 32 random bytes"),
        ("event_max_age_days = 400", "event_max_age_days = 0", "event_max_age_days is 0"),
        ("event_max_age_days = 400", "event_max_age_days = 99999999999", "event_max_age_days is 99999999999"),
    ];
    for (line, instead, expected) in cases {
        let said = Keys::from_toml(&KEY_FILE.replacen(line, instead, 1)).unwrap_err().to_string();
        assert!(said.contains(expected), "expected {expected:?}, found {said:?}");
        for secret in [value, recipient_value] {
            assert!(!said.contains(&secret[..8]) && !said.contains(&secret[secret.len() - 8..]), "{said}");
        }
    }
    let none = KEY_FILE.split("[[key]]").next().unwrap();
    assert!(Keys::from_toml(none).unwrap_err().to_string().contains("key is missing"));
    let shown = format!("{:?}", ring());
    assert_eq!(shown, "Keys { ids: [3, 7], signing: 7, event_max_age_days: 400, .. }");
}

#[test]
fn recipients_are_stable_and_apart() {
    let keys = ring();
    assert_eq!(keys.recipient(1, "customer 1"), RECIPIENT);
    assert_eq!(keys.domain(1, "Mail.Example"), keys.domain(1, "mail.example"));
    let others = [
        keys.recipient(2, "customer 1"),
        keys.recipient(1, "customer 2"),
        keys.recipient(1, "Customer 1"),
        keys.recipient(1, ""),
        keys.domain(1, "customer 1"),
        Keys::from_toml(&Keys::generate()).unwrap().recipient(1, "customer 1"),
    ];
    assert!(others.iter().all(|other| *other != RECIPIENT && *other != 0));
}

#[test]
fn messages_are_numbers_or_hashed_names() {
    let keys = ring();
    for (name, number) in [
        ("0", 0),
        ("42", 42),
        ("18446744073709551615", u64::MAX),
        // SELECT reinterpretAsUInt64(SHA256('mailbeacon message 7 spring sale'))
        ("spring sale", MESSAGE),
    ] {
        assert_eq!(keys.message(7, name), number, "{name}");
    }
    for text in ["", "007", "+7", "-7", " 7", "18446744073709551616", "Spring sale", "spring sale "] {
        assert!(keys.message(7, text) > 1 << 32, "{text:?} is hashed");
    }
    assert_ne!(keys.message(7, "spring sale"), keys.message(8, "spring sale"));
}

/// Computed with another implementation (Python's hmac and hashlib).
const RECIPIENT: u64 = 16_229_944_029_941_472_759;
const MESSAGE: u64 = 16_334_386_617_015_051_788;
