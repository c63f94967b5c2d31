//! The answer for people and for programs.

use std::io::{self, Write};

use send_time::{Hours, Level, Refused, Weekday, Window};
use serde_json::{Map, Value, json};

use super::plan::Plan;
use super::workspace::Answer;

/// Why nothing is recommended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// What the estimator says.
    Refused(Refused),
    /// The recipient wants none.
    Withdrawn,
    /// No event of this recipient is known.
    UnknownRecipient,
}

impl Why {
    /// As one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Refused(refused) => refused.as_str(),
            Why::Withdrawn => "withdrawn",
            Why::UnknownRecipient => "unknown_recipient",
        }
    }

    /// For people.
    pub fn in_words(self) -> &'static str {
        match self {
            Why::Refused(Refused::Eu) => {
                "there is a sign that this recipient is in the EU, the EEA or the UK"
            }
            Why::Refused(Refused::RegionUnknown) => {
                "nothing says that this recipient is outside the EU, the EEA and the UK"
            }
            Why::Refused(Refused::TimeZoneUnknown) => "nothing says what time it is where this recipient is",
            Why::Refused(Refused::NotEnoughEvents) => "too few opens and clicks by people, of anybody",
            Why::Refused(Refused::AllQuiet) => "every hour is a quiet one",
            Why::Withdrawn => "this recipient wants none (mailbeacon recipient restore takes that back)",
            Why::UnknownRecipient => "no event of this recipient is known",
        }
    }
}

/// The answer as one line of JSON.
pub fn line(
    out: &mut dyn Write,
    recipient: u64,
    answer: Result<&[Window], Why>,
    plan: Option<Plan>,
) -> io::Result<()> {
    let mut fields = Map::new();
    fields.insert("recipient".to_owned(), recipient.to_string().into());
    let windows = answer.unwrap_or_default();
    fields.insert("windows".to_owned(), windows.iter().map(window).collect());
    if let Err(why) = answer {
        fields.insert("refused".to_owned(), why.as_str().into());
    }
    if let Some(Plan { send_at_ms, explored, propensity, .. }) = plan {
        fields.insert("send_at".to_owned(), instant(send_at_ms).into());
        fields.insert("explored".to_owned(), explored.into());
        fields.insert("propensity".to_owned(), propensity.into());
    }
    writeln!(out, "{}", Value::Object(fields))
}

fn window(window: &Window) -> Value {
    let weekday = match window.weekday {
        Weekday::Any => Value::Null,
        Weekday::Weekday => "weekday".into(),
        Weekday::Weekend => "weekend".into(),
    };
    json!({
        "weekday": weekday,
        "start_hour": window.start_hour,
        "end_hour": window.end_hour,
        "time_zone": window.time_zone,
        "p_open_1h": window.p_open_1h,
        "lift": window.lift,
        "confidence": window.confidence,
        "beats_hour": window.beats_hour,
        "observed": window.observed,
        "expected": window.expected,
        "level": window.level.as_str(),
        "reasons": window.reasons,
    })
}

/// RFC 3339, in UTC.
pub fn instant(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| at.to_string())
}

/// The answer for people.
pub fn answer(out: &mut dyn Write, answer: &Answer, plan: Option<Plan>) -> io::Result<()> {
    let windows = match &answer.windows {
        Ok(windows) => windows,
        Err(refused) => return refusal(out, Why::Refused(*refused)),
    };
    for window in windows {
        let Window { start_hour, end_hour, time_zone, lift, confidence, observed, expected, .. } = window;
        let days = match window.weekday {
            Weekday::Any => "",
            Weekday::Weekday => ", Monday to Friday",
            Weekday::Weekend => ", Saturday and Sunday",
        };
        writeln!(out, "{start_hour:02}:00-{end_hour:02}:00 {time_zone}{days}")?;
        if let Some(p) = window.p_open_1h {
            writeln!(out, "  opened within an hour  {:.1} %", p * 100.0)?;
        }
        writeln!(out, "  lift                   {lift:.2} times the sender's usual hours")?;
        writeln!(out, "  confidence             {:.0} %", confidence * 100.0)?;
        writeln!(
            out,
            "  evidence               {observed:.1} acts around that hour, {expected:.1} expected"
        )?;
        writeln!(out, "  whose habit            {}", whose(window.level))?;
        for reason in &window.reasons {
            writeln!(out, "  {reason}")?;
        }
    }
    if let Some(Plan { send_at_ms, explored, hour, .. }) = plan {
        let why = if explored {
            format!(", at {hour:02}:00 of the local day, drawn to explore")
        } else {
            String::new()
        };
        writeln!(out, "send at {}{why}", instant(send_at_ms))?;
    }
    if let Some(by_hour) = &answer.by_hour {
        writeln!(out)?;
        chart(out, by_hour)?;
    }
    Ok(())
}

/// Why there is no answer, for people.
pub fn refusal(out: &mut dyn Write, why: Why) -> io::Result<()> {
    writeln!(out, "no recommendation ({}): {}", why.as_str(), why.in_words())
}

fn whose(level: Level) -> &'static str {
    match level {
        Level::Recipient => "the recipient's own",
        Level::Domain => "that of their company: their own is not sure enough",
        Level::Zone => "that of their time zone: their own is not sure enough",
        Level::Workspace => "that of all recipients: their own is not sure enough",
    }
}

/// Bars of eighths, two columns for each hour.
fn chart(out: &mut dyn Write, by_hour: &Hours) -> io::Result<()> {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ROWS: usize = 3;
    let most = by_hour.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let height = |hour: &f64| (hour / most * (8 * ROWS) as f64).round() as usize;
    for row in (0..ROWS).rev() {
        let bars: String =
            by_hour.iter().flat_map(|hour| [BARS[height(hour).saturating_sub(8 * row).min(8)]; 2]).collect();
        writeln!(out, "  {}", bars.trim_end())?;
    }
    writeln!(out, "  0     3     6     9     12    15    18    21")?;
    writeln!(out, "  mail sent in each hour of the recipient's clock: how likely it is opened soon")
}
