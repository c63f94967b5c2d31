//! `mailbeacon import`: sends and engagement that another system has kept, or that the sending application tells.
//!
//! Each line is an event on the usual path, named by what it says: the same line twice is one event.

pub mod line;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;

use self::line::Teller;
use crate::inlet::{BYTES_AT_ONCE, EVENTS_AT_ONCE, EventId, Inlet};
use crate::settings::Settings;
use crate::stdout::say;

/// For `--help`.
pub const EXAMPLES: &str = r#"A line is an event:

  {"kind": "sent", "time": "2026-01-31T09:00:00Z", "recipient": "customer-42", "message": "spring",
   "time_zone": "America/New_York", "country": "US", "domain": "example.com"}
  {"kind": "open", "time": "2026-01-31T09:12:31Z", "recipient": "customer-42", "message": "spring",
   "user_agent": "Mozilla/5.0 (iPhone; …)", "address": "203.0.113.7"}

`kind` is sent, open, click or download; `time` is RFC 3339. `link` (a number or a URL), user_agent, address,
time_zone, country and domain may be left out; other fields are left alone. Of recipient, message and domain only keyed hashes are stored; keys.file
has the keys. Without a domain that of a recipient of the form name@domain is taken.

  mailbeacon import history.jsonl
  zcat history-*.jsonl.gz | mailbeacon import -

The same lines again change nothing. Lines that cannot be read are named, and kept in --rejected with the reason."#;

/// What to import.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files of JSON lines; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The sending application's workspace.
    #[arg(long, default_value_t = 1)]
    workspace: u32,
    /// Where lines go that cannot be read.
    #[arg(long, value_name = "FILE", default_value = "rejected.jsonl")]
    rejected: PathBuf,
}

/// The longest line, its end included.
const LINE_BYTES_MAX: u64 = 65_536;
/// Lines that cannot be read are named up to so many.
const NAMED_MAX: u64 = 20;
/// How often progress is shown.
const SHOW_EVERY: Duration = Duration::from_secs(2);

/// Imports.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<()> {
    let keys = Arc::new(settings.keys()?);
    let mut import = Import {
        teller: Teller::new(keys, args.workspace, jiff::Timestamp::now().as_millisecond()),
        inlet: Inlet::open(settings)?,
        round: Vec::new(),
        round_bytes: 0,
        rejected: Rejected { path: &args.rejected, file: None, lines: 0 },
        events: 0,
        lines: 0,
        shown_at: Instant::now(),
    };
    for path in &args.files {
        if path.as_os_str() == "-" {
            import.read("standard input", io::stdin().lock())?;
        } else {
            let file = File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
            import.read(&path.display().to_string(), BufReader::new(file))?;
        }
    }
    import.flush()?;
    import.rejected.finish()?;
    let Import { events, lines, rejected, .. } = &import;
    say(|out| {
        writeln!(
            out,
            "{events} events of {lines} lines are on their way; those that are stored already change nothing"
        )?;
        match rejected.lines {
            0 => Ok(()),
            count => writeln!(out, "{count} lines cannot be read, see {}", rejected.path.display()),
        }
    })?;
    if *events == 0 && *lines > 0 {
        bail!("no line could be read: expected JSON lines, see `mailbeacon import --help`");
    }
    Ok(())
}

struct Import<'a> {
    teller: Teller,
    inlet: Inlet,
    round: Vec<(EventId, Vec<u8>)>,
    round_bytes: usize,
    rejected: Rejected<'a>,
    events: u64,
    lines: u64,
    shown_at: Instant,
}

impl Import<'_> {
    fn read(&mut self, name: &str, mut from: impl BufRead) -> anyhow::Result<()> {
        let (mut line, mut number) = (Vec::new(), 0_u64);
        loop {
            line.clear();
            let read = from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if read.with_context(|| format!("failed to read {name}"))? == 0 {
                return Ok(());
            }
            number += 1;
            if line.len() as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") {
                bail!("{name} line {number}: longer than {LINE_BYTES_MAX} bytes, expected JSON lines");
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            self.lines += 1;
            match self.teller.event(text) {
                Ok((id, bytes)) => {
                    self.round_bytes += bytes.len();
                    self.round.push((id, bytes));
                    self.events += 1;
                }
                Err(why) => self.rejected.take(name, number, &why.to_string(), text)?,
            }
            if self.round.len() >= EVENTS_AT_ONCE || self.round_bytes >= BYTES_AT_ONCE {
                self.flush()?;
            }
            if self.shown_at.elapsed() >= SHOW_EVERY && io::stderr().is_terminal() {
                self.shown_at = Instant::now();
                eprintln!("{} lines, {} bad", self.lines, self.rejected.lines);
            }
        }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if !self.round.is_empty() {
            self.inlet
                .put(&self.round)
                .context("lines up to here may be in: the same again changes nothing")?;
        }
        self.round.clear();
        self.round_bytes = 0;
        Ok(())
    }
}

/// Lines that cannot be read, kept aside. The file is made anew by the first one of a run.
struct Rejected<'a> {
    path: &'a Path,
    file: Option<BufWriter<File>>,
    lines: u64,
}

impl Rejected<'_> {
    fn take(&mut self, file: &str, line: u64, why: &str, text: &str) -> anyhow::Result<()> {
        self.lines += 1;
        // The line itself may hold an address: it goes to the file only.
        match self.lines {
            ..=NAMED_MAX => eprintln!("{file} line {line}: {why}"),
            n if n == NAMED_MAX + 1 => {
                eprintln!("more lines cannot be read, all are in {}", self.path.display())
            }
            _ => (),
        }
        let shown = || format!("failed to write {}", self.path.display());
        let out = match &mut self.file {
            Some(out) => out,
            None => self.file.insert(BufWriter::new(File::create(self.path).with_context(shown)?)),
        };
        writeln!(out, "{}", json!({"file": file, "line": line, "why": why, "text": text})).with_context(shown)
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        match &mut self.file {
            Some(out) => out.flush().with_context(|| format!("failed to write {}", self.path.display())),
            None => Ok(()),
        }
    }
}
