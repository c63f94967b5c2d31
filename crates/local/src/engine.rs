//! A real ClickHouse engine: the `clickhouse` program, or the same engine as a library.
//!
//! The library is the whole server in one file, and its `clickhouse local` can listen: real HTTP, real native
//! protocol, data that persists. One thing it cannot do is replicate: it has no interserver listener, so
//! replicated tables can be created in it, but stay read-only.

mod config;
mod find;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::RngExt;

use crate::error::file;
use crate::process::{Process, Spec, fresh_log};
use crate::{Cache, LocalError, http, ports};

use find::Found;

/// Seen: 0.4 s, and 3 s on a loaded machine with the library not yet in memory. A slow disk may need a minute to
/// read its 566 MB.
const READY_WAIT: Duration = Duration::from_secs(90);
/// A clean end flushes Buffer tables and lets running merges stop.
const STOP_WAIT: Duration = Duration::from_secs(20);
const PING_WAIT: Duration = Duration::from_secs(5);
const QUERY_WAIT: Duration = Duration::from_secs(60);
/// How often ports lost to another process are replaced by new ones, and a directory is tried that is still locked.
const START_TRIES_MAX: usize = 5;
const PORT_TAKEN: &str = "Address already in use";
/// An engine that was killed a moment ago has not let go of its directory yet.
const LOCKED: &str = "Cannot lock file";
const AGAIN_WAIT: Duration = Duration::from_secs(1);

const CONFIG_FILE: &str = "config.xml";
const OUTPUT_FILE: &str = "output.log";

/// What to start.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Where data, configuration and logs live; made when absent, kept when the engine ends.
    pub dir: PathBuf,
    /// The program that has the hidden subcommand ([`crate::child_main`]).
    pub helper: PathBuf,
    /// Where a fetched engine is kept.
    pub cache: Cache,
    /// The HTTP port on 127.0.0.1; a free one when `None`.
    pub http_port: Option<u16>,
    /// The port of the native protocol on 127.0.0.1; a free one when `None`.
    pub tcp_port: Option<u16>,
    /// More server configuration, XML elements as they stand below `<clickhouse>`, such as `<remote_servers>`.
    pub config: Option<String>,
}

impl EngineOptions {
    /// An engine with free ports and nothing special.
    pub fn new(dir: PathBuf, helper: PathBuf, cache: Cache) -> EngineOptions {
        EngineOptions { dir, helper, cache, http_port: None, tcp_port: None, config: None }
    }
}

/// A running engine, killed when dropped.
pub struct Engine {
    dir: PathBuf,
    helper: PathBuf,
    config: Option<String>,
    found: Found,
    ports: Ports,
    process: Process,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    http: u16,
    tcp: u16,
}

/// Finds or fetches the engine, starts it and waits until it answers.
pub fn start(options: EngineOptions) -> Result<Engine, LocalError> {
    let EngineOptions { dir, helper, cache, http_port, tcp_port, config } = options;
    fs::create_dir_all(&dir).map_err(file("create", &dir))?;
    let dir = dir.canonicalize().map_err(file("resolve", &dir))?;
    let found = find::find(&cache)?;
    let chooses = http_port.is_none() || tcp_port.is_none();
    let mut tries = 0;
    loop {
        tries += 1;
        let free = ports::free(2)?;
        let ports = Ports { http: http_port.unwrap_or(free[0]), tcp: tcp_port.unwrap_or(free[1]) };
        match launch(&dir, &helper, config.as_deref(), &found, ports) {
            Ok(process) => return Ok(Engine { dir, helper, config, found, ports, process }),
            Err(LocalError::Ended { tail, .. })
                if chooses && tries < START_TRIES_MAX && tail.contains(PORT_TAKEN) => {}
            Err(LocalError::Ended { tail, .. }) if tries < START_TRIES_MAX && tail.contains(LOCKED) => {
                std::thread::park_timeout(AGAIN_WAIT);
            }
            // Now and then the library crashes where it would have said what is wrong.
            Err(LocalError::Ended { status, .. }) if tries < START_TRIES_MAX && status.code().is_none() => {}
            Err(error) => return Err(error),
        }
    }
}

impl Engine {
    /// The base address for HTTP clients, without a trailing slash.
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.http)
    }

    /// The port of HTTP on 127.0.0.1.
    pub fn http_port(&self) -> u16 {
        self.ports.http
    }

    /// The port of the native protocol on 127.0.0.1.
    pub fn tcp_port(&self) -> u16 {
        self.ports.tcp
    }

    /// The process, for measuring.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where its data and logs are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the process runs (a suspended one does).
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// The last words of an engine that has ended by itself, as an error.
    pub fn check(&self) -> Result<(), LocalError> {
        self.process.check()
    }

    /// Asks the engine over HTTP and returns the answer as text; for tests and set-up, a bounded wait long.
    pub fn query(&self, sql: &str) -> Result<String, LocalError> {
        http::query(self.ports.http, sql, QUERY_WAIT)
    }

    /// Ends it cleanly: Buffer tables are flushed, running queries are cut off.
    pub fn stop(mut self) -> Result<(), LocalError> {
        self.end()
    }

    /// Kills it as a crash would (`SIGKILL`) and waits until it is gone.
    pub fn kill(&mut self) -> Result<(), LocalError> {
        self.process.kill()
    }

    /// Freezes it: connections stay open, nothing answers (`SIGSTOP`).
    pub fn suspend(&self) -> Result<(), LocalError> {
        self.process.suspend()
    }

    /// Lets a frozen engine go on (`SIGCONT`).
    pub fn resume(&self) -> Result<(), LocalError> {
        self.process.resume()
    }

    /// Starts it again on the same data and ports, after a clean end if it still runs.
    pub fn restart(&mut self) -> Result<(), LocalError> {
        self.end()?;
        let mut tries = 0;
        self.process = loop {
            tries += 1;
            match launch(&self.dir, &self.helper, self.config.as_deref(), &self.found, self.ports) {
                // Clients of the one before are there at once, and the library aborts on some of their resets.
                Err(LocalError::Ended { .. }) if tries < START_TRIES_MAX => {
                    std::thread::park_timeout(AGAIN_WAIT);
                }
                launched => break launched?,
            }
        };
        Ok(())
    }

    /// Starts it again when it has ended by itself, and returns whether it had: as a library the engine aborts on some
    /// resets of its clients, where a server logs an exception.
    pub fn revive(&mut self) -> Result<bool, LocalError> {
        let ended = !self.is_alive();
        if ended {
            self.restart()?;
        }
        Ok(ended)
    }

    fn end(&mut self) -> Result<(), LocalError> {
        if !self.process.is_alive() {
            return Ok(());
        }
        match self.found {
            Found::Program(_) => self.process.terminate()?,
            // The library leaves SIGTERM at its deadly default; the end of its input is what it shuts down on.
            Found::Library(_) | Found::Python(_) => self.process.close_stdin()?,
        }
        if self.process.wait(STOP_WAIT) { Ok(()) } else { self.process.kill() }
    }
}

/// Starts the process and waits until it is this very engine that answers.
fn launch(
    dir: &Path,
    helper: &Path,
    config: Option<&str>,
    found: &Found,
    ports: Ports,
) -> Result<Process, LocalError> {
    // Another engine may hold the port while ours is about to fail on it: only ours knows this name.
    let name = format!("mailbeacon-{:016x}", rand::rng().random::<u64>());
    let path = dir.join(CONFIG_FILE);
    fs::write(&path, config::render(dir, &name, ports, config.unwrap_or_default()))
        .map_err(file("write", &path))?;
    let log = dir.join(OUTPUT_FILE);
    fresh_log(&log)?;
    let (form, args) = command(found, dir);
    let process = Process::start(Spec { name: "clickhouse".into(), helper, form, args, dir, log })?;
    process.wait_ready(READY_WAIT, || match http::query(ports.http, "SELECT displayName()", PING_WAIT) {
        Ok(answer) if answer.trim_end() == name => Ok(()),
        Ok(answer) => Err(format!("port {} answers as {:?}, expected {name}", ports.http, answer.trim_end())),
        Err(error) => Err(error.to_string()),
    })?;
    Ok(process)
}

/// What the library is told to run. The last query reads its input, which the parent holds open and never writes
/// to: it costs nothing while it waits, and its end is the clean end of the engine. HTTP is last to listen, so
/// that whoever sees it answer may use either port.
const SERVE: &str = "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; \
                     SELECT count() FROM file('-', 'LineAsString', 'line String') FORMAT Null";

fn command(found: &Found, dir: &Path) -> (&'static str, Vec<OsString>) {
    let option = |name: &str, value: PathBuf| {
        let mut option = OsString::from(name);
        option.push(value);
        option
    };
    match found {
        Found::Program(program) => {
            let config = option("--config-file=", dir.join(CONFIG_FILE));
            ("exec", vec![program.into(), "server".into(), config])
        }
        Found::Library(library) => {
            let config = option("--config-file=", dir.join(CONFIG_FILE));
            let path = option("--path=", dir.join(config::DATA_DIR));
            ("engine", vec![library.into(), config, path, format!("--query={SERVE}").into()])
        }
        Found::Python(site) => {
            // The module passes no options on, but reads `config.xml` in the working directory. The format that it
            // is given becomes that of every answer over HTTP which names none.
            let script = "import sys; sys.path.insert(0, sys.argv[1]); from chdb import _chdb; \
                          _chdb.query(sys.argv[2], 'TabSeparated', path=sys.argv[3])";
            let data = dir.join(config::DATA_DIR);
            let args = ["python3".into(), "-c".into(), script.into(), site.into(), SERVE.into(), data.into()];
            ("exec", args.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_engine_is_run_its_own_way() {
        let cases = [
            (
                Found::Program("/bin/clickhouse".into()),
                "exec /bin/clickhouse server --config-file=/d/config.xml",
            ),
            (
                Found::Library("/c/libchdb.so".into()),
                "engine /c/libchdb.so --config-file=/d/config.xml --path=/d/data --query=SYSTEM START LISTEN TCP;",
            ),
            (Found::Python("/c/site".into()), "exec python3 -c import sys; sys.path.insert(0, sys.argv[1]);"),
        ];
        for (found, expected) in cases {
            let (form, args) = command(&found, Path::new("/d"));
            let line = args.iter().fold(form.to_owned(), |line, arg| format!("{line} {}", arg.display()));
            assert!(line.starts_with(expected), "{line}");
        }
    }
}
