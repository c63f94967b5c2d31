//! The files that may be open, each connection one: at this end in this process, at the other in an edge.

use anyhow::{Context, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of an edge, for all that is no connection: journal, Kafka, libraries.
const OTHERS: u64 = 1_000;

/// Sees to it that this process, and what it starts from now on, may have so many connections: raises the soft limit as
/// far as it has to.
///
/// # Errors
/// When the hard limit is below.
pub fn allow(connections: usize) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let files = connections as u64 + OTHERS;
    if limit.current.is_none_or(|current| current >= files) {
        return Ok(());
    }
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= files),
        "{connections} connections need {files} open files, and this process may have {}: raise the hard limit (`ulimit -n \
         {files}` as root, or LimitNOFILE), or ask for fewer --connections",
        limit.maximum.unwrap_or_default()
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), ..limit })
        .with_context(|| format!("failed to allow {files} open files"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_cannot_be_raised_is_told() {
        allow(1).unwrap();
        // No kernel allows so many, unless there is no limit at all.
        if getrlimit(Resource::Nofile).maximum.is_some() {
            let said = allow(usize::MAX / 2).unwrap_err().to_string();
            assert!(said.contains("fewer --connections"), "{said}");
        }
    }
}
