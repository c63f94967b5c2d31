//! Who the client is, when proxies stand between.

use std::net::IpAddr;

use ipnet::IpNet;

/// The client's address: the peer's, unless the peer is a trusted proxy. Then X-Forwarded-For is walked from the
/// right, over all its lines, past every trusted proxy: the first address that is not one of them is the client.
/// What stands left of it anyone can have written.
///
/// An entry that is not an address ends the walk: the last address that could be trusted is the answer.
pub fn client<'a>(
    peer: IpAddr,
    trusted: &[IpNet],
    forwarded_for: impl IntoIterator<Item = &'a [u8], IntoIter: DoubleEndedIterator>,
) -> IpAddr {
    let mut client = peer.to_canonical();
    let mut entries =
        forwarded_for.into_iter().rev().flat_map(|line| line.rsplit(|&b| b == b',')).take(HOPS_MAX);
    while is_trusted(client, trusted) {
        match entries.next().and_then(parse) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// More proxies than any real chain has.
const HOPS_MAX: usize = 32;

/// Whether the address belongs to a trusted proxy.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

/// Reads `1.2.3.4`, `1.2.3.4:56`, `::1`, `[::1]`, `[::1]:56`: the forms that proxies write.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let address = match entry.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?.0.parse().ok()?,
        None => entry.parse().or_else(|_| entry.rsplit_once(':').unwrap_or_default().0.parse()).ok()?,
    };
    Some(IpAddr::to_canonical(&address))
}

/// An address as bytes in network order, without allocating.
#[derive(Debug, Clone, Copy)]
pub enum Octets {
    /// IPv4.
    V4([u8; 4]),
    /// IPv6.
    V6([u8; 16]),
}

impl From<IpAddr> for Octets {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Octets::V4(v4.octets()),
            IpAddr::V6(v6) => Octets::V6(v6.octets()),
        }
    }
}

impl Octets {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Octets::V4(bytes) => bytes,
            Octets::V6(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(peer: &str, lines: &[&str]) -> String {
        let trusted =
            ["10.0.0.0/8".parse().unwrap(), "127.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        client(peer.parse().unwrap(), &trusted, lines.iter().map(|line| line.as_bytes())).to_string()
    }

    #[test]
    fn walks_from_the_right_past_trusted_proxies() {
        for (peer, lines, wanted) in [
            ("203.0.113.9", &[][..], "203.0.113.9"),
            ("203.0.113.9", &["1.2.3.4"], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["1.2.3.4"], "1.2.3.4"),
            ("10.0.0.1", &["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            ("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.9.9.9"], "1.2.3.4"),
            ("10.0.0.1", &["6.6.6.6", "1.2.3.4", "10.9.9.9 ,10.1.1.1"], "1.2.3.4"),
            ("10.0.0.1", &["1.2.3.4:5678"], "1.2.3.4"),
            ("10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["::ffff:1.2.3.4"], "1.2.3.4"),
            ("::ffff:10.0.0.1", &["1.2.3.4"], "1.2.3.4"),
            ("10.0.0.1", &["1.2.3.4, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["1.2.3.4, unknown, 10.5.5.5"], "10.5.5.5"),
            ("10.0.0.1", &["10.2.2.2, 10.3.3.3"], "10.2.2.2"),
            ("10.0.0.1", &["1.2.3.4,"], "10.0.0.1"),
        ] {
            assert_eq!(client_of(peer, lines), wanted, "{peer} {lines:?}");
        }
    }
}
