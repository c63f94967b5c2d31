//! `dead-letters show`: one letter, as far as may be shown.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::contents::check;
use super::fields::{self, Field, Values};
use super::{Contents, Keep, Letter, find};
use crate::settings::Settings;
use crate::stdout::say;
use crate::when;

/// Parts of one letter that are shown; a message may hold thousands.
const PARTS_MAX: usize = 20;

#[derive(Serialize)]
struct Shown {
    id: String,
    topic: String,
    partition: u32,
    offset: u64,
    kept_at: Option<String>,
    copies: u64,
    reason: String,
    bytes: usize,
    form: &'static str,
    readable_events: usize,
    unreadable_parts: usize,
    /// The first of them.
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    bytes: usize,
    /// Why it cannot be read; none when it can.
    broken: Option<String>,
    /// The byte at which it stops being fields, if it does.
    broken_at: Option<usize>,
    kind: Option<String>,
    received_at: Option<String>,
    edge: Option<String>,
    seq: Option<u64>,
    /// Whether it is stored by now; none when ClickHouse could not be asked.
    stored: Option<bool>,
    fields: Vec<Field>,
}

/// Prints the letter, and writes its bytes to `raw`.
pub fn run(settings: &Settings, keep: &Keep, id: &str, raw: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let letter = find(keep, id)?;
    if let Some(path) = raw {
        write_raw(path, &letter.bytes)?;
    }
    let shown = look(settings, &letter);
    match json {
        true => {
            let json = serde_json::to_string_pretty(&shown)?;
            say(|out| writeln!(out, "{json}"))?;
        }
        false => say(|out| print(out, &shown))?,
    }
    if let Some(path) = raw.filter(|_| !json) {
        let bytes = letter.bytes.len();
        say(|out| writeln!(out, "\nwrote {bytes} bytes to {}: they may hold personal data", path.display()))?;
    }
    Ok(())
}

/// For its owner only, and never over what is there.
fn write_raw(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    open.and_then(|mut file| file.write_all(bytes)).with_context(|| format!("--raw {}", path.display()))
}

fn look(settings: &Settings, letter: &Letter) -> Shown {
    let contents = Contents::of(letter);
    let readable = contents.events.iter().map(|bytes| (*bytes, None));
    let unreadable = contents.unreadable.iter().map(|part| (part.bytes, Some(part.why.clone())));
    let stored = super::replay::stored(settings, &contents.ids());
    let part = |(bytes, broken): (&[u8], Option<String>)| {
        let event = check(bytes).ok();
        let values = match (event, contents.is_message) {
            (Some(_), _) => Values::All,
            (None, false) => Values::Head,
            (None, true) => Values::Never,
        };
        let (fields, broken_at) = fields::of(bytes, values);
        Part {
            bytes: bytes.len(),
            broken,
            broken_at,
            kind: event.map(|event| format!("{:?}", event.kind).to_lowercase()),
            received_at: event.map(|event| when::text(event.received_at_ms)),
            edge: event.map(|event| format!("{:016x}", event.edge_id)),
            seq: event.map(|event| event.seq),
            stored: event.and_then(|event| Some(stored.as_ref().ok()?.contains(&(event.edge_id, event.seq)))),
            fields,
        }
    };
    Shown {
        id: letter.id(),
        topic: letter.topic.clone(),
        partition: letter.partition,
        offset: letter.offset,
        kept_at: letter.at_ms.map(when::text),
        copies: letter.copies,
        reason: letter.reason.clone(),
        bytes: letter.bytes.len(),
        form: if contents.is_message { "a whole message" } else { "one event of a message" },
        readable_events: contents.events.len(),
        unreadable_parts: contents.unreadable.len(),
        // What is broken is what one looks for.
        parts: unreadable.chain(readable).take(PARTS_MAX).map(part).collect(),
    }
}

fn print(out: &mut dyn Write, shown: &Shown) -> io::Result<()> {
    let copies = if shown.copies > 1 { format!(", {} copies", shown.copies) } else { String::new() };
    writeln!(out, "letter    {}", shown.id)?;
    writeln!(out, "from      {}, partition {}, offset {}", shown.topic, shown.partition, shown.offset)?;
    writeln!(out, "kept      {}{copies}", shown.kept_at.as_deref().unwrap_or("the file does not say when"))?;
    writeln!(out, "reason    {}", shown.reason)?;
    writeln!(out, "size      {} bytes, {}", shown.bytes, shown.form)?;
    writeln!(
        out,
        "now       {} events can be read, {} parts cannot",
        shown.readable_events, shown.unreadable_parts
    )?;
    for part in &shown.parts {
        writeln!(out)?;
        match &part.broken {
            Some(why) => writeln!(out, "unreadable part, {} bytes: {why}", part.bytes)?,
            None => {
                let text = |value: &Option<String>| value.clone().unwrap_or_default();
                writeln!(
                    out,
                    "event: {} received {}, edge {} number {}, {} bytes, {}",
                    text(&part.kind),
                    text(&part.received_at),
                    text(&part.edge),
                    part.seq.unwrap_or_default(),
                    part.bytes,
                    match part.stored {
                        Some(true) => "stored by now",
                        Some(false) => "not stored",
                        None => "ClickHouse cannot be asked whether it is stored",
                    }
                )?;
            }
        }
        for Field { tag, name, shown } in &part.fields {
            writeln!(out, "  {tag:>3} {:<16} {shown}", if name.is_empty() { "(unknown)" } else { name })?;
        }
        if let Some(at) = part.broken_at {
            writeln!(out, "  from byte {at} on these are no fields")?;
        }
    }
    let parts = shown.readable_events + shown.unreadable_parts;
    if shown.parts.len() < parts {
        writeln!(out, "\n{} parts of {parts} are shown, --raw FILE writes all", shown.parts.len())?;
    }
    Ok(())
}
