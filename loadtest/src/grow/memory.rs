//! The memory of a process while something goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;

use crate::cpu;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The most resident memory that looks at process `pid` have shown during `work`, in bytes, with what came of that.
pub fn most<T>(pid: u32, work: impl FnOnce() -> T) -> anyhow::Result<(T, u64)> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            loop {
                most = cpu::used(pid)?.rss_bytes.max(most);
                if done.load(Ordering::Acquire) {
                    return anyhow::Ok(most);
                }
                thread::park_timeout(LOOK_EVERY);
            }
        });
        let worked = work();
        done.store(true, Ordering::Release);
        watch.thread().unpark();
        let most = watch.join().ok().context("the thread that looks at memory panicked")??;
        Ok((worked, most))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_meanwhile_is_seen() {
        const BYTES: usize = 64 << 20;
        // What came of the work is still held at the last look.
        let (held, most) = most(std::process::id(), || vec![1_u8; BYTES]).unwrap();
        assert!(most >= held.len() as u64, "{most}");
        assert!(super::most(u32::MAX, || ()).unwrap_err().to_string().contains("no process"));
    }
}
