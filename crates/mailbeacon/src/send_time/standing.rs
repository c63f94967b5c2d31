//! Whether there may be a send time for a recipient at all.

use enrich::{Evidence, RegionClass, region_at};
use send_time::Refused;
use store::{Barred, Engagement};

use super::show::Why;

/// Signs as [`Engagement::region`] has them.
const EU: u8 = 1;
const OTHER: u8 = 2;

/// Why there may be none, if so, as things stood at an instant. What became known later of where a recipient is forbids
/// it as well: it is today that the answer is given.
pub fn why_not(recipient: u64, events: &[Engagement], barred: &Barred, at_ms: i64) -> Option<Why> {
    if let Some(why) = why_barred(recipient, barred) {
        return Some(why);
    }
    if events.is_empty() {
        return Some(Why::UnknownRecipient);
    }
    let sign = |event: &Engagement| Evidence {
        at_ms: event.at_ms,
        place: match event.region {
            EU => RegionClass::Eu,
            OTHER => RegionClass::Other,
            _ => RegionClass::Unknown,
        },
        ..Evidence::default()
    };
    match region_at(events.iter().map(sign), at_ms) {
        RegionClass::Other => None,
        RegionClass::Eu => Some(Why::Refused(Refused::Eu)),
        RegionClass::Unknown => Some(Why::Refused(Refused::RegionUnknown)),
    }
}

/// Why there may be none whatever the recipient's events say.
pub fn why_barred(recipient: u64, barred: &Barred) -> Option<Why> {
    if barred.withdrawn.contains(&recipient) {
        return Some(Why::Withdrawn);
    }
    barred.eu.contains(&recipient).then_some(Why::Refused(Refused::Eu))
}
