//! The tool held to its promise: a server that stands still must be in the tail of everyone who would have come.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{RwLock, oneshot};

use crate::options::{Cli, Command, RunOptions, SelfCheckOptions};
use crate::report::{Percentiles, Report};
use crate::run::{self, Ran};
use crate::tally::{histogram, record};

/// The run is as long as so many stalls, one third of it before and one third after the stall.
const STALLS_PER_RUN: u64 = 3;

/// The share of the requests that must be due in the stall; it is a third unless this machine is too busy for the
/// server to see its requests in time.
const STALLED_SHARE_MIN: f64 = 0.1;

/// The longest request head that the server reads, in bytes.
const HEAD_BYTES_MAX: usize = 4_096;

/// What the check has shown.
#[derive(Debug)]
pub struct Checked {
    /// The report that was checked.
    pub report: Report,
    /// What latency must be at least, given when each request was due and when the server stood still.
    pub floor_ms: Percentiles,
    /// Requests due while it stood still.
    pub due_in_stall: u64,
    /// Where the report falls short; empty when it does not.
    pub short: Vec<String>,
}

/// When the server stood still.
#[derive(Debug, Clone, Copy)]
pub struct Stall {
    /// No answer left after this...
    pub begin: Instant,
    /// ...and before this.
    pub end: Instant,
}

/// Measures a server that stands still and checks the report.
pub async fn run(options: &SelfCheckOptions) -> anyhow::Result<Checked> {
    let stall = Duration::from_millis(options.stall_ms);
    let seconds = stall.as_secs_f64() * STALLS_PER_RUN as f64;
    let before_stall = (options.rate * stall.as_secs_f64()) as usize;
    let server = Server::start(before_stall, stall).context("failed to start a server to measure")?;
    // Fewer connections than requests that come due meanwhile, so that some wait for one and others for an answer.
    let connections = (before_stall / 4).clamp(1, 256);
    let measured = run_options(&server.address, options.rate, seconds, connections, stall * 4)?;
    let ran = run::run(&measured).await?;
    let stall = server.stalled.await.context("the server never stood still: too few requests came")?;
    Ok(judge(ran, stall))
}

/// Holds the report of a run to when its server stood still.
pub fn judge(ran: Ran, stall: Stall) -> Checked {
    let Ran { report, plan, start } = ran;
    let mut floor = histogram();
    let mut due_in_stall = 0;
    for index in (0..plan.len()).filter(|index| plan.measured(*index)) {
        let due = start + plan.due(index);
        // Whoever came before the stall may have been answered before it.
        let waits =
            if due >= stall.begin { stall.end.saturating_duration_since(due) } else { Duration::ZERO };
        due_in_stall += u64::from(!waits.is_zero());
        record(&mut floor, waits);
    }
    let floor_ms = Percentiles::of(&floor);
    let mut short = short(&report.latency_ms, &floor_ms);
    let least = (plan.len() as f64 * STALLED_SHARE_MIN) as u64;
    if due_in_stall < least {
        short.push(format!(
            "{due_in_stall} requests were due in the stall, expected at least {least} to see it by"
        ));
    }
    Checked { report, floor_ms, due_in_stall, short }
}

/// Where `latency` is below its floor. Each request has waited at least its own floor, so each percentile lies at or
/// above the floors' one; both are rounded alike. No timing of this machine can make an honest report fall short.
fn short(latency: &Percentiles, floor: &Percentiles) -> Vec<String> {
    let mut short = Vec::new();
    if latency.count < floor.count {
        short.push(format!("{} requests, expected {}", latency.count, floor.count));
    }
    for ((name, shown), (_, least)) in latency.named().into_iter().zip(floor.named()) {
        if shown < least {
            short.push(format!("{name} is {shown:.3} ms, expected at least {least:.3} ms"));
        }
    }
    short
}

impl Checked {
    /// The report shows what happened.
    pub fn passed(&self) -> bool {
        self.short.is_empty()
    }

    /// Whether a report made of these latencies would have passed.
    pub fn would_pass(&self, latency: &Percentiles) -> bool {
        short(latency, &self.floor_ms).is_empty()
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Checked { report, floor_ms, due_in_stall, short } = self;
        writeln!(
            f,
            "requests   {}, {due_in_stall} of them due while the server stood still",
            floor_ms.count
        )?;
        writeln!(f, "at least   {floor_ms}  (what they must have waited)")?;
        writeln!(f, "reported   {}  (from the intended send time)", report.latency_ms)?;
        writeln!(
            f,
            "service    {}  (from the actual send time: leaves out the wait to be sent)",
            report.service_ms
        )?;
        match self.passed() {
            true => writeln!(f, "passed     nothing is left out of the tail"),
            false => writeln!(f, "FAILED     {}", short.join("; ")),
        }
    }
}

/// The options of a run against the server, with their defaults as on the command line.
fn run_options(
    address: &SocketAddr,
    rate: f64,
    seconds: f64,
    connections: usize,
    timeout: Duration,
) -> anyhow::Result<RunOptions> {
    let args = [
        format!("--url=http://{address}"),
        "--path=/".to_owned(),
        format!("--rate={rate}"),
        format!("--duration={seconds}"),
        format!("--connections={connections}"),
        format!("--timeout-ms={}", timeout.as_millis()),
    ];
    let args = ["loadtest".to_owned(), "run".to_owned()].into_iter().chain(args);
    let Command::Run(options) = Cli::try_parse_from(args)?.command else {
        anyhow::bail!("`loadtest run` is not a run");
    };
    options.check()?;
    Ok(*options)
}

/// A server on a free port of the loopback that answers every request, and stands still once.
#[derive(Debug)]
struct Server {
    address: SocketAddr,
    stalled: oneshot::Receiver<Stall>,
}

#[derive(Debug)]
struct State {
    seen: AtomicUsize,
    stall_at: usize,
    stall: Duration,
    /// Every answer passes it; the stall shuts it.
    gate: RwLock<()>,
    tell: Mutex<Option<oneshot::Sender<Stall>>>,
}

impl Server {
    /// Request number `stall_at` begins the stall. On a thread of its own, which ends with the process.
    fn start(stall_at: usize, stall: Duration) -> io::Result<Server> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (tell, stalled) = oneshot::channel();
        let state = Arc::new(State {
            seen: AtomicUsize::new(0),
            stall_at,
            stall,
            gate: RwLock::new(()),
            tell: Mutex::new(Some(tell)),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let accept = move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, state.clone()));
                }
            });
        };
        std::thread::Builder::new().name("self-check".to_owned()).spawn(accept)?;
        Ok(Server { address, stalled })
    }
}

/// Answers the requests of one connection until it ends or says something that is no request.
async fn serve(mut stream: TcpStream, state: Arc<State>) {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let mut bytes = Vec::new();
    loop {
        while !bytes.ends_with(b"\r\n\r\n") {
            match stream.read_buf(&mut bytes).await {
                Ok(read) if read > 0 && bytes.len() <= HEAD_BYTES_MAX => {}
                _ => return,
            }
        }
        bytes.clear();
        if state.seen.fetch_add(1, Ordering::Relaxed) == state.stall_at {
            let shut = state.gate.write().await;
            let begin = Instant::now();
            tokio::time::sleep(state.stall).await;
            let stall = Stall { begin, end: Instant::now() };
            drop(shut);
            let tell = state.tell.lock().unwrap_or_else(PoisonError::into_inner).take();
            // Nobody listens when the run was given up.
            let _ = tell.map(|tell| tell.send(stall));
        }
        let _open = state.gate.read().await;
        if stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}
