//! Reading `recommended_send_times`, where the formulas are, and what the estimator reads.

mod engagement;

pub use engagement::{Engagement, Engagements, RefusedRecipients};

use crate::{Store, StoreError};

/// What is known of the best time to write to a recipient.
#[derive(Debug, Clone, PartialEq)]
pub enum SendTimes {
    /// Windows of the recipient's local day, the best first; at least one.
    Windows(Vec<Window>),
    /// Nothing is recommended.
    Refused(Refusal),
}

/// A window of the local day.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// First hour, 0 to 23.
    pub start_hour: u8,
    /// The hour after the last one, 0 to 23; not above `start_hour` when the window passes midnight.
    pub end_hour: u8,
    /// IANA time zone of both.
    pub time_zone: String,
    /// Whose habit spoke.
    pub level: Level,
    /// Expected activity in the best hour over that in the workspace's best hour, for this recipient.
    pub lift: f64,
    /// Probability that the recipient's best hour beats the workspace's best hour.
    pub confidence: f64,
    /// Events of the recipient around the best hour, older ones weighing less.
    pub observed: f64,
    /// Events to expect there of a recipient like the others of the workspace.
    pub expected: f64,
    /// Events of the recipient in all.
    pub events: u64,
}

/// Whose habit a window follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The recipient's own.
    Recipient,
    /// All recipients' of the workspace: the recipient's own is not sure enough.
    Workspace,
}

/// Why nothing is recommended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A sign of the EU, the EEA or the UK in the last 400 days.
    Eu,
    /// No sign of a place where it is allowed.
    RegionUnknown,
    /// Too few events of a person.
    NotEnoughEvents,
    /// No event of this recipient is known.
    UnknownRecipient,
}

impl Refusal {
    /// The reason as one word, as in the view.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Eu => "eu",
            Refusal::RegionUnknown => "region_unknown",
            Refusal::NotEnoughEvents => "not_enough_events",
            Refusal::UnknownRecipient => "unknown_recipient",
        }
    }
}

impl Store {
    /// The recommended send times of a recipient, or why there are none.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn send_times(&self, workspace: u32, recipient: u64) -> Result<SendTimes, StoreError> {
        let sql = format!(
            "SELECT refused, start_hour, end_hour, time_zone, level, lift, confidence, observed, expected, events \
             FROM recommended_send_times WHERE workspace = {workspace} AND recipient = {recipient}"
        );
        let text = self.query(&sql).await?;
        let Some(line) = text.lines().next() else {
            return Ok(SendTimes::Refused(Refusal::UnknownRecipient));
        };
        parse(line).ok_or_else(|| StoreError::Answer {
            server: self.front.name.clone(),
            query: "send times",
            expected: "a row of recommended_send_times",
        })
    }
}

impl Store {
    /// Deletes the hours of activity of every recipient who has shown a sign of the EU, the EEA or the UK since they
    /// were written. No figure uses them even before that; this is so that they are not kept. Run it daily.
    ///
    /// # Errors
    /// When a server refuses or does not answer in time; what was deleted until then stays so.
    pub async fn forget_blocked(&self) -> Result<(), StoreError> {
        let local = self.local();
        let sql = format!(
            "DELETE FROM recipient_hours_states{local} WHERE (workspace, recipient) IN (SELECT workspace, recipient \
             FROM recipient_regions_states{local} WHERE eu_at > now('UTC') - INTERVAL 400 DAY) \
             SETTINGS lightweight_deletes_sync = 2"
        );
        for shard in 0..self.shards() {
            self.writer(shard)?.text(&sql, &[], self.config.request_timeout_ms).await?;
        }
        Ok(())
    }
}

fn parse(line: &str) -> Option<SendTimes> {
    let mut fields = line.split('\t');
    let mut next = || fields.next();
    match next()? {
        "" => {}
        "eu" => return Some(SendTimes::Refused(Refusal::Eu)),
        "region_unknown" => return Some(SendTimes::Refused(Refusal::RegionUnknown)),
        "not_enough_events" => return Some(SendTimes::Refused(Refusal::NotEnoughEvents)),
        _ => return None,
    }
    Some(SendTimes::Windows(vec![Window {
        start_hour: next()?.parse().ok()?,
        end_hour: next()?.parse().ok()?,
        time_zone: next()?.to_owned(),
        level: match next()? {
            "recipient" => Level::Recipient,
            "workspace" => Level::Workspace,
            _ => return None,
        },
        lift: next()?.parse().ok()?,
        confidence: next()?.parse().ok()?,
        observed: next()?.parse().ok()?,
        expected: next()?.parse().ok()?,
        events: next()?.parse().ok()?,
    }]))
}
