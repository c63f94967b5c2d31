//! Client addresses: read from an event, and what of them may be stored.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What is stored of a client's address. Whatever it is, networks and places are looked up with the whole address
/// before; and the store clears it after 30 days.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum AddressPolicy {
    /// Nothing.
    Drop,
    /// Its network: see [`truncate`].
    #[default]
    Truncate,
    /// A keyed hash: the same address is the same value on one day (UTC, of the event) and another one on the next.
    Hash(AddressKey),
    /// All of it.
    Keep,
}

/// The secret behind [`AddressPolicy::Hash`]. Never printed.
///
/// Whoever has it can find an address by trying them all, IPv4 within minutes: the values are pseudonyms while it
/// exists. Once it is replaced and no copy is left, nobody can.
#[derive(Clone, PartialEq)]
pub struct AddressKey(Zeroizing<[u8; 32]>);

/// The least that a secret may have, in bytes.
pub const ADDRESS_SECRET_BYTES_MIN: usize = 32;

/// Why bytes are no secret. Says nothing of them but how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressKeyError {
    /// Too few.
    #[error(
        "has {bytes} bytes, expected at least {ADDRESS_SECRET_BYTES_MIN} random ones (openssl rand -hex 32)"
    )]
    Short {
        /// How many there are.
        bytes: usize,
    },
    /// A placeholder, or a file that lost its content.
    #[error(
        "is one byte repeated, expected at least {ADDRESS_SECRET_BYTES_MIN} random ones (openssl rand -hex 32)"
    )]
    Repeated,
}

impl AddressKey {
    /// Takes a secret of any form, white space around it left out.
    ///
    /// # Errors
    /// When it is too short, or evidently not random.
    pub fn new(secret: &[u8]) -> Result<AddressKey, AddressKeyError> {
        let secret = secret.trim_ascii();
        if secret.len() < ADDRESS_SECRET_BYTES_MIN {
            return Err(AddressKeyError::Short { bytes: secret.len() });
        }
        if secret.iter().all(|byte| *byte == secret[0]) {
            return Err(AddressKeyError::Repeated);
        }
        Ok(AddressKey(Zeroizing::new(Sha256::digest(secret).into())))
    }

    /// The key of a day, counted from 1970: HMAC-SHA256 of its number.
    fn of_day(&self, day: i64) -> Hmac<Sha256> {
        let mut mac = keyed(&*self.0);
        mac.update(b"mailbeacon address");
        mac.update(&day.to_le_bytes());
        keyed(&mac.finalize().into_bytes())
    }
}

impl fmt::Debug for AddressKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressKey(***)")
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// Puts addresses into the form that a policy allows. Remembers the latest day's key, and nothing that an answer
/// depends on: it is the same on every machine and at any time.
pub(crate) struct Addresses {
    policy: AddressPolicy,
    day: Option<(i64, Hmac<Sha256>)>,
}

impl Addresses {
    pub fn new(policy: AddressPolicy) -> Addresses {
        Addresses { policy, day: None }
    }

    /// What is stored of the address of an event that came at `at_ms`: 16 bytes, ClickHouse's `IPv6`. IPv4 is
    /// mapped into IPv6; a hash stands in `fd00::/8`, where no address of the internet is; zeros are none.
    pub fn stored(&mut self, address: Option<IpAddr>, at_ms: i64) -> [u8; 16] {
        let Some(address) = address else { return NONE };
        match &self.policy {
            AddressPolicy::Drop => NONE,
            AddressPolicy::Truncate => truncate(address),
            AddressPolicy::Keep => whole(address),
            AddressPolicy::Hash(key) => {
                let day = at_ms.div_euclid(DAY_MS);
                if self.day.as_ref().is_none_or(|(known, _)| *known != day) {
                    self.day = Some((day, key.of_day(day)));
                }
                self.day.as_ref().map_or(NONE, |(_, mac)| hash(mac.clone(), address))
            }
        }
    }
}

/// `::`, which stands for no address.
const NONE: [u8; 16] = [0; 16];
const DAY_MS: i64 = 86_400_000;
/// The first byte of `fd00::/8`, the unique local addresses that anybody may make up (RFC 4193).
const UNIQUE_LOCAL: u8 = 0xfd;

/// 120 bits of HMAC-SHA256 behind [`UNIQUE_LOCAL`].
fn hash(mut mac: Hmac<Sha256>, address: IpAddr) -> [u8; 16] {
    mac.update(&whole(address));
    let mut stored: [u8; 16] = *mac.finalize().into_bytes().first_chunk().expect("SHA-256 has 32 bytes");
    stored[0] = UNIQUE_LOCAL;
    stored
}

fn whole(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// How many bits of an IPv4 address are kept in storage.
pub const KEPT_BITS_V4: u32 = 24;

/// How many bits of an IPv6 address are kept in storage: the usual size of one customer's site.
pub const KEPT_BITS_V6: u32 = 48;

/// Reads an event's `client_ip`: 4 or 16 bytes in network order. IPv4 inside IPv6 (`::ffff:a.b.c.d`) is read as
/// the IPv4 that it is, or the tables for IPv4 would miss it. Any other length is no address.
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    match *bytes {
        [a, b, c, d] => Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
        _ => {
            let octets: [u8; 16] = bytes.try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
        }
    }
}

/// The form in which an address may be stored: the network of [`KEPT_BITS_V4`] or [`KEPT_BITS_V6`] bits, as 16
/// bytes, IPv4 mapped into IPv6. That is ClickHouse's `IPv6`.
pub fn truncate(address: IpAddr) -> [u8; 16] {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let kept = v4.to_bits() & (u32::MAX << (u32::BITS - KEPT_BITS_V4));
            Ipv4Addr::from_bits(kept).to_ipv6_mapped().octets()
        }
        IpAddr::V6(v6) => (v6.to_bits() & (u128::MAX << (u128::BITS - KEPT_BITS_V6))).to_be_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(text: &str) -> String {
        Ipv6Addr::from(truncate(text.parse().unwrap())).to_string()
    }

    #[test]
    fn storage_keeps_the_network_only() {
        assert_eq!(stored("203.0.113.77"), "::ffff:203.0.113.0");
        assert_eq!(stored("::ffff:203.0.113.77"), "::ffff:203.0.113.0");
        assert_eq!(stored("2001:db8:1234:5678:9abc:def0:1234:5678"), "2001:db8:1234::");
        assert_eq!(stored("255.255.255.255"), "::ffff:255.255.255.0");
    }

    fn at(policy: &AddressPolicy, text: &str, at_ms: i64) -> Ipv6Addr {
        Ipv6Addr::from(Addresses::new(policy.clone()).stored(Some(text.parse().unwrap()), at_ms))
    }

    fn hashed(secret: &[u8]) -> AddressPolicy {
        AddressPolicy::Hash(AddressKey::new(secret).unwrap())
    }

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    #[test]
    fn each_policy_stores_what_it_says() {
        let (v4, v6) = ("203.0.113.77", "2001:db8:1234:5678:9abc:def0:1234:5678");
        for (policy, of_v4, of_v6) in [
            (AddressPolicy::Drop, "::", "::"),
            (AddressPolicy::Truncate, "::ffff:203.0.113.0", "2001:db8:1234::"),
            (AddressPolicy::Keep, "::ffff:203.0.113.77", v6),
        ] {
            assert_eq!(at(&policy, v4, 5).to_string(), of_v4, "{policy:?}");
            assert_eq!(at(&policy, v6, 5).to_string(), of_v6, "{policy:?}");
        }
        assert_eq!(AddressPolicy::default(), AddressPolicy::Truncate);
        for policy in [AddressPolicy::Keep, hashed(SECRET)] {
            assert_eq!(Addresses::new(policy).stored(None, 5), NONE);
        }
    }

    #[test]
    fn a_hash_is_one_value_for_a_day_and_one_key() {
        let (policy, day) = (hashed(SECRET), 20_000 * DAY_MS);
        let first = at(&policy, "203.0.113.77", day);
        // Of another implementation: RFC 2104 over SHA-256, in Python's hmac.
        assert_eq!(first.to_string(), "fdc3:3759:6c5c:eb80:aaeb:9e77:af9a:d628");
        assert_eq!(first, at(&policy, "203.0.113.77", day + DAY_MS - 1), "the last millisecond of that day");
        assert_eq!(
            first,
            at(&hashed(&[SECRET, b"\n"].concat()), "203.0.113.77", day),
            "as an editor leaves it"
        );
        let others = [
            at(&policy, "203.0.113.77", day + DAY_MS),
            at(&policy, "203.0.113.77", day - 1),
            at(&policy, "203.0.113.78", day),
            at(&policy, "::203.0.113.77", day),
            at(&hashed(b"0123456789abcdef0123456789abcdeF"), "203.0.113.77", day),
        ];
        for (n, other) in others.iter().enumerate() {
            assert_eq!(other.octets()[0], UNIQUE_LOCAL);
            assert!(*other != first && !others[..n].contains(other), "{n}: {other}");
        }
        // The order in which days come makes no difference.
        let mut addresses = Addresses::new(policy.clone());
        for at_ms in [day, day + DAY_MS, day - 1, day, day + DAY_MS] {
            let stored = addresses.stored(Some("203.0.113.77".parse().unwrap()), at_ms);
            assert_eq!(Ipv6Addr::from(stored), at(&policy, "203.0.113.77", at_ms));
        }
    }

    #[test]
    fn a_secret_is_long_enough_and_never_printed() {
        for (secret, wanted) in [
            (&b""[..], AddressKeyError::Short { bytes: 0 }),
            (b"  tooshort\n", AddressKeyError::Short { bytes: 8 }),
            (&[b'x'; 40], AddressKeyError::Repeated),
        ] {
            assert_eq!(AddressKey::new(secret), Err(wanted));
        }
        assert_eq!(format!("{:?}", hashed(SECRET)), "Hash(AddressKey(***))");
    }

    #[test]
    fn only_four_or_sixteen_bytes_are_an_address() {
        assert_eq!(address(&[203, 0, 113, 77]), Some("203.0.113.77".parse().unwrap()));
        let mapped = Ipv4Addr::new(203, 0, 113, 77).to_ipv6_mapped().octets();
        assert_eq!(address(&mapped), Some("203.0.113.77".parse().unwrap()));
        for len in [0, 1, 3, 5, 15, 17] {
            assert_eq!(address(&vec![1; len]), None, "{len}");
        }
    }
}
