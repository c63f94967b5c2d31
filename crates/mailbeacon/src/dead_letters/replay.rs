//! `dead-letters replay`: what can be read now goes back on the path.
//!
//! They come in as all do that come from no request ([`crate::inlet`]), and are stored once. Looking here first only
//! saves the way.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Write};

use anyhow::{Context, bail};

use super::{Contents, Keep, Letter, Which};
use crate::inlet::{BYTES_AT_ONCE, EVENTS_AT_ONCE, EventId, Inlet};
use crate::settings::Settings;
use crate::stdout::say;

/// Letters with something unreadable in them that are named one by one.
const NAMED_MAX: usize = 100;

/// Puts back what can be read of the letters chosen, and says what was done.
pub fn run(settings: &Settings, keep: &Keep, which: &Which, ids: &[String], dry: bool) -> anyhow::Result<()> {
    let mut replay = Replay::new(settings, keep, dry);
    let mut missing: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let mut seen = HashSet::new();
    keep.each(&mut |letter| {
        let chosen = ids.is_empty() || ids.contains(&letter.id());
        if chosen && which.takes(&letter) && seen.insert(letter.key()) {
            missing.remove(letter.id().as_str());
            replay.take(&letter)?;
        }
        Ok(())
    })?;
    replay.flush()?;
    say(|out| replay.report(out))?;
    match missing.is_empty() {
        true => Ok(()),
        false => {
            let missing: Vec<&str> = missing.into_iter().collect();
            bail!("no dead letter {} in {}", missing.join(", "), keep.name())
        }
    }
}

/// Which of these events are stored.
pub fn stored(settings: &Settings, ids: &[EventId]) -> anyhow::Result<HashSet<EventId>> {
    if settings.clickhouse.url.is_empty() {
        bail!("clickhouse.url is empty");
    }
    let store = settings.store()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut found = HashSet::new();
    for ids in ids.chunks(EVENTS_AT_ONCE) {
        let list: Vec<String> = ids.iter().map(|(edge_id, seq)| format!("({edge_id},{seq})")).collect();
        let sql =
            format!("SELECT DISTINCT edge_id, seq FROM events WHERE (edge_id, seq) IN ({})", list.join(","));
        for line in runtime.block_on(store.query(&sql))?.lines() {
            let id = line.split_once('\t').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            found.insert(id.with_context(|| format!("clickhouse answered {line:?}: expected two numbers"))?);
        }
    }
    Ok(found)
}

struct Replay<'a> {
    settings: &'a Settings,
    keep: &'a Keep,
    dry: bool,
    inlet: Option<Inlet>,
    /// Readable, and not yet put back.
    round: Vec<(EventId, Vec<u8>)>,
    round_bytes: usize,
    /// Whether ClickHouse answers: it is asked once in vain.
    can_ask: bool,
    letters: u64,
    put_back: u64,
    stored: u64,
    /// Letters with parts that cannot be read: what is wrong with the first one.
    left: u64,
    named: Vec<String>,
}

impl<'a> Replay<'a> {
    fn new(settings: &'a Settings, keep: &'a Keep, dry: bool) -> Self {
        Replay {
            settings,
            keep,
            dry,
            inlet: None,
            round: Vec::new(),
            round_bytes: 0,
            can_ask: true,
            letters: 0,
            put_back: 0,
            stored: 0,
            left: 0,
            named: Vec::new(),
        }
    }

    fn take(&mut self, letter: &Letter) -> anyhow::Result<()> {
        self.letters += 1;
        let contents = Contents::of(letter);
        if let Some(first) = contents.unreadable.first() {
            self.left += 1;
            if self.named.len() < NAMED_MAX {
                self.named.push(format!("{}: {}: {}", letter.id(), contents.summary(), first.why));
            }
        }
        for (id, bytes) in contents.ids().into_iter().zip(&contents.events) {
            self.round.push((id, bytes.to_vec()));
            self.round_bytes += bytes.len();
            if self.round.len() >= EVENTS_AT_ONCE || self.round_bytes >= BYTES_AT_ONCE {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Puts back what was gathered, and returns when it is there.
    fn flush(&mut self) -> anyhow::Result<()> {
        let mut round = std::mem::take(&mut self.round);
        self.round_bytes = 0;
        if round.is_empty() {
            return Ok(());
        }
        let ids: Vec<EventId> = round.iter().map(|(id, _)| *id).collect();
        if self.can_ask {
            match stored(self.settings, &ids) {
                Ok(stored) => round.retain(|(id, _)| !stored.contains(id)),
                Err(cause) => {
                    self.can_ask = false;
                    eprintln!(
                        "mailbeacon: ClickHouse cannot be asked what is stored, the consumer will look: {cause:#}"
                    );
                }
            }
        }
        self.stored += (ids.len() - round.len()) as u64;
        self.put_back += round.len() as u64;
        if self.dry || round.is_empty() {
            return Ok(());
        }
        let inlet = match &self.inlet {
            Some(inlet) => inlet,
            None => self.inlet.insert(Inlet::open(self.settings)?),
        };
        inlet.put(&round).context("failed to put events back")
    }

    fn report(&self, out: &mut dyn Write) -> io::Result<()> {
        let Replay { letters, put_back, stored, left, named, dry, .. } = self;
        let (done, topic) = (if *dry { "would be put back" } else { "put back" }, &self.settings.kafka.topic);
        writeln!(out, "{letters} letters in {}", self.keep.name())?;
        match self.keep {
            Keep::Topic(_) => writeln!(out, "{put_back} events {done} on topic {topic}, marked as replayed")?,
            Keep::File(_) => {
                writeln!(
                    out,
                    "{put_back} events {done}, marked as replayed: the next `mailbeacon up` takes them"
                )?;
            }
        }
        if *stored > 0 {
            writeln!(out, "{stored} events are stored already, nothing to do for them")?;
        }
        if *left > 0 {
            writeln!(out, "{left} letters hold something that cannot be read, which stays:")?;
        }
        for line in named {
            writeln!(out, "  {line}")?;
        }
        if *left > named.len() as u64 {
            writeln!(out, "  and {} more", left - named.len() as u64)?;
        }
        Ok(())
    }
}
