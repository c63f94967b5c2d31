//! What the estimator learned and recommended, kept for whoever asks next; and who wants none of it.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use crate::{InsertError, Store, StoreError};

/// Habits that a group of people share, as the estimator counts them: a row of `send_time_habits`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SharedHabits {
    /// Whose: `workspace`, `zone`, `domain`, or what else the estimator learns.
    pub level: String,
    /// IANA time zone, of a zone.
    pub time_zone: String,
    /// Key of the mail domain, of a domain; the number of a further level's group.
    pub domain: u64,
    /// Sums by hour of the local week, 48 each: mails sent, what answered ones no longer offer, answers, later acts.
    pub sums: [Vec<f64>; 4],
    /// What else was learned, by name.
    pub numbers: BTreeMap<String, Vec<f64>>,
}

/// A window, or the reason why there is none: a row of `send_times`. Each field is the column of its name.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "each field is the column of its name")]
pub struct SendTime {
    pub recipient: u64,
    pub choice: u8,
    pub refused: &'static str,
    pub weekday: &'static str,
    pub start_hour: u8,
    pub end_hour: u8,
    pub time_zone: String,
    pub p_open_1h: f64,
    pub lift: f64,
    pub confidence: f64,
    pub beats_hour: u8,
    pub observed: f64,
    pub expected: f64,
    pub level: &'static str,
}

/// A mail that goes out at a drawn hour: a row of `explorations`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exploration {
    /// Recipient key.
    pub recipient: u64,
    /// Message.
    pub message: u64,
    /// When it is to be sent, in Unix milliseconds.
    pub send_at_ms: i64,
    /// The local hour drawn.
    pub hour: u8,
    /// How likely this mail was to go out in it.
    pub propensity: f64,
}

/// Which rows of `send_time_habits` are read, beside those of the workspace and of any further level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Near<'a> {
    /// IANA time zone.
    pub time_zone: &'a str,
    /// Key of the mail domain.
    pub domain: u64,
}

/// Recipients for whom there is no send time whatever their events say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Barred {
    /// Who wants none.
    pub withdrawn: HashSet<u64>,
    /// Of whom only the last day is known, and that a link of theirs said EU, EEA or UK.
    pub eu: HashSet<u64>,
}

const HABITS: &str = "send_time_habits{local} (workspace, at, level, time_zone, domain, sent, spent, acts, repeats, numbers) \
     SETTINGS precise_float_parsing = 1 FORMAT TabSeparated";
const SEND_TIMES: &str = "send_times{local} (workspace, recipient, choice, at, refused, weekday, start_hour, end_hour, time_zone, \
     p_open_1h, lift, confidence, beats_hour, observed, expected, level) \
     SETTINGS precise_float_parsing = 1 FORMAT TabSeparated";

impl Store {
    /// Keeps what was learned of a workspace at an instant, in pieces. Those of level `workspace` come last: until then
    /// what was learned before counts.
    ///
    /// # Errors
    /// Says what to do next, as [`Store::insert`].
    pub async fn keep_habits(
        &self,
        workspace: u32,
        at_ms: i64,
        habits: &[SharedHabits],
    ) -> Result<(), InsertError> {
        let mut lines = String::new();
        for SharedHabits { level, time_zone, domain, sums: [sent, spent, acts, repeats], numbers } in habits {
            let numbers: Vec<String> = numbers.iter().map(|(name, of)| format!("'{name}':{of:?}")).collect();
            _ = writeln!(
                lines,
                "{workspace}\t{}\t{level}\t{time_zone}\t{domain}\t{sent:?}\t{spent:?}\t{acts:?}\t{repeats:?}\t{{{}}}",
                Instant(at_ms),
                numbers.join(",")
            );
        }
        let into = HABITS.replace("{local}", self.local());
        self.send(self.writer(0)?, &into, "", &lines.into()).await
    }

    /// What was learned last of a workspace, and when: of its zones and domains only the ones named. None when nothing
    /// was, or too long ago.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub async fn habits(
        &self,
        workspace: u32,
        near: Near<'_>,
    ) -> Result<Option<(i64, Vec<SharedHabits>)>, StoreError> {
        let sql = format!(
            "WITH (SELECT max(at) FROM send_time_habits WHERE workspace = {workspace} AND level = 'workspace') AS latest \
             SELECT toUnixTimestamp64Milli(at), level, time_zone, domain, sent, spent, acts, repeats, numbers \
             FROM send_time_habits WHERE workspace = {workspace} AND at = latest \
             AND (level = 'zone' AND time_zone = {{time_zone:String}} OR level = 'domain' AND domain = {} \
             OR level NOT IN ('zone', 'domain')) FORMAT JSONCompactEachRow \
             SETTINGS output_format_json_quote_64bit_integers = 0",
            near.domain
        );
        let timeout_ms = self.config.request_timeout_ms;
        let text = self.front.text(&sql, &[("time_zone", near.time_zone)], timeout_ms).await?;
        let mut at_ms = None;
        let mut habit = |line: &str| {
            let (at, level, time_zone, domain, sent, spent, acts, repeats, numbers) =
                serde_json::from_str(line).ok()?;
            at_ms = Some(at);
            Some(SharedHabits { level, time_zone, domain, sums: [sent, spent, acts, repeats], numbers })
        };
        let habits: Option<Vec<SharedHabits>> = text.lines().map(&mut habit).collect();
        let habits = habits.ok_or_else(|| StoreError::Answer {
            server: self.front.name.clone(),
            query: "habits",
            expected: "a group's a line",
        })?;
        Ok(at_ms.map(|at_ms| (at_ms, habits)))
    }

    /// Keeps recommended send times, in pieces.
    ///
    /// # Errors
    /// Says what to do next, as [`Store::insert`].
    pub async fn keep_send_times(
        &self,
        workspace: u32,
        at_ms: i64,
        send_times: &[SendTime],
    ) -> Result<(), InsertError> {
        let into = SEND_TIMES.replace("{local}", self.local());
        let line = |one: &SendTime| {
            let SendTime { recipient, choice, refused, weekday, start_hour, end_hour, .. } = one;
            let SendTime { time_zone, p_open_1h, lift, confidence, beats_hour, .. } = one;
            let SendTime { observed, expected, level, .. } = one;
            let text = format!(
                "{workspace}\t{recipient}\t{choice}\t{}\t{refused}\t{weekday}\t{start_hour}\t{end_hour}\t\
                 {time_zone}\t{p_open_1h}\t{lift}\t{confidence}\t{beats_hour}\t{observed}\t{expected}\t{level}",
                Instant(at_ms)
            );
            (*recipient, text)
        };
        self.send_by_recipient(&into, send_times.iter().map(line)).await
    }

    /// Notes mails that go out at a drawn hour; of the same mail the last one is kept.
    ///
    /// # Errors
    /// Says what to do next, as [`Store::insert`].
    pub async fn keep_explorations(
        &self,
        workspace: u32,
        explorations: &[Exploration],
    ) -> Result<(), InsertError> {
        let mut lines = String::new();
        for Exploration { recipient, message, send_at_ms, hour, propensity } in explorations {
            let send_at = Instant(*send_at_ms);
            _ = writeln!(lines, "{workspace}\t{recipient}\t{message}\t{send_at}\t{hour}\t{propensity}");
        }
        let into = format!(
            "explorations{} (workspace, recipient, message, send_at, hour, propensity) FORMAT TabSeparated",
            self.local()
        );
        self.send(self.writer(0)?, &into, "", &lines.into()).await
    }

    /// Deletes what was kept of a workspace before an instant: once all that was made then is there, what is older is
    /// of people who may not or need not be recommended for any more.
    ///
    /// # Errors
    /// When a server refuses or does not answer in time; what was deleted until then stays so.
    pub async fn forget_before(&self, workspace: u32, at_ms: i64) -> Result<(), StoreError> {
        let before = format!("workspace = {workspace} AND at < fromUnixTimestamp64Milli({at_ms}, 'UTC')");
        self.delete("send_times", &before).await?;
        self.delete("send_time_habits", &before).await
    }

    /// Deletes the send times of whoever withdrew, or has shown a sign of the EU, the EEA or the UK, and which mails of
    /// theirs went out at a drawn hour. Nobody is told them even before that; this is so that they are not kept.
    ///
    /// # Errors
    /// As [`Store::forget_before`].
    pub async fn forget_blocked(&self) -> Result<(), StoreError> {
        let barred = "(workspace, recipient) GLOBAL IN (SELECT workspace, recipient FROM barred_recipients)";
        self.delete("send_times", barred).await?;
        self.delete("explorations", barred).await
    }

    /// Notes that a recipient wants no send time, or wants them again, and deletes what there was.
    ///
    /// # Errors
    /// Says what to do next, as [`Store::insert`].
    pub async fn withdraw(
        &self,
        workspace: u32,
        recipients: &[u64],
        withdrawn: bool,
        at_ms: i64,
    ) -> Result<(), InsertError> {
        let column = if withdrawn { "withdrawn_at" } else { "restored_at" };
        let into =
            format!("withdrawals{} (workspace, recipient, {column}) FORMAT TabSeparated", self.local());
        let line = |recipient: &u64| (*recipient, format!("{workspace}\t{recipient}\t{}", Instant(at_ms)));
        self.send_by_recipient(&into, recipients.iter().map(line)).await
    }

    /// Writes lines, each to the shard of the recipient it is about.
    async fn send_by_recipient(
        &self,
        into: &str,
        lines: impl Iterator<Item = (u64, String)>,
    ) -> Result<(), InsertError> {
        let mut texts = vec![String::new(); self.shards()];
        for (recipient, line) in lines {
            let text = &mut texts[(recipient % self.shards() as u64) as usize];
            text.push_str(&line);
            text.push('\n');
        }
        for (shard, text) in texts.into_iter().enumerate().filter(|(_, text)| !text.is_empty()) {
            self.send(self.writer(shard)?, into, "", &text.into()).await?;
        }
        Ok(())
    }

    /// For whom of a workspace there is no send time whatever their events say; of `recipient` alone when it is given.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time, or there are more of them than one answer holds.
    pub async fn barred(&self, workspace: u32, recipient: Option<u64>) -> Result<Barred, StoreError> {
        let only = recipient.map_or(String::new(), |recipient| format!("AND recipient = {recipient}"));
        let sql = format!(
            "SELECT recipient, 0 FROM withdrawals WHERE workspace = {workspace} {only} GROUP BY recipient \
             HAVING max(withdrawn_at) > max(restored_at) UNION ALL SELECT DISTINCT recipient, 1 FROM last_opens \
             WHERE workspace = {workspace} AND recipient != 0 AND eu AND last_on > today() - 400 {only}"
        );
        let mut barred = Barred::default();
        for line in self.query(&sql).await?.lines() {
            let found =
                line.split_once('\t').and_then(|(recipient, sign)| Some((recipient.parse().ok()?, sign)));
            let (recipient, sign) = found.ok_or_else(|| StoreError::Answer {
                server: self.front.name.clone(),
                query: "barred recipients",
                expected: "a recipient and a sign a line",
            })?;
            let of = if sign == "0" { &mut barred.withdrawn } else { &mut barred.eu };
            of.insert(recipient);
        }
        Ok(barred)
    }

    async fn delete(&self, table: &str, filter: &str) -> Result<(), StoreError> {
        let sql = format!(
            "DELETE FROM {table}{} WHERE {filter} SETTINGS lightweight_deletes_sync = 2",
            self.local()
        );
        for shard in 0..self.shards() {
            self.writer(shard)?.text(&sql, &[], self.config.request_timeout_ms).await?;
        }
        Ok(())
    }
}

/// As a `DateTime64(3)` is read, whatever the server's own zone.
struct Instant(i64);

impl std::fmt::Display for Instant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0.div_euclid(1_000), self.0.rem_euclid(1_000))
    }
}
