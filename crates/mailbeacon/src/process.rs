//! What every long-running program has: logs, metrics, an admin listener, a way to be stopped.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use arc_swap::ArcSwap;
use link::Keys;
use telemetry::{Health, Metric, Shutdown};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::settings::{Settings, read_keys};

/// How often the key ring's file is looked at.
const KEYS_LOOK: Duration = Duration::from_secs(2);

/// A running process around the programs in it.
pub struct Process {
    /// For the store, the admin listener and what waits.
    pub runtime: Runtime,
    /// What `/readyz` says.
    pub health: Health,
    /// Begins at the first SIGINT or SIGTERM.
    pub shutdown: Shutdown,
    /// Where the admin listener is.
    pub admin: SocketAddr,
    /// Ends the admin listener, last of all.
    admin_ends: CancellationToken,
}

impl Process {
    /// Sets up logs and metrics and opens the admin listener.
    pub fn start(
        settings: &Settings,
        parts: &[&'static str],
        tables: &[&[Metric]],
    ) -> anyhow::Result<Process> {
        telemetry::logs(settings.log.format.parse()?, &settings.log.filter)?;
        let metrics = telemetry::metrics()?;
        tables.iter().for_each(|table| telemetry::describe(table));
        let shutdown = Shutdown::on_signals().context("failed to wait for signals")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("mailbeacon")
            .enable_all()
            .build()
            .context("failed to start a runtime")?;
        let health = Health::new(parts);
        let listener = TcpListener::bind(settings.admin.listen)
            .with_context(|| format!("failed to listen on admin.listen = {}", settings.admin.listen))?;
        listener.set_nonblocking(true)?;
        let admin = listener.local_addr()?;
        let admin_ends = CancellationToken::new();
        let ends = admin_ends.clone().cancelled_owned();
        let admin_health = health.clone();
        runtime.spawn(async move {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => telemetry::admin(listener, metrics, admin_health, ends).await,
                Err(cause) => warn!(%cause, "admin listener failed"),
            }
        });
        Ok(Process { runtime, health, shutdown, admin, admin_ends })
    }

    /// Waits until the process is to stop, or a program in it has ended by itself.
    pub fn wait(&self, ended: &CancellationToken) {
        let (shutdown, ended) = (self.shutdown.wait(), ended.clone());
        self.runtime.block_on(async move {
            tokio::select! {
                () = shutdown => info!("shutting down, a second signal ends at once"),
                () = ended.cancelled() => warn!("a program ended by itself, shutting down"),
            }
        });
        self.health.draining();
    }

    /// Keeps the key ring as its file is.
    pub fn follow_keys(&self, file: PathBuf, keys: Arc<ArcSwap<Keys>>) {
        self.runtime.spawn(async move {
            let mut seen = modified(&file);
            loop {
                tokio::time::sleep(KEYS_LOOK).await;
                let now = modified(&file);
                if now == seen || now.is_none() {
                    continue;
                }
                seen = now;
                match read_keys(&file) {
                    Ok(changed) => {
                        keys.store(Arc::new(changed));
                        info!("key ring reloaded");
                    }
                    Err(cause) => {
                        warn!(cause = format!("{cause:#}"), "key ring not reloaded, the old one stays")
                    }
                }
            }
        });
    }

    /// Ends the admin listener.
    pub fn end(self) {
        self.admin_ends.cancel();
        self.runtime.shutdown_timeout(Duration::from_secs(2));
    }
}

fn modified(file: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|meta| meta.modified()).ok()
}
