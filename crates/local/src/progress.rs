//! Signs of life on stderr: a moving line on a terminal, one line per step elsewhere.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar};

/// One step that takes a while.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    step: String,
}

impl Progress {
    pub fn start(step: &str) -> Progress {
        if !io::stderr().is_terminal() {
            eprintln!("{step}");
            return Progress { bar: None, step: step.into() };
        }
        let bar = ProgressBar::new_spinner().with_message(step.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress { bar: Some(bar), step: step.into() }
    }

    pub fn bytes(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} ({})", self.step, HumanBytes(bytes)));
        }
    }

    pub fn done(self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}
