//! Links from outside: keys and their rotation, tokens against forgery, targets, and whole messages.

#![allow(clippy::unwrap_used, reason = "a test's helper fails by it")]

mod keys;
mod messages;
mod targets;
mod tokens;

/// A key file of fixed keys, so that a token can be written down. Only for tests.
const KEY_FILE: &str = include_str!("keys.toml");

fn ring() -> link::Keys {
    link::Keys::from_toml(KEY_FILE).unwrap()
}

#[test]
fn keys_and_sites_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<link::Keys>();
    shared::<link::Site>();
}
