//! A timer that is on time to some microseconds.

use std::io;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::net::unix::pipe::Receiver;

/// One `timerfd` in the runtime's own epoll: no timer slack (50 microseconds elsewhere), no wheel of
/// milliseconds.
pub(crate) struct Timer {
    /// To tokio a pipe: waited for until it is readable, then read. Its own type for any descriptor, `AsyncFd`,
    /// can only be made with `unsafe`.
    fd: Receiver,
}

impl Timer {
    pub(crate) fn new() -> io::Result<Timer> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Timer { fd: Receiver::from_owned_fd_unchecked(fd)? })
    }

    /// Waits until `due`; returns at once when that has passed.
    pub(crate) async fn until(&self, due: Instant) -> io::Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let once = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(left) };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once)?;
        loop {
            self.fd.readable().await?;
            match self.fd.try_read(&mut [0; 8]) {
                // The readiness was that of the time before.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.map(|_| ()),
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_never_early() {
        let timer = Timer::new().unwrap();
        for us in [0, 50, 300, 1_500] {
            let due = Instant::now() + Duration::from_micros(us);
            timer.until(due).await.unwrap();
            assert!(Instant::now() >= due);
            // Once past, it is past.
            timer.until(due).await.unwrap();
        }
    }
}
