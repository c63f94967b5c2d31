//! Writing to whoever reads: a pager that is left, or `head`, is no failure.

use std::io::{self, BufWriter, ErrorKind, Write};

/// Hands out stdout. Nothing is lost when its reader has seen enough.
pub fn say(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(cause) if cause.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}
