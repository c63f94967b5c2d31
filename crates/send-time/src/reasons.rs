//! The evidence in words.

use crate::group::{Group, Level};
use crate::recommend::Window;

/// Why a window, in sentences for people.
pub(crate) fn of(window: &Window, group: &Group) -> Vec<String> {
    let reference = window.beats_hour;
    let percent = 100.0 * window.confidence;
    let mut said = Vec::new();
    let about = format!("{:02}:00-{:02}:00", window.start_hour, window.end_hour);
    match window.level {
        Level::Recipient => {
            said.push(format!(
                "acted {:.1} times around {about} where {:.1} were expected of people like them",
                window.observed, window.expected
            ));
            said.push(format!(
                "{percent:.0} % sure that it beats {reference:02}:00, the best hour of {}",
                people(group.level)
            ));
        }
        level => {
            said.push(format!(
                "{about} is the best time of {}, and their own acts say nothing else",
                people(level)
            ));
            said.push(format!(
                "{percent:.0} % sure that it beats {reference:02}:00, the sender's usual hour"
            ));
        }
    }
    if !group.has_sends {
        said.push(
            "sends are not known: this follows when mail was sent as much as when it was read".to_owned(),
        );
    }
    said
}

fn people(level: Level) -> &'static str {
    match level {
        Level::Recipient => "the recipient",
        Level::Domain => "people of their company",
        Level::Zone => "people of their time zone",
        Level::Workspace => "all recipients",
    }
}
