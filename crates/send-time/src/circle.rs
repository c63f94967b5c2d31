//! Sums over the 24 hours of the local day, which closes on itself: 23:00 lies beside 00:00.

use crate::Hours;
use crate::counts::{Counts, Weekday, hours};
use crate::model::{EXPOSURE_MIN, KERNEL, opportunity};

/// Each hour with its neighbours, weighted by the kernel. The sum stays.
pub fn smooth(hours: &Hours) -> Hours {
    std::array::from_fn(|b| {
        let sides = |k: usize| hours[(b + k) % 24] + hours[(b + 24 - k) % 24];
        KERNEL[0] * hours[b] + KERNEL[1] * sides(1) + KERNEL[2] * sides(2) + KERNEL[3] * sides(3)
    })
}

/// Opportunity hours by hour of the day: mails sent less those answered since, each offering what
/// [`opportunity`] says from its hour on. Never below [`EXPOSURE_MIN`].
///
/// What is left at midnight of a Friday is offered on a Saturday, and that of a Sunday on a Monday. Bins know no days,
/// so that a fifth of the weekdays' mail is taken to be Friday's, and half of the weekend's Sunday's. Without this
/// Friday's mail read on Saturday counts as acts without exposure. It is a part of the error only: weekends are still
/// claimed about a quarter too good on simulated people.
pub fn exposure(counts: &Counts, days: Weekday) -> Hours {
    let left = |days| {
        let (sent, spent) = (hours(&counts.sent, days), hours(&counts.spent, days));
        std::array::from_fn(|b| sent[b] - spent[b])
    };
    let mut sum = offered(&left(days));
    let fridays = after_midnight(&left(Weekday::Weekday)).map(|x| x / 5.0);
    let sundays = after_midnight(&left(Weekday::Weekend)).map(|x| x / 2.0);
    for b in 0..24 {
        match days {
            Weekday::Any => {}
            Weekday::Weekday => sum[b] += sundays[b] - fridays[b],
            Weekday::Weekend => sum[b] += fridays[b] - sundays[b],
        }
    }
    sum.map(|hours| hours.max(EXPOSURE_MIN))
}

/// What a mail sent in each hour comes to, at a hazard.
pub fn offered_after(hazard: &Hours) -> Hours {
    let each = opportunity();
    std::array::from_fn(|s| (0..24).map(|k| each[k] * hazard[(s + k) % 24]).sum())
}

/// What mail offers in each hour.
fn offered(mail: &Hours) -> Hours {
    let each = opportunity();
    std::array::from_fn(|b| (0..24).map(|k| mail[(b + 24 - k) % 24] * each[k]).sum())
}

/// What mail offers in each hour of the day after its own.
fn after_midnight(mail: &Hours) -> Hours {
    let each = opportunity();
    std::array::from_fn(|b| (b + 1..24).map(|k| mail[b + 24 - k] * each[k]).sum())
}
