//! Client addresses: read from an event, and cut down for storage.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
