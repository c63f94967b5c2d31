//! How a program is told to stop: once to drain, twice to leave.

use std::io;
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The wish that the program end. Clones share it; it is never taken back.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    /// Begins only when [`begin`](Self::begin) is called.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins at the first SIGINT or SIGTERM. The second one, of either kind, ends the process at once with a
    /// message and the exit status 128 + its number.
    ///
    /// The signals are waited for on a thread of their own, so that the second is heard even when every runtime
    /// of the program is stuck. Call it once, early in `main`: the handlers stay for good.
    pub fn on_signals() -> io::Result<Shutdown> {
        let shutdown = Shutdown::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (interrupt, terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let begun = shutdown.clone();
        let watch = move || runtime.block_on(begun.watch(interrupt, terminate));
        thread::Builder::new().name("signals".to_owned()).spawn(watch)?;
        Ok(shutdown)
    }

    /// Begins the shutdown; later calls do nothing.
    pub fn begin(&self) {
        self.token.cancel();
    }

    /// Whether it has begun.
    pub fn begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until it has begun. The future borrows nothing, so it can be given to a server as it is.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + 'static {
        self.token.clone().cancelled_owned()
    }

    /// The same wish as a token, for those who want children of it.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    async fn watch(&self, mut interrupt: Signal, mut terminate: Signal) {
        let first = next(&mut interrupt, &mut terminate).await;
        tracing::info!(signal = first.name, "draining: a second signal ends the process at once");
        self.begin();
        let second = next(&mut interrupt, &mut terminate).await;
        // Straight to stderr as well as to the log: this is the last word, whatever the log filter says.
        eprintln!("second signal ({}): leaving at once, without draining", second.name);
        std::process::exit(second.status);
    }
}

struct Caught {
    name: &'static str,
    status: i32,
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> Caught {
    tokio::select! {
        _ = interrupt.recv() => Caught { name: "SIGINT", status: 128 + SignalKind::interrupt().as_raw_value() },
        _ = terminate.recv() => Caught { name: "SIGTERM", status: 128 + SignalKind::terminate().as_raw_value() },
    }
}
