//! Links from outside: keys and their rotation, tokens against forgery, targets, and whole messages.

mod keys;
mod messages;
mod targets;
mod tokens;

/// A key file of fixed keys, so that a token can be written down. Only for tests.
const KEY_FILE: &str = include_str!("keys.toml");

fn ring() -> link::Keys {
    link::Keys::from_toml(KEY_FILE).unwrap()
}
