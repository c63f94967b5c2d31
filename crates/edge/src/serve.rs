//! The server: a thread and a runtime for each core, each with its listener and its journal.

use std::future::poll_fn;
use std::io;
use std::net::{self, IpAddr, TcpListener};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use journal::Log;
use link::Keys;
use metrics::{Gauge, counter};
use telemetry::Health;
use tokio::runtime::LocalOptions;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::config::Config;
use crate::connections::Connection;
use crate::fill::{Gauges, JournalGauge};
use crate::gather;
use crate::stream::{Listener, Stream};
use crate::worker::{Place, Worker};

/// The largest request head, in bytes: mail clients send under 2 KiB, a link is at most 2,000 bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The most header lines a request may have. Browsers send about 20.
const HEADERS_MAX: usize = 64;
/// After an accept that failed for want of descriptors or memory: how long until the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often a journal's fill is looked at.
const JOURNAL_LOOK: Duration = Duration::from_secs(1);

/// Answers until `shutdown`, then finishes open requests and returns when every event is in its journal. Blocks
/// the calling thread.
///
/// # Errors
/// A worker that could not start. A worker never ends on a connection's error.
pub fn serve(
    config: Config,
    listeners: Vec<TcpListener>,
    logs: Vec<Log>,
    keys: Arc<ArcSwap<Keys>>,
    health: &Health,
    shutdown: CancellationToken,
) -> io::Result<()> {
    assert_eq!(listeners.len(), logs.len(), "a worker has a listener and a journal");
    let config = Arc::new(config);
    let open = Arc::new(AtomicUsize::new(0));
    let gauges = Gauges::new(logs.len(), health.clone());
    // Builds the table of agents, so that no visit waits for it.
    enrich::crowd("");
    health.set("edge", Ok(()));
    let mut workers = Vec::with_capacity(logs.len());
    for (n, (listener, log)) in listeners.into_iter().zip(logs).enumerate() {
        let (config, keys, open, shutdown) = (config.clone(), keys.clone(), open.clone(), shutdown.clone());
        let gauge = gauges.of(n, log.edge_id());
        let run = move || -> io::Result<()> {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            gather::moderate(&mut runtime, Duration::from_micros(config.gather_us));
            let runtime = runtime.enable_all().build_local(LocalOptions::default())?;
            let worker = Worker::new(config, keys, log);
            runtime.block_on(run_worker(worker, listener, open, gauge, shutdown))
        };
        workers.push(thread::Builder::new().name(format!("edge-{n}")).spawn(run)?);
    }
    let mut outcome = Ok(());
    for worker in workers {
        let ended = worker.join().unwrap_or_else(|_| Err(io::Error::other("an edge worker panicked")));
        if let Err(cause) = ended {
            // One that fails takes the others down: half an edge that looks whole loses half the mail's clicks.
            shutdown.cancel();
            outcome = Err(cause);
        }
    }
    outcome
}

async fn run_worker(
    worker: Rc<Worker>,
    listener: TcpListener,
    open: Arc<AtomicUsize>,
    mut gauge: JournalGauge,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let listener = Listener::new(listener)?;
    let tasks = TaskTracker::new();
    let mut look = tokio::time::interval(JOURNAL_LOOK);
    let mut look_at_connections = tokio::time::interval(worker.connections.look_every());
    look_at_connections.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            _ = look.tick() => {
                gauge.show(&worker.log.stats());
                continue;
            }
            _ = look_at_connections.tick() => {
                worker.connections.look();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => admit(&worker, &open, &tasks, socket, peer.ip()),
            Err(cause) if is_about_one_connection(&cause) => {
                debug!(%cause, "connection gone before its accept")
            }
            Err(cause) => {
                warn!(%cause, "failed to accept");
                counter!("edge_failed_connections_total", "error" => "accept").increment(1);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Connections that the kernel has already taken for us would be reset with the listener.
    while let Some(Ok((socket, peer))) = now_or_never(listener.accept()) {
        admit(&worker, &open, &tasks, socket, peer.ip());
    }
    drop(listener);
    worker.connections.close();
    tasks.close();
    let drain = Duration::from_millis(worker.config.drain_ms);
    let drained = async {
        let mut ended = pin!(tasks.wait());
        loop {
            tokio::select! {
                () = ended.as_mut() => return,
                _ = look_at_connections.tick() => worker.connections.look(),
            }
        }
    };
    if tokio::time::timeout(drain, drained).await.is_err() {
        warn!(left = tasks.len(), "open connections did not finish in edge.drain_ms");
    }
    if let Err(failed) = worker.log.flush().await {
        error!(cause = %failed, "failed to flush the journal");
    }
    gauge.show(&worker.log.stats());
    info!("edge worker ended");
    Ok(())
}

fn admit(
    worker: &Rc<Worker>,
    open: &Arc<AtomicUsize>,
    tasks: &TaskTracker,
    socket: net::TcpStream,
    peer: IpAddr,
) {
    worker.counters.connections.increment(1);
    let refused = |limit| counter!("edge_refused_connections_total", "limit" => limit).increment(1);
    if open.load(Ordering::Relaxed) >= worker.config.connections_max {
        return refused("all");
    }
    let Some(place) = worker.admit(peer) else { return refused("address") };
    let counted = Counted::one_more(open, &worker.counters.open);
    let worker = worker.clone();
    tasks.spawn_local(converse(worker, socket, peer, (place, counted)));
}

/// Serves one connection to its end. What stands here is kept for as long as the connection idles.
async fn converse(worker: Rc<Worker>, socket: net::TcpStream, peer: IpAddr, _held: (Place, Counted)) {
    let this = worker.connections.enter();
    let mut stream = Stream::new(socket, this.sending());
    let ended = loop {
        stream = match talk(&worker, &this, stream, peer).await {
            Ok(resting) => resting,
            Err(ended) => break ended,
        };
        if let Err(ended) = rest(&worker, &this, &mut stream).await {
            break ended;
        }
    };
    if let Ended::Failed(error, cause) = ended {
        debug!(error, cause = cause.map(tracing::field::display), "connection failed");
        counter!("edge_failed_connections_total", "error" => error).increment(1);
    }
}

/// How a connection came to its end.
enum Ended {
    Well,
    Failed(&'static str, Option<hyper::Error>),
}

/// Answers what is asked until the connection ends, or is to rest.
async fn talk(worker: &Worker, this: &Connection, stream: Stream, peer: IpAddr) -> Result<Stream, Ended> {
    // In a place of its own, since one within this future would be kept at rest, too.
    let mut connection = Box::new(
        http1::Builder::new()
            // Ours ends a connection whose head does not come, see `connections`.
            .header_read_timeout(None)
            // Who asks and closes its half is answered too; and nothing is read for its sake while an answer is made.
            .half_close(true)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service_fn(|request| worker.handle(this, peer, request))),
    );
    let mut told = false;
    let ended = poll_fn(|context| {
        this.remember(context.waker());
        let mut ended = Pin::new(&mut *connection).poll(context);
        // Only now: what was asked before the shutdown is answered, if it has been read or not.
        if ended.is_pending() && !told && worker.connections.is_closing() {
            told = true;
            Pin::new(&mut *connection).graceful_shutdown();
            ended = Pin::new(&mut *connection).poll(context);
        }
        match ended {
            Poll::Ready(Ok(())) => Poll::Ready(Some(Ended::Well)),
            Poll::Ready(Err(cause)) => Poll::Ready(Some(Ended::Failed(label(&cause), Some(cause)))),
            Poll::Pending if this.is_late() => Poll::Ready(Some(Ended::Failed("head_timeout", None))),
            // All that was answered is sent, since hyper has just tried and the socket takes more.
            Poll::Pending if this.rests() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if let Some(ended) = ended {
        return Err(ended);
    }
    let http1::Parts { io, read_buf, .. } = connection.into_parts();
    let mut stream = io.into_inner();
    stream.rewind(read_buf);
    Ok(stream)
}

/// Waits until more is asked, without the 18 KB that hyper holds for a connection.
async fn rest(worker: &Worker, this: &Connection, stream: &mut Stream) -> Result<(), Ended> {
    let rested = poll_fn(|context| match stream.poll_readable(context) {
        // An error is found by the next read as well.
        Poll::Ready(_) => Poll::Ready(Ok(())),
        Poll::Pending if worker.connections.is_closing() => Poll::Ready(Ok(())),
        Poll::Pending if this.is_late() => Poll::Ready(Err(Ended::Failed("head_timeout", None))),
        Poll::Pending => Poll::Pending,
    })
    .await;
    this.goes_on();
    rested
}

fn label(cause: &hyper::Error) -> &'static str {
    if cause.is_parse_too_large() {
        "head_too_large"
    } else if cause.is_parse() {
        "malformed"
    } else if cause.is_incomplete_message() {
        "cut"
    } else {
        "io"
    }
}

fn is_about_one_connection(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

fn now_or_never<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = Context::from_waker(std::task::Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// One open connection, counted.
struct Counted(Arc<AtomicUsize>, Gauge);

impl Counted {
    fn one_more(open: &Arc<AtomicUsize>, shown: &Gauge) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        shown.increment(1.0);
        Counted(open.clone(), shown.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        self.1.decrement(1.0);
    }
}
