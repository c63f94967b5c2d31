//! What a sender decides beside the estimate, as functions of names: the same mail is always treated the same.

use serde::{Deserialize, Serialize};

/// Hours of the recipient's clock in which nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    /// First quiet hour, 0 to 23.
    pub from_hour: u8,
    /// The hour after the last one, 0 to 23; not above `from_hour` when they pass midnight. Equal: none are quiet.
    pub until_hour: u8,
}

impl Quiet {
    /// Whether an hour is a quiet one.
    pub fn covers(self, hour: u8) -> bool {
        let length = (self.until_hour + 24 - self.from_hour) % 24;
        (hour + 24 - self.from_hour) % 24 < length
    }
}

/// A mail to be sent: a recipient and a campaign, as the keys that events carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// Recipient key.
    pub recipient: u64,
    /// Message or campaign.
    pub campaign: u64,
}

/// When within a span of time a mail leaves, so that a campaign does not go out all at once: evenly spread over
/// recipients, the same for one mail each time. In [start, end); start when the span is empty.
pub fn moment_ms(name: Name, start_ms: i64, end_ms: i64) -> i64 {
    let length = end_ms.saturating_sub(start_ms).max(0) as u64;
    start_ms + scaled(draw(name, For::Moment), length) as i64
}

/// Whether a mail goes out at an hour drawn evenly instead of the recommended one, so that other hours are seen too.
/// True for `share` (0 to 1) of all mails. Whoever calls notes it with the event: its propensity is
/// `share / allowed hours` for the hour drawn.
pub fn explores(name: Name, share: f64) -> bool {
    // 53 bits are what an f64 holds.
    ((draw(name, For::Explores) >> 11) as f64 / (1_u64 << 53) as f64) < share
}

/// The hour of an exploring mail, each hour that is not quiet as likely as another. None when all are quiet.
pub fn explored_hour(name: Name, quiet: Option<Quiet>) -> Option<u8> {
    let open: Vec<u8> = (0..24).filter(|hour| quiet.is_none_or(|quiet| !quiet.covers(*hour))).collect();
    open.get(scaled(draw(name, For::Hour), open.len() as u64) as usize).copied()
}

/// What a draw is for, so that one does not follow from another.
#[derive(Clone, Copy)]
enum For {
    Moment = 1,
    Explores,
    Hour,
}

/// 64 even bits, the same for the same mail on every machine and in every version.
fn draw(name: Name, what: For) -> u64 {
    mix(mix(mix(name.recipient) ^ name.campaign) ^ what as u64)
}

/// `bits` as a number below `length`, evenly but for 1 part in 2^64 / length.
pub(crate) fn scaled(bits: u64, length: u64) -> u64 {
    ((u128::from(bits) * u128::from(length)) >> 64) as u64
}

/// SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
