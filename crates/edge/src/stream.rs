//! A connection from its accept on. The runtime learns of it when it first has to wait for something: one that asks,
//! is answered and closes never does, which spares it two system calls of seven.

use std::io::{self, Write};
use std::mem::{self, MaybeUninit};
use std::net::{self, SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::Bytes;
use rustix::net::{RecvFlags, SocketFlags, acceptfrom_with, recv};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::connections::Sending;

/// Replies up to this length are sent as one piece: pixels, and redirects to most targets.
const JOINED_BYTES_MAX: usize = 512;
/// What is read at once before the runtime knows a connection: nearly every request's head.
const FIRST_READ_BYTES: usize = 4_096;

/// A worker's listener.
pub struct Listener(AsyncFd<TcpListener>);

impl Listener {
    /// Of a socket that does not block.
    ///
    /// # Errors
    /// The runtime cannot watch it.
    #[allow(unsafe_code, reason = "one promise on a descriptor that the standard library keeps")]
    pub fn new(listener: TcpListener) -> io::Result<Listener> {
        // SAFETY: a `TcpListener` owns its descriptor, gives the same one each time, and closes it only when dropped.
        let watched = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE)? };
        Ok(Listener(watched))
    }

    /// The next connection and who asks.
    ///
    /// # Errors
    /// Those of accept(2).
    pub async fn accept(&self) -> io::Result<(net::TcpStream, SocketAddr)> {
        self.0.async_io(Interest::READABLE, accept).await
    }
}

fn accept(listener: &TcpListener) -> io::Result<(net::TcpStream, SocketAddr)> {
    let (socket, peer) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let peer = peer.map(SocketAddr::try_from);
    let Some(Ok(peer)) = peer else { return Err(io::ErrorKind::ConnectionAborted.into()) };
    Ok((socket.into(), peer))
}

/// A connection's bytes. Its shutdown is its drop: closing says all that shutdown(2) would, one system call cheaper.
pub struct Stream {
    socket: Socket,
    /// It was read before, and is the first to be read again.
    unused: Bytes,
    sending: Sending,
}

enum Socket {
    /// The runtime does not know it.
    Unknown {
        /// It does not block.
        socket: net::TcpStream,
        /// The last read left nothing: another one would find nothing.
        drained: bool,
    },
    /// The runtime watches it.
    Known(TcpStream),
    /// The runtime could not watch it.
    Lost,
}

impl Socket {
    /// Has the runtime watch it from here on.
    fn known(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if let Socket::Unknown { .. } = self
            && let Socket::Unknown { socket, .. } = mem::replace(self, Socket::Lost)
        {
            *self = Socket::Known(TcpStream::from_std(socket)?);
        }
        match self {
            Socket::Known(stream) => Ok(Pin::new(stream)),
            Socket::Unknown { .. } | Socket::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Stream {
    /// Of a socket that does not block.
    pub fn new(socket: net::TcpStream, sending: Sending) -> Stream {
        Stream { socket: Socket::Unknown { socket, drained: false }, unused: Bytes::new(), sending }
    }

    /// Takes back what was read last and not used: the next read gets it.
    pub fn rewind(&mut self, unused: Bytes) {
        self.unused = unused;
    }

    /// Waits until there is something to read. May be wrong about it.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.known()?.poll_read_ready(cx)
    }

    /// What comes of a write without the runtime; `None` when that has to be asked.
    fn write_at_once(
        &mut self,
        write: impl FnOnce(&mut net::TcpStream) -> io::Result<usize>,
    ) -> Option<io::Result<usize>> {
        let Socket::Unknown { socket, .. } = &mut self.socket else { return None };
        match write(socket) {
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => None,
            written => Some(written),
        }
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = write(self.socket.known()?, cx);
        self.sending.set_stuck(written.is_pending());
        written
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.unused.is_empty() {
            let length = this.unused.len().min(buf.remaining());
            buf.put_slice(&this.unused.split_to(length));
            return Poll::Ready(Ok(()));
        }
        if let Socket::Unknown { socket, drained: drained @ false } = &mut this.socket {
            let mut first = [MaybeUninit::uninit(); FIRST_READ_BYTES];
            let room = buf.remaining().min(first.len());
            match recv(&*socket, &mut first[..room], RecvFlags::empty()) {
                Ok(((read, _), _)) => {
                    *drained = read.len() < room;
                    buf.put_slice(read);
                    return Poll::Ready(Ok(()));
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(cause) => return Poll::Ready(Err(cause.into())),
            }
        }
        this.socket.known()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.write_at_once(|socket| socket.write(buf)) {
            Some(written) => Poll::Ready(written),
            None => this.write(cx, |stream, cx| stream.poll_write(cx, buf)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A reply in one piece takes the kernel's shorter way, which is worth more than the copy.
        let mut joined = [0; JOINED_BYTES_MAX];
        let mut length = 0;
        for buf in bufs {
            let Some(room) = joined.get_mut(length..length + buf.len()) else {
                return match self.write_at_once(|socket| socket.write_vectored(bufs)) {
                    Some(written) => Poll::Ready(written),
                    None => self.write(cx, |stream, cx| stream.poll_write_vectored(cx, bufs)),
                };
            };
            room.copy_from_slice(buf);
            length += buf.len();
        }
        self.poll_write(cx, &joined[..length])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
