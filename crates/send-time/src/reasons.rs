//! The evidence in words.

use crate::group::{Group, Level};
use crate::profiles::Following;
use crate::recommend::{Person, Window, soon};

/// Why a window, in sentences for people.
pub(crate) fn of(window: &Window, group: &Group, person: &Person<'_>) -> Vec<String> {
    let reference = window.beats_hour;
    let percent = 100.0 * window.confidence;
    let mut said = Vec::new();
    let about = format!("{:02}:00-{:02}:00", window.start_hour, window.end_hour);
    let acted = person.counts.acts_total() > 0.0;
    match window.level {
        Level::Recipient => {
            said.push(if acted {
                format!(
                    "acted {:.1} times around {about} where {:.1} were expected of people like them",
                    window.observed, window.expected
                )
            } else {
                let mails: f64 = person.counts.sent.iter().sum();
                format!(
                    "acted on none of {mails:.1} mails, which makes {about} likelier than the hours of these"
                )
            });
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
    said.extend(person.following.filter(|_| acted).and_then(followed));
    if !group.has_sends {
        said.push(
            "sends are not known: this follows when mail was sent as much as when it was read".to_owned(),
        );
    }
    said
}

/// Which profile they most likely follow, where one is likelier than all others together.
fn followed(following: &Following<'_>) -> Option<String> {
    let (profile, sure) = following.profiles.iter().zip(&following.own).find(|(_, sure)| **sure > 0.5)?;
    let soon = soon(&profile.hazard[0]);
    let best = (0..24).fold(0, |best, h| if soon[h] > soon[best] { h } else { best });
    Some(format!(
        "{:.0} % sure that they read as {:.0} % of all recipients do, soonest at {best:02}:00",
        100.0 * sure,
        100.0 * profile.share
    ))
}

fn people(level: Level) -> &'static str {
    match level {
        Level::Recipient => "the recipient",
        Level::Domain => "people of their company",
        Level::Zone => "people of their time zone",
        Level::Workspace => "all recipients",
    }
}
