//! The key ring in use: mint, open, and the hashes that stand for people and messages.

use std::fmt;

use event::Kind;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::mint::{Link, MintError};
use crate::payload;
use crate::token::{self, TokenError, TokenKey};

/// A key ring: the keys that open tokens, the one that seals them, and the key that hashes recipients.
///
/// Keys are read with [`Keys::from_toml`]; a program that reloads its file swaps the whole ring.
pub struct Keys {
    /// Every key that opens a token, the newest last. At least one, all with different ids.
    pub(crate) ring: Vec<TokenKey>,
    /// Where in `ring` the key stands that seals.
    pub(crate) signing: usize,
    pub(crate) recipient_key: Zeroizing<[u8; RECIPIENT_KEY_BYTES]>,
    pub(crate) event_max_age_days: u32,
}

/// The length of the key that hashes recipients.
pub(crate) const RECIPIENT_KEY_BYTES: usize = 32;

impl Keys {
    /// The token of a link: base64url without padding. The same link and key give the same token.
    ///
    /// The target is sealed as [`location`](crate::location) writes it, and the time of sending in whole seconds.
    ///
    /// # Errors
    /// When the link cannot be expressed, may not be followed, or is too long for a URL.
    pub fn mint(&self, link: &Link) -> Result<String, MintError> {
        let link = link.checked()?;
        let token = token::seal(&self.ring[self.signing], link.kind, payload::encode(&link));
        if token.len() > token::TOKEN_BYTES_MAX {
            return Err(MintError::TooLong {
                link: link.link,
                what: "token",
                bytes: token.len(),
                bytes_max: token::TOKEN_BYTES_MAX,
                target_bytes: link.target.len(),
            });
        }
        Ok(token)
    }

    /// The link in a token that arrived under the path of `kind`.
    ///
    /// Nothing of the content is looked at before the whole token has been verified, in constant time; the kind
    /// is verified with it, so that the token of an open is refused as a click.
    ///
    /// # Errors
    /// One of a closed set of reasons, none of which says anything of the content.
    pub fn open(&self, kind: Kind, token: &[u8]) -> Result<Link, TokenError> {
        let mut buffer = [0; token::SEALED_BYTES_MAX];
        let plain = token::unseal(&self.ring, kind, token, &mut buffer)?;
        payload::decode(kind, plain).ok_or(TokenError::Payload)
    }

    /// What stands for a recipient everywhere: the first 64 bits of HMAC-SHA256 over the sender's own id, in its
    /// exact bytes. Never 0, which means "no recipient". Workspaces share no value.
    ///
    /// The key of this hash is never rotated: a recipient's history would fall apart.
    pub fn recipient(&self, workspace: u32, id: &str) -> u64 {
        self.keyed(b"recipient", workspace, id.as_bytes())
    }

    /// What stands for a recipient's mail domain, for estimates shared by its recipients. ASCII case is ignored.
    pub fn domain(&self, workspace: u32, domain: &str) -> u64 {
        self.keyed(b"domain", workspace, domain.to_ascii_lowercase().as_bytes())
    }

    /// The number of a message (a campaign, a template's run) by the sender's name for it.
    ///
    /// A decimal number that fits 64 bits and has no leading zero or sign is taken as it is. Any other text is
    /// hashed: the first eight bytes, little endian, of SHA-256 over `mailbeacon message WORKSPACE NAME`. That is
    /// no secret and needs no key, so that SQL can compute it too:
    /// `reinterpretAsUInt64(SHA256('mailbeacon message 7 spring sale'))`.
    pub fn message(&self, workspace: u32, name: &str) -> u64 {
        if let Some(number) = canonical_decimal(name) {
            return number;
        }
        first_u64(&Sha256::digest(format!("mailbeacon message {workspace} {name}")))
    }

    /// For how many days after sending a hit still leaves an event. The reply never expires.
    pub fn event_max_age_days(&self) -> u32 {
        self.event_max_age_days
    }

    fn keyed(&self, purpose: &[u8], workspace: u32, text: &[u8]) -> u64 {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&*self.recipient_key).expect("HMAC takes a key of any length");
        mac.update(purpose);
        mac.update(&[0]);
        mac.update(&workspace.to_le_bytes());
        mac.update(text);
        first_u64(&mac.finalize().into_bytes()).max(1)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u8> = self.ring.iter().map(|key| key.id).collect();
        f.debug_struct("Keys")
            .field("ids", &ids)
            .field("signing", &self.ring[self.signing].id)
            .field("event_max_age_days", &self.event_max_age_days)
            .finish_non_exhaustive()
    }
}

fn canonical_decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if digits && !leading_zero { text.parse().ok() } else { None }
}

fn first_u64(hash: &[u8]) -> u64 {
    let (first, _) = hash.split_first_chunk::<8>().expect("a SHA-256 hash has 32 bytes");
    u64::from_le_bytes(*first)
}
