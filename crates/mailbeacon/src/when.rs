//! Times on the command line: a moment, a day, or an age.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Unix milliseconds of `2026-01-31T12:00:00Z`, `2026-01-31` (its start in UTC) or `90m`, `12h`, `7d` ago.
pub fn parse(text: &str) -> Result<i64, String> {
    read(text, Timestamp::now().as_millisecond()).ok_or_else(|| {
        format!(
            "{text:?} is no time: expected 2026-01-31T12:00:00Z, 2026-01-31, or an age such as 90m, 12h, 7d"
        )
    })
}

/// For people and for JSON.
pub fn text(at_ms: i64) -> String {
    match Timestamp::from_millisecond(at_ms) {
        Ok(at) => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => format!("{at_ms} ms"),
    }
}

fn read(text: &str, now_ms: i64) -> Option<i64> {
    if let Some((count, unit_ms)) = age(text) {
        return now_ms.checked_sub(count.checked_mul(unit_ms)?);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_millisecond());
    }
    let day: Date = text.parse().ok()?;
    Some(day.to_zoned_datetime(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

fn age(text: &str) -> Option<(i64, i64)> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit_ms = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    // "-1d" would be the future.
    Some((count.parse::<u32>().ok()?.into(), unit_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_days_and_ages() {
        let now_ms = 1_764_000_000_000;
        for (text, wanted) in [
            ("2025-11-24T16:00:00Z", Some(now_ms)),
            ("2025-11-24T17:00:00+01:00", Some(now_ms)),
            ("2025-11-24", Some(now_ms - 16 * 3_600_000)),
            ("90m", Some(now_ms - 5_400_000)),
            ("7d", Some(now_ms - 7 * 86_400_000)),
            ("0s", Some(now_ms)),
            ("-1d", None),
            ("yesterday", None),
            ("7", None),
            ("", None),
            ("d", None),
            ("7µ", None),
        ] {
            assert_eq!(read(text, now_ms), wanted, "{text}");
        }
        assert_eq!(super::text(now_ms), "2025-11-24T16:00:00Z");
    }
}
