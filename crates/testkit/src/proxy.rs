//! A TCP proxy that breaks connections on command: what a network does to a request and to its reply.
//!
//! For protocols in which request and reply take turns, as in HTTP/1.1 without pipelining. A request begins with the
//! first bytes from the client after a reply, and each request meets its fault or none: so a connection that a client
//! keeps open is not safe from what is ordered later. The proxy reads no protocol. That a reply has begun is how it
//! knows that the whole request had arrived.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

const BUFFER_BYTES: usize = 65_536;

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is held for so long before any of it goes on.
    Delay(Duration),
    /// None of it goes on, and the connection stays open until the client gives up.
    Blackhole,
    /// Half of its first bytes go on and no more: the server sees an end, the client a reset.
    Reset,
    /// It goes on whole; of the reply's first bytes half come back, then the connection ends.
    CutReply,
    /// It goes on whole; when the reply comes, the client sees a reset in place of it.
    DropReply,
}

/// A running proxy on a port of its own; it ends with all its connections when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    upstream: SocketAddr,
    orders: Mutex<Orders>,
}

#[derive(Default)]
struct Orders {
    next: VecDeque<Fault>,
    chance: Option<Chance>,
    done: BTreeMap<Fault, u64>,
}

struct Chance {
    faults: Vec<Fault>,
    probability: f64,
    random: StdRng,
}

impl Proxy {
    /// Forwards connections on a free port of 127.0.0.1 to `upstream`, all well at first.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(upstream: SocketAddr) -> io::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { upstream, orders: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Proxy { address, shared, accepting })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Orders `fault` for the next `count` requests, behind what is ordered already.
    pub fn next(&self, fault: Fault, count: usize) {
        self.shared.orders().next.extend(std::iter::repeat_n(fault, count));
    }

    /// From now on each request for which nothing is ordered meets one of `faults` with this probability.
    pub fn sometimes(&self, faults: &[Fault], probability: f64, seed: u64) {
        let chance = Chance { faults: faults.to_vec(), probability, random: StdRng::seed_from_u64(seed) };
        self.shared.orders().chance = Some(chance);
    }

    /// Lets all requests from now on pass. What a blackhole holds stays there.
    pub fn heal(&self) {
        let mut orders = self.shared.orders();
        orders.next.clear();
        orders.chance = None;
    }

    /// Requests that met their fault so far, by fault.
    pub fn done(&self) -> BTreeMap<Fault, u64> {
        self.shared.orders().done.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        // Plain data: a panic elsewhere cannot leave it half written.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> Option<Fault> {
        let mut orders = self.orders();
        if let Some(fault) = orders.next.pop_front() {
            return Some(fault);
        }
        let Chance { faults, probability, random } = orders.chance.as_mut()?;
        if faults.is_empty() || !random.random_bool(*probability) {
            return None;
        }
        Some(faults[random.random_range(0..faults.len())])
    }

    fn count(&self, fault: Fault) {
        *self.orders().done.entry(fault).or_default() += 1;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move { serve(client, &shared).await });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// What the fault of the present request asks of the bytes that come back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reply {
    Pass,
    Break(Fault),
}

/// An end or an error of either side ends both: to the one that is left it looks as the network shows it.
async fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut upstream = match TcpStream::connect(shared.upstream).await {
        Ok(upstream) => upstream,
        Err(_) => return reset(&client),
    };
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let (mut asked, mut answered) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    let (mut asking, mut reply) = (false, Reply::Pass);
    loop {
        tokio::select! {
            count = client.read(&mut asked) => {
                let Some(bytes) = read(&asked, count) else { break };
                if !asking {
                    asking = true;
                    reply = Reply::Pass;
                    match shared.fault() {
                        None => {}
                        Some(fault @ Fault::Delay(wait)) => {
                            shared.count(fault);
                            tokio::time::sleep(wait).await;
                        }
                        Some(fault @ Fault::Blackhole) => {
                            shared.count(fault);
                            return swallow(&mut client).await;
                        }
                        Some(fault @ Fault::Reset) => {
                            shared.count(fault);
                            upstream.write_all(&bytes[..bytes.len() / 2]).await?;
                            return reset(&client);
                        }
                        Some(fault @ (Fault::CutReply | Fault::DropReply)) => reply = Reply::Break(fault),
                    }
                }
                upstream.write_all(bytes).await?;
            }
            count = upstream.read(&mut answered) => {
                let Some(bytes) = read(&answered, count) else { break };
                if let Reply::Break(fault) = reply {
                    shared.count(fault);
                    if fault == Fault::CutReply {
                        client.write_all(&bytes[..bytes.len() / 2]).await?;
                        // A reset overtakes what was sent: half a reply is one that arrived.
                        return client.shutdown().await;
                    }
                    return reset(&client);
                }
                asking = false;
                client.write_all(bytes).await?;
            }
        }
    }
    Ok(())
}

fn read(buffer: &[u8], count: io::Result<usize>) -> Option<&[u8]> {
    count.ok().filter(|count| *count > 0).map(|count| &buffer[..count])
}

/// Reads on, so that a client that is still sending never learns of it.
async fn swallow(client: &mut TcpStream) -> io::Result<()> {
    tokio::io::copy(client, &mut tokio::io::sink()).await.map(|_| ())
}

/// Lets the close that follows be a reset.
fn reset(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}
