//! Sends a plan on time, whatever the server does, and measures what comes back.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::Kind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::live::Live;
use crate::plan::{Hit, Plan};
use crate::response::{Reader, Reply};
use crate::tally::{Answered, Failure, Tally, Times};
use crate::timer::Timer;

/// How many overdue requests leave before answers are looked at again.
const BURST: usize = 16;

/// Where the requests go, and how much they may take.
#[derive(Debug, Clone)]
pub struct Target {
    /// The server.
    pub address: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// Requests under way at a time, in all; one that finds no place waits, and its latency goes on.
    pub connections: usize,
    /// For one request to be answered; also how long one may wait for a connection before it is given up.
    pub timeout: Duration,
    /// Any answer from 200 to 399 is proper, instead of 200 for an open, 302 for the others, and 404 where the token is
    /// bad.
    pub any_status: bool,
}

impl Target {
    fn proper(&self, hit: &Hit, status: u16) -> bool {
        if self.any_status {
            (200..400).contains(&status)
        } else {
            let expected = match (hit.kind, hit.spoiled) {
                (Kind::Open, _) => 200,
                (_, None) => 302,
                (_, Some(_)) => 404,
            };
            status == expected
        }
    }
}

/// Sends `plan` from `threads` threads, each with every `threads`th request, and waits until each request has
/// come to its end. The clock starts at `start`.
pub fn send(
    target: &Target,
    plan: &Arc<Plan>,
    threads: usize,
    start: Instant,
    live: &Arc<Live>,
) -> io::Result<Tally> {
    send_from((0..threads).map(|_| Vec::new()).collect(), target, plan, start, live)
}

/// The same from one thread over connections that are open already, each in its turn, so that none idles for longer than
/// another. They are closed at the end.
pub fn send_over(
    open: Vec<std::net::TcpStream>,
    target: &Target,
    plan: &Arc<Plan>,
    start: Instant,
) -> io::Result<Tally> {
    send_from(vec![open], target, plan, start, &Arc::default())
}

/// A thread for each of the sets of connections.
fn send_from(
    open: Vec<Vec<std::net::TcpStream>>,
    target: &Target,
    plan: &Arc<Plan>,
    start: Instant,
    live: &Arc<Live>,
) -> io::Result<Tally> {
    let threads = open.len();
    let workers: Vec<_> = open
        .into_iter()
        .enumerate()
        .map(|(thread, open)| {
            let target = Target { connections: (target.connections / threads).max(1), ..target.clone() };
            let (plan, live) = (plan.clone(), live.clone());
            std::thread::Builder::new().name(format!("send-{thread}")).spawn(move || -> io::Result<Tally> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let sender = Rc::new(Sender::new(target, plan, start, live));
                LocalSet::new().block_on(&runtime, sender.clone().run(open, thread, threads))?;
                let sender =
                    Rc::into_inner(sender).expect("the tasks that shared it have ended with their set");
                Ok(sender.tally.into_inner())
            })
        })
        .collect::<io::Result<_>>()?;
    let mut all = Tally::new(plan);
    for index in 0..plan.len() {
        all.series.due(plan.due(index));
    }
    for worker in workers {
        let tally = worker.join().map_err(|_| io::Error::other("a sending thread panicked"))??;
        all.merge(&tally);
    }
    Ok(all)
}

/// One thread's state; its tasks share it and none holds a borrow across an await.
struct Sender {
    target: Target,
    plan: Arc<Plan>,
    start: Instant,
    live: Arc<Live>,
    tally: RefCell<Tally>,
    /// Kept connections without a request, the last used at the back.
    idle: RefCell<VecDeque<TcpStream>>,
    /// The one that was not used for longest is taken, instead of the last.
    in_turn: Cell<bool>,
    /// Requests that were due when every connection was taken. No longer than the plan.
    waiting: RefCell<VecDeque<usize>>,
    under_way: Cell<usize>,
    ended: Notify,
}

impl Sender {
    fn new(target: Target, plan: Arc<Plan>, start: Instant, live: Arc<Live>) -> Sender {
        Sender {
            tally: RefCell::new(Tally::new(&plan)),
            target,
            plan,
            start,
            live,
            idle: RefCell::default(),
            in_turn: Cell::default(),
            waiting: RefCell::default(),
            under_way: Cell::new(0),
            ended: Notify::new(),
        }
    }

    async fn run(
        self: Rc<Self>,
        open: Vec<std::net::TcpStream>,
        thread: usize,
        threads: usize,
    ) -> io::Result<()> {
        self.in_turn.set(!open.is_empty());
        for stream in open {
            stream.set_nonblocking(true)?;
            self.idle.borrow_mut().push_back(TcpStream::from_std(stream)?);
        }
        let timer = Timer::new()?;
        let mut burst = 0;
        for index in (thread..self.plan.len()).step_by(threads) {
            let due = self.due(index);
            if Instant::now() < due {
                timer.until(due).await?;
                burst = 0;
            } else {
                burst += 1;
                if burst % BURST == 0 {
                    tokio::task::yield_now().await;
                }
            }
            if self.under_way.get() >= self.target.connections {
                self.tally.borrow_mut().waits(index);
                self.waiting.borrow_mut().push_back(index);
                continue;
            }
            self.under_way.set(self.under_way.get() + 1);
            tokio::task::spawn_local(self.clone().serve(index));
        }
        while self.under_way.get() > 0 {
            self.ended.notified().await;
        }
        Ok(())
    }

    /// Sends request `first`, then those that wait, as long as there are any.
    async fn serve(self: Rc<Self>, first: usize) {
        let mut next = Some((first, false));
        while let Some((index, held)) = next {
            self.request(index, held).await;
            next = self.waiting.borrow_mut().pop_front().map(|index| (index, true));
        }
        self.under_way.set(self.under_way.get() - 1);
        self.ended.notify_one();
    }

    async fn request(&self, index: usize, held: bool) {
        let due = self.due(index);
        let sent = Instant::now();
        if !held {
            self.tally.borrow_mut().leaves(index, due, sent);
        } else if sent > due + self.target.timeout {
            return self.failed(index, Failure::Unsent, false);
        }
        self.live.sent();
        let fresh = self.plan.fresh(index);
        let mut stream = if fresh { None } else { self.take_idle() };
        let mut left = false;
        let exchange =
            tokio::time::timeout(self.target.timeout, self.exchange(index, &mut stream, &mut left));
        match exchange.await.unwrap_or(Err(Failure::Timeout)) {
            Err(why) => self.failed(index, why, left),
            Ok(reply) => {
                let times = Times { due, sent, answered: Instant::now() };
                if let (Some(stream), true, false) = (stream, reply.keep, fresh) {
                    self.idle.borrow_mut().push_back(stream);
                }
                let hit = self.plan.hit(index);
                self.tally.borrow_mut().responded(index, reply.status);
                if !self.target.proper(&hit, reply.status) {
                    return self.failed(index, Failure::Status, true);
                }
                let refused = hit.spoiled.is_some();
                let answered = Answered { index, kind: hit.kind, fresh, refused, times };
                self.tally.borrow_mut().answered(self.start, answered);
                self.live.answered(times.answered.saturating_duration_since(due), !refused);
            }
        }
    }

    /// One request and its answer, on `stream` or a new connection that is left there.
    async fn exchange(
        &self,
        index: usize,
        stream: &mut Option<TcpStream>,
        left: &mut bool,
    ) -> Result<Reply, Failure> {
        let stream = match stream {
            Some(stream) => stream,
            None => {
                // No TCP_NODELAY: a request is one write, and what was written before it is acknowledged by its
                // answer, so there is never a reason to hold one back.
                stream.insert(TcpStream::connect(self.target.address).await.map_err(|_| Failure::Connect)?)
            }
        };
        let mut bytes = Vec::with_capacity(768);
        self.plan.write(index, &self.target.host, &mut bytes);
        *left = true;
        stream.write_all(&bytes).await.map_err(|_| Failure::Closed)?;
        let mut reader = if self.plan.hit(index).head { Reader::bodiless() } else { Reader::default() };
        let mut piece = [0; 1_024];
        loop {
            match stream.read(&mut piece).await {
                Err(_) => return Err(Failure::Closed),
                Ok(0) => return reader.end().map_err(|_| Failure::Closed),
                Ok(read) => match reader.feed(&piece[..read]) {
                    Ok(Some(reply)) => return Ok(reply),
                    Ok(None) => {}
                    Err(_) => return Err(Failure::Malformed),
                },
            }
        }
    }

    /// A kept connection that the server has not closed meanwhile, as far as can be seen.
    fn take_idle(&self) -> Option<TcpStream> {
        let mut idle = self.idle.borrow_mut();
        let mut next = || if self.in_turn.get() { idle.pop_front() } else { idle.pop_back() };
        while let Some(stream) = next() {
            match stream.try_read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(stream),
                // Closed, broken, or with bytes that nobody asked for.
                _ => {}
            }
        }
        None
    }

    fn due(&self, index: usize) -> Instant {
        self.start + self.plan.due(index)
    }

    fn failed(&self, index: usize, why: Failure, left: bool) {
        self.tally.borrow_mut().failed(index, self.plan.due(index), why, left);
        self.live.failed();
    }
}
