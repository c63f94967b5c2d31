//! `mailbeacon verdict score`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use enrich::{Enriched, Enricher, Tables};
use event::{Event, Method, limits};

use super::Args;
use super::line::{self, Line};
use super::tally::{HEADINGS, Outcome, Sets};
use crate::stdout::say;
use crate::table::table;

/// Reads the files, line by line, and prints what came of them.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut score = Score {
        enricher: Enricher::new(Arc::new(Tables::load(&[])?)),
        sets: Sets::default(),
        misses: args.misses.then_some(if args.json { To::Stderr } else { To::Stdout }),
    };
    for file in &args.files {
        if file.as_os_str() == "-" {
            score.read("standard input", "stdin", &mut std::io::stdin().lock())?;
        } else {
            let opened = File::open(file).with_context(|| format!("failed to open {}", file.display()))?;
            score.read(&file.display().to_string(), &set_of(file), &mut BufReader::new(opened))?;
        }
    }
    let sets = &score.sets;
    say(|out| {
        if args.json {
            sets.iter().try_for_each(|(name, tally)| writeln!(out, "{}", tally.json(name)))
        } else {
            let rows: Vec<Vec<String>> = sets.iter().map(|(name, tally)| tally.row(name)).collect();
            write!(out, "{}", table(&HEADINGS, &rows))
        }
    })
}

/// The set of a file's lines that name none.
fn set_of(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Where misses go.
enum To {
    Stdout,
    Stderr,
}

struct Score {
    enricher: Enricher,
    sets: Sets,
    misses: Option<To>,
}

impl Score {
    fn read(&mut self, name: &str, set: &str, input: &mut dyn BufRead) -> anyhow::Result<()> {
        let mut text = String::new();
        for number in 1_u64.. {
            let at = || format!("{name}:{number}");
            if !line::next(input, &mut text).with_context(at)? {
                break;
            }
            if !text.trim().is_empty() {
                self.take(name, number, set, &text).with_context(at)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &str, number: u64, set: &str, text: &str) -> anyhow::Result<()> {
        let line = Line::parse(text)?;
        let address = line.address()?;
        let event = Event {
            kind: line.kind.into(),
            method: Method::Get,
            user_agent: cut(&line.user_agent),
            client_ip: &address,
            ..Event::default()
        };
        let found = self.enricher.enrich(&event);
        let set = line.set.as_deref().unwrap_or(set);
        let (expected, device) = (line.expected, line.device);
        self.sets.add(set, Outcome { expected, device, verdict: found.verdict, kind: found.device })?;
        let Some(to) = &self.misses else { return Ok(()) };
        let Some(mut miss) = miss(&line, &found) else { return Ok(()) };
        // Control characters of an agent do not reach a terminal.
        let _ = writeln!(miss, ": {:?}", line.user_agent);
        match to {
            To::Stdout => say(|out| write!(out, "{name}:{number}: {miss}")),
            To::Stderr => {
                eprint!("{name}:{number}: {miss}");
                Ok(())
            }
        }
    }
}

/// As much of a user agent as an event carries.
fn cut(user_agent: &str) -> &str {
    &user_agent[..user_agent.floor_char_boundary(limits::USER_AGENT)]
}

/// What is wrong with what was found, if anything is.
fn miss(line: &Line, found: &Enriched) -> Option<String> {
    let mut text = String::new();
    if !line.expected.is(found.verdict) {
        let why = if found.reasons.is_empty() { "no rule".to_owned() } else { found.reasons.join(",") };
        text = format!("expected {}, found {} ({why})", line.expected.as_str(), found.verdict.as_str());
    }
    if let Some(device) = line.device.map(line::Device::kind)
        && device != found.device
    {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}expected a {}, found {}", device.as_str(), found.device.as_str());
    }
    (!text.is_empty()).then_some(text)
}
