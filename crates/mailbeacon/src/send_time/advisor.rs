//! Answers for programs that ask often: what was read of a workspace serves for some minutes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use arc_swap::ArcSwap;
use link::Keys;
use send_time::{Options, Refused, Weekday, Window};
use store::Store;
use tokio::sync::Mutex;

pub use super::show::Why;
use super::workspace::Workspace;
use super::{free_mail, refusal};

/// How long what was read of a workspace serves. Whether a recipient may be asked about is looked up each time.
const SERVES: Duration = Duration::from_secs(300);
/// Workspaces that are kept at a time; the one read longest ago goes.
const WORKSPACES_MAX: usize = 8;

/// Knows workspaces.
pub struct Advisor {
    store: Arc<Store>,
    keys: Arc<ArcSwap<Keys>>,
    /// One is read at a time: a second question waits for the same, and for no more memory than that takes.
    read: Mutex<Vec<Known>>,
}

struct Known {
    workspace: u32,
    at: Instant,
    all: Arc<Workspace>,
}

impl Advisor {
    /// Has read nothing yet.
    pub fn new(store: Arc<Store>, keys: Arc<ArcSwap<Keys>>) -> Self {
        Advisor { store, keys, read: Mutex::new(Vec::new()) }
    }

    /// The windows of a recipient, the best first, or why there are none.
    pub async fn ask(&self, workspace: u32, recipient: u64) -> anyhow::Result<Result<Vec<Window>, Why>> {
        if let Some(why) = refusal(&self.store, workspace, recipient).await? {
            return Ok(Err(why));
        }
        let all = self.known(workspace).await?;
        // Known, but only since it was read.
        let Some(place) = all.place(recipient) else {
            return Ok(Err(Why::Refused(Refused::NotEnoughEvents)));
        };
        let options = Options { weekday: Weekday::Any, quiet: None };
        Ok(all.answer(place, &options).windows.map_err(Why::Refused))
    }

    async fn known(&self, workspace: u32) -> anyhow::Result<Arc<Workspace>> {
        let mut read = self.read.lock().await;
        read.retain(|known| known.at.elapsed() < SERVES);
        if let Some(known) = read.iter().find(|known| known.workspace == workspace) {
            return Ok(known.all.clone());
        }
        let free = free_mail(&self.keys.load(), workspace);
        let at_ms = jiff::Timestamp::now().as_millisecond();
        let all = Workspace::read(&self.store, workspace, at_ms, |domain| free.contains(&domain))
            .await
            .context("failed to read what recipients were sent and did")?;
        if read.len() == WORKSPACES_MAX {
            read.remove(0);
        }
        let all = Arc::new(all);
        read.push(Known { workspace, at: Instant::now(), all: all.clone() });
        Ok(all)
    }
}
