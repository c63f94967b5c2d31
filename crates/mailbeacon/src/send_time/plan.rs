//! From windows to the instant at which a mail leaves, or a draw of another hour.

use std::str::FromStr;

use send_time::policy::{Name, Quiet, explored_hour, explores, moment_ms};
use send_time::zone::{self, Wall};
use send_time::{Weekday, Window};

/// What the sender wants of one mail to many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wish {
    /// Key of the message that is to be sent.
    pub message: u64,
    /// Not before, in Unix milliseconds.
    pub after_ms: i64,
    /// Hours in which nothing is sent.
    pub quiet: Option<Quiet>,
    /// Share of the mails that go out at an hour drawn evenly instead, so that other hours are seen too. 0 to 0.5.
    pub explore: f64,
}

/// When one mail leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// The instant, in Unix milliseconds: spread evenly over the window, the same for a mail each time it is asked for.
    pub send_at_ms: i64,
    /// The local hour in which it lies.
    pub hour: u8,
    /// Whether the hour was drawn.
    pub explored: bool,
    /// The probability with which this mail would have gone out in this local hour: what an estimate from the outcome
    /// must be weighed with.
    pub propensity: f64,
}

/// The plan for a recipient; None when no window comes within a year.
pub fn plan(recipient: u64, windows: &[Window], wish: &Wish) -> Option<Plan> {
    let best = windows.first()?;
    let rules = zone::rules(&best.time_zone)?;
    let name = Name { recipient, campaign: wish.message };
    let open_hours =
        (0..24).filter(|hour| wish.quiet.is_none_or(|quiet| !quiet.covers(*hour))).count() as f64;
    let explored = explores(name, wish.explore);
    let wall = match explored_hour(name, wish.quiet).filter(|_| explored) {
        Some(hour) => Wall { weekday: best.weekday, start_hour: hour, end_hour: (hour + 1) % 24 },
        None => Wall { weekday: best.weekday, start_hour: best.start_hour, end_hour: best.end_hour },
    };
    let span = *zone::next(wall, &rules, wish.after_ms, 1).first()?;
    let send_at_ms = moment_ms(name, span.start_ms, span.end_ms);
    let hour = (zone::local_bin(send_at_ms, &rules)? % 24) as u8;
    let length = (best.end_hour + 23 - best.start_hour) % 24 + 1;
    let in_window = (hour + 24 - best.start_hour) % 24 < length;
    let recommended = if in_window { (1.0 - wish.explore) / f64::from(length) } else { 0.0 };
    Some(Plan { send_at_ms, hour, explored, propensity: wish.explore / open_hours + recommended })
}

/// Hours of the local day as `22-7`: from the first to before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours(pub Quiet);

impl FromStr for QuietHours {
    type Err = String;

    fn from_str(text: &str) -> Result<QuietHours, String> {
        let hour = |text: &str| text.trim().parse().ok().filter(|hour| *hour < 24);
        let hours = text.split_once('-').and_then(|(from, until)| Some((hour(from)?, hour(until)?)));
        let (from_hour, until_hour) = hours
            .filter(|(from, until)| from != until)
            .ok_or_else(|| format!("{text:?}: expected two different hours, 0 to 23, as in 22-7"))?;
        Ok(QuietHours(Quiet { from_hour, until_hour }))
    }
}

/// A share of mails that explore.
pub fn explore_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=0.5).contains(&share) => Ok(share),
        _ => Err(format!("{text:?}: expected a share of 0 to 0.5")),
    }
}

/// Days as a word.
pub fn weekday_word(weekday: Weekday) -> &'static str {
    match weekday {
        Weekday::Any => "any",
        Weekday::Weekday => "weekday",
        Weekday::Weekend => "weekend",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start_hour: u8, end_hour: u8) -> Window {
        Window {
            weekday: Weekday::Any,
            start_hour,
            end_hour,
            time_zone: "Asia/Kathmandu".into(),
            p_open_1h: None,
            lift: 1.0,
            confidence: 0.5,
            beats_hour: 0,
            observed: 0.0,
            expected: 0.0,
            level: send_time::Level::Zone,
            reasons: Vec::new(),
        }
    }

    const AFTER_MS: i64 = 1_775_000_000_000;

    fn wish(explore: f64) -> Wish {
        let quiet = Some(Quiet { from_hour: 22, until_hour: 6 });
        Wish { message: 7, after_ms: AFTER_MS, quiet, explore }
    }

    #[test]
    fn mails_spread_over_the_window_and_some_explore_the_hours_that_are_not_quiet() {
        let windows = [window(8, 10)];
        let plans: Vec<Plan> = (0..4_000)
            .map(|recipient| plan(recipient, &windows, &wish(0.2)).expect("a window comes"))
            .collect();
        let again = plan(17, &windows, &wish(0.2));
        assert_eq!(again, Some(plans[17]));
        let explored: Vec<&Plan> = plans.iter().filter(|plan| plan.explored).collect();
        assert!((700..900).contains(&explored.len()), "{}", explored.len());
        assert!(explored.iter().all(|plan| (6..22).contains(&plan.hour)));
        for hour in 6..22 {
            assert!(explored.iter().any(|plan| plan.hour == hour), "{hour}");
        }
        for plan in &plans {
            assert!((0..86_400_000).contains(&(plan.send_at_ms - AFTER_MS)));
            assert!(plan.explored || (8..10).contains(&plan.hour));
            let wanted = if (8..10).contains(&plan.hour) { 0.2 / 16.0 + 0.4 } else { 0.2 / 16.0 };
            assert!((plan.propensity - wanted).abs() < 1e-12);
        }
        let early = plans.iter().filter(|plan| plan.hour == 8 && !plan.explored).count();
        assert!((1_450..1_750).contains(&early), "{early}");
    }

    #[test]
    fn what_was_asked_for_is_read_or_refused_with_what_was_expected() {
        assert_eq!("22-7".parse(), Ok(QuietHours(Quiet { from_hour: 22, until_hour: 7 })));
        for wrong in ["22", "22-24", "7-7", "-1-3", "a-b", ""] {
            assert!(wrong.parse::<QuietHours>().is_err_and(|e| e.contains("as in 22-7")), "{wrong}");
        }
        assert_eq!(explore_share("0.05"), Ok(0.05));
        for wrong in ["0.6", "-0.1", "NaN", "x"] {
            assert!(explore_share(wrong).is_err(), "{wrong}");
        }
    }
}
