//! Readiness, part by part.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The longest reason that is kept, in bytes: one line of a probe's answer.
const REASON_BYTES_MAX: usize = 200;

/// The name under which the program as a whole speaks.
const PROGRAM: &str = "program";

/// Whether a program can do its work, and if not, which part keeps it from that and why.
///
/// Clones share one state. A part is ready only after it has said so.
#[derive(Debug, Clone)]
pub struct Health {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// `None` is ready. The names are static, so their number is bounded by the code.
    parts: BTreeMap<&'static str, Option<String>>,
    draining: bool,
}

impl Health {
    /// Unready: each of `parts` is "starting" until it is set. With no parts named, the program itself is
    /// starting until any part is set.
    pub fn new(parts: &[&'static str]) -> Self {
        let parts = parts.iter().map(|part| (*part, Some("starting".to_owned()))).collect();
        Health { state: Arc::new(Mutex::new(State { parts, draining: false })) }
    }

    /// Records that `part` is ready, or why it is not. The reason is shown to anyone who may reach the admin
    /// listener; it is cut to one line of 200 bytes.
    pub fn set(&self, part: &'static str, ready: Result<(), &str>) {
        let reason = ready.err().map(one_line);
        let changed = {
            let mut state = self.lock();
            state.parts.insert(part, reason.clone()) != Some(reason.clone())
        };
        // Only changes are worth a line: a part may report the same thing every second.
        match (changed, reason) {
            (false, _) => {}
            (true, None) => tracing::info!(part, "ready"),
            (true, Some(reason)) => tracing::warn!(part, reason, "not ready"),
        }
    }

    /// Unready for good: the program is shutting down and wants no new work.
    pub fn draining(&self) {
        self.lock().draining = true;
    }

    /// Ready, or each part that is not and its reason, in the order of their names.
    pub fn ready(&self) -> Result<(), Vec<(&'static str, String)>> {
        let state = self.lock();
        let mut reasons: Vec<(&'static str, String)> = Vec::new();
        if state.draining {
            reasons.push((PROGRAM, "draining".to_owned()));
        } else if state.parts.is_empty() {
            reasons.push((PROGRAM, "starting".to_owned()));
        }
        let parts = state.parts.iter();
        reasons.extend(parts.filter_map(|(part, reason)| Some((*part, reason.clone()?))));
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is whole between statements: a panic elsewhere must not take readiness down too.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn one_line(reason: &str) -> String {
    let cut = reason.floor_char_boundary(REASON_BYTES_MAX);
    reason[..cut].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_ready_only_once_it_says_so() {
        let health = Health::new(&["journal", "kafka"]);
        let starting = |part| (part, "starting".to_owned());
        assert_eq!(health.ready(), Err(vec![starting("journal"), starting("kafka")]));
        health.set("journal", Ok(()));
        assert_eq!(health.ready(), Err(vec![starting("kafka")]));
        health.clone().set("kafka", Ok(()));
        assert_eq!(health.ready(), Ok(()));
        health.set("kafka", Err("no broker answers"));
        assert_eq!(health.ready(), Err(vec![("kafka", "no broker answers".to_owned())]));
        health.set("kafka", Ok(()));
        health.draining();
        health.set("journal", Ok(()));
        assert_eq!(health.ready(), Err(vec![("program", "draining".to_owned())]));
    }

    #[test]
    fn a_program_without_named_parts_is_starting_until_one_is_set() {
        let health = Health::new(&[]);
        assert_eq!(health.ready(), Err(vec![("program", "starting".to_owned())]));
        health.set("http", Ok(()));
        assert_eq!(health.ready(), Ok(()));
    }

    #[test]
    fn a_reason_is_one_short_line() {
        let health = Health::new(&[]);
        let long = format!("broken\r\npipe {}", "é".repeat(300));
        health.set("http", Err(&long));
        let reasons = health.ready().unwrap_err();
        assert!(reasons[0].1.starts_with("broken  pipe é"));
        assert!(reasons[0].1.len() <= REASON_BYTES_MAX);
    }
}
