//! Free ports on the loopback address.

use std::net::{Ipv4Addr, TcpListener};

use rand::RngExt;

use crate::LocalError;

/// Below the range from which the kernel takes source ports (32768 and up, ip(7)): a port that a killed part
/// shall get back could otherwise be the near end of anybody's outgoing connection by then.
const LOW: u16 = 18_000;
const HIGH: u16 = 32_768;
const TRIES_MAX: usize = 200;

/// `count` different ports that were free a moment ago; whoever binds them must be ready to lose the race.
pub fn free(count: usize) -> Result<Vec<u16>, LocalError> {
    let mut random = rand::rng();
    // All are held until the last is found, so that they differ.
    let mut held = Vec::with_capacity(count);
    for _ in 0..TRIES_MAX {
        if held.len() == count {
            break;
        }
        let port = random.random_range(LOW..HIGH);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
    }
    if held.len() < count {
        return Err(LocalError::NoPort { tries: TRIES_MAX, low: LOW, high: HIGH });
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_are_free() {
        let mut ports = free(20).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
        let held: Vec<_> = ports.iter().map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port))).collect();
        assert!(held.iter().filter(|bound| bound.is_ok()).count() >= 19, "at most one may be lost to a race");
    }
}
