//! Sums over the 24 hours of the local day, which closes on itself: 23:00 lies beside 00:00.

use crate::Hours;
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
pub fn exposure(sent: &Hours, spent: &Hours) -> Hours {
    let offered = opportunity();
    std::array::from_fn(|b| {
        let sum: f64 =
            (0..24).map(|k| (sent[(b + 24 - k) % 24] - spent[(b + 24 - k) % 24]) * offered[k]).sum();
        sum.max(EXPOSURE_MIN)
    })
}
