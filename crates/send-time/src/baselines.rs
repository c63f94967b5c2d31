//! The usual ways to pick an hour, to hold the estimator against: histograms of when mail was opened or clicked, which
//! mostly show when it was sent.

use crate::Hours;
use crate::circle::smooth;
use crate::evidence::{Kind, Seen};
use crate::model::KERNEL_HOURS;

/// The most frequent hour, the first of equal ones; None where nothing was counted.
pub fn most_frequent(hours: &Hours) -> Option<usize> {
    let best = (0..24).fold(0, |best, h| if hours[h] > hours[best] { h } else { best });
    (hours[best] > 0.0).then_some(best)
}

/// Whether a histogram that leaves machines out counts an act: by a person, and no open where mail is fetched ahead.
pub fn is_counted(kind: Kind, seen: Option<Seen>, prefetched: bool) -> bool {
    seen.is_some() && !(prefetched && kind == Kind::Open)
}

/// Each hour with the ones beside it.
pub fn over_three_hours(hours: &Hours) -> Hours {
    // The hour itself a little more, so that of three equal ones the middle wins.
    std::array::from_fn(|h| hours[(h + 23) % 24] + 1.01 * hours[h] + hours[(h + 1) % 24])
}

/// The histogram that the estimator falls back to without sends: under the kernel, and shrunk by 1.5 acts to
/// everybody's profile.
pub fn shrunk(own: &Hours, everybody: &Hours) -> Hours {
    let total: f64 = everybody.iter().sum();
    let profile = smooth(everybody).map(|hour| (hour + 20.0 / 24.0) / (total + 20.0));
    let (weight, seen, likely) = (own.iter().sum::<f64>(), smooth(own), smooth(&profile));
    std::array::from_fn(|h| {
        profile[h] * (1.5 + KERNEL_HOURS * seen[h]) / (1.5 + KERNEL_HOURS * likely[h] * weight)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_picked_as_by_hand() {
        let mut hours = [0.0; 24];
        assert_eq!(most_frequent(&hours), None);
        (hours[23], hours[1], hours[12]) = (2.0, 2.0, 3.0);
        assert_eq!(most_frequent(&hours), Some(12));
        assert_eq!(most_frequent(&over_three_hours(&hours)), Some(0));
        // Nobody's own acts: everybody's hour. Many of one's own: one's own.
        let mut own = [0.0; 24];
        assert_eq!(most_frequent(&shrunk(&own, &hours)), Some(12));
        own[5] = 50.0;
        assert_eq!(most_frequent(&shrunk(&own, &hours)), Some(5));
    }

    #[test]
    fn an_open_fetched_ahead_is_not_counted_and_a_click_is() {
        assert!(is_counted(Kind::Open, Some(Seen::Human), false));
        assert!(!is_counted(Kind::Open, Some(Seen::Human), true));
        assert!(is_counted(Kind::Click, Some(Seen::Human), true));
        assert!(!is_counted(Kind::Click, None, false));
    }
}
