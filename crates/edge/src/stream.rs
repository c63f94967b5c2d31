//! A connection from its accept on. The runtime learns of it when it first has to wait for something: one that asks,
//! is answered and closes never does, which spares it two system calls of seven.

use std::io::{self, Write};
use std::mem::{self, MaybeUninit};
use std::net::{self, SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, SocketFlags, acceptfrom_with, recv};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

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
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        self.0.async_io(Interest::READABLE, accept).await
    }
}

fn accept(listener: &TcpListener) -> io::Result<(Stream, SocketAddr)> {
    let (socket, peer) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let peer = peer.map(SocketAddr::try_from);
    let Some(Ok(peer)) = peer else { return Err(io::ErrorKind::ConnectionAborted.into()) };
    Ok((Stream::Unknown { socket: socket.into(), drained: false }, peer))
}

/// A connection's bytes. Its shutdown is its drop: closing says all that shutdown(2) would, one system call cheaper.
pub enum Stream {
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

impl Stream {
    /// Has the runtime watch it from here on.
    fn known(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if let Stream::Unknown { .. } = self
            && let Stream::Unknown { socket, .. } = mem::replace(self, Stream::Lost)
        {
            *self = Stream::Known(TcpStream::from_std(socket)?);
        }
        match self {
            Stream::Known(stream) => Ok(Pin::new(stream)),
            Stream::Unknown { .. } | Stream::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// What comes of a write without the runtime; `None` when that has to be asked.
    fn write_at_once(
        &mut self,
        write: impl FnOnce(&mut net::TcpStream) -> io::Result<usize>,
    ) -> Option<io::Result<usize>> {
        let Stream::Unknown { socket, .. } = self else { return None };
        match write(socket) {
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => None,
            written => Some(written),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Stream::Unknown { socket, drained: drained @ false } = this {
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
        this.known()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.write_at_once(|socket| socket.write(buf)) {
            Some(written) => Poll::Ready(written),
            None => this.known()?.poll_write(cx, buf),
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
                    None => self.known()?.poll_write_vectored(cx, bufs),
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
