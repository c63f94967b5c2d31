//! Who may ask: keys, of which only digests are kept.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The digests of the keys, by workspace.
#[derive(Default)]
pub struct Access {
    digests: Vec<(u32, [u8; 32])>,
}

/// All keys together. Each request is compared with every one.
const KEYS_MAX: usize = 10_000;
/// Before a key's random part, so that a key is known for one wherever it turns up.
const KEY_PREFIX: &str = "mbk_";
const KEY_RANDOM_BYTES: usize = 32;

/// Why a text is no list of keys. No digest is repeated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Not the expected TOML.
    #[error(
        "expected lines such as 1 = [\"SHA-256 of a key in hex\"], a workspace each (`mailbeacon api new-key`)"
    )]
    Form,
    /// A name that is no workspace.
    #[error("workspace {name:?}: expected a number from 0 to 4294967295")]
    Workspace {
        /// The name.
        name: String,
    },
    /// Something that is no digest.
    #[error("workspace {workspace}: digest {number} is not 64 hexadecimal digits")]
    Digest {
        /// Whose.
        workspace: u32,
        /// Which one, from 1.
        number: usize,
    },
    /// A key that would open two.
    #[error("workspace {workspace}: digest {number} stands twice in the file, expected once")]
    Twice {
        /// The second one's workspace.
        workspace: u32,
        /// Which one there, from 1.
        number: usize,
    },
    /// Too many.
    #[error("more than {KEYS_MAX} keys")]
    Many,
}

impl Access {
    /// Reads a file's text: a line for each workspace, `1 = ["<SHA-256 of a key, in hex>", …]`.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn from_toml(text: &str) -> Result<Access, AccessError> {
        let lines: BTreeMap<String, Vec<String>> = toml::from_str(text).map_err(|_| AccessError::Form)?;
        let mut digests: Vec<(u32, [u8; 32])> = Vec::new();
        for (name, listed) in lines {
            let workspace: u32 = name.parse().map_err(|_| AccessError::Workspace { name })?;
            for (at, text) in listed.iter().enumerate() {
                let number = at + 1;
                let mut digest = [0; 32];
                hex::decode_to_slice(text, &mut digest)
                    .map_err(|_| AccessError::Digest { workspace, number })?;
                if digests.iter().any(|(_, other)| *other == digest) {
                    return Err(AccessError::Twice { workspace, number });
                }
                if digests.len() == KEYS_MAX {
                    return Err(AccessError::Many);
                }
                digests.push((workspace, digest));
            }
        }
        Ok(Access { digests })
    }

    /// Whether nobody may ask.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// The workspace of a key. Takes as long for one that is wrong as for any that is right.
    pub fn workspace(&self, key: &str) -> Option<u32> {
        let found: [u8; 32] = Sha256::digest(key).into();
        let mut workspace = None;
        for (of, digest) in &self.digests {
            if bool::from(digest.ct_eq(&found)) {
                workspace = Some(*of);
            }
        }
        workspace
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("keys", &self.digests.len()).finish_non_exhaustive()
    }
}

/// A key, to be shown once, and what is kept of it.
pub struct NewKey {
    /// The key itself.
    pub key: String,
    /// Its SHA-256 in hex.
    pub digest: String,
}

/// Makes a key of 256 random bits.
pub fn new_key() -> NewKey {
    let random: [u8; KEY_RANDOM_BYTES] = rand::random();
    let key = format!("{KEY_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random));
    let digest = hex::encode(Sha256::digest(&key));
    NewKey { key, digest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_its_workspace_only() {
        let (ours, theirs) = (new_key(), new_key());
        assert_ne!(ours.key, theirs.key);
        let access =
            Access::from_toml(&format!("1 = [{:?}]\n7 = [{:?}]", ours.digest, theirs.digest)).unwrap();
        assert_eq!(access.workspace(&ours.key), Some(1));
        assert_eq!(access.workspace(&theirs.key), Some(7));
        assert_eq!(access.workspace(&ours.digest), None, "who reads the file has no key");
        assert_eq!(access.workspace(""), None);
        assert!(!format!("{access:?}").contains(&ours.digest[..8]));
    }

    #[test]
    fn what_is_wrong_with_the_file_is_said_without_its_digests() {
        let digest = new_key().digest;
        for (text, said) in [
            ("1 = 2".to_owned(), "a workspace each"),
            (format!("one = [{digest:?}]"), "expected a number"),
            (format!("1 = [{:?}]", &digest[1..]), "digest 1 is not"),
            (format!("1 = [{digest:?}]\n2 = [{digest:?}]"), "workspace 2: digest 1 stands twice"),
        ] {
            let why = Access::from_toml(&text).unwrap_err().to_string();
            assert!(why.contains(said) && !why.contains(&digest[1..9]), "{text}: {why}");
        }
    }
}
