//! The seal around a link: AES-SIV under a key of the ring, written as base64url.
//!
//! `base64url(key id (1 byte) || synthetic IV (16 bytes) || ciphertext)`, no padding. The associated data are the
//! format's version, the kind and the key id. AES-SIV (RFC 5297) is deterministic: it needs no nonce, and the
//! same link gives the same URL, so that a message rendered twice is the same message.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event::Kind;
use zeroize::Zeroizing;

use crate::siv::{self, Siv};

/// The longest token, in bytes: what fits a URL of 2,000 bytes behind the shortest site and path.
pub const TOKEN_BYTES_MAX: usize = 1_984;

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// Too short to hold a seal, or longer than any token is minted.
    #[error("token has a length that no token has")]
    Length,
    /// Not canonical base64url without padding.
    #[error("token is not base64url")]
    Encoding,
    /// Sealed with a key that is not in the ring.
    #[error("token names a key that is not in the key ring")]
    UnknownKey,
    /// The seal does not fit the content, the kind or the key.
    #[error("token is forged or damaged")]
    Forged,
    /// The seal is right, but the content is not in a form that this version knows.
    #[error("token holds a payload of an unknown form")]
    Payload,
}

impl TokenError {
    /// Every reason, for tables of labels.
    pub const ALL: [TokenError; 5] = [
        TokenError::Length,
        TokenError::Encoding,
        TokenError::UnknownKey,
        TokenError::Forged,
        TokenError::Payload,
    ];

    /// The reason as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            TokenError::Length => "length",
            TokenError::Encoding => "encoding",
            TokenError::UnknownKey => "unknown_key",
            TokenError::Forged => "forged",
            TokenError::Payload => "payload",
        }
    }
}

/// One key of the ring.
pub(crate) struct TokenKey {
    pub id: u8,
    pub secret: Zeroizing<[u8; SECRET_BYTES]>,
    siv: Siv<KINDS>,
}

/// The length of an AES-256-SIV key.
pub(crate) const SECRET_BYTES: usize = siv::KEY_BYTES;

/// How many kinds there are: each seals with associated data of its own.
const KINDS: usize = Kind::Download as usize + 1;

impl TokenKey {
    /// With what it seals, worked out once.
    pub fn new(id: u8, secret: Zeroizing<[u8; SECRET_BYTES]>) -> TokenKey {
        let siv = Siv::new(&secret, std::array::from_fn(|kind| [VERSION, kind as u8, id]));
        TokenKey { id, secret, siv }
    }
}

/// The first byte of the associated data. A new format gets a new number, and old tokens stay what they are.
const VERSION: u8 = 1;
const IV_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + IV_BYTES;

/// Seals a payload.
pub(crate) fn seal(key: &TokenKey, kind: Kind, mut payload: Vec<u8>) -> String {
    let iv = key.siv.seal(kind as usize, &mut payload);
    let mut sealed = Vec::with_capacity(HEAD_BYTES + payload.len());
    sealed.push(key.id);
    sealed.extend_from_slice(&iv);
    sealed.extend_from_slice(&payload);
    URL_SAFE_NO_PAD.encode(sealed)
}

/// What the longest token decodes to.
pub(crate) const SEALED_BYTES_MAX: usize = TOKEN_BYTES_MAX / 4 * 3;

/// Opens a token within `buffer`, and returns the payload in it.
pub(crate) fn unseal<'b>(
    ring: &[TokenKey],
    kind: Kind,
    token: &[u8],
    buffer: &'b mut [u8; SEALED_BYTES_MAX],
) -> Result<&'b [u8], TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Length);
    }
    // The engine refuses set bits behind the last byte: a token has one spelling.
    let len = URL_SAFE_NO_PAD.decode_slice(token, buffer.as_mut_slice()).map_err(|_| TokenError::Encoding)?;
    let (&mut [id, ref iv @ ..], payload) =
        buffer[..len].split_first_chunk_mut::<HEAD_BYTES>().ok_or(TokenError::Length)?;
    let key = ring.iter().find(|key| key.id == id).ok_or(TokenError::UnknownKey)?;
    match key.siv.open(kind as usize, *iv, payload) {
        true => Ok(payload),
        false => Err(TokenError::Forged),
    }
}
