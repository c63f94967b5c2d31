//! Recommendations from elsewhere, as lines of JSON.

use std::collections::HashMap;
use std::fs;
use std::io::BufRead;
use std::path::Path;

use anyhow::Context;
use link::Keys;
use send_time::{Refused, Window};
use serde::Deserialize;
use serde_json::Value;

use super::person::Person;

/// Windows for a person, the best first, or why there are none.
pub type Answer = Result<Vec<Window>, Refused>;

/// How lines name recipients.
pub enum Naming {
    /// As the history does.
    Names,
    /// By the keys that an instance made of the names of a workspace.
    Keys(Box<Keys>, u32),
}

/// Reads a key ring.
///
/// # Errors
/// When the file cannot be read, or is no key ring.
pub fn keys(file: &Path) -> anyhow::Result<Keys> {
    let text =
        fs::read_to_string(file).with_context(|| format!("failed to read keys from {}", file.display()))?;
    Keys::from_toml(&text).with_context(|| format!("failed to read keys from {}", file.display()))
}

/// A line: all windows of a recipient, or one of them.
#[derive(Deserialize)]
struct Line {
    recipient: String,
    refused: Option<Refused>,
    windows: Option<Vec<Value>>,
    #[serde(flatten)]
    window: Option<Window>,
}

impl Line {
    fn answer(self) -> anyhow::Result<Answer> {
        if let Some(refused) = self.refused {
            return Ok(Err(refused));
        }
        let windows = match (self.windows, self.window) {
            (Some(windows), _) => windows.into_iter().map(window).collect::<Result<Vec<_>, _>>()?,
            (None, window) => window.into_iter().collect(),
        };
        Ok(if windows.is_empty() { Err(Refused::NotEnoughEvents) } else { Ok(windows) })
    }
}

/// Programs are told `null` for any day.
fn window(mut value: Value) -> serde_json::Result<Window> {
    if let Some(weekday) = value.get_mut("weekday").filter(|weekday| weekday.is_null()) {
        *weekday = "any".into();
    }
    serde_json::from_value(value)
}

/// The answer for each person; whom no line is about is told too little of.
///
/// # Errors
/// When a line is no recommendation.
pub fn read(lines: impl BufRead, people: &[Person], naming: &Naming) -> anyhow::Result<Vec<Answer>> {
    let mut found: HashMap<String, Answer> = HashMap::new();
    for (number, line) in lines.lines().enumerate() {
        let wanted = || format!("line {}: expected a recommendation", number + 1);
        let line: Line = serde_json::from_str(&line?).with_context(wanted)?;
        let recipient = line.recipient.clone();
        let answer = line.answer().with_context(wanted)?;
        // The best window comes first.
        found.entry(recipient).or_insert(answer);
    }
    let named = |person: &Person| match naming {
        Naming::Names => person.name.clone(),
        Naming::Keys(keys, workspace) => keys.recipient(*workspace, &person.name).to_string(),
    };
    let mut answer = |person| found.remove(&named(person)).unwrap_or(Err(Refused::NotEnoughEvents));
    Ok(people.iter().map(&mut answer).collect())
}
