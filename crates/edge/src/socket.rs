//! The listening sockets: one a worker, all on one port.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// Binds `workers` listeners to one address, which the kernel shares out connections to (SO_REUSEPORT). With port
/// 0 all get the port that the first was given.
///
/// What is set on a listener its connections inherit: no call per connection is needed.
///
/// # Errors
/// The address is taken, not ours, or not allowed.
pub fn bind(address: SocketAddr, workers: usize, write_timeout: Duration) -> io::Result<Vec<TcpListener>> {
    let mut listeners: Vec<TcpListener> = Vec::with_capacity(workers);
    for _ in 0..workers {
        let address = match listeners.first() {
            Some(first) => first.local_addr()?,
            None => address,
        };
        listeners.push(listen(address, write_timeout)?);
    }
    Ok(listeners)
}

fn listen(address: SocketAddr, write_timeout: Duration) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(write_timeout))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    defer_accept(&listener)?;
    Ok(listener)
}

/// TCP_DEFER_ACCEPT: a connection is accepted when its first bytes are there, which saves a wake-up for each
/// (a quarter of a short connection's CPU time). No safe wrapper of this option is at hand.
#[allow(unsafe_code, reason = "one setsockopt with a constant of its documented type")]
fn defer_accept(listener: &TcpListener) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    // Clients that never speak are given up by the kernel after this long.
    let seconds: libc::c_int = 5;
    // SAFETY: the descriptor is open for the call, and the pointer and length are those of one c_int.
    let done = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_share_the_port_that_the_first_was_given() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners = bind(any, 3, Duration::from_secs(1)).unwrap();
        let ports: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert!(ports[0] != 0 && ports.iter().all(|&port| port == ports[0]), "{ports:?}");
    }
}
