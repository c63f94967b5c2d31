//! The key file: a TOML text in, a key ring out, and the texts of new files.
//!
//! Read by hand, value by value, because the errors of a derived reader quote what they stumble over, and here
//! that may be a secret.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;
use serde::Deserialize;
use toml::{Spanned, Table, Value};
use zeroize::{Zeroize, Zeroizing};

use crate::keys::{Keys, RECIPIENT_KEY_BYTES};
use crate::token::{SECRET_BYTES, TokenKey};

/// Why a text is no key file. Names the key and what was expected, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Not TOML, or a key twice.
    #[error("key file: line {line} is not valid TOML, or repeats a key")]
    Syntax {
        /// The line, from 1.
        line: usize,
    },
    /// A key that is not there.
    #[error("key file: {key} is missing, expected {expected}")]
    Missing {
        /// The key's name.
        key: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// A key that means nothing here.
    #[error("key file: {key} is not a known key, expected {expected}")]
    Unknown {
        /// The key's name.
        key: String,
        /// The known names.
        expected: &'static str,
    },
    /// A value that cannot be used.
    #[error("key file: {key} {problem}, expected {expected}")]
    Value {
        /// The key's name.
        key: String,
        /// What is wrong with the value.
        problem: String,
        /// What it should be.
        expected: &'static str,
    },
    /// No id is left for a new key.
    #[error("key file: all {KEYS_MAX} key ids are taken, expected a retired [[key]] to be removed first")]
    Full,
}

/// As many keys as there are ids.
const KEYS_MAX: usize = 256;
const EVENT_MAX_AGE_DAYS: u32 = 400;
const EVENT_MAX_AGE_DAYS_LIMIT: u32 = 36_500;

const IDS: &str = "a whole number from 0 to 255";
const SECRET: &str = "64 random bytes in base64url without padding (86 characters)";
const RECIPIENT_KEY: &str = "32 random bytes in base64url without padding (43 characters)";
const TOP_NAMES: &str = "signing, recipient_key, event_max_age_days or [[key]]";
const KEY_NAMES: &str = "id or secret";

impl Keys {
    /// Reads a key file.
    ///
    /// # Errors
    /// When the text is no key file: names the key, what is wrong with its value and what was expected. A secret
    /// is never in it.
    pub fn from_toml(text: &str) -> Result<Keys, KeysError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| syntax(text, &error))?;
        only(&table, "", &["signing", "recipient_key", "event_max_age_days", "key"], TOP_NAMES)?;
        let ring = ring(table.get("key"))?;
        let signing_id = id(table.get("signing"), "signing")?;
        let signing = ring.iter().position(|key| key.id == signing_id).ok_or_else(|| KeysError::Value {
            key: "signing".into(),
            problem: format!("is {signing_id}, which no [[key]] has"),
            expected: "the id of a [[key]]",
        })?;
        let recipient_key =
            bytes::<RECIPIENT_KEY_BYTES>(table.get("recipient_key"), "recipient_key", RECIPIENT_KEY)?;
        let event_max_age_days = days(table.get("event_max_age_days"))?;
        Ok(Keys { ring, signing, recipient_key, event_max_age_days })
    }

    /// The text of a fresh key file, with comments.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    pub fn generate() -> String {
        let secret = random::<SECRET_BYTES>();
        let recipient_key = random::<RECIPIENT_KEY_BYTES>();
        format!(
            "# Mailbeacon's keys. Whoever has this file can mint links and read tokens: keep it as you keep \
             passwords,\n# and keep a copy. Without it every link that was ever sent stops working.\n\
             \n\
             # The [[key]] that seals new links. The others still open the links that they sealed.\n\
             signing = 1\n\
             \n\
             # Turns the sender's recipient ids into keys. Never change it: every recipient would become another.\n\
             recipient_key = \"{}\"\n\
             \n\
             # So many days after sending, a hit no longer leaves an event. Redirects never expire.\n\
             event_max_age_days = {EVENT_MAX_AGE_DAYS}\n\
             \n\
             # Remove a key only when no mail with its links matters any more: its redirects end with it.\n\
             {}",
            *recipient_key,
            key_entry(1, &secret),
        )
    }

    /// Rotation: the text of a key file with one more key, which now seals. The others still open what they
    /// sealed. Comments and layout stay.
    ///
    /// Give the new file to every edge before anything is minted with it.
    ///
    /// # Errors
    /// When the text is no key file, or has no id left.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    pub fn add_signing_key(text: &str) -> Result<String, KeysError> {
        #[derive(Deserialize)]
        struct Signing {
            signing: Spanned<u8>,
        }
        let keys = Keys::from_toml(text)?;
        let signing: Signing = toml::from_str(text).map_err(|error| syntax(text, &error))?;
        let newest = keys.ring.iter().map(|key| key.id).max().unwrap_or(0);
        // Above the newest while there is room: an id that is used again would name two keys in two files.
        let id = (newest..=u8::MAX)
            .chain(0..newest)
            .find(|id| keys.ring.iter().all(|key| key.id != *id))
            .ok_or(KeysError::Full)?;
        let mut new = text.to_owned();
        new.replace_range(signing.signing.span(), &id.to_string());
        if !new.ends_with('\n') {
            new.push('\n');
        }
        new.push('\n');
        new.push_str(&key_entry(id, &random::<SECRET_BYTES>()));
        Keys::from_toml(&new)?;
        Ok(new)
    }
}

fn key_entry(id: u8, secret: &str) -> String {
    format!("[[key]]\nid = {id}\nsecret = \"{secret}\"\n")
}

fn random<const N: usize>() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; N]);
    SysRng.try_fill_bytes(bytes.as_mut_slice()).expect("the operating system gives randomness");
    Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()))
}

fn ring(value: Option<&Value>) -> Result<Vec<TokenKey>, KeysError> {
    const EXPECTED: &str = "one or more [[key]] tables with id and secret";
    let missing = || KeysError::Missing { key: "key".into(), expected: EXPECTED };
    let value = value.ok_or_else(missing)?;
    let entries = value.as_array().ok_or_else(|| wrong("key", "is no list of tables", EXPECTED))?;
    let mut ring: Vec<TokenKey> = Vec::with_capacity(entries.len().min(KEYS_MAX));
    for (at, entry) in entries.iter().enumerate() {
        let name = format!("key[{at}]");
        let table = entry.as_table().ok_or_else(|| wrong(&name, "is no table", EXPECTED))?;
        only(table, &format!("{name}."), &["id", "secret"], KEY_NAMES)?;
        let id_name = format!("{name}.id");
        let secret_name = format!("{name}.secret");
        let id = id(table.get("id"), &id_name)?;
        let secret = bytes::<SECRET_BYTES>(table.get("secret"), &secret_name, SECRET)?;
        if ring.iter().any(|key| key.id == id) {
            return Err(wrong(&id_name, &format!("is {id}, as is another key's"), "an id of its own"));
        }
        if let Some(twin) = ring.iter().find(|key| *key.secret == *secret) {
            return Err(wrong(&secret_name, &format!("is that of key {}", twin.id), "a secret of its own"));
        }
        ring.push(TokenKey::new(id, secret));
    }
    if ring.is_empty() { Err(missing()) } else { Ok(ring) }
}

fn id(value: Option<&Value>, name: &str) -> Result<u8, KeysError> {
    let value = value.ok_or_else(|| KeysError::Missing { key: name.into(), expected: IDS })?;
    let number = value.as_integer().ok_or_else(|| wrong(name, "is no whole number", IDS))?;
    u8::try_from(number).map_err(|_| wrong(name, &format!("is {number}"), IDS))
}

fn days(value: Option<&Value>) -> Result<u32, KeysError> {
    const NAME: &str = "event_max_age_days";
    const EXPECTED: &str = "a whole number of days from 1 to 36500";
    let Some(value) = value else { return Ok(EVENT_MAX_AGE_DAYS) };
    let number = value.as_integer().ok_or_else(|| wrong(NAME, "is no whole number", EXPECTED))?;
    u32::try_from(number)
        .ok()
        .filter(|days| (1..=EVENT_MAX_AGE_DAYS_LIMIT).contains(days))
        .ok_or_else(|| wrong(NAME, &format!("is {number}"), EXPECTED))
}

fn bytes<const N: usize>(
    value: Option<&Value>,
    name: &str,
    expected: &'static str,
) -> Result<Zeroizing<[u8; N]>, KeysError> {
    let value = value.ok_or_else(|| KeysError::Missing { key: name.into(), expected })?;
    let text = value.as_str().ok_or_else(|| wrong(name, "is no text", expected))?;
    let mut decoded = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong(name, "is not base64url", expected))?;
    let array: Result<[u8; N], _> = decoded.as_slice().try_into();
    let len = decoded.len();
    decoded.zeroize();
    let array = Zeroizing::new(array.map_err(|_| wrong(name, &format!("has {len} bytes"), expected))?);
    // A placeholder, or a file that lost its content.
    if array.iter().all(|byte| *byte == array[0]) {
        return Err(wrong(name, "is one byte repeated", expected));
    }
    Ok(array)
}

fn only(table: &Table, prefix: &str, names: &[&str], expected: &'static str) -> Result<(), KeysError> {
    match table.keys().find(|key| !names.contains(&key.as_str())) {
        Some(key) => Err(KeysError::Unknown { key: format!("{prefix}{key}"), expected }),
        None => Ok(()),
    }
}

fn wrong(key: &str, problem: &str, expected: &'static str) -> KeysError {
    KeysError::Value { key: key.into(), problem: problem.into(), expected }
}

/// Keeps the place of a TOML error and drops its words, which quote the text.
fn syntax(text: &str, error: &toml::de::Error) -> KeysError {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    KeysError::Syntax { line: 1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() }
}
